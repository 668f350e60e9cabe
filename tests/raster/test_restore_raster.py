"""Samples of any type come back restored, on their own scale, and nothing half-written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rasterkit
from imagine_deblur import PSF
from imagine_deblur.errors import (
    CancelledError,
    InputImageError,
    MemoryBudgetError,
    OptionsError,
    OutputExistsError,
)
from imagine_deblur.raster import restore_raster

rasterio = pytest.importorskip("rasterio", reason="pip install '.[raster]'")

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

ROWS, COLUMNS = 328, 360
RANGES = {"uint8": (0, 255), "uint16": (200, 9000), "int16": (-900, 8000), "float32": (-0.01, 0.45)}
ONE: dict[str, Any] = {"psf": "disk:3", "threads": 1}


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read()


def made(folder: Path, dtype: str, bands: int = 3, **profile: Any) -> tuple[Path, np.ndarray]:
    """A raster and the truth in its values."""
    low, high = RANGES[dtype]
    sharp = rasterkit.scene(ROWS, COLUMNS, bands)
    values = rasterkit.as_type(rasterkit.blurred(sharp), dtype, low=low, high=high)
    path = rasterkit.write(folder / "in.tif", values, **profile)
    return path, low + sharp * np.float32(high - low)


@pytest.mark.parametrize("dtype", list(RANGES))
@pytest.mark.parametrize("bands", [1, 3])
def test_every_type_is_restored_on_its_own_scale(tmp_path, dtype, bands):
    source, truth = made(tmp_path, dtype, bands, **({"photometric": "RGB"} if bands == 3 else {}))
    report = restore_raster(source, tmp_path / "out.tif", **ONE)
    before, after = read(source), read(tmp_path / "out.tif")
    assert after.dtype == dtype
    inner = (slice(None), slice(8, -8), slice(8, -8))
    errors = [np.sqrt(np.mean((v.astype(float) - truth)[inner] ** 2)) for v in (before, after)]
    assert errors[1] < 0.95 * errors[0]
    assert after.mean() == pytest.approx(before.mean(), rel=5e-3)
    assert report.groups[0].role == ("colour" if bands == 3 else "grey")
    assert report.restored


@pytest.mark.parametrize("model", ["auto", "fast"])
@pytest.mark.parametrize("dtype", list(RANGES))
def test_uniform_fields_keep_their_mean_within_a_thousandth(tmp_path, dtype, model):
    low, high = (1, 255) if dtype == "uint8" else (200, 9000)
    sharp = rasterkit.scene(ROWS, COLUMNS, 3)
    fields = {(40, 40): 0.3, (40, 220): 0.5, (200, 120): 0.8, (200, 240): 0.16}
    for (row, column), level in fields.items():
        sharp[:, row : row + 96, column : column + 96] = level
    values = rasterkit.as_type(rasterkit.blurred(sharp, noise=0.01), dtype, low=low, high=high)
    source = rasterkit.write(tmp_path / "in.tif", values, photometric="RGB")
    assert restore_raster(source, tmp_path / "out.tif", model=model, **ONE).restored
    after = read(tmp_path / "out.tif")
    for row, column in fields:
        inside = (slice(None), slice(row + 16, row + 80), slice(column + 16, column + 80))
        means = [v[inside].mean(axis=(1, 2), dtype=float) for v in (values, after)]
        assert means[1] == pytest.approx(means[0], rel=1e-3)


def test_bands_beyond_colour_are_restored_alone(tmp_path):
    source, _ = made(tmp_path, "uint16", 4, descriptions=("blue", "green", "red", "nir"))
    report = restore_raster(
        source, tmp_path / "out.tif", model="wiener", psf={"colour": "disk:3", "nir": "disk:2"}
    )
    assert [(g.bands, g.role) for g in report.groups] == [((3, 2, 1), "colour"), ((4,), "grey")]
    assert set(report.psf_records) == {"red", "green", "blue", "nir"}
    assert report.psf_records["nir"]["components"][0]["radius_px"] == 2
    assert report.psf_records["red"]["components"][0]["radius_px"] == 3


@pytest.mark.parametrize(
    ("bands", "groups"),
    [
        (None, [(1,), (2,), (3,), (4,)]),
        ([], [(1,), (2,), (3,), (4,)]),
        ((4, 3, 2), [(4, 3, 2), (1,)]),
        (("band 4", "band 3", "band 1"), [(4, 3, 1), (2,)]),
    ],
)
def test_which_bands_are_colour_can_be_said(tmp_path, bands, groups):
    source, _ = made(tmp_path, "uint16", 4)
    with rasterio.open(source, "r+") as file:
        file.colorinterp = (rasterio.enums.ColorInterp.undefined,) * 4
    report = restore_raster(source, tmp_path / "out.tif", bands=bands, model="wiener", **ONE)
    assert [group.bands for group in report.groups] == groups


def test_a_band_with_its_own_blur_is_no_part_of_a_picture(tmp_path):
    source, _ = made(tmp_path, "uint16", photometric="RGB")
    psf: dict[str | int, Any] = {2: "disk:2", "*": "disk:3"}
    report = restore_raster(source, tmp_path / "out.tif", psf=psf, model="wiener")
    assert [group.bands for group in report.groups] == [(1,), (2,), (3,)]
    radii = [group.psf["components"][0]["radius_px"] for group in report.groups if group.psf]
    assert radii == [3, 2, 3]


def test_the_blur_is_estimated_where_none_is_given(tmp_path):
    source, truth = made(tmp_path, "uint16", photometric="RGB")
    report = restore_raster(source, tmp_path / "out.tif", threads=1)
    assert report.groups[0].psf_source == "estimated"
    assert report.groups[0].psf_confidence is not None
    before, after = read(source), read(tmp_path / "out.tif")
    assert np.square(after - truth).mean() < np.square(before - truth).mean()


def test_flat_scenes_are_passed_through_bit_for_bit(tmp_path):
    values = np.full((2, 300, 300), 1234, np.uint16)
    source = rasterkit.write(tmp_path / "in.tif", values)
    report = restore_raster(source, tmp_path / "out.tif")
    assert not report.restored
    assert "flat" in report.groups[0].reason
    assert (read(tmp_path / "out.tif") == values).all()


def test_values_beyond_the_stretch_keep_their_level(tmp_path):
    values = rasterkit.as_type(rasterkit.blurred(rasterkit.scene(ROWS, COLUMNS, 1)), "uint16")
    values = (200 + values * 10).astype(np.uint16)
    values[0, 100:108, 100:108] = 60000  # 64 px: fewer than the percentile leaves out
    source = rasterkit.write(tmp_path / "in.tif", values)
    restore_raster(source, tmp_path / "out.tif", model="wiener", **ONE)
    bright = read(tmp_path / "out.tif")[0, 100:108, 100:108]
    assert bright.min() > 55000


def test_a_collar_of_zeros_stays_and_does_not_bleed(tmp_path):
    sharp = rasterkit.scene(ROWS, COLUMNS, 3)
    values = rasterkit.as_type(rasterkit.blurred(sharp), "uint16", low=400, high=3000)
    whole = rasterkit.write(tmp_path / "whole.tif", values, photometric="RGB")
    restore_raster(whole, tmp_path / "whole.out.tif", nsr=0.01, model="wiener", **ONE)
    row, column = np.indices((ROWS, COLUMNS))
    outside = column * 0.3 + row < 90
    cut = np.where(outside, 0, values).astype(np.uint16)
    source = rasterkit.write(tmp_path / "in.tif", cut, photometric="RGB")
    report = restore_raster(source, tmp_path / "out.tif", nsr=0.01, model="wiener", **ONE)
    after = read(tmp_path / "out.tif")
    assert not after[:, outside].any()
    assert after[:, ~outside].all()
    assert report.invalid_pixels == np.count_nonzero(outside)
    truth = 400 + sharp * 2600
    near = ~outside & (column * 0.3 + row < 110)
    error, without = (
        np.sqrt(np.mean((v[:, near].astype(float) - truth[:, near]) ** 2)) for v in (after, cut)
    )
    assert error < without
    far = column * 0.3 + row > 200
    apart = np.abs(after[:, far].astype(int) - read(tmp_path / "whole.out.tif")[:, far])
    assert np.quantile(apart, 0.99) <= 2600 / 255


def test_no_restored_pixel_becomes_nodata(tmp_path):
    sharp = (rasterkit.scene(ROWS, COLUMNS, 1) > 0.5).astype(np.float32)
    values = rasterkit.as_type(rasterkit.blurred(sharp, noise=0), "uint16", low=1, high=900)
    values[:, :32] = 0
    source = rasterkit.write(tmp_path / "in.tif", values, nodata=0)
    restore_raster(source, tmp_path / "out.tif", model="wiener", reblur_check=False, **ONE)
    after = read(tmp_path / "out.tif")
    assert after[:, 32:].min() == 1
    assert not after[:, :32].any()


def test_png_in_and_out(tmp_path):
    values = rasterkit.as_type(rasterkit.blurred(rasterkit.scene(200, 232)), "uint8")
    source = rasterkit.write(tmp_path / "in.png", values, driver="PNG")
    report = restore_raster(source, tmp_path / "out.png", driver="PNG", model="wiener", **ONE)
    assert report.driver == "PNG"
    assert not np.array_equal(read(tmp_path / "out.png"), values)
    assert sorted(os.listdir(tmp_path)) == ["in.png", "out.png"]


def test_jpeg_2000_in(tmp_path):
    values = rasterkit.as_type(rasterkit.blurred(rasterkit.scene(200, 232)), "uint16", high=4000)
    source = rasterkit.write(
        tmp_path / "in.jp2",
        values,
        driver="JP2OpenJPEG",
        QUALITY=100,
        REVERSIBLE="YES",
        crs="EPSG:32631",
        transform=rasterio.transform.from_origin(5e5, 5e6, 10, 10),
    )
    restore_raster(source, tmp_path / "out.tif", model="wiener", bands=(1, 2, 3), **ONE)
    with rasterio.open(source) as before, rasterio.open(tmp_path / "out.tif") as after:
        assert after.crs == before.crs
        assert after.transform == before.transform


def test_the_report_is_plain_json(tmp_path):
    source, _ = made(tmp_path, "uint16", photometric="RGB")
    report = restore_raster(source, tmp_path / "out.tif", **ONE)
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["source"] == str(source)
    assert plain["psf"]["components"][0]["radius_px"] == 3
    assert plain["blocks"]["rows"] == -(-ROWS // 32)
    assert plain["output_bytes"] == (tmp_path / "out.tif").stat().st_size
    assert len(plain["sha256"]) == 64


def test_an_output_is_complete_or_not_there(tmp_path):
    source, _ = made(tmp_path, "uint8", photometric="RGB")
    bytes_before = source.read_bytes()

    def stop(fraction: float) -> None:
        if fraction > 0.5:
            raise CancelledError("enough")

    with pytest.raises(CancelledError):
        restore_raster(source, tmp_path / "out.tif", model="wiener", progress=stop, **ONE)
    assert os.listdir(tmp_path) == ["in.tif"]
    restore_raster(source, tmp_path / "out.tif", model="wiener", **ONE)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        restore_raster(source, tmp_path / "out.tif", model="wiener", **ONE)
    with pytest.raises(OptionsError, match="other than the source"):
        restore_raster(source, source, overwrite=True, **ONE)
    assert source.read_bytes() == bytes_before


def test_what_users_get_wrong_first_is_named(tmp_path):
    source, _ = made(tmp_path, "uint16", photometric="RGB")
    out = tmp_path / "out.tif"
    with pytest.raises(FileNotFoundError, match=r"missing\.tif"):
        restore_raster(tmp_path / "missing.tif", out)
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(InputImageError, match=r"text\.tif: not a raster"):
        restore_raster(tmp_path / "text.tif", out)
    with pytest.raises(OptionsError, match="three different bands"):
        restore_raster(source, out, bands=(1, 2))
    with pytest.raises(OptionsError, match="1 to 3"):
        restore_raster(source, out, bands=(1, 2, 7))
    with pytest.raises(OptionsError, match="nir"):
        restore_raster(source, out, psf={"nir": "disk:3"})
    with pytest.raises(OptionsError, match="COG, GTiff, PNG"):
        restore_raster(source, out, driver="JPEG")
    with pytest.raises(OptionsError, match=r"ends in \.tif"):
        restore_raster(source, tmp_path / "out.jpg")
    five = rasterkit.write(tmp_path / "five.tif", np.ones((5, 64, 64), np.uint16))
    with pytest.raises(OptionsError, match="up to 4"):
        restore_raster(five, tmp_path / "out.png", driver="PNG")
    with pytest.raises(FileNotFoundError):
        restore_raster(source, tmp_path / "nowhere" / "out.tif", **ONE)
    with pytest.raises(MemoryBudgetError, match="--max-ram"):
        restore_raster(source, out, max_ram="200MB", **ONE)
    complex_numbers = rasterkit.write(tmp_path / "slc.tif", np.ones((1, 64, 64), np.complex64))
    with pytest.raises(InputImageError, match="complex64; a blur of the amplitude"):
        restore_raster(complex_numbers, out)
    assert not out.exists()


def test_a_palette_is_refused(tmp_path):
    source = rasterkit.write(tmp_path / "in.tif", np.ones((1, 64, 64), np.uint8))
    with rasterio.open(source, "r+") as file:
        file.write_colormap(1, {0: (0, 0, 0, 255), 1: (9, 9, 9, 255)})
    with pytest.raises(InputImageError, match="-expand rgb"):
        restore_raster(source, tmp_path / "out.tif")


@pytest.mark.parametrize(("dtype", "memory"), [("uint8", "374MB"), ("uint16", "378MB")])
def test_windows_are_the_whole_within_a_step(tmp_path, dtype, memory):
    low, high = RANGES[dtype]
    soft = rasterkit.blurred(rasterkit.scene(1500, 900, 1), PSF.defocus(1.5), noise=0.02)
    source = rasterkit.write(
        tmp_path / "in.tif", rasterkit.as_type(soft, dtype, low=low, high=high)
    )
    settings: dict[str, Any] = {"psf": "disk:1.5", "nsr": 0.1}
    whole = restore_raster(source, tmp_path / "whole.tif", **settings)
    cut = restore_raster(source, tmp_path / "cut.tif", max_ram=memory, **settings)
    assert whole.windows == 1
    assert cut.windows > 1
    step = 1 if dtype == "uint8" else whole.groups[0].gain / 255
    apart = np.abs(read(tmp_path / "whole.tif").astype(float) - read(tmp_path / "cut.tif"))
    assert apart.max() <= step
    assert np.array_equal(whole.block_map, cut.block_map)
