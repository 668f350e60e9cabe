"""Where on the ground an image lies: its outline in WGS 84, by transform, GCPs or RPCs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from imagine_deblur.support.extras import require

_WGS84 = "EPSG:4326"
_POINTS = 21  # on each side of a frame's outline, as GDAL's own bounds take
_DIGITS = 7  # of a degree: a centimetre

Place = tuple[float, float]
"""Longitude and latitude, degrees."""


def outline(image: Any) -> tuple[dict[str, Any] | None, tuple[float, ...] | None]:
    """Return the outline of an open raster as GeoJSON and its box, None where it has no place.

    RPCs alone place an image at their own height offset, the middle of the ground's heights. Where
    the ground lies higher or lower, the outline is off by that times the tangent of the view's
    angle to the vertical.

    Parameters
    ----------
    image : rasterio.DatasetReader
    """
    rows, columns = image.height, image.width
    corners = [(0, 0), (0, rows), (columns, rows), (columns, 0), (0, 0)]
    line = [
        (y0 + (y1 - y0) * step / _POINTS, x0 + (x1 - x0) * step / _POINTS)
        for (x0, y0), (x1, y1) in pairwise(corners)
        for step in range(_POINTS)
    ]
    places = _places(image, line)
    if places is None:
        return None, None
    parts = _at_antimeridian(places)
    rings = [[[round(value, _DIGITS) for value in place] for place in part] for part in parts]
    closed = [[[*ring, ring[0]]] for ring in rings]
    if len(closed) == 1:
        polygon = {"type": "Polygon", "coordinates": closed[0]}
        return polygon, box_of(polygon)
    several = {"type": "MultiPolygon", "coordinates": closed}
    (_, south, east, north), (west, south2, _, north2) = (
        box_of({"coordinates": ring}) for ring in sorted(closed)
    )
    return several, (west, min(south, south2), east, max(north, north2))


def box_of(geometry: Mapping[str, Any]) -> tuple[float, ...]:
    """Return west, south, east, north of a GeoJSON geometry, degrees."""
    points: list[Place] = []

    def collect(values: Any) -> None:
        if values and isinstance(values[0], int | float):
            points.append((float(values[0]), float(values[1])))
            return
        for value in values:
            collect(value)

    collect(geometry["coordinates"])
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _places(image: Any, line: list[tuple[float, float]]) -> list[Place] | None:
    """Places of (row, column) points, by the best that the image has."""
    affine = require("rasterio.transform", extra="archive", purpose="a footprint")
    rows, columns = (list(axis) for axis in zip(*line, strict=True))
    transform, crs = image.transform, image.crs
    if crs is None and image.gcps[0]:
        points, crs = image.gcps
        transform = affine.from_gcps(points)
    if crs is not None and not transform.is_identity:
        across, along = affine.xy(transform, rows, columns, offset="ul")
        warp = require("rasterio.warp", extra="archive", purpose="a footprint")
        xs, ys = warp.transform(crs, _WGS84, list(across), list(along))
    elif image.rpcs is not None:
        heights = [image.rpcs.height_off] * len(line)
        with affine.RPCTransformer(image.rpcs) as rational:
            xs, ys = rational.xy(rows, columns, zs=heights, offset="ul")
    else:
        return None
    places = list(zip(map(float, xs), map(float, ys), strict=True))
    finite = all(abs(x) <= 540 and abs(y) <= 90 for x, y in places)
    return places if finite else None


def _at_antimeridian(places: list[Place]) -> list[list[Place]]:
    """Cut an outline at 180 degrees where it crosses them, as RFC 7946 wants it."""
    wrapped = [((x + 180) % 360 - 180 if abs(x) > 180 else x, y) for x, y in places]
    xs = [x for x, _ in wrapped]
    if max(xs) - min(xs) <= 180:
        return [wrapped]
    east = [(x + 360 if x < 0 else x, y) for x, y in wrapped]
    beyond = [(360 - x, y) for x, y in east]
    return [_west_of_180(east), [(-x, y) for x, y in _west_of_180(beyond)]]


def _west_of_180(places: list[Place]) -> list[Place]:
    """Part of a ring where longitudes are 180 or less (Sutherland and Hodgman, CACM 17, 1974)."""
    kept: list[Place] = []
    for (x0, y0), (x1, y1) in zip([places[-1], *places[:-1]], places, strict=True):
        if (x0 <= 180) != (x1 <= 180):
            kept.append((180.0, y0 + (y1 - y0) * (180 - x0) / (x1 - x0)))
        if x1 <= 180:
            kept.append((x1, y1))
    return kept
