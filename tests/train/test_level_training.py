"""Training of the regressor that chooses the bank's ratio."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from imagine_deblur.capture import nsr as served
from imagine_deblur.engines.model import bundled_models
from imagine_deblur.train import level
from synthetic import made_up_scene


@pytest.fixture(scope="module")
def large_scenes(tmp_path_factory):
    """Two scenes that hold blocks of 128 px."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("large") / "aerial"
    folder.mkdir()
    for seed in range(2):
        Image.fromarray(made_up_scene(280, 300, seed)).save(folder / f"scene-{seed}.png")
    return folder.parent


def made_up(count=240, seed=0):
    """Captures whose best exponent is a line in two features, a decade off the guess at most."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((count, served.FEATURES)).astype(np.float32)
    guess = np.rint(rng.uniform(-2.5, -1.0, count) * 4) / 4
    features[:, served.GUESS] = guess
    best = guess + 0.6 * features[:, 0] - 0.3 * features[:, 1]
    psnr = 30 - 2 * (level.EXPONENTS[None, :] - best[:, None]) ** 2
    return {"features": features, "psnr": psnr.astype("f4")}


def test_losses_are_zero_at_the_best_and_bounded():
    lost = level.losses(made_up()["psnr"])
    assert lost.shape[1] == 29
    assert lost.min(axis=1).max() < 0.05
    assert lost.max() <= 3.0


def test_the_fit_finds_what_the_features_tell_and_is_read_back(tmp_path, monkeypatch):
    data = made_up()
    held = np.arange(240) % 4 == 0
    arrays, lost = level.fit(data, members=2, steps=300, held=held)
    first = level.losses(data["psnr"])[
        np.arange(240), np.rint((data["features"][:, served.GUESS] + 3.5) * 8).astype(int)
    ]
    assert lost[held].mean() < 0.4 * first[held].mean()
    folder = tmp_path / "weights"
    folder.mkdir()
    np.savez(folder / served.WEIGHTS, **arrays)
    monkeypatch.setattr(served, "files", lambda package: folder)
    served.bundled_regressor.cache_clear()
    try:
        correction = served.bundled_regressor()(data["features"][0].astype(np.float64))
    finally:
        served.bundled_regressor.cache_clear()
    wanted = 0.6 * data["features"][0, 0] - 0.3 * data["features"][0, 1]
    assert correction == pytest.approx(wanted, abs=0.4)


@pytest.mark.skipif(not bundled_models(), reason="no network in this installation")
def test_generate_and_fit_run_from_the_command_line(tmp_path, large_scenes, capsys):
    sets, weights = tmp_path / "levels.npz", tmp_path / "level.npz"
    assert level.main(["generate", str(large_scenes), str(sets), "--count", "6"]) == 0
    made = np.load(sets)
    assert made["features"].shape[1] == served.FEATURES
    assert made["psnr"].shape == (len(made["features"]), len(level.EXPONENTS))
    assert 1 <= len(made["features"]) <= 6
    assert np.isfinite(made["psnr"]).all()
    assert level.main(["fit", str(weights), str(sets), str(sets), "--steps", "20"]) == 0
    assert "dB lost" in capsys.readouterr().out
    assert set(np.load(weights).files) == {
        "mean",
        "scale",
        *(f"{k}{n}" for k in "wb" for n in range(3)),
    }
