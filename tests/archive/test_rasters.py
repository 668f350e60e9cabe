"""Rasters through a batch: beside captures, the same bytes, described with what they carry."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archives import OPTIONS, digests, lines
from imagine_deblur import PSF
from imagine_deblur.archive.batch import budget
from imagine_deblur.archive.inputs import find_items
from imagine_deblur.archive.looking import look
from imagine_deblur.cli import main
from imagine_deblur.errors import OptionsError
from imagine_deblur.psf.record import save_record
from rasterkit import as_type, blurred, scene, write

rasterio = pytest.importorskip("rasterio")


@pytest.fixture
def mixed(scenes: Path) -> Path:
    """Two captures, a GeoTIFF of 16 bits and a PNG."""
    for path in sorted(scenes.iterdir())[2:]:
        path.unlink()
    planes = blurred(scene(280, 320))
    transform = rasterio.Affine(10, 0, 500_000, 0, -10, 5_500_000)
    where = {"crs": "EPSG:32633", "transform": transform, "nodata": 0}
    write(scenes / "s.tif", as_type(planes, "uint16", low=500, high=9000), **where)
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        write(scenes / "p.png", as_type(planes, "uint8"), driver="PNG")
    return scenes


def test_captures_and_rasters_from_any_number_of_workers(mixed, run, tmp_path):
    for workers in (1, 2):
        summary = run(mixed, output=tmp_path / f"w{workers}", workers=workers)
        assert (summary.restored, summary.failed) == (4, 0)
    assert set(digests(tmp_path / "w1")) == {"c0.jpg", "c1.jpg", "s.tif", "p.tif"}
    assert digests(tmp_path / "w1") == digests(tmp_path / "w2")
    assert run(mixed, output=tmp_path / "w1").skipped == 4
    (line,) = [line for line in lines(tmp_path / "w1") if line["output"] == "s.tif"]
    assert line["report"]["dtype"] == "uint16"
    made = (tmp_path / "w1/s.tif").read_bytes()
    assert line["sha256"] == hashlib.sha256(made).hexdigest()


def test_a_raster_s_item(mixed, run, tmp_path):
    pytest.importorskip("pystac")
    run(mixed / "s.tif", stac_output=tmp_path / "stac")
    item = json.loads((tmp_path / "stac/s/s.json").read_text())
    image = item["assets"]["image"]
    assert image["type"].endswith("profile=cloud-optimized")
    assert image["proj:code"] == "EPSG:32633"
    assert image["proj:shape"] == [280, 320]
    assert image["raster:spatial_resolution"] == 10
    assert {band["data_type"] for band in image["bands"]} == {"uint16"}
    assert item["bbox"] == pytest.approx([15.0, 49.62, 15.05, 49.66], abs=0.01)
    assert item["assets"]["psf"]["roles"] == ["metadata"]


def test_a_raster_in_two_names_is_one_jpeg_in_the_wrong_coat(mixed, run):
    os.rename(mixed / "p.png", mixed / "p.jpg")
    summary = run(mixed)
    assert (summary.restored, summary.failed) == (3, 1)
    assert "a JPEG by its name, but not by its content" in summary.failures[0].error


def test_a_broken_raster_fails_alone(mixed, run):
    data = (mixed / "s.tif").read_bytes()
    (mixed / "t.tif").write_bytes(data[: len(data) // 2])
    (mixed / "u.tif").write_bytes(b"")
    summary = run(mixed)
    assert (summary.restored, summary.failed) == (4, 2)


def test_rasters_have_a_budget_of_their_own(mixed):
    items = find_items([str(mixed)]).items
    assert budget(items, OPTIONS) == 2_000_000_000
    assert budget(items, replace(OPTIONS, max_ram="500MB")) == 500_000_000
    assert budget([i for i in items if i.output.endswith("jpg")], OPTIONS) == 300_000_000


def test_the_blur_of_a_raster_is_looked_at(mixed):
    (item,) = find_items([str(mixed / "s.tif")]).items
    told = look(item, 1.0)
    assert told.refused == ""
    assert told.summary is not None
    assert np.isfinite(told.summary.curves).all()


def test_bands_and_their_blurs_as_process_takes_them(scenes, tmp_path, capsys):
    for path in scenes.iterdir():
        path.unlink()
    where = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5.5e6)}
    values = as_type(blurred(scene(280, 320)), "uint16", high=9000)
    source = write(scenes / "s.tif", values, **where)
    record = tmp_path / "lens.json"
    save_record(record, PSF.defocus(2), provenance={"method": "test"})
    flags = ["--bands", "none", "--band-psf", f"2={record}", "--psf", "disk:3"]
    flags += ["--model", "wiener", "--threads", "1"]
    alone, out = tmp_path / "alone.tif", tmp_path / "out"
    assert main(["process", str(source), "-o", str(alone), *flags]) == 0
    assert main(["batch", str(source), "-o", str(out), "--workers", "1", *flags]) == 0
    assert (out / "s.tif").read_bytes() == alone.read_bytes()
    other = [*flags, "--band-psf", "3=disk:1"]
    assert main(["batch", str(source), "-o", str(out), "--workers", "1", *other]) == 2
    said = capsys.readouterr().err
    assert "other options" in said
    assert "the same command again goes on" not in said  # it would be refused again
    unknown = ["batch", str(source), "-o", str(tmp_path / "new"), "--band-psf", "nir=disk:3"]
    assert main([*unknown, "--workers", "1"]) == 2
    assert "nir" in capsys.readouterr().err


def test_options_that_rasters_lack_are_refused_before_any_work(mixed, run, tmp_path):
    with pytest.raises(OptionsError, match="gdal_translate"):
        run(mixed, options=replace(OPTIONS, quality=80))
    assert not (tmp_path / "out").exists()
    captures = sorted(mixed.glob("*.jpg"))
    assert run(*captures, options=replace(OPTIONS, quality=80)).restored == 2
