"""Rasters as the world makes them: odd masks, few bits, files that promise what they lack."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rasterkit
from imagine_deblur.cli import main
from imagine_deblur.errors import InputImageError
from imagine_deblur.raster import restore_raster, scene

rasterio = pytest.importorskip("rasterio", reason="pip install '.[raster]'")
from rasterio.drivers import raster_driver_extensions  # noqa: E402
from rasterio.shutil import copy as copy_raster  # noqa: E402
from rasterio.transform import Affine, from_origin  # noqa: E402

Image = pytest.importorskip("PIL.Image", reason="pip install '.[report]'")

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

ROWS, COLUMNS = 200, 232
LINEAR: dict[str, Any] = {"psf": "disk:3", "model": "wiener", "threads": 1}


def captured(dtype: str = "uint16", low: float = 300, high: float = 9000) -> np.ndarray:
    return rasterkit.as_type(
        rasterkit.blurred(rasterkit.scene(ROWS, COLUMNS)), dtype, low=low, high=high
    )


def restored(source: Path, **options: Any) -> tuple[Any, Any]:
    """The report, and the output opened."""
    target = source.with_name("out.tif")
    return restore_raster(source, target, **{**LINEAR, **options}), rasterio.open(target)


def test_bands_with_nodata_of_their_own_get_a_mask(tmp_path):
    values = captured()
    values[0, :20], values[1, :, :30] = 1, 2
    rasterkit.write(tmp_path / "in.tif", values)
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{band}"><NoDataValue>{void}</NoDataValue>'
        f"<ColorInterp>{colour}</ColorInterp><SimpleSource>"
        '<SourceFilename relativeToVRT="1">in.tif</SourceFilename>'
        f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band, void, colour in ((1, 1, "Red"), (2, 2, "Green"), (3, 3, "Blue"))
    )
    source = tmp_path / "in.vrt"
    source.write_text(
        f'<VRTDataset rasterXSize="{COLUMNS}" rasterYSize="{ROWS}">{bands}</VRTDataset>'
    )
    report, file = restored(source)
    with file:
        assert file.nodatavals == (None, None, None)
        valid = file.dataset_mask() != 0
        assert not valid[:20].any()
        assert not valid[:, :30].any()
        assert valid[20:, 30:].all()
        assert (file.read()[:, ~valid] == values[:, ~valid]).all()
    assert any("nodata values of their own (1.0, 2.0, 3.0)" in text for text in report.warnings)


@pytest.mark.parametrize("internal", [True, False])
def test_a_mask_within_the_file_or_beside_it_comes_back_within(tmp_path, internal):
    values, mask = captured(), np.full((ROWS, COLUMNS), 255, np.uint8)
    mask[:30] = 0
    source = tmp_path / "in.tif"
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal),
        rasterio.open(
            source, "w", driver="GTiff", width=COLUMNS, height=ROWS, count=3, dtype="uint16"
        ) as file,
    ):
        file.write(values)
        file.write_mask(mask)
    assert (tmp_path / "in.tif.msk").exists() != internal
    _, file = restored(source, bands=(1, 2, 3))
    with file:
        assert (file.read_masks(1) == mask).all()
        assert (file.read()[:, :30] == values[:, :30]).all()
        assert (file.read()[:, 30:] != values[:, 30:]).mean() > 0.5
    assert not (tmp_path / "out.tif.msk").exists()
    report = restore_raster(source, tmp_path / "out.png", driver="PNG", **LINEAR)
    assert "PNG holds no mask" in report.warnings[-1]


def test_negative_values_above_the_lowest_as_nodata(tmp_path):
    values = captured("int16", -4000, 3000)
    values[:, :40] = -32768
    source = rasterkit.write(tmp_path / "in.tif", values, nodata=-32768, photometric="RGB")
    _, file = restored(source)
    with file:
        after = file.read()
    assert (after[:, :40] == -32768).all()
    assert after[:, 40:].min() > -6000
    assert after[:, 60:].mean() == pytest.approx(values[:, 60:].mean(), abs=7)  # 0.1 % of the range


@pytest.mark.parametrize("bits", [4, 6])
def test_few_bits_are_a_scale_of_their_own(tmp_path, bits):
    top = 2**bits - 1
    values = captured("uint8", 0, top)
    source = rasterkit.write(tmp_path / "in.tif", values, nbits=bits, photometric="RGB")
    report, file = restored(source)
    assert report.groups[0].gain == top
    with file:
        after = file.read()
        assert file.tags(1, ns="IMAGE_STRUCTURE")["NBITS"] == str(bits)
    assert after.max() <= top
    assert (after != values).any()


def test_one_bit_is_refused(tmp_path):
    values = (captured("uint8", 0, 255) > 127).astype(np.uint8)
    source = rasterkit.write(tmp_path / "in.tif", values[:1], nbits=1)
    with pytest.raises(InputImageError, match="1 bit"):
        restore_raster(source, tmp_path / "out.tif")


@pytest.mark.parametrize(
    ("dtype", "cure"),
    [
        ("complex_int16", "amplitude"),
        ("complex64", "amplitude"),
        ("int8", "gdal_translate -ot Int16"),
        ("int32", "gdal_translate -ot Float64"),
        ("uint32", "gdal_translate -ot Float64"),
    ],
)
def test_other_types_are_refused_with_what_converts_them_without_loss(tmp_path, dtype, cure):
    source = tmp_path / "in.tif"
    rasterio.open(source, "w", driver="GTiff", width=64, height=64, count=1, dtype=dtype).close()
    with pytest.raises(InputImageError, match=f"samples are {dtype}; .*{cure}"):
        restore_raster(source, tmp_path / "out.tif")


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32631", Affine(7, 7, 5e5, 7, -7, 5e6)),
        (None, from_origin(10, 20, 0.5, 0.5)),
    ],
)
def test_rotated_and_without_a_crs(tmp_path, crs, transform):
    source = rasterkit.write(tmp_path / "in.tif", captured(), crs=crs, transform=transform)
    _, file = restored(source)
    with file:
        assert file.transform == transform
        assert file.crs == (None if crs is None else rasterio.CRS.from_string(crs))


def test_tags_of_megabytes_and_other_alphabets(tmp_path):
    source = rasterkit.write(tmp_path / "in.tif", captured())
    tags = {"LOG": "x" * 3_000_000, "PLACE": "Größe ✓ 東京"}
    with rasterio.open(source, "r+") as file:
        file.update_tags(**tags)
    _, file = restored(source)
    with file:
        assert {name: file.tags()[name] for name in tags} == tags


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (3, 700), (40, 7)])
def test_slivers(tmp_path, shape):
    noise = np.random.default_rng(0).normal(2000, 100, (1, *shape))
    values = np.rint(noise).astype(np.uint16)
    _, file = restored(rasterkit.write(tmp_path / "in.tif", values))
    with file:
        assert file.shape == shape
        assert file.read().mean() == pytest.approx(values.mean(), rel=0.05)


def test_the_output_is_a_valid_cloud_optimised_geotiff(tmp_path):
    """What the COG specification asks of the order of a file, by GDAL's own record of offsets."""
    values = np.tile(captured(), (1, 6, 6))
    place = {"crs": "EPSG:32631", "transform": from_origin(5e5, 5e6, 10, 10), "nodata": 0}
    source = rasterkit.write(tmp_path / "in.tif", values, **place)
    _, file = restored(source, bands=(1, 2, 3))
    with file:
        assert file.block_shapes == [(512, 512)] * 3
        factors = file.overviews(1)
        assert factors == [2, 4]
        levels = [None, *range(len(factors))]
        heads = [offset(file, "IFD_OFFSET", level) for level in levels]
        data = [offset(file, "BLOCK_OFFSET_0_0", level) for level in levels]
    assert heads[0] < 1000  # behind the header and GDAL's note of the layout
    assert all(first < second for first, second in pairwise(heads))
    assert all(first > second for first, second in pairwise(data))  # smallest overview first
    assert max(heads) < min(data)
    for level, factor in enumerate(factors):
        with rasterio.open(tmp_path / "out.tif", overview_level=level) as small:
            assert small.shape == (-(-ROWS * 6 // factor), -(-COLUMNS * 6 // factor))
            assert small.read().any()


def offset(file: Any, item: str, level: int | None) -> int:
    return int(file.get_tag_item(item, "TIFF", 1, level))


def test_a_file_that_is_cut_is_named_with_the_cure(tmp_path):
    """GDAL's own words were "Read failed. See previous exception for details."."""
    source = tmp_path / "cut.tif"
    values = captured()
    with rasterio.open(
        source, "w", driver="GTiff", height=ROWS, width=COLUMNS, count=len(values), dtype="uint16"
    ) as file:
        file.write(values)
    source.write_bytes(source.read_bytes()[:60_000])
    with pytest.raises(OSError, match=r"samples cannot be read: .*fetch it again") as caught:
        restore_raster(source, tmp_path / "out.tif", **LINEAR)
    assert caught.value.filename == str(source)
    assert [path.name for path in tmp_path.iterdir()] == ["cut.tif"]


def test_a_strip_between_the_blocks_that_are_looked_at_is_found(tmp_path, monkeypatch):
    """In a large scene that is nearly all "no data" the spread-out blocks may all be empty."""
    monkeypatch.setattr(scene, "_BLOCK", 256)
    monkeypatch.setattr(scene, "_PER_SIDE", 2)
    values = np.zeros((3, 1200, 1200), np.uint16)
    values[:, 500 : 500 + ROWS, 484 : 484 + COLUMNS] = captured()
    source = rasterkit.write(tmp_path / "in.tif", values, nodata=0)
    report, file = restored(source)
    with file:
        found = file.read()
    assert all(group["restored"] for group in report.to_dict()["groups"])
    np.testing.assert_array_equal(found == 0, values == 0)
    assert (found != values).any()


def test_more_images_in_a_file_are_named_not_dropped_in_silence(tmp_path):
    """The output had said that it holds them all: the list of the source's was copied."""
    pages = [Image.fromarray(values) for values in captured("uint8", 0, 255)]
    pages[0].save(tmp_path / "in.tif", save_all=True, append_images=pages[1:])
    report, file = restored(tmp_path / "in.tif")
    (warning,) = [text for text in report.warnings if "more images" in text]
    second = f"GTIFF_DIR:2:{tmp_path / 'in.tif'}"
    assert warning.startswith("2 more images in the file were left out")
    assert warning.endswith(second)
    with file:
        assert file.subdatasets == []
    asked = ["--psf", "disk:3", "--model", "wiener", "-o", str(tmp_path / "second.tif")]
    assert main(["process", second, *asked]) == 0
    with rasterio.open(tmp_path / "second.tif") as file, rasterio.open(second) as before:
        assert 0 < np.abs(file.read().astype(float) - before.read()).mean() < 10


def test_a_container_s_parts_are_taken_as_its_error_names_them(tmp_path, capsys):
    if "netCDF" not in raster_driver_extensions().values():
        pytest.skip("GDAL without netCDF")
    rasterkit.write(tmp_path / "in.tif", captured("float32", 0, 1)[:2])
    copy_raster(tmp_path / "in.tif", tmp_path / "in.nc", driver="netCDF")
    with pytest.raises(InputImageError, match="name one of: ") as caught:
        restore_raster(tmp_path / "in.nc", tmp_path / "out.tif", **LINEAR)
    part = str(caught.value).split("name one of: ")[1].split(", ")[1]
    asked = ["--psf", "disk:3", "--model", "wiener", "-o", str(tmp_path / "out.tif")]
    assert main(["process", part, *asked]) == 0
    missing = part.replace("in.nc", "no.nc")
    assert main(["process", missing, *asked, "--overwrite"]) == 8
    assert "No such file" in capsys.readouterr().err
