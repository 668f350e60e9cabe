"""xarray's arrays, numpy's and Dask's, come back as the same scene restored once."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rasterkit
from imagine_deblur.errors import InputImageError, OptionsError
from imagine_deblur.raster import restore_raster

pytest.importorskip("rasterio", reason="pip install '.[raster]'")
xarray = pytest.importorskip("xarray", reason="pip install '.[raster]'")
dask = pytest.importorskip("dask", reason="pip install '.[raster]'")

from imagine_deblur import xr  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

ROWS, COLUMNS = 1250, 700
ONE: dict[str, Any] = {"psf": "disk:2", "nsr": 0.05, "threads": 1}
STEP = 1 / 255  # of the stretch


@pytest.fixture(scope="module")
def scene() -> Any:
    soft = rasterkit.blurred(rasterkit.scene(ROWS, COLUMNS), noise=0.01)
    found = xarray.DataArray(
        rasterkit.as_type(soft, "uint16", low=200, high=9000),
        dims=("band", "y", "x"),
        coords={
            "band": [1, 2, 3],
            "y": np.arange(ROWS) * -10.0,
            "x": np.arange(COLUMNS) * 10.0,
            "spatial_ref": 0,
        },
        attrs={"scale_factor": 1e-4, "long_name": ("red", "green", "blue")},
        name="reflectance",
    )
    found.encoding = {"dtype": "uint16", "rasterio_dtype": "uint16"}
    return found


@pytest.fixture(scope="module")
def restored(scene: Any) -> Any:
    return xr.restore(scene, **ONE)


@pytest.fixture
def small(scene: Any) -> Any:
    return scene[:, :200, :232].copy(deep=True)


def apart(one: Any, other: Any) -> float:
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).max())


def test_an_array_in_memory_keeps_all_but_its_samples(scene, restored):
    assert restored.dims == scene.dims
    assert restored.dtype == scene.dtype
    assert restored.name == scene.name
    assert restored.attrs == scene.attrs
    assert restored.encoding == scene.encoding
    assert restored.coords.equals(scene.coords)
    assert apart(restored, scene) > 100


@pytest.mark.parametrize("chunks", [{"y": 500, "x": 300}, {"y": 1250, "x": 700}, {"band": 1}])
def test_blocks_are_the_whole_within_a_step(scene, restored, chunks):
    lazy = scene.chunk(chunks)
    found = xr.restore(lazy, **ONE)
    assert found.chunks == lazy.chunks
    assert found.attrs == scene.attrs
    assert found.encoding == lazy.encoding
    assert found.coords.equals(scene.coords)
    assert apart(found.compute(), restored) <= 8800 * STEP


def test_several_blocks_each_way_and_no_multiple_of_anything(monkeypatch, scene):
    monkeypatch.setattr(xr, "_SMALLEST_BLOCK", 300)
    small = scene.isel(x=slice(0, 651), y=slice(0, 1001))
    whole = xr.restore(small, psf="disk:1", nsr=0.3, threads=1)
    lazy = xr.restore(small.chunk({"y": 333, "x": 217}), psf="disk:1", nsr=0.3, threads=1)
    assert lazy.data.numblocks == (1, 4, 3)
    assert apart(lazy.compute(), whole) <= 8800 * STEP


def test_nothing_is_restored_before_it_is_computed(scene, monkeypatch):
    restore, sizes = xr.Group.restore, []

    def counted(group: Any, session: Any, values: np.ndarray, *rest: Any) -> Any:
        sizes.append(values.shape[1:])
        return restore(group, session, values, *rest)

    monkeypatch.setattr(xr.Group, "restore", counted)
    lazy = xr.restore(scene.chunk({"y": 500}), **ONE)
    assert sizes == [(512, 512)]  # the sample that the reblur check's limit is taken from
    lazy.compute()
    assert len(sizes) > 1


def test_a_file_and_an_array_are_restored_alike(tmp_path: Path, scene, restored):
    import rasterio

    source = rasterkit.write(tmp_path / "in.tif", scene.values, photometric="RGB")
    restore_raster(source, tmp_path / "out.tif", **ONE)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert np.array_equal(file.read(), restored.values)


def test_grey_bands_last_and_other_names(scene, restored):
    grey = scene.isel(band=1, drop=True)
    alone = xr.restore(grey, **ONE)
    assert alone.dims == ("y", "x")
    turned = grey.transpose("x", "y").rename(x="lon", y="lat")
    again = xr.restore(turned, spatial=("lat", "lon"), **ONE)
    assert again.dims == ("lon", "lat")
    assert np.array_equal(again.values.T, alone.values)
    last = xr.restore(scene.transpose("y", "x", "band"), **ONE)
    assert last.dims == ("y", "x", "band")
    assert np.array_equal(last.transpose("band", "y", "x").values, restored.values)


@pytest.mark.parametrize("lazy", [False, True])
def test_nan_and_fill_values_stay_as_they_are(scene, lazy):
    values = scene.isel(band=0).values.astype(np.float32) / 1e4
    values[100:200, 50:90] = np.nan
    found = xarray.DataArray(values, dims=("y", "x"))
    found = found.chunk({"y": 400}) if lazy else found
    assert np.array_equal(np.isnan(xr.restore(found, **ONE)), np.isnan(values))
    counts = scene.isel(band=0).values.copy()
    counts[100:200, 50:90] = 77
    marked = xarray.DataArray(counts, dims=("y", "x"), attrs={"_FillValue": 77})
    after = xr.restore(marked.chunk({"y": 400}) if lazy else marked, **ONE).values
    assert np.array_equal(after == 77, counts == 77)


def test_a_graph_travels_to_other_processes(scene):
    lazy = xr.restore(scene.isel(band=0).chunk({"y": 700}), **ONE)
    again = pickle.loads(pickle.dumps(lazy))
    assert np.array_equal(again.values, lazy.values)


def test_what_users_get_wrong_first_is_named(scene):
    with pytest.raises(InputImageError, match="pick one of its variables"):
        xr.restore(scene.to_dataset(), **ONE)
    with pytest.raises(InputImageError, match=r"isel\(time=0\)"):
        xr.restore(scene.expand_dims("time"), **ONE)
    with pytest.raises(InputImageError, match="rows and columns"):
        xr.restore(scene.isel(band=0, y=0), **ONE)
    with pytest.raises(InputImageError, match=r"int64; convert .*astype"):
        xr.restore(scene.astype("int64"), **ONE)
    with pytest.raises(OptionsError, match="spatial"):
        xr.restore(scene, spatial=("lat", "lon"), **ONE)
    with pytest.raises(OptionsError, match="swir"):
        xr.restore(scene, bands=("swir", "green", "blue"), **ONE)
    with pytest.raises(InputImageError, match="ndarray"):
        xr.restore(scene.values, **ONE)


def test_chunks_of_unknown_size_are_refused(scene):
    array = pytest.importorskip("dask.array")
    kept = array.from_array(np.ones(scene.sizes["y"], bool), chunks=500)
    unknown = scene.chunk({"y": 500}).data[:, kept]
    with pytest.raises(InputImageError, match="compute_chunk_sizes"):
        xr.restore(type(scene)(unknown, dims=scene.dims), **ONE)


def test_chunks_smaller_than_the_margin_and_uneven(scene, restored):
    lazy = scene.chunk({"band": (1, 2), "y": (7, 93, 900, 250), "x": 64})
    found = xr.restore(lazy, **ONE)
    assert found.chunks == lazy.chunks
    assert apart(found.compute(), restored) <= 8800 * STEP


def test_an_array_smaller_than_the_margin(scene):
    small = scene.isel(y=slice(0, 300), x=slice(0, 320))
    whole = xr.restore(small, "disk:3", threads=1)
    lazy = xr.restore(small.chunk({"y": 100, "x": 320}), "disk:3", threads=1)
    assert np.array_equal(lazy.compute().values, whole.values)
    assert not np.array_equal(whole.values, small.values)


def test_rows_and_columns_are_known_by_name_in_any_order(small):
    """Bands behind the columns had been taken for columns, and every row for a band."""
    plain = xr.restore(small, **ONE).values
    for rows, columns in xr.ROWS_AND_COLUMNS:
        named = small.rename({"y": rows, "x": columns}).transpose(rows, columns, "band")
        after = xr.restore(named, **ONE)
        assert after.dims == (rows, columns, "band")
        np.testing.assert_array_equal(after.transpose("band", rows, columns).values, plain)


def test_nodata_as_readers_of_netcdf_give_it(small):
    small.values[:, :40] = 7
    small.attrs["_FillValue"] = np.array([7], small.dtype)
    assert (xr.restore(small, **ONE).values[:, :40] == 7).all()
    small.attrs["_FillValue"] = "none"
    with pytest.raises(InputImageError, match="_FillValue of the array is 'none'"):
        xr.restore(small, **ONE)


def test_an_array_without_pixels_or_bands_is_itself(small):
    for empty in (small[:0], small[:, :0], small[:, :, :0]):
        assert xr.restore(empty, **ONE).identical(empty)


def test_one_dimension_is_not_two(small):
    with pytest.raises(OptionsError, match="two of band, y, x"):
        xr.restore(small, spatial=("y", "y"), **ONE)
