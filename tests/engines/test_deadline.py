"""Self-ensemble and the choice of a model by deadline."""

from __future__ import annotations

import numpy as np
import pytest

import networks
import synthetic
from imagine_deblur import _core
from imagine_deblur.engines import CallableEngine, EngineSpec, SelfEnsembleEngine
from imagine_deblur.engines import deadline as anytime
from imagine_deblur.errors import OptionsError
from imagine_deblur.options import Options
from imagine_deblur.session import Session
from runtimes import needs_onnxruntime


def engine(function, rows=12, columns=12):
    return CallableEngine(function, EngineSpec("callable", "f32", 3, 3, rows, columns))


def run(ensemble, tile):
    out = np.empty_like(tile)
    ensemble.infer(tile, out)
    return out


@pytest.mark.parametrize(("folds", "shape"), [(4, (12, 20)), (8, (16, 16))])
def test_an_equivariant_engine_is_not_changed(folds, shape):
    tile = np.random.default_rng(1).random((3, *shape), dtype=np.float32)
    ensemble = SelfEnsembleEngine(engine(lambda t: t * 2, *shape), folds)
    np.testing.assert_allclose(run(ensemble, tile), 2 * tile, rtol=1e-6)


def test_a_one_sided_engine_becomes_symmetric():
    def shift_right(tile):
        return np.roll(tile, 1, axis=2)

    tile = np.zeros((3, 9, 9), np.float32)
    tile[:, 4, 4] = 1
    four = run(SelfEnsembleEngine(engine(shift_right, 9, 9), 4), tile)
    assert four[0, 4, 3] == four[0, 4, 5] == 0.5
    eight = run(SelfEnsembleEngine(engine(shift_right, 9, 9), 8), tile)
    assert eight[0, 4, 3] == eight[0, 4, 5] == eight[0, 3, 4] == eight[0, 5, 4] == 0.25


@pytest.mark.parametrize(("folds", "shape"), [(2, (8, 8)), (8, (8, 12))])
def test_impossible_ensembles_are_refused(folds, shape):
    with pytest.raises(OptionsError, match="ensemble"):
        SelfEnsembleEngine(engine(lambda t: t, *shape), folds)


@pytest.fixture
def chooser(monkeypatch):
    """A chooser whose networks take 1e-6 (fast) and 4e-6 (best) seconds a pixel."""
    speeds = {"fast": 1e-6, "best": 4e-6}
    monkeypatch.setattr(anytime, "bundled_models", lambda: dict.fromkeys(speeds))
    monkeypatch.setattr(anytime, "resolve_model", lambda name, precision: name)
    result = anytime.Chooser(Options(), lambda: _core.WorkerPool(1))
    result._seconds_per_pixel = speeds
    result.other_seconds_per_pixel = 1e-7
    return result


@pytest.mark.parametrize(
    ("deadline", "expected"),
    [(100.0, ("best", 8)), (30.0, ("best", 4)), (8.0, ("best", 1)), (2.0, ("fast", 1))],
)
def test_the_best_choice_within_the_deadline(chooser, deadline, expected):
    choice = chooser.choose(1_000_000, deadline)
    assert (choice.model, choice.folds) == expected
    assert choice.expected_seconds <= deadline


def test_a_hopeless_deadline_gets_the_linear_model(chooser):
    choice = chooser.choose(1_000_000, 1e-3)
    assert choice.model is anytime.WIENER


def test_a_finished_frame_corrects_the_guess(chooser):
    chooser.observe(1_000_000, {"total": 3.0, "engine": 1.0})
    assert chooser.other_seconds_per_pixel == pytest.approx(2e-6)


@needs_onnxruntime
def test_an_ensemble_runs_end_to_end(tmp_path):
    path = networks.plain(tmp_path / "net.onnx", 8, 3)
    image = (synthetic.natural(96, 96, seed=5) * 255).astype(np.uint8)
    with Session(psf="disk:2", model=path, engine="onnxruntime", self_ensemble=8) as session:
        restored, report = session.restore_with_report(image)
    assert report.self_ensemble == 8
    assert restored.shape == image.shape
