"""Samples that are no light as they stand: the lowest value is white, or they are other colours."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rasterkit
from imagine_deblur.errors import InputImageError
from imagine_deblur.raster import restore_raster
from imagine_deblur.raster.photometric import mark_min_is_white

rasterio = pytest.importorskip("rasterio", reason="pip install '.[raster]'")
Image = pytest.importorskip("PIL.Image", reason="pip install '.[report]'")

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

ROWS, COLUMNS = 200, 232
TOP = {"uint8": 255, "uint16": 9000, "int16": 3000, "float32": 2.0}
LINEAR: dict[str, Any] = {"psf": "disk:3", "model": "wiener", "threads": 1}


def captured(dtype: str = "uint8", times: int = 1) -> np.ndarray:
    planes = rasterkit.blurred(rasterkit.scene(ROWS, COLUMNS, 1))
    return np.tile(rasterkit.as_type(planes, dtype, low=0, high=TOP[dtype]), (1, times, times))


def inverted(path: Path, values: np.ndarray, **profile: Any) -> Path:
    """A file of these values whose lowest is white, as other programs write it."""
    rasterkit.write(path, np.asarray(TOP[values.dtype.name], values.dtype) - values, **profile)
    mark_min_is_white(rasterio, path)
    return path


def says_so(path: Path, level: int | None = None) -> bool:
    with rasterio.open(path, **({} if level is None else {"overview_level": level})) as file:
        return file.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"


@pytest.mark.parametrize("dtype", list(TOP))
def test_a_picture_whose_lowest_value_is_white_is_restored_as_what_it_shows(tmp_path, dtype):
    values = captured(dtype)
    rasterkit.write(tmp_path / "black.tif", values)
    inverted(tmp_path / "white.tif", values)
    after = {}
    for name in ("black", "white"):
        target = tmp_path / f"{name}.out.tif"
        report = restore_raster(tmp_path / f"{name}.tif", target, **LINEAR)
        with rasterio.open(target) as file:
            after[name] = file.read().astype(np.float64)
    assert (report.warnings, report.groups[0].gain < 0) == ((), True)
    change = np.abs(after["black"] - values)
    assert change.mean() > 0.005 * TOP[dtype]
    apart = np.abs(TOP[dtype] - after["white"] - after["black"])
    step = 0 if dtype == "float32" else 1  # halves are rounded to even numbers
    assert apart.max() <= step + 1e-3 * TOP[dtype] / 255
    assert (apart > 0.5).mean() < 1e-3


@pytest.mark.parametrize("driver", ["COG", "GTiff"])
@pytest.mark.parametrize("dtype", list(TOP))
def test_the_output_says_so_too_in_all_its_overviews(tmp_path, dtype, driver):
    source = inverted(tmp_path / "in.tif", captured(dtype, 3))
    target = tmp_path / "out.tif"
    restore_raster(source, target, driver=driver, **LINEAR)
    assert says_so(target)
    with rasterio.open(target) as file:
        assert file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == ("COG" if driver == "COG" else None)
        whole = file.read(1).astype(np.float64)
    if driver == "COG":
        assert says_so(target, level=0)
        with rasterio.open(target, overview_level=0) as small:
            means = whole.reshape(ROWS * 3 // 2, 2, COLUMNS * 3 // 2, 2).mean(axis=(1, 3))
            np.testing.assert_allclose(
                small.read(1), means, atol=0.51 if dtype != "float32" else 1e-5
            )
    again = restore_raster(target, tmp_path / "again.tif", **LINEAR)
    assert again.groups[0].gain < 0


def test_masks_keep_their_meaning(tmp_path):
    values, mask = captured(), np.full((ROWS, COLUMNS), 255, np.uint8)
    mask[:40] = 0
    source = tmp_path / "in.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        rasterkit.write(source, values)
        with rasterio.open(source, "r+") as file:
            file.write_mask(mask)
    mark_min_is_white(rasterio, source)
    restore_raster(source, tmp_path / "out.tif", **LINEAR)
    assert says_so(tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as file:
        assert (file.dataset_mask() == mask).all()
        assert (file.read(1)[:40] == values[0, :40]).all()


def test_png_warns_that_it_cannot_say_so(tmp_path):
    source = inverted(tmp_path / "in.tif", captured())
    report = restore_raster(source, tmp_path / "out.png", driver="PNG", **LINEAR)
    assert "viewers show it inverted" in report.warnings[-1]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_report_shows_it_as_a_viewer_does(tmp_path, dtype):
    pytest.importorskip("jinja2", reason="pip install '.[report]'")
    from imagine_deblur.report_html import write_report

    values = captured(dtype)
    source = inverted(tmp_path / "in.tif", values)
    report = restore_raster(source, tmp_path / "out.tif", **LINEAR)
    (tmp_path / "run.json").write_text(json.dumps(report.to_dict()))
    write_report(tmp_path / "run.json", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "The lowest value is white: both pictures show" in page
    shown = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L"), np.float64)
        for text in re.findall(r"data:image/webp;base64,([A-Za-z0-9+/=]+)", page)
    ]
    assert len(shown) >= 2
    for picture in shown:
        assert np.corrcoef(picture.ravel(), values[0].ravel())[0, 1] > 0.9


@pytest.mark.parametrize(("mode", "name"), [("LAB", "CIELAB"), ("CMYK", "CMYK")])
def test_other_colours_are_refused_with_the_cure(tmp_path, mode, name):
    """GDAL converts them to RGB clipped at black, which moved the mean of dark fields by 12 %."""
    size = (ROWS, COLUMNS, len(mode))
    source = tmp_path / "in.tif"
    Image.fromarray(np.full(size, 90, np.uint8), mode=mode).save(source)
    with pytest.raises(InputImageError, match=f"samples are {name}.*gdal_translate"):
        restore_raster(source, tmp_path / "out.tif", **LINEAR)
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize("bigtiff", ["NO", "YES"])
@pytest.mark.parametrize("endianness", ["LITTLE", "BIG"])
def test_cielab_of_16_bits_is_refused_by_its_tag(tmp_path, bigtiff, endianness):
    """GDAL reads its signed a* and b* as if they had no sign, and does not say what they are."""
    source = tmp_path / "in.tif"
    values = np.tile(captured("uint16"), (3, 1, 1))
    rasterkit.write(source, values, photometric="CIELAB", BIGTIFF=bigtiff, ENDIANNESS=endianness)
    with pytest.raises(InputImageError, match="samples are CIELAB"):
        restore_raster(source, tmp_path / "out.tif", **LINEAR)
