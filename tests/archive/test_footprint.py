"""Footprints by transform, GCPs and RPCs, across 180 degrees and where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagine_deblur.archive.footprint import outline
from rasterkit import write

rasterio = pytest.importorskip("rasterio")
from rasterio.rpc import RPC  # noqa: E402
from rasterio.transform import from_origin  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

ROWS, COLUMNS = 200, 232


def found(path: Path) -> Any:
    with rasterio.open(path) as image:
        return outline(image)


def linear_rpc(*, lift: float = 0.0) -> RPC:
    """A camera that sees degrees as lines and samples; `lift` moves samples with the height.

    By the definition of RPC00B: a fraction of two polynomials of latitude, longitude and height,
    each normalised by its offset and scale; term 1 is constant, 2 the longitude, 3 the latitude,
    4 the height.
    """
    one = [1.0, *[0.0] * 19]
    return RPC(
        height_off=300, height_scale=500, lat_off=52, lat_scale=0.1, long_off=4, long_scale=0.2,
        line_off=99.5, line_scale=100, line_num_coeff=[0, 0, -1.0, *[0.0] * 17],
        line_den_coeff=one, samp_off=115.5, samp_scale=116,
        samp_num_coeff=[0, 1.0, 0, lift, *[0.0] * 16], samp_den_coeff=one,
        err_bias=None, err_rand=None,
    )  # fmt: skip


@pytest.mark.parametrize("lift", [0.0, 0.3])
def test_rpcs_alone_give_a_place_at_their_own_height(tmp_path, lift):
    path = write(tmp_path / "a.tif", np.ones((1, ROWS, COLUMNS), np.uint16))
    with rasterio.open(path, "r+") as file:
        file.rpcs = linear_rpc(lift=lift)
    geometry, bbox = found(path)
    assert geometry["type"] == "Polygon"
    # RPCs count lines and samples from pixels' centres; the outline runs along their outer edges.
    assert bbox == pytest.approx((3.8, 51.9, 4.2, 52.1), abs=1e-5)


def test_gcps_alone_give_a_place(tmp_path):
    corners = [(0, 0, 4.0, 52.0), (0, COLUMNS, 4.1, 52.0), (ROWS, 0, 4.0, 51.9)]
    points = [rasterio.control.GroundControlPoint(*corner) for corner in corners]
    values = np.ones((1, ROWS, COLUMNS), np.uint16)
    _, bbox = found(write(tmp_path / "a.tif", values, gcps=points, crs="EPSG:4326"))
    assert bbox == pytest.approx((4.0, 51.9, 4.1, 52.0), abs=1e-6)


def test_an_image_across_180_degrees_is_cut_there(tmp_path):
    where = {"crs": "EPSG:32601", "transform": from_origin(286_300, 5_600_000, 10, 10)}
    geometry, bbox = found(
        write(tmp_path / "a.tif", np.ones((1, ROWS, COLUMNS), np.uint8), **where)
    )
    assert geometry["type"] == "MultiPolygon"
    longitudes = [[x for x, _ in polygon[0]] for polygon in geometry["coordinates"]]
    west, east = sorted(longitudes, key=min, reverse=True)
    assert max(west) == 180
    assert min(east) == -180
    assert min(west) > 179.9
    assert max(east) < -179.9
    assert all(polygon[0][0] == polygon[0][-1] for polygon in geometry["coordinates"])
    assert bbox[0] == min(west) > bbox[2] == max(east)  # RFC 7946, section 5.2


def test_without_georeferencing_there_is_no_place(tmp_path):
    values = np.ones((1, ROWS, COLUMNS), np.uint8)
    assert found(write(tmp_path / "a.tif", values)) == (None, None)
    rotated = rasterio.Affine(7, 7, 5e5, 7, -7, 5e6)
    path = write(tmp_path / "b.tif", values, crs="EPSG:32631", transform=rotated)
    geometry, bbox = found(path)
    assert len(geometry["coordinates"][0]) == 85
    assert bbox[0] < bbox[2]
