"""How a TIFF's samples mean light, where that is not the larger the brighter.

GDAL hands out the samples of a file whose lowest value is white as they are. Of CIELAB and CMYK
with 8 bits it hands out a conversion to RGB for screens, clipped at black. Of CIELAB with 16 bits
it hands out a* and b* without their sign, which makes greys jump between 0 and 65535.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

_TAG = 262  # PhotometricInterpretation, one SHORT: TIFF 6.0, section 4
_BIGTIFF = 43
_CIELAB = 8
_CONVERTED = ("CIELAB", "CMYK")


def min_is_white(file: Any) -> bool:
    """Whether the lowest value of an open raster is white."""
    return bool(file.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES")


def unusable_colours(file: Any) -> str:
    """Return the name of an open raster's colours where its samples are no amounts of light.

    Returns
    -------
    str
        ``"CIELAB"``, ``"CMYK"``, or nothing where the samples can be restored.
    """
    told = str(file.tags(ns="IMAGE_STRUCTURE").get("SOURCE_COLOR_SPACE", ""))
    if told in _CONVERTED:
        return told
    return "CIELAB" if file.driver == "GTiff" and _tagged(file) == _CIELAB else ""


def mark_min_is_white(rasterio: Any, path: Path) -> None:
    """Say of a finished GeoTIFF and of its overviews that the lowest value is white.

    GDAL's driver for COGs cannot be told, and makes palettes of such files. One value of two bytes
    changes in place in each directory, and nothing moves.
    """
    with rasterio.open(path) as file:
        levels = [None, *range(len(file.overviews(1)))]
        offsets = [int(file.get_tag_item("IFD_OFFSET", "TIFF", 1, level)) for level in levels]
    with open(path, "r+b") as raw:
        for offset in offsets:
            found = _find(raw, offset)
            assert found is not None, "GDAL always writes the tag"
            raw.seek(found[0])
            raw.write(bytes(2))  # 0, WhiteIsZero, in either byte order


def _tagged(file: Any) -> int | None:
    """The file's own tag, which GDAL does not tell; None where the file is not on this machine."""
    offset = file.get_tag_item("IFD_OFFSET", "TIFF", 1)
    if offset is None or not os.path.isfile(file.name):
        return None
    with open(file.name, "rb") as raw:
        found = _find(raw, int(offset))
    return None if found is None else found[1]


def _find(raw: BinaryIO, offset: int) -> tuple[int, int] | None:
    """Where the tag's value lies in a TIFF and what it is, of the directory at an offset."""
    raw.seek(0)
    order = "<" if raw.read(2) == b"II" else ">"
    big = struct.unpack(order + "H", raw.read(2))[0] == _BIGTIFF
    size, value = (20, 12) if big else (12, 8)  # bytes of an entry, and before its value
    raw.seek(offset)
    (count,) = struct.unpack(order + ("Q" if big else "H"), raw.read(8 if big else 2))
    for _ in range(count):
        entry = raw.read(size)
        if struct.unpack_from(order + "H", entry)[0] == _TAG:
            place = raw.tell() - size + value
            return place, int(struct.unpack_from(order + "H", entry, value)[0])
    return None
