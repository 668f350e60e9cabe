"""Formats of outputs: how samples are packed, and files that are complete or not there."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from imagine_deblur.errors import OptionsError
from imagine_deblur.options import Options

BLOCK = 512
"""Side of the blocks of a GeoTIFF, px; COG's default."""

DRIVERS = {"COG": (".tif", ".tiff"), "GTiff": (".tif", ".tiff"), "PNG": (".png",)}
"""Formats that are written, and how their files' names end."""

_OF_JPEG = ("quality", "max_bytes", "subsampling", "progressive", "salvage")
"""Options that say how a JPEG is coded or read."""

_COMPRESSION = {"compress": "ZSTD", "predictor": "YES", "bigtiff": "IF_SAFER"}


def creation_options(driver: str, dtype: str, bits: int | None, threads: int) -> dict[str, Any]:
    """Return the options of GDAL's driver for an output.

    Lossless: Zstandard behind a predictor, which is that for whole numbers or for floats. Overviews
    are averages, which leave invalid pixels out.
    """
    if driver == "PNG":
        return {"write_metadata_as_text": "YES"}
    # Predictors work on samples of whole bytes.
    fewer = {} if bits is None else {"nbits": bits, "predictor": "NO"}
    if driver == "GTiff":
        return {
            **_COMPRESSION,
            **fewer,
            "predictor": 1 if bits is not None else 3 if np.dtype(dtype).kind == "f" else 2,
            "tiled": True,
            "blockxsize": BLOCK,
            "blockysize": BLOCK,
            "num_threads": threads,
        }
    return {
        **_COMPRESSION,
        **fewer,
        "blocksize": BLOCK,
        "resampling": "AVERAGE",
        "overviews": "IGNORE_EXISTING",
        "num_threads": threads,
    }


def check_options(options: Options) -> None:
    """Refuse options that mean nothing for a raster, before any work.

    Raises
    ------
    OptionsError
        A deadline, or an option of JPEG's coder.
    """
    changed = options.changed()
    if "deadline" in changed:
        raise OptionsError("deadline", options.deadline, "None; rasters are restored in windows")
    for name in _OF_JPEG:
        if name in changed:
            raise OptionsError(
                name,
                changed[name],
                "its default for rasters, which are packed without loss; restore JPEGs apart, and "
                "for a smaller file convert the output, for example by gdal_translate -of COG -co "
                "COMPRESS=JPEG -co QUALITY=90",
            )


def check_driver(driver: str, target: Path, dtype: str, count: int) -> None:
    """Refuse a format that cannot hold the samples, before any work.

    Raises
    ------
    OptionsError
        Not a format of `DRIVERS`, a name that ends otherwise, or samples that PNG cannot hold.
    """
    if driver not in DRIVERS:
        raise OptionsError("driver", driver, ", ".join(DRIVERS))
    if target.suffix.lower() not in DRIVERS[driver]:
        raise OptionsError(
            "dst",
            os.fspath(target),
            f"a name that ends in {' or '.join(DRIVERS[driver])} for driver={driver!r}",
        )
    if driver == "PNG" and (dtype not in ("uint8", "uint16") or count > 4):
        raise OptionsError(
            "driver",
            driver,
            f"COG or GTiff for {count} bands of {dtype}: PNG holds up to 4 of uint8 or uint16",
        )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn GDAL's errors while an output is written into an `OSError` that names it."""
    import rasterio.errors

    try:
        yield
    except (rasterio.errors.RasterioError, rasterio.errors.RasterioIOError) as error:
        full = shutil.disk_usage(path.parent).free < (1 << 20)
        code = errno.ENOSPC if full else errno.EIO
        raise OSError(code, f"{os.strerror(code)}: {error}", os.fspath(path)) from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
