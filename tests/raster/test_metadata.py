"""What a raster says beside its samples is what its restoration says."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rasterkit
from imagine_deblur.raster import restore_raster

rasterio = pytest.importorskip("rasterio", reason="pip install '.[raster]'")

from rasterio.control import GroundControlPoint  # noqa: E402
from rasterio.enums import ColorInterp, MaskFlags  # noqa: E402
from rasterio.rpc import RPC  # noqa: E402
from rasterio.transform import from_origin  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

ROWS, COLUMNS = 200, 232
PLACE: dict[str, Any] = {"crs": "EPSG:32631", "transform": from_origin(5e5, 5e6, 10, 10)}
LINEAR: dict[str, Any] = {"psf": "disk:3", "model": "wiener", "threads": 1}


def captured(bands: int = 3, dtype: str = "uint16", high: float = 3000) -> np.ndarray:
    planes = rasterkit.blurred(rasterkit.scene(ROWS, COLUMNS, bands))
    return rasterkit.as_type(planes, dtype, low=100 if dtype != "uint8" else 0, high=high)


def restored(source: Path, **changes: Any) -> Any:
    """The output of a raster, open."""
    target = source.with_name("out.tif")
    restore_raster(source, target, overwrite=True, **(LINEAR | changes))
    return rasterio.open(target)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return rasterkit.write(tmp_path / "in.tif", captured(), photometric="RGB", **PLACE)


def test_crs_and_transform(source):
    with rasterio.open(source) as before, restored(source) as after:
        assert after.crs == before.crs
        assert after.transform == before.transform
        assert after.shape == before.shape
        assert after.dtypes == before.dtypes


def test_no_georeferencing_is_fine_and_no_warning(tmp_path):
    source = rasterkit.write(tmp_path / "in.tif", captured(), photometric="RGB")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        restore_raster(source, tmp_path / "out.tif", **LINEAR)
    with rasterio.open(tmp_path / "out.tif") as after:
        assert after.crs is None
        assert after.transform.is_identity


def test_ground_control_points(tmp_path):
    points = [
        GroundControlPoint(0, 0, 4.0, 52.0, 10.0, id="1"),
        GroundControlPoint(0, 231, 4.1, 52.0, 12.0, id="2"),
        GroundControlPoint(199, 0, 4.0, 51.9, 14.0, id="3"),
        GroundControlPoint(199, 231, 4.1, 51.9, 16.0, id="4"),
    ]
    source = rasterkit.write(tmp_path / "in.tif", captured(), gcps=points, crs="EPSG:4326")
    with rasterio.open(source) as before, restored(source) as after:
        (found, crs), (wanted, wanted_crs) = after.gcps, before.gcps
        assert crs == wanted_crs == rasterio.CRS.from_epsg(4326)
        assert [(p.row, p.col, p.x, p.y, p.z) for p in found] == [
            (p.row, p.col, p.x, p.y, p.z) for p in wanted
        ]


def test_rational_polynomial_coefficients(tmp_path):
    ones = [1.0, *[0.001 * k for k in range(19)]]
    rpc = RPC(
        height_off=100,
        height_scale=500,
        lat_off=52,
        lat_scale=0.1,
        line_den_coeff=ones,
        line_num_coeff=ones[::-1],
        line_off=100,
        line_scale=100,
        long_off=4,
        long_scale=0.1,
        samp_den_coeff=ones,
        samp_num_coeff=ones[::-1],
        samp_off=116,
        samp_scale=116,
        err_bias=1.5,
        err_rand=0.5,
    )
    source = rasterkit.write(tmp_path / "in.tif", captured())
    with rasterio.open(source, "r+") as file:
        file.rpcs = rpc
    with rasterio.open(source) as before, restored(source) as after:
        assert before.rpcs is not None
        assert after.rpcs.to_gdal() == before.rpcs.to_gdal()


@pytest.mark.parametrize(("dtype", "nodata"), [("uint16", 0), ("int16", -9999), ("float32", -1e30)])
def test_nodata(tmp_path, dtype, nodata):
    values = captured(1, dtype)
    values[:, :40, :50] = nodata
    source = rasterkit.write(tmp_path / "in.tif", values, nodata=nodata)
    with restored(source) as after:
        assert after.nodata == pytest.approx(nodata)
        assert (after.read()[:, :40, :50] == values[:, :40, :50]).all()
        assert (after.read_masks(1) == np.where(values[0] == values[0, 0, 0], 0, 255)).all()


def test_nan_as_nodata(tmp_path):
    values = captured(1, "float32", 1.5)
    values[:, 50:90, 60:100] = np.nan
    source = rasterkit.write(tmp_path / "in.tif", values, nodata=np.nan)
    with restored(source) as after:
        assert np.isnan(after.nodata)
        assert (np.isnan(after.read()) == np.isnan(values)).all()


def test_internal_mask(tmp_path):
    values = captured()
    mask = np.full((ROWS, COLUMNS), 255, np.uint8)
    mask[:60, :70] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        source = rasterkit.write(tmp_path / "in.tif", values, photometric="RGB")
        with rasterio.open(source, "r+") as file:
            file.write_mask(mask)
    with restored(source) as after:
        assert (after.dataset_mask() == mask).all()
        assert MaskFlags.per_dataset in after.mask_flag_enums[0]
        assert (after.read()[:, mask == 0] == values[:, mask == 0]).all()
        assert not (tmp_path / "out.tif.msk").exists()


def test_alpha(tmp_path):
    values = captured(4, "uint8", 255)
    values[3] = 255
    values[3, :60, :70], values[3, 60:80] = 0, 128
    source = rasterkit.write(tmp_path / "in.tif", values, photometric="RGB", alpha="YES")
    with restored(source) as after:
        assert after.colorinterp[3] == ColorInterp.alpha
        assert (after.read(4) == values[3]).all()
        assert (after.read()[:, :60, :70] == values[:, :60, :70]).all()


def test_scales_offsets_descriptions_and_units(source):
    with rasterio.open(source, "r+") as file:
        file.scales, file.offsets = (1e-4, 2e-4, 3e-4), (-0.1, 0.0, 0.1)
        file.units = ("W/m2", "W/m2", "K")
        for number, name in enumerate(("B04", "B03", "B02"), start=1):
            file.set_band_description(number, name)
    with restored(source) as after:
        assert after.scales == (1e-4, 2e-4, 3e-4)
        assert after.offsets == (-0.1, 0.0, 0.1)
        assert after.units == ("W/m2", "W/m2", "K")
        assert after.descriptions == ("B04", "B03", "B02")


def test_colour_interpretation(tmp_path):
    kinds = (ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined)
    source = rasterkit.write(tmp_path / "in.tif", captured(4), **PLACE)
    with rasterio.open(source, "r+") as file:
        file.colorinterp = kinds
    with restored(source) as after:
        assert after.colorinterp == kinds


def test_tags_of_the_file_and_the_bands(source):
    with rasterio.open(source, "r+") as file:
        file.update_tags(TIFFTAG_DATETIME="2026:11:29 10:00:00", MISSION="IMAGIN-e", NOTE="<a & b>")
        file.update_tags(1, WAVELENGTH="665")
        file.update_tags(1, STATISTICS_MAXIMUM="3000", STATISTICS_MEAN="7")
    with restored(source) as after:
        tags = after.tags()
        assert tags["TIFFTAG_DATETIME"] == "2026:11:29 10:00:00"
        assert (tags["MISSION"], tags["NOTE"]) == ("IMAGIN-e", "<a & b>")
        assert after.tags(1)["WAVELENGTH"] == "665"
        assert "STATISTICS_MAXIMUM" not in after.tags(1)


def test_namespaces_of_others_are_kept_or_named(source):
    with rasterio.open(source, "r+") as file:
        file.update_tags(ns="MISSION", ORBIT="7")
        file.update_tags(ns="IMD", satId="X1")
    with restored(source) as after:
        assert after.tags(ns="IMD") == {"satId": "X1"}
        assert after.tags(ns="MISSION") == {"ORBIT": "7"}
    with rasterio.open(source, "r+") as file:
        file.update_tags(1, WAVELENGTH="665")
    target = source.with_name("both.tif")
    report = restore_raster(source, target, **LINEAR)
    with rasterio.open(target) as after:
        assert after.tags(1)["WAVELENGTH"] == "665"
    assert any("MISSION" in warning for warning in report.warnings)


@pytest.mark.parametrize("driver", ["COG", "GTiff", "PNG"])
def test_xmp_is_kept_and_other_xml_is_named(tmp_path, driver):
    image = pytest.importorskip("PIL.Image", reason="pip install '.[report]'")
    text = '<x:xmpmeta xmlns:x="adobe:ns:meta/">Größe = 1</x:xmpmeta>'
    packed = np.ascontiguousarray(np.moveaxis(captured(3, "uint8", 255), 0, -1))
    source = tmp_path / "in.tif"
    image.fromarray(packed).save(source, tiffinfo={700: text.encode()})
    with rasterio.open(source, "r+") as file:
        file.update_tags(ns="xml:TRE", **{"<tres a": '"1"/>'})
    target = tmp_path / ("out.png" if driver == "PNG" else "out.tif")
    report = restore_raster(source, target, driver=driver, **LINEAR)
    with rasterio.open(target) as after:
        assert after.tags(ns="xml:XMP") == ({} if driver == "PNG" else {"xml:XMP": text})
    lost = "xml:TRE, xml:XMP" if driver == "PNG" else "xml:TRE"
    assert f"tags of these namespaces were left out: {lost}" in report.warnings


@pytest.mark.parametrize("kind", ["Area", "Point"])
def test_pixel_is_area_or_point(source, kind):
    with rasterio.open(source, "r+") as file:
        file.update_tags(AREA_OR_POINT=kind)
    with rasterio.open(source) as before, restored(source) as after:
        assert after.tags()["AREA_OR_POINT"] == kind
        assert after.transform == before.transform


def test_twelve_bits_in_sixteen(tmp_path):
    values = captured(1, "uint16", 4000)
    values[0, 20:60, 20:60] = 4095
    source = rasterkit.write(tmp_path / "in.tif", values, nbits=12)
    with restored(source) as after:
        assert after.tags(1, ns="IMAGE_STRUCTURE")["NBITS"] == "12"
        assert after.read().max() <= 4095


def test_the_output_is_a_cloud_optimised_geotiff_with_provenance(tmp_path):
    planes = rasterkit.blurred(rasterkit.scene(1100, 700, 1))
    values = rasterkit.as_type(planes, "uint16", low=100, high=3000)
    source = rasterkit.write(tmp_path / "in.tif", values)
    with restored(source) as after:
        structure = after.tags(ns="IMAGE_STRUCTURE")
        assert structure["LAYOUT"] == "COG"
        assert structure["COMPRESSION"] == "ZSTD"
        assert structure["PREDICTOR"] == "2"
        assert after.block_shapes == [(512, 512)]
        assert after.overviews(1) == [2, 4]
        fine = after.read(1)[:1024, :640].astype(float)
        with rasterio.open(tmp_path / "out.tif", overview_level=0) as half:
            coarse = half.read(1)[:512, :320]
        means = fine.reshape(512, 2, 320, 2).mean(axis=(1, 3))
        assert np.abs(coarse - means).max() <= 0.5  # of the restored samples, averaged
        tags = after.tags()
        assert tags["IMAGINE_DEBLUR_MODEL"] == "wiener"
        assert '"disk"' in tags["IMAGINE_DEBLUR_GROUPS"]


def test_floats_have_their_own_predictor(tmp_path):
    source = rasterkit.write(tmp_path / "in.tif", captured(1, "float32", 0.5))
    with restored(source) as after:
        assert after.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "3"
