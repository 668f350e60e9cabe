"""Training of the blind estimator: the two implementations agree, and calibration calibrates."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("PIL")

from PIL import Image  # noqa: E402

from imagine_deblur.psf.estimation import network, posterior  # noqa: E402
from imagine_deblur.psf.estimation.spectrum import Summary  # noqa: E402
from imagine_deblur.train import blind, blind_calibration  # noqa: E402
from imagine_deblur.train.blind_data import draw_instrument, generate  # noqa: E402


def made_up(groups=6, size=3, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.zeros((groups, 8))
    truth[:, 0] = rng.uniform(1, 8, groups)
    truth[:, 1] = rng.uniform(0, 1, groups)
    return {
        "curves": rng.normal(-9, 2, (groups, size, 4, 128)).astype(np.float32),
        "sectors": rng.normal(-9, 2, (groups, size, 8, 64)).astype(np.float32),
        "blocks": rng.integers(5, 60, (groups, size)).astype(np.float32),
        "truth": truth,
        "tables": np.ones((groups, 4), np.float32),
    }


def test_numpy_and_torch_agree():
    data = made_up()
    x, scalars, _ = blind.batch(data, np.random.default_rng(0), 32)
    norm = (x.mean(0), x.std(0) + 0.05, scalars.mean(0), scalars.std(0) + 0.05)
    torch.manual_seed(1)
    model = blind.Regressor().eval().half().float()
    ensemble = network.Ensemble(blind.pack([model.state_dict()], norm))
    summary = Summary(data["curves"][0, 0], 7.0, data["sectors"][0, 0], {})
    table = np.array([1, 2, 3, 4], np.float32)
    curves, scalars = blind.features(
        data["curves"][:1, 0], data["sectors"][:1, 0], np.array([7.0], np.float32), table[None]
    )
    own, own_scalars = network.inputs(summary, table)
    np.testing.assert_allclose(curves[0], own, atol=1e-4)
    np.testing.assert_allclose(scalars[0], own_scalars, atol=1e-4)
    with torch.no_grad():
        heads = model(
            (torch.from_numpy(curves) - norm[0]) / norm[1],
            (torch.from_numpy(scalars) - norm[2]) / norm[3],
        )
    output = ensemble(summary, table)
    np.testing.assert_allclose(torch.softmax(heads["radius"], 1)[0], output.radius, atol=1e-5)
    np.testing.assert_allclose(torch.softmax(heads["family"], 1)[0], output.family, atol=1e-4)
    assert output.log_noise.mean == pytest.approx(heads["log_noise"][0, 0].item() - 6.0, abs=1e-3)


def test_training_is_seeded_and_lowers_the_loss(tmp_path, capsys):
    paths = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for seed, path in enumerate(paths):
        np.savez(path, **made_up(seed=seed))
    first, second = (blind.fit(paths, 20, 1) for _ in range(2))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    losses = [float(line.split()[5]) for line in capsys.readouterr().out.splitlines()[:10]]
    assert losses[-1] < losses[0]


def test_captures_that_a_smaller_group_lacks_are_never_drawn(tmp_path):
    paths = [tmp_path / "large.npz", tmp_path / "small.npz"]
    for size, path in zip((6, 1), paths, strict=True):
        np.savez(path, **made_up(groups=4, size=size, seed=size))
    data = blind.joined(paths)
    assert data["curves"].shape[:2] == data["blocks"].shape == (8, 6)
    x, scalars, truth = blind.batch(data, np.random.default_rng(0), 400, augmented=False)
    of_small = np.isin(truth[:, 0].numpy(), data["truth"][4:, 0].astype(np.float32))
    blocks = np.exp(scalars[:, network.CHANNELS].numpy())[of_small]
    own = data["blocks"][4:, 0]
    assert np.abs(blocks[:, None] / own - 1).min(axis=1).max() < 1e-5
    assert torch.isfinite(x).all()


def test_one_instrument_of_three_is_a_camera():
    rng = np.random.default_rng(3)
    drawn = [draw_instrument(rng) for _ in range(300)]
    cameras = [one for one in drawn if one.camera is not None]
    assert 0.28 < len(cameras) / len(drawn) < 0.42
    assert {one.truth[3] for one in cameras} == {-1.0}
    assert all(one.truth[3] >= 0 for one in drawn if one.camera is None)
    scene = rng.random((160, 160, 3)).astype(np.float32)
    for one, bands in ((cameras[0], 3), (next(o for o in drawn if o.camera is None), 2)):
        capture = one.capture(scene, np.random.default_rng(0))
        assert capture.ndim == bands
        assert capture.shape[:2] == scene.shape[:2]


def test_the_noise_of_a_camera_is_not_learnt():
    data = made_up(groups=2)
    data["truth"][:, 3] = -1.0
    x, scalars, truth = blind.batch(data, np.random.default_rng(0), 8)
    heads = blind.Regressor().eval()(x, scalars)
    heads["log_noise"].retain_grad()
    blind.loss(heads, truth).backward()
    assert heads["log_noise"].grad is None or not heads["log_noise"].grad.any()


def test_calibration_widens_what_is_too_narrow():
    rng = np.random.default_rng(0)
    truth = rng.uniform(60, 240, 400)
    index = np.arange(320)
    claimed = 4.0
    narrow = []
    for value in truth:
        centre = value + 2 * claimed * rng.standard_normal()  # the true spread is twice as wide
        p = np.exp(-0.5 * ((index - centre) / claimed) ** 2)
        narrow.append(p / p.sum())
    knots = blind_calibration.temperature_knots(narrow, truth)
    assert np.median(knots[1]) == pytest.approx(4.0, rel=0.35)
    inside = []
    for p, value in zip(narrow, truth, strict=True):
        low, high = posterior.quantiles(
            posterior.temper(p, float(np.median(knots[1]))), (0.05, 0.95)
        )
        inside.append(low <= value <= high)
    assert 0.84 < np.mean(inside) < 0.95


def test_generated_captures_are_seeded(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("aerial", "satellite"):
        (tmp_path / folder).mkdir()
        coarse = rng.integers(0, 255, (60, 60, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((240, 240)).save(tmp_path / folder / "a.png")
    files = sorted(tmp_path.glob("*/*.png"))
    first, second = (generate(files, 3, 2, 5) for _ in range(2))
    assert first["curves"].shape == (3, 2, 4, 128)
    assert first["sectors"].shape == (3, 2, 8, 64)
    assert np.isfinite(first["curves"]).all()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
