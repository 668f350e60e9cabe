"""What a worker measures of one capture for the blur of its instrument: a spectrum, no picture."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.archive.facts import read_facts
from imagine_deblur.archive.item import Item, is_jpeg_name
from imagine_deblur.archive.work import local_source
from imagine_deblur.capture.jpeg_file import JpegFile
from imagine_deblur.errors import EstimationError, ImagineDeblurError
from imagine_deblur.options import Options
from imagine_deblur.psf.estimation.estimator import combine, summary_of
from imagine_deblur.psf.estimation.quantisation_table import table_scalars
from imagine_deblur.psf.estimation.spectrum import Summary

_BLOCK = 1024  # px a side of the parts of a raster that are looked at
_PER_SIDE = 3  # such parts across and along a scene, so that it need not be read whole


@dataclass(frozen=True)
class Look:
    """What is kept of one capture, about 5 kB.

    Attributes
    ----------
    source : str
    time : datetime or None
    instrument : str
    summary : Summary or None
        None where it tells nothing; `refused` says why.
    table : (n,) float32 ndarray or None
        Of its JPEG quantisation, see `table_scalars`.
    refused : str
    """

    source: str
    time: datetime | None = None
    instrument: str = ""
    summary: Summary | None = None
    table: NDArray[np.float32] | None = None
    refused: str = ""


def look(item: Item, timeout: float) -> Look:
    """Measure one capture; what goes wrong is told, not raised.

    Parameters
    ----------
    item : Item
    timeout : float
        Seconds that a remote source may stay silent.
    """
    time, instrument = None, ""
    try:
        with local_source(item, None, timeout) as path:
            facts = read_facts(path, item.stac)
            time, instrument = facts.time, facts.instrument
            summary, table = _measured(path, item.output)
    except (ImagineDeblurError, OSError, MemoryError) as error:
        return Look(item.name, time, instrument, refused=str(error) or type(error).__name__)
    return Look(item.name, time, instrument, summary, table)


def _measured(path: str, name: str) -> tuple[Summary, NDArray[np.float32]]:
    """Return the summary of a capture and its table.

    Raises
    ------
    EstimationError
        No part of it tells its blur.
    """
    if is_jpeg_name(name):
        capture = JpegFile(path, Options()).capture
        images, quantisation = iter(capture.images()), capture.quantisation
    else:
        images, quantisation = _parts(path), None
    summaries: list[Summary] = []
    refusal: EstimationError | None = None
    for image in images:
        try:
            summaries.append(summary_of(image))
        except EstimationError as error:
            refusal = refusal or error
    if not summaries:
        raise refusal or EstimationError("it has no pixels to look at", reason="small")
    table = table_scalars(quantisation, known=quantisation is not None)
    return (summaries[0] if len(summaries) == 1 else combine(summaries)), table


def _parts(path: str) -> Iterator[NDArray[Any]]:
    """Yield parts of a raster as pictures of 8 bits; those without data are left out."""
    from imagine_deblur.raster import dataset, scale

    with contextlib.ExitStack() as stack:
        rasterio = stack.enter_context(dataset.gdal(path))
        file = stack.enter_context(dataset.opened(rasterio, path))
        reader = dataset.DatasetReader(rasterio, file)
        bands = tuple(range(3 if file.count >= 3 else 1))
        for top in _starts(reader.shape[0]):
            for left in _starts(reader.shape[1]):
                rows, columns = (min(_BLOCK, side) for side in reader.shape)
                values, valid = reader.read(bands, top, left, rows, columns)
                if not valid.all():
                    continue
                encoded = scale.scale_of(values, bits=reader.bits).encode(values)
                if encoded.dtype != np.uint8:
                    encoded = np.rint(encoded * np.float32(255)).astype(np.uint8)
                yield np.ascontiguousarray(np.moveaxis(encoded, 0, -1)).squeeze()


def _starts(side: int) -> list[int]:
    last = max(0, side - _BLOCK)
    return sorted({int(start) for start in np.linspace(0, last, _PER_SIDE)})
