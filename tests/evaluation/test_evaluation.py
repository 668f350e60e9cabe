"""The protocols' tables on synthetic scenes."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import synthetic
from imagine_deblur.cli import main
from imagine_deblur.errors import OptionsError
from imagine_deblur.evaluation import run as evaluation
from imagine_deblur.evaluation.protocols import load_scene, protocol
from imagine_deblur.options import Options


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Two synthetic scenes in the layout of a split."""
    folder = tmp_path_factory.mktemp("split")
    (folder / "aerial").mkdir()
    for seed in range(2):
        samples = np.rint(synthetic.natural(144, 160, seed=seed) * 255).astype(np.uint8)
        Image.fromarray(samples).save(folder / "aerial" / f"scene_{seed}.png")
    return folder


@pytest.fixture(scope="module")
def rows(scenes):
    found = evaluation.evaluate(
        "defocus",
        scenes,
        models=["wiener"],
        options=Options(threads=1, max_ram="4GB"),
        sheet=scenes / "sheet.jpg",
    )
    return {row.method: row for row in found}


def test_rows_are_those_of_the_protocols(rows):
    assert list(rows) == [
        "input",
        "oracle Wiener",
        "Richardson-Lucy",
        "best radial filter",
        "wiener, true PSF",
        "wiener, blind",
    ]
    assert all(row.images == 2 for row in rows.values())


def test_linear_methods_gain(rows):
    assert rows["oracle Wiener"].psnr > rows["input"].psnr + 0.5
    assert rows["wiener, true PSF"].psnr > rows["input"].psnr + 0.5


def test_gains_are_over_the_input(rows):
    assert rows["input"].gain == rows["input"].gain_p5 == 0
    for row in rows.values():
        assert row.gain == pytest.approx(row.psnr - rows["input"].psnr)


def test_the_sheet_is_a_picture(rows, scenes):
    with Image.open(scenes / "sheet.jpg") as sheet:
        assert sheet.size == (200 * (len(rows) + 1), 200 * 2)


def test_the_oracle_finds_the_best_ratio(scenes):
    case = next(evaluation.cases(protocol("defocus"), scenes))
    best = evaluation.psnr(evaluation.oracle_wiener(case), case.sharp)
    for exponent in np.arange(-4.0, 0.1, 0.2):
        restored = evaluation.wiener(
            evaluation.as_float(case.degraded), case.psf, float(10.0**exponent)
        )
        assert evaluation.psnr(np.clip(restored, 0, 1), case.sharp) <= best + 0.02


def test_thinning_keeps_the_seeds(scenes):
    all_cases = list(evaluation.cases(protocol("gauss"), scenes))
    (first,) = evaluation.cases(protocol("gauss"), scenes, limit=1)
    assert np.array_equal(first.degraded, all_cases[0].degraded)


@pytest.mark.parametrize("kind", ["markdown", "csv", "json"])
def test_the_command_prints_each_format(scenes, capsys, kind):
    arguments = ["evaluate", "--protocol", "spin", "--data", str(scenes), "--model", "identity"]
    assert main([*arguments, "--format", kind, "--limit", "1"]) == 0
    out = capsys.readouterr().out
    if kind == "json":
        found = [row["method"] for row in json.loads(out)["rows"]]
    elif kind == "csv":
        found = [row["method"] for row in csv.DictReader(io.StringIO(out))]
    else:
        found = [line.split("|")[3].strip() for line in out.splitlines()[2:4]]
    assert found == ["input", "identity, blind"]


def test_an_unknown_protocol_is_refused(scenes):
    with pytest.raises(OptionsError, match="protocol"):
        evaluation.evaluate("blurry", scenes)


def test_rows_can_be_left_out(scenes):
    skip = ("Richardson-Lucy", "oracle Wiener", "best radial filter")
    found = evaluation.evaluate("defocus", scenes, models=["wiener"], limit=1, skip=skip)
    assert [row.method for row in found] == ["input", "wiener, true PSF", "wiener, blind"]


def test_sets_of_scenes_have_their_own_rows(scenes, tmp_path):
    for name in ("aerial", "iss"):
        (tmp_path / name).symlink_to(scenes / "aerial")
    skip = ("Richardson-Lucy", "oracle Wiener")
    found = evaluation.evaluate("camera", tmp_path, models=["identity"], limit=1, skip=skip)
    names = ["input", "best radial filter", "identity, true PSF", "identity, effective PSF",
             "identity, blind"]  # fmt: skip
    assert [row.method for row in found] == 2 * names
    assert [row.scenes for row in found] == 5 * ["aerial"] + 5 * ["iss"]
    assert found[1].gain > 0.1
    (only,) = {row.scenes for row in evaluation.evaluate(
        "camera", tmp_path, models=[], limit=1, skip=skip, scene_sets=["iss"])}  # fmt: skip
    assert only == "iss"


def test_richardson_lucy_stays_finite_where_its_estimate_comes_near_zero(data_dir: Path) -> None:
    pytest.importorskip("skimage")
    shake = replace(protocol("shake"), crop_px=512)
    path = data_dir / "test" / "satellite" / "s2_farm_valley_pre.png"
    case = shake.make(load_scene(path), 88)  # one band of it was NaN
    assert np.isfinite(evaluation.richardson_lucy(case)).all()
