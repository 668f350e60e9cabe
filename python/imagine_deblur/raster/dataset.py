"""Raster files through rasterio: windows in, windows out, and everything that is not samples."""

from __future__ import annotations

import errno
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.errors import InputImageError
from imagine_deblur.raster.photometric import min_is_white, unusable_colours
from imagine_deblur.raster.validity import Mask, collar, finite
from imagine_deblur.support.extras import require
from imagine_deblur.support.files import check_source

TYPES = ("uint8", "uint16", "int16", "float32", "float64")
"""Sample types that are restored."""

PROVENANCE = "IMAGINE_DEBLUR_"
"""How the tags begin that tell how an output was made."""

# Tags that other calls carry over, that describe the file and not the scene, or that would be
# wrong of the restored samples.
_NOT_COPIED = {"IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "RPC", "TIFF"}
_XMP = "xml:XMP"
_PLACE = "xml:gml.root-instance"  # of a JPEG 2000; GDAL reads it as CRS and transform
_STALE = ("STATISTICS_", PROVENANCE)
_CACHE_BYTES = 64 << 20  # of GDAL's blocks; its own default is a twentieth of the machine's memory


@contextmanager
def gdal(path: str) -> Iterator[Any]:
    """Yield rasterio within an environment of bounded memory.

    Parameters
    ----------
    path : str
        Of the file, for messages.

    Raises
    ------
    MissingExtraError
        rasterio is not installed.
    """
    rasterio = require("rasterio", extra="raster", purpose=f"{path}: a raster")
    require("rasterio.shutil", extra="raster", purpose="a raster")
    with (
        rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES, GDAL_TIFF_INTERNAL_MASK=True),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield rasterio


@contextmanager
def opened(rasterio: Any, path: str) -> Iterator[Any]:
    """Open a raster that can be restored.

    Raises
    ------
    InputImageError
        No raster that GDAL reads, or one whose samples are no measurements: complex numbers, a
        palette, CIELAB or CMYK, another type than `TYPES`, bands of several types, no bands.
    FileNotFoundError
        There is no such file.
    """
    if os.path.exists(path):
        check_source(path)
    try:
        file = rasterio.open(path)
    except rasterio.errors.RasterioIOError as error:
        if not path.startswith("/vsi") and "://" not in path:
            with open(path, "rb"):  # a missing or forbidden file is named as the system names it
                pass
        raise InputImageError(f"{path}: not a raster that GDAL reads: {error}", path=path) from None
    with file:
        if reason := _unusable(rasterio, file):
            raise InputImageError(f"{path}: {reason}", path=path)
        yield file


def _unusable(rasterio: Any, file: Any) -> str:
    """Why a raster cannot be restored; empty where it can."""
    if file.count == 0:
        return "a container without bands of its own; name one of: " + ", ".join(file.subdatasets)
    kinds = sorted(set(file.dtypes))
    if len(kinds) > 1:
        return f"bands of several types ({', '.join(kinds)}); write them into one file a type"
    if kinds[0] not in TYPES:
        return wrong_type(kinds[0], lambda name: f"gdal_translate -ot {name.capitalize()}")
    if bits_of(file) == 1:
        return "samples are of 1 bit, yes or no, which cannot be filtered"
    if rasterio.enums.ColorInterp.palette in file.colorinterp and not min_is_white(file):
        return (
            "samples are numbers of palette colours, which cannot be filtered; expand them with "
            "gdal_translate -expand rgb"
        )
    if colours := unusable_colours(file):
        return (
            f"samples are {colours}, which GDAL only shows by a rough conversion; convert the file "
            "to RGB with a program that manages colours, or take GDAL's conversion with "
            "gdal_translate -b 1 -b 2 -b 3"
        )
    return ""


def wrong_type(dtype: str, convert: Callable[[str], str]) -> str:
    """Say that samples of a type are not restored, and what turns them into ones that are.

    Parameters
    ----------
    dtype : str
        Not one of `TYPES`.
    convert : callable
        Returns how samples are converted to a type that holds all values of the old one.
    """
    if dtype.startswith("complex"):
        return f"samples are {dtype}; a blur of the amplitude can be undone: write that first"
    whole = "int" in dtype
    better = "int16" if dtype == "int8" else "float64" if whole else "float32"
    return (
        f"samples are {dtype}; convert them to one of {', '.join(TYPES)}, for example with "
        f"{convert(better)}"
    )


class DatasetReader:
    """The samples of an open raster, see `scene.Reader`.

    Parameters
    ----------
    rasterio : module
    file : rasterio.DatasetReader
    """

    def __init__(self, rasterio: Any, file: Any) -> None:
        self._window, self._failed = rasterio.windows.Window, rasterio.errors.RasterioIOError
        self._file = file
        self.shape: tuple[int, int] = (int(file.height), int(file.width))
        self.bits = bits_of(file)
        self.min_is_white = min_is_white(file)
        every = rasterio.enums.MaskFlags.all_valid
        self.declared = any(every not in flags for flags in file.mask_flag_enums)

    def read(
        self, bands: Sequence[int], top: int, left: int, rows: int, columns: int
    ) -> tuple[NDArray[Any], Mask]:
        """See `scene.Reader.read`."""
        window = self._window(left, top, columns, rows)
        numbers = [band + 1 for band in bands]
        try:
            values = self._file.read(numbers, window=window)
            masks = self._file.read_masks(numbers, window=window) if self.declared else None
        except self._failed as error:
            reason = str(error.__cause__ or error).removeprefix(f"{self._file.name}, ").rstrip(".")
            words = f"samples cannot be read: {reason}; the file is cut or damaged, fetch it again"
            raise OSError(errno.EIO, words, self._file.name) from error
        valid = finite(values)
        if masks is not None:
            valid &= (masks != 0).all(axis=0)
        else:
            valid &= ~collar(values)
        return np.asarray(values), valid


def bits_of(file: Any) -> int | None:
    """Return how many bits the file says its samples use, None where it does not say."""
    text = file.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", "")
    return (
        int(text)
        if text.isdecimal() and int(text) < 8 * np.dtype(file.dtypes[0]).itemsize
        else None
    )


def has_own_mask(rasterio: Any, file: Any) -> bool:
    """Whether the file carries a mask beside its bands, neither alpha nor a value."""
    flags = rasterio.enums.MaskFlags
    own = file.mask_flag_enums[0]
    return flags.per_dataset in own and flags.alpha not in own


def own_nodata(file: Any) -> bool:
    """Whether bands have "no data" values of their own, of which a GeoTIFF holds one for all."""
    return len({str(value) for value in file.nodatavals}) > 1


def profile_of(file: Any, **changes: Any) -> dict[str, Any]:
    """Return how to create a file with the samples and the place of another."""
    profile: dict[str, Any] = {
        "width": file.width,
        "height": file.height,
        "count": file.count,
        "dtype": file.dtypes[0],
        "crs": file.crs,
        "nodata": None if own_nodata(file) else file.nodata,
    }
    if not file.transform.is_identity:
        profile["transform"] = file.transform
    if (bits := bits_of(file)) is not None:
        profile["nbits"] = bits
    return profile | changes


def write_provenance(target: Any, provenance: Mapping[str, str]) -> None:
    """Tag a raster, open for writing, with how it was made; names get `PROVENANCE` in front."""
    target.update_tags(**{PROVENANCE + name: value for name, value in provenance.items()})


def copy_description(source: Any, target: Any) -> None:
    """Give a raster what another says beside its samples.

    CRS and geotransform are of the profile. Statistics are left out: they are those of the samples
    that were.

    Parameters
    ----------
    source, target : rasterio datasets
        The target is open for writing.
    """
    points, crs = source.gcps
    if points:
        target.gcps = (points, crs)
    if source.rpcs is not None:
        target.rpcs = source.rpcs
    if not min_is_white(source):  # GDAL calls such a band a palette
        target.colorinterp = source.colorinterp
    target.scales, target.offsets = source.scales, source.offsets
    for number in source.indexes:
        if source.descriptions[number - 1]:
            target.set_band_description(number, source.descriptions[number - 1])
        if source.units[number - 1]:
            target.set_band_unit(number, source.units[number - 1])
    if _XMP in source.tag_namespaces():
        # GDAL takes the whole text; rasterio writes a name, an equals sign and a value.
        name, _, rest = "".join(source.tags(ns=_XMP).values()).partition("=")
        target.update_tags(ns=_XMP, **{name: rest})
    for number in (0, *source.indexes):
        for space in (None, *source.tag_namespaces(number)):
            if space not in _NOT_COPIED and not (space or "").startswith("xml:"):
                tags = source.tags(number, **({} if space is None else {"ns": space}))
                kept = {k: v for k, v in tags.items() if not k.startswith(_STALE)}
                if kept:
                    target.update_tags(number, ns=space, **kept)


def namespaces(file: Any) -> tuple[bool, list[str]]:
    """Return whether bands have tags of their own, and which namespaces GDAL then leaves out.

    GDAL's drivers for GeoTIFF copy either plain tags of bands or other namespaces, not both.
    """
    plain = any(not key.startswith(_STALE) for number in file.indexes for key in file.tags(number))
    spaces = {s for number in (0, *file.indexes) for s in file.tag_namespaces(number)}
    special = {s for s in spaces if s.startswith("xml:")}
    return plain, sorted(spaces - _NOT_COPIED - special)


def left_out(file: Any, driver: str) -> list[str]:
    """Return the namespaces of tags that an output by a driver does not have."""
    plain, others = namespaces(file)
    xml = {space for space in file.tag_namespaces() if space.startswith("xml:")} - {_PLACE}
    if driver == "PNG":
        return sorted(xml | set(others) - {"COLOR_PROFILE"})
    return sorted(xml - {_XMP}) + (others if plain else [])


def nodata_of(file: Any) -> list[float | None]:
    """Return the value of every band that means "no data", None where there is none.

    A value outside the type's range is never met and is None here.
    """
    kind = np.dtype(file.dtypes[0])
    found: list[float | None] = []
    for value in file.nodatavals:
        fits = value is not None and (kind.kind == "f" or _fits(value, np.iinfo(kind)))
        found.append(float(value) if fits else None)
    return found


def _fits(value: float, limits: Any) -> bool:
    return math.isfinite(value) and limits.min <= value <= limits.max
