"""``imagine-deblur process`` on rasters, and what is said without the extra."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rasterkit
from imagine_deblur.cli import main
from imagine_deblur.errors import ImagineDeblurError, MissingExtraError
from imagine_deblur.raster import restore_raster

rasterio = pytest.importorskip("rasterio", reason="pip install '.[raster]'")

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

LINEAR = ["--model", "wiener", "--psf", "disk:3", "--threads", "1"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    values = rasterkit.as_type(rasterkit.blurred(rasterkit.scene(200, 232)), "uint16", high=4000)
    return rasterkit.write(tmp_path / "scene.tif", values, photometric="RGB")


def test_a_raster_lies_beside_its_source_with_one_line_of_json(source, capsys):
    assert main(["process", str(source), *LINEAR]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["output"] == str(source.with_name("scene.restored.tif"))
    assert line["groups"][0]["role"] == "colour"
    with rasterio.open(line["output"]) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_bands_and_their_blurs_are_flags(source, tmp_path, capsys):
    out = tmp_path / "out.tif"
    flags = ["--bands", "none", "--band-psf", "2=disk:2"]
    assert main(["process", str(source), "-o", str(out), *flags, *LINEAR]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert [group["bands"] for group in groups] == [[1], [2], [3]]
    assert [group["psf"]["components"][0]["radius_px"] for group in groups] == [3, 2, 3]
    assert main(["process", str(source), "-o", str(out), "--overwrite", "--band-psf", "2"]) == 2
    assert "BAND=PSF" in capsys.readouterr().err


def test_folders_hold_rasters_too_and_png_stays_png(source, tmp_path, capsys):
    eight = rasterkit.as_type(rasterkit.blurred(rasterkit.scene(200, 232)), "uint8")
    picture = rasterkit.write(tmp_path / "picture.png", eight, driver="PNG")
    assert main(["process", str(tmp_path), "-o", str(tmp_path / "out"), *LINEAR]) == 0
    assert os.listdir(tmp_path / "out") == ["scene.tif"]  # a PNG beside it may be a quicklook
    assert main(["process", str(picture), *LINEAR]) == 0
    with rasterio.open(tmp_path / "picture.restored.png") as file:
        assert file.driver == "PNG"
        assert not np.array_equal(file.read(), eight)


def test_a_raster_without_the_extra_names_the_line_to_type(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'imagine-deblur\[raster\]'") as found:
        restore_raster(source, tmp_path / "out.tif")
    assert isinstance(found.value, ImagineDeblurError)
    assert isinstance(found.value, ImportError)
    assert main(["process", str(source)]) == 4
    assert "pip install 'imagine-deblur[raster]'" in capsys.readouterr().err


def test_memory_stays_below_what_is_allowed_however_large_the_scene(tmp_path):
    part = rasterkit.as_type(rasterkit.blurred(rasterkit.scene(512, 512)), "uint16", high=4000)
    source = rasterkit.write(tmp_path / "in.tif", np.tile(part, (1, 6, 6)), photometric="RGB")
    code = "import sys; from imagine_deblur.cli import main; sys.exit(main())"
    flags = ["--psf", "disk:1.5", "--nsr", "0.1", "--model", "wiener", "--max-ram", "500MB"]
    command = [sys.executable, "-c", code, "process", str(source), "--json", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert report["windows"] > 4
    assert report["peak_bytes"] < 500e6


@pytest.mark.parametrize(
    ("flag", "value"), [("--quality", "80"), ("--max-bytes", "1MB"), ("--deadline", "3")]
)
def test_options_of_jpeg_s_coder_are_refused_by_name(source, tmp_path, capsys, flag, value):
    out = tmp_path / "out.tif"
    assert main(["process", str(source), "-o", str(out), flag, value, *LINEAR]) == 2
    said = capsys.readouterr().err
    assert flag.strip("-").replace("-", "_") in said
    assert ("gdal_translate" in said) == (flag != "--deadline")
    assert not out.exists()
