"""Calibration: the sharp reference, its files and its own MTF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from imagine_deblur.calibration import (
    read_reference,
    sentinel2,
)
from imagine_deblur.degradation.forward import blur
from imagine_deblur.errors import CalibrationError
from imagine_deblur.psf import PSF, Gaussian
from synthetic import natural

pytest.importorskip("cv2", reason="the extra [geo] is not installed")
rasterio = pytest.importorskip("rasterio", reason="the extra [geo] is not installed")
warp = pytest.importorskip("rasterio.warp", reason="the extra [geo] is not installed")


def write_raster(path: Path, image: NDArray[np.generic], **profile: object) -> None:
    options: dict[str, object] = {
        "driver": "GTiff",
        "height": image.shape[0],
        "width": image.shape[1],
        "count": image.shape[2],
        "dtype": image.dtype.name,
        "crs": "EPSG:32633",
        "transform": rasterio.Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_600_000.0),
        **profile,
    }
    with rasterio.open(path, "w", **options) as raster:
        raster.write(np.moveaxis(image, -1, 0))


def picture(rows: int = 120, columns: int = 90) -> NDArray[np.uint8]:
    return (natural(rows, columns, 5) * 250 + 1).astype(np.uint8)


def test_a_geotiff_is_reduced_by_its_own_sampling(tmp_path: Path) -> None:
    image = picture()
    image[:7, :5] = 0
    write_raster(tmp_path / "s2.tif", image)
    found = read_reference(tmp_path / "s2.tif")
    assert (found.gsd_m, found.factor, found.working_gsd_m) == (10.0, 2, 20.0)
    expected = image.reshape(60, 2, 45, 2, 3).mean(axis=(1, 3)) / 255.0
    np.testing.assert_allclose(found.image, expected, atol=1e-6)
    assert not found.valid[:4, :3].any()
    assert found.valid[4:].all()
    assert found.crs == "EPSG:32633"
    # The centre of working px (0, 0) is the corner between source px 0 and 1.
    np.testing.assert_allclose(found.to_source @ [0.0, 0.0, 1.0], [0.5, 0.5, 1.0])


def test_a_window_about_a_position(tmp_path: Path) -> None:
    image = picture(400, 400)
    write_raster(tmp_path / "s2.tif", image)
    easting, northing = 500_000.0 + 10.0 * 250, 4_600_000.0 - 10.0 * 150
    longitude, latitude = warp.transform("EPSG:32633", "EPSG:4326", [easting], [northing])
    found = read_reference(tmp_path / "s2.tif", centre=(latitude[0], longitude[0]), extent_km=1.0)
    assert found.image.shape == (50, 50, 3)
    top, left = found.origin
    assert abs(top - 100) <= 1
    assert abs(left - 200) <= 1
    part = image[top : top + 100, left : left + 100].reshape(50, 2, 50, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(found.image, part / 255.0, atol=1e-6)
    with pytest.raises(CalibrationError, match="outside"):
        read_reference(tmp_path / "s2.tif", centre=(10.0, 10.0), extent_km=1.0)


def test_what_is_no_reference_is_refused(tmp_path: Path) -> None:
    image = picture()
    write_raster(
        tmp_path / "degrees.tif",
        image,
        crs="EPSG:4326",
        transform=rasterio.Affine(1e-4, 0.0, 15.0, 0.0, -1e-4, 41.0),
    )
    with pytest.raises(CalibrationError, match="degrees"):
        read_reference(tmp_path / "degrees.tif")
    write_raster(tmp_path / "grey.tif", image[..., :1])
    with pytest.raises(CalibrationError, match="red, green and blue"):
        read_reference(tmp_path / "grey.tif")
    with pytest.raises(FileNotFoundError):
        read_reference(tmp_path / "absent.tif")
    with pytest.raises(CalibrationError, match="coarser"):
        read_reference(image, gsd_m=60.0)
    (tmp_path / "empty.SAFE").mkdir()
    with pytest.raises(CalibrationError, match="no true-colour image"):
        read_reference(tmp_path / "empty.SAFE")
    (tmp_path / "notes.txt").write_text("no raster")
    with pytest.raises(CalibrationError, match="not a raster"):
        read_reference(tmp_path / "notes.txt")


@pytest.mark.parametrize("level", ["1C", "2A"])
def test_a_safe_folder(tmp_path: Path, level: str) -> None:
    image = picture()
    folder = tmp_path / "S2A.SAFE" / "GRANULE" / "L1C_T33" / "IMG_DATA"
    name = "T33_20240212_TCI.jp2"
    if level == "2A":
        folder, name = folder / "R10m", "T33_20240212_TCI_10m.jp2"
    folder.mkdir(parents=True)
    write_raster(
        folder / name, image, driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES", YCBCR420="NO"
    )
    found = read_reference(tmp_path / "S2A.SAFE")
    expected = image.reshape(60, 2, 45, 2, 3).mean(axis=(1, 3)) / 255.0
    np.testing.assert_allclose(found.image, expected, atol=2 / 255)
    assert found.gsd_m == 10.0


def test_single_bands_of_a_safe_folder(tmp_path: Path) -> None:
    folder = tmp_path / "S2A.SAFE" / "GRANULE" / "L1C_T33" / "IMG_DATA"
    folder.mkdir(parents=True)
    image = picture().astype(np.uint16) * 12
    for band, name in enumerate(("B04", "B03", "B02")):
        write_raster(
            folder / f"T33_{name}.jp2",
            image[..., band : band + 1],
            driver="JP2OpenJPEG",
            QUALITY=100,
            REVERSIBLE="YES",
        )
    found = read_reference(tmp_path / "S2A.SAFE")
    expected = image.reshape(60, 2, 45, 2, 3).mean(axis=(1, 3)).astype(np.float64)
    scale = expected.mean() / found.image.mean()
    unclipped = (found.image < 1.0).all(axis=2)
    np.testing.assert_allclose(found.image[unclipped] * scale, expected[unclipped], rtol=0.02)


def test_the_reference_transfer_function_is_what_reading_does() -> None:
    """A wave through sensor blur and averaging keeps the share the formula says."""
    frequency = 0.11  # cycles per source px
    columns = np.arange(800)
    wave = np.tile(0.5 + 0.3 * np.cos(2 * np.pi * frequency * columns), (64, 1))
    sigma = float(np.sqrt(-2.0 * np.log(0.22)) / np.pi)
    seen = blur(wave.astype(np.float32), PSF((Gaussian(sigma),)))
    source = np.repeat(seen[..., None], 3, axis=2)
    found = read_reference(source, gsd_m=10.0, mtf_nyquist=0.22)
    row = found.image[16, 20:380, 0].astype(np.float64)
    position = 2 * np.arange(20, 380) + 0.5
    basis = np.exp(-2j * np.pi * frequency * position)
    design = np.column_stack([np.ones(360), basis.real, basis.imag])
    _, a, b = np.linalg.lstsq(design, row, rcond=None)[0]
    transfer = found.transfer(np.zeros(1), np.array([2 * frequency]))
    assert np.hypot(a, b) / 0.3 == pytest.approx(transfer[0], abs=2e-4)


def test_sentinel_2s_mtf_lies_in_its_requirement() -> None:
    low, high = sentinel2.MTF_NYQUIST_RANGE
    found = read_reference(picture())
    assert low < found.mtf_nyquist < high
    working = found.transfer(np.zeros(1), np.array([0.5]))  # a quarter cycle per source px
    assert working[0] == pytest.approx(found.mtf_nyquist**0.25 * np.cos(np.pi / 4), rel=1e-6)
