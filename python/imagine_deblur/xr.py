"""Restoring xarray's arrays, held by numpy or by Dask: ``imagine_deblur.xr.restore(da)``."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.errors import InputImageError, OptionsError
from imagine_deblur.options import Options
from imagine_deblur.psf.field import PsfField
from imagine_deblur.raster.bands import BandsArgument, group_bands, names_of, separate_bands
from imagine_deblur.raster.block_map import BlockMap
from imagine_deblur.raster.dataset import TYPES, wrong_type
from imagine_deblur.raster.output import check_options
from imagine_deblur.raster.scene import Group, PsfChoice, look
from imagine_deblur.raster.validity import Mask, collar, differs_from, finite
from imagine_deblur.raster.windows import ALIGNMENT, cut
from imagine_deblur.restoration.pieces import touched_blocks
from imagine_deblur.session import Session
from imagine_deblur.support.extras import require

_SMALLEST_BLOCK = 1024  # px a side that blocks of Dask are joined to, so that margins stay a share
_LARGEST_WINDOW = 4096  # px a side that numpy's arrays are cut into
_MAX_RAM = "2GB"  # as for rasters in files

ROWS_AND_COLUMNS = (
    ("y", "x"),
    ("lat", "lon"),
    ("latitude", "longitude"),
    ("northing", "easting"),
    ("row", "column"),
    ("row", "col"),
    ("rows", "columns"),
    ("line", "sample"),
)
"""Names of dimensions by which rows and columns are known in any order."""


def restore(
    da: Any,
    psf: PsfChoice = None,
    *,
    bands: BandsArgument = None,
    spatial: tuple[str, str] | None = None,
    nodata: float | None = None,
    **options: Any,
) -> Any:
    """Restore a scene in a DataArray.

    Of an array that Dask holds, only the blocks that tell its blur, noise and scale are read now,
    and a sample of 512 px is restored to learn what the reblur check may accept. The rest is done
    when the result is computed, block by block, each with the margin that the inverse needs. Every
    block is restored alike, so the result is that of the whole scene, see docs/guides/rasters.md.
    Whether a restoration can be believed at all is judged block by block.

    Parameters
    ----------
    da : xarray.DataArray
        Rows and columns, and bands or not, in any order; uint8, uint16, int16, float32 or float64.
    psf : PSF argument, or mapping of bands to them, optional
        As of `raster.restore_raster`. None: estimated once, from the scene.
    bands : sequence of int or str, optional
        Numbers (from 1) or names of red, green and blue. Names are those of the bands' coordinate
        where these are texts, or the attribute ``long_name``. Default: bands that are called red,
        green and blue; every other band is restored alone.
    spatial : (str, str), optional
        Names of the dimensions of rows and columns; default: a pair of `ROWS_AND_COLUMNS`, else
        the last two.
    nodata : float, optional
        Value of pixels without data, which stay as they are. Default: ``_FillValue`` or ``nodata``
        of the attributes or the encoding. NaN and infinity are never data.
    **options
        Fields of `Options`.

    Returns
    -------
    xarray.DataArray
        Name, type, dimensions, coordinates, attributes, encoding and chunks of `da`.

    Raises
    ------
    InputImageError
        Not a DataArray, or one with other dimensions or another type.
    OptionsError
        A band or a dimension that is not there, or an option out of range.
    MissingExtraError
        xarray is not installed.
    EstimationError, EngineError, PsfError
        See `imagine_deblur.errors`.

    Examples
    --------
    >>> import rioxarray, imagine_deblur.xr  # doctest: +SKIP
    >>> scene = rioxarray.open_rasterio("scene.tif", chunks=2048)  # doctest: +SKIP
    >>> imagine_deblur.xr.restore(scene, "disk:3").rio.to_raster("out.tif")  # doctest: +SKIP
    """
    xarray = require("xarray", extra="raster", purpose="imagine_deblur.xr")
    if not isinstance(da, xarray.DataArray):
        kind = type(da).__name__
        hint = "; pick one of its variables" if isinstance(da, xarray.Dataset) else ""
        raise InputImageError(f"expected an xarray.DataArray, got {kind}{hint}")
    rows, columns = _spatial(da, spatial)
    others = [name for name in da.dims if name not in (rows, columns)]
    if len(others) > 1:
        raise InputImageError(
            f"dimensions {', '.join(map(str, da.dims))}: one beside {rows} and {columns} is taken "
            f"as bands; restore scene after scene, for example da.isel({others[0]}=0)"
        )
    if da.dtype.name not in TYPES:
        raise InputImageError(wrong_type(da.dtype.name, lambda name: f".astype('{name}')"))
    if 0 in da.shape:
        return da.copy()
    if any(size != size for size in da.shape):  # NaN
        raise InputImageError(
            "chunks of unknown size have no windows; call compute_chunk_sizes() on the Dask array"
        )
    chosen = Options(**{"max_ram": _MAX_RAM, **options})
    check_options(chosen)
    ordered = da.transpose(*others, rows, columns)
    values = ordered.data if others else ordered.data[None]
    void = _nodata(da) if nodata is None else float(nodata)
    names = _names(da, others)
    grouped = group_bands(names, ["undefined"] * len(names), bands, separate_bands(psf))
    reader = _ArrayReader(values, void)
    with Session(chosen) as session:
        groups = look(reader, grouped, session, psf, [void] * len(names))
        whole = _blockwise if hasattr(values, "dask") else _at_once
        planes = _bands(values)
        for group in groups:
            if group.restored:
                made = whole(reader, group, session, chosen)
                for place, index in enumerate(group.bands.indices):
                    planes[index] = made[place]
    result = _stacked(planes, values)
    if not others:
        result = result[0]
    return da.copy(data=ordered.copy(data=result).transpose(*da.dims).data)


class _ArrayReader:
    """The samples of an array, see `raster.scene.Reader`."""

    bits: int | None = None
    min_is_white = False

    def __init__(self, values: Any, nodata: float | None) -> None:
        self.values, self.nodata = values, nodata
        self.shape: tuple[int, int] = (int(values.shape[1]), int(values.shape[2]))

    def read(
        self, bands: Sequence[int], top: int, left: int, rows: int, columns: int
    ) -> tuple[NDArray[Any], Mask]:
        part = self.values[list(bands), top : top + rows, left : left + columns]
        samples = np.asarray(part)
        return samples, valid_pixels(samples, self.nodata)


def valid_pixels(values: NDArray[Any], nodata: float | None) -> Mask:
    """Return where (B, R, C) values are data: finite, not `nodata`, or without it no collar."""
    valid = finite(values) & differs_from(values, nodata)
    return valid & ~collar(values) if nodata is None else valid


def _at_once(
    reader: _ArrayReader, group: Group, session: Session, options: Options
) -> NDArray[Any]:
    """Restore bands that are in memory, in windows."""
    shape = (len(group.bands.indices), *reader.shape)
    result = np.empty(shape, reader.values.dtype)
    windows = list(cut(reader.shape, group.margin, _LARGEST_WINDOW))
    _check_field(group, len(windows))
    blocks = BlockMap(reader.shape)
    for window in windows:
        rows, columns = window.rows, window.columns
        values, valid = reader.read(
            group.bands.indices,
            rows.read_start,
            columns.read_start,
            rows.read_size,
            columns.read_size,
        )
        restored, report = group.restore(session, values, valid, window.kept)
        blocks.add(window, None if report is None else report.block_map)
        own = (
            slice(rows.start, rows.start + rows.size),
            slice(columns.start, columns.start + columns.size),
        )
        result[(slice(None), *own)] = restored[(slice(None), *window.kept)]
    if not group.judged(session, blocks.blocks).restored:
        return np.asarray(reader.values[list(group.bands.indices)])
    return result


def _blockwise(reader: _ArrayReader, group: Group, session: Session, options: Options) -> Any:
    """Restore bands that Dask holds when they are computed, block by block."""
    overlap = require("dask.array.overlap", extra="raster", purpose="imagine_deblur.xr")
    values = reader.values[list(group.bands.indices)]
    # So much more that blocks can begin on multiples of ALIGNMENT.
    depth = group.margin + ALIGNMENT - 1
    least = max(depth, _SMALLEST_BLOCK)
    chunks = tuple(_joined(axis, least) for axis in values.chunks[1:])
    values = values.rechunk(((len(group.bands.indices),), *chunks))
    _check_field(group, values.numblocks[1] * values.numblocks[2])
    # An axis of one block has no neighbours, and may be shorter than the margin.
    depths = {axis: depth if values.numblocks[axis] > 1 else 0 for axis in (1, 2)}
    deep = overlap.overlap(values, depth={0: 0, **depths}, boundary="none")
    return deep.map_blocks(
        _restore_block,
        group=group,
        options=options,
        starts=tuple(np.concatenate([[0], np.cumsum(axis)[:-1]]).tolist() for axis in chunks),
        sizes=chunks,
        depth=depth,
        nodata=reader.nodata,
        dtype=values.dtype,
        chunks=values.chunks,
        meta=np.empty((0, 0, 0), values.dtype),
    )


def _restore_block(
    block: NDArray[Any],
    *,
    group: Group,
    options: Options,
    starts: tuple[list[int], list[int]],
    sizes: tuple[tuple[int, ...], tuple[int, ...]],
    depth: int,
    nodata: float | None,
    block_id: tuple[int, ...],
) -> NDArray[Any]:
    """Restore one block with its margins and return it without them."""
    kept, read = [], []
    for axis, number in enumerate(block_id[1:]):
        start, size = starts[axis][number], sizes[axis][number]
        ahead = depth if number > 0 else 0
        skipped = (ahead - start) % ALIGNMENT  # block[skipped] lies on a multiple of ALIGNMENT
        read.append(slice(skipped, None))
        kept.append(slice(ahead - skipped, ahead - skipped + size))
    values = np.ascontiguousarray(block[(slice(None), *read)])
    valid = valid_pixels(values, nodata)
    with _LOCK:
        session = _session(options)
        rows, columns = kept
        restored, report = group.restore(session, values, valid, (rows, columns))
        if report is not None and report.block_map is not None:
            own = tuple(touched_blocks(part.start, part.stop) for part in kept)
            if not group.judged(session, report.block_map[own]).restored:
                restored = values
    return restored[(slice(None), *kept)]


_LOCK = threading.Lock()  # one block at a time, on all threads: memory does not grow with workers
_SESSIONS: dict[Options, Session] = {}


def _session(options: Options) -> Session:
    """The session of this process for some options; the one of others is given back."""
    if options not in _SESSIONS:
        for session in _SESSIONS.values():
            session.close()
        _SESSIONS.clear()
        _SESSIONS[options] = Session(options)
    return _SESSIONS[options]


def _check_field(group: Group, windows: int) -> None:
    if isinstance(group.found.psf, PsfField) and windows > 1:
        raise OptionsError(
            "psf", "a field of PSFs", "one PSF where a scene does not fit into one window"
        )


def _joined(sizes: Iterable[int], least: int) -> tuple[int, ...]:
    """Chunk sizes with neighbours joined until each is `least` px or more."""
    found: list[int] = []
    waiting = 0
    for size in sizes:
        waiting += size
        if waiting >= least:
            found.append(waiting)
            waiting = 0
    if waiting and found:
        found[-1] += waiting
    elif waiting:
        found.append(waiting)
    return tuple(found)


def _spatial(da: Any, spatial: tuple[str, str] | None) -> tuple[str, str]:
    names = [str(name) for name in da.dims]
    if spatial is not None:
        if not set(spatial) <= set(names) or len(set(spatial)) != 2:
            raise OptionsError("spatial", spatial, f"two of {', '.join(names)}")
        return spatial
    if len(names) < 2:
        raise InputImageError(f"dimensions {', '.join(names)}: an image has rows and columns")
    known = (pair for pair in ROWS_AND_COLUMNS if set(pair) <= set(names))
    return next(known, (names[-2], names[-1]))


def _names(da: Any, others: list[Any]) -> list[str]:
    if not others:
        return ["band 1"]
    count = int(da.sizes[others[0]])
    labels = da.coords[others[0]].values if others[0] in da.coords else ()
    if len(labels) and all(isinstance(label, str) for label in labels):
        return names_of([str(label) for label in labels])
    described = da.attrs.get("long_name")
    if isinstance(described, list | tuple) and len(described) == count:
        return names_of([str(text) for text in described])
    return names_of([None] * count)


def _nodata(da: Any) -> float | None:
    for place in (da.attrs, da.encoding):
        for key in ("_FillValue", "nodata"):
            if place.get(key) is None:
                continue
            try:
                (value,) = np.asarray(place[key], np.float64).ravel()
            except ValueError:
                raise InputImageError(
                    f"{key} of the array is {place[key]!r}, not a number: pass nodata=..., or "
                    "delete it"
                ) from None
            if da.dtype.kind == "f" or np.isfinite(value):
                return float(value)
    return None


def _bands(values: Any) -> list[Any]:
    return [values[index] for index in range(values.shape[0])]


def _stacked(planes: list[Any], values: Any) -> Any:
    if not hasattr(values, "dask"):
        return np.stack(planes)
    array = require("dask.array", extra="raster", purpose="imagine_deblur.xr")
    return array.stack(planes).rechunk(values.chunks)
