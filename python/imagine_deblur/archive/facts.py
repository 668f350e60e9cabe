"""When, where and by what an image was taken, as far as its file or its STAC item says."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from imagine_deblur.archive.footprint import box_of, outline
from imagine_deblur.support.extras import require

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_TIMES = ("EXIF_DateTimeOriginal", "EXIF_DateTimeDigitized", "EXIF_DateTime", "TIFFTAG_DATETIME")
_INSTRUMENT = (("EXIF_Make", "EXIF_Model", "EXIF_BodySerialNumber"), ("TIFFTAG_MAKE",))


@dataclass(frozen=True)
class Facts:
    """What is known of an image.

    Attributes
    ----------
    time : datetime or None
        Of the exposure, UTC. Cameras that name no zone are taken to keep UTC.
    instrument : str
        Maker, model and serial number, empty where none is named.
    geometry : dict or None
        Its outline, or the camera's place, as GeoJSON in WGS 84.
    bbox : tuple of float or None
        West, south, east, north, degrees; west is the larger one where the image crosses the
        antimeridian (RFC 7946).
    projection : dict
        Fields of STAC's extension ``proj``.
    bands : tuple of dict
        One a band: ``name``, ``data_type``, ``nodata``, ``raster:scale``, ``raster:offset``.
    rows, columns : int
    gsd_m : float or None
        Metres per px of a projected image.
    """

    time: datetime | None = None
    instrument: str = ""
    geometry: dict[str, Any] | None = None
    bbox: tuple[float, ...] | None = None
    projection: dict[str, Any] = field(default_factory=dict)
    bands: tuple[dict[str, Any], ...] = ()
    rows: int = 0
    columns: int = 0
    gsd_m: float | None = None


def read_facts(path: str, stac: Mapping[str, Any] | None = None) -> Facts:
    """Return what a file says of itself; a STAC item's word comes before the file's.

    Parameters
    ----------
    path : str
        A local file, or a name that GDAL reads.
    stac : mapping, optional
        The STAC item that the file belongs to.

    Raises
    ------
    MissingExtraError
        rasterio is not installed.
    """
    rasterio = require("rasterio", extra="archive", purpose="reading what a file says of itself")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as image:
            tags = image.tags()
            geometry, bbox = outline(image)
            found = Facts(
                time=_time_of(tags),
                instrument=_instrument_of(tags),
                geometry=geometry or _gps(tags),
                bbox=bbox,
                projection=_projection(image),
                bands=tuple(_band(image, number) for number in image.indexes),
                rows=image.height,
                columns=image.width,
                gsd_m=_gsd(image),
            )
    return _with_stac(found, stac or {})


def stac_time(properties: Mapping[str, Any]) -> datetime | None:
    """Return the time of a STAC item: its datetime, else the middle of its interval."""
    named = properties.get("datetime")
    if isinstance(named, str):
        return _parsed(named)
    ends = [properties.get("start_datetime"), properties.get("end_datetime")]
    begin, end = (_parsed(value) if isinstance(value, str) else None for value in ends)
    return begin + (end - begin) / 2 if begin is not None and end is not None else begin or end


def _with_stac(found: Facts, stac: Mapping[str, Any]) -> Facts:
    properties = stac.get("properties") or {}
    instrument = " ".join(
        str(part)
        for part in (properties.get("platform"), *(properties.get("instruments") or ()))
        if part
    )
    geometry = stac.get("geometry") or found.geometry
    bbox = tuple(stac["bbox"]) if stac.get("bbox") else found.bbox
    if bbox is None and geometry is not None:
        bbox = box_of(geometry)
    gsd = properties.get("gsd")
    return Facts(
        time=stac_time(properties) or found.time,
        instrument=instrument or found.instrument,
        geometry=geometry,
        bbox=bbox,
        projection=found.projection,
        bands=found.bands,
        rows=found.rows,
        columns=found.columns,
        gsd_m=float(gsd) if isinstance(gsd, int | float) else found.gsd_m,
    )


def _time_of(tags: Mapping[str, str]) -> datetime | None:
    for name in _TIMES:
        value = tags.get(name, "").strip()
        offset = tags.get(name.replace("DateTime", "OffsetTime"), "").strip()
        try:
            found = datetime.strptime(value[:19], "%Y:%m:%d %H:%M:%S")
        except ValueError:
            continue
        zone = _parsed(f"2000-01-01T00:00:00{offset}") if offset else None
        return found.replace(tzinfo=zone.tzinfo if zone else UTC).astimezone(UTC)
    return None


def _parsed(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)


def _instrument_of(tags: Mapping[str, str]) -> str:
    for names in _INSTRUMENT:
        parts = [tags[name].strip() for name in names if tags.get(name, "").strip()]
        if parts:
            return " ".join(parts)
    return ""


def _gps(tags: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the camera's place by its EXIF tags as a GeoJSON point."""
    place = []
    for name, negative in (("Longitude", "W"), ("Latitude", "S")):
        numbers = [float(n) for n in _NUMBER.findall(tags.get(f"EXIF_GPS{name}", ""))]
        if len(numbers) != 3:
            return None
        degrees = numbers[0] + numbers[1] / 60 + numbers[2] / 3600
        sign = -1.0 if tags.get(f"EXIF_GPS{name}Ref") == negative else 1.0
        place.append(round(sign * degrees, 7))
    return {"type": "Point", "coordinates": place}


def _projection(image: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"proj:shape": [image.height, image.width]}
    if image.crs is None:
        return found
    code = image.crs.to_epsg()
    found["proj:code"] = None if code is None else f"EPSG:{code}"
    if code is None:
        found["proj:wkt2"] = image.crs.to_wkt()
    found["proj:transform"] = list(image.transform)[:6]
    found["proj:bbox"] = list(image.bounds)
    return found


def _band(image: Any, number: int) -> dict[str, Any]:
    index = number - 1
    found: dict[str, Any] = {
        "name": image.descriptions[index] or _colour(image, index) or f"band {number}",
        "data_type": str(image.dtypes[index]),
    }
    nodata = image.nodatavals[index]
    if nodata is not None:
        found["nodata"] = "nan" if nodata != nodata else nodata
    if (image.scales[index], image.offsets[index]) != (1.0, 0.0):
        found |= {"raster:scale": image.scales[index], "raster:offset": image.offsets[index]}
    return found


def _colour(image: Any, index: int) -> str:
    """Return what a band shows, empty where the file does not say."""
    colour = str(image.colorinterp[index].name)
    return "" if colour in {"undefined", "palette"} else colour


def _gsd(image: Any) -> float | None:
    if image.crs is None or not image.crs.is_projected:
        return None
    metres = image.crs.linear_units_factor[1]
    across, along = image.res
    return float((across * along) ** 0.5 * metres)
