"""Pairs and configurations of the published systems."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
Image = pytest.importorskip("PIL.Image", reason="training needs the extra [train]")

from imagine_deblur.errors import InputImageError, OptionsError  # noqa: E402
from imagine_deblur.train.published.config import (  # noqa: E402
    PhaseConfig,
    from_dict,
    load_config,
    override,
)
from imagine_deblur.train.published.data import Pairs, batches  # noqa: E402
from imagine_deblur.train.published.recipes import DEGRADATIONS  # noqa: E402
from imagine_deblur.train.published.trainer import (  # noqa: E402
    Plateau,
    learning_rate,
)
from imagine_deblur.train.typed import read, shipped  # noqa: E402
from publishedkit import tiny  # noqa: E402
from synthetic import made_up_scene  # noqa: E402

TRAINING = Path(__file__).resolve().parents[3] / "research" / "training"

# ---- data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(DEGRADATIONS))
def test_degradations_follow_the_generator(name: str) -> None:
    sharp = made_up_scene(48, 40, 1).astype(np.float32) / 255
    for seed in range(6):
        one = DEGRADATIONS[name](sharp, np.random.default_rng(seed), True)
        same = DEGRADATIONS[name](sharp, np.random.default_rng(seed), True)
        np.testing.assert_array_equal(one[1], same[1])
        np.testing.assert_array_equal(one[0], same[0])
        assert one[1].shape == sharp.shape
        assert one[1].dtype == np.uint8
    other = DEGRADATIONS[name](sharp, np.random.default_rng(99), True)
    assert not np.array_equal(other[1], one[1])


def test_batches_depend_on_seed_and_step_alone(scenes_dir: Path) -> None:
    config = tiny("mimo-unet", {"margin": 4}, {})
    pairs = Pairs(scenes_dir / "train", config, 0)
    captured, sharp = pairs[3]
    assert captured.shape == sharp.shape == (2, 3, 32, 32)
    assert 0 < (captured - sharp).abs().mean() < 0.2
    loaded = dict(enumerate(batches(pairs, 2, 5, 0), start=2))
    assert sorted(loaded) == [2, 3, 4]
    assert torch.equal(loaded[3][0], captured)
    other_phase, _ = Pairs(scenes_dir / "train", config, 1)[3]
    assert not torch.equal(other_phase, captured)


@pytest.mark.parametrize("reduced", ["scene", "pair"])
def test_reduction_by_4(reduced: str, scenes_dir: Path) -> None:
    phase = {"crop": 16, "reduction": 4, "reduced": reduced}
    config = tiny("mimo-unet", phase)
    assert config.phases[0].region == 64
    assert config.scale == (4 if reduced == "pair" else 1)
    captured, sharp = Pairs(scenes_dir / "train", config, 0)[0]
    assert captured.shape == (2, 3, 16, 16)
    # A disk of 2 to 8 px is 0.5 to 2 px at a quarter of the scale.
    detail = [float(x.diff(dim=-1).abs().mean()) for x in (captured, sharp)]
    assert (detail[0] / detail[1] > 0.4) == (reduced == "pair")
    large = tiny("mimo-unet", {"crop": 32, "reduction": 4})
    with pytest.raises(InputImageError, match="128 px"):
        Pairs(scenes_dir / "train", large, 0)


# ---- configuration ------------------------------------------------------------------------------


def test_configurations_for_processor_hours_are_of_the_published_networks() -> None:
    """Those that the tables are made with: fewer and smaller crops, the same networks."""
    found = {path.stem: load_config(path) for path in TRAINING.glob("*.toml")}
    assert len(found) == 8
    published = {"mimo-unet-gan": "mimo-unet"}
    for name, config in found.items():
        assert config.name == name
        assert config.network == load_config(published.get(name, name)).network


def test_shipped_configurations() -> None:
    names = {name for name in shipped() if "system" in read(name)}
    assert names == {
        "autoencoder", "imagine", "imagine-reduced", "mgstnet", "mgstnet-1", "mimo-unet",
        "mimo-unet-plus", "vgg16",
    }  # fmt: skip
    for name in names:
        config = load_config(name)
        assert config.name == name
        assert from_dict(json.loads(json.dumps(config.to_dict()))) == config
    imagine = load_config("imagine")
    assert [p.degradation for p in imagine.phases] == ["generic", "refined"]
    for phase in imagine.phases:
        assert (phase.steps, phase.batch, phase.crop) == (3000, 4, 256)
        rates = [learning_rate(phase, step) for step in range(0, 3000, 500)]
        assert rates == pytest.approx([1e-4 / 2**k for k in range(6)])
    assert imagine.is_adversarial
    assert imagine.is_perceptual
    assert not load_config("mimo-unet-plus").is_adversarial
    assert load_config("imagine-reduced").phases[0].region == 1024
    assert load_config("imagine-reduced").scale == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"system": "unet"},
        {"phases": [{"crop": 30}]},
        {"phases": [{"degradation": "fog"}]},
        {"phases": [{"stepz": 3}]},
        {"phases": []},
        {"system": "mgstnet", "phases": [{"loss": {"adversarial": 1.0}}]},
        {"system": "autoencoder", "phases": [{"crop": 256}]},
        {"run": {"precision": "f16"}},
    ],
)
def test_wrong_configurations_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionsError):
        from_dict({"name": "x", "system": "mimo-unet", **wrong})


def test_overrides_reach_into_phases() -> None:
    config = override(
        load_config("imagine"), ["phases.1.steps=7", "network.width=16", "run.precision='f32'"]
    )
    assert (config.phases[1].steps, config.network.width, config.steps) == (7, 16, 3007)
    for wrong in ("phases.2.steps=7", "phases.1.step=7", "network", "seed.x=1"):
        with pytest.raises(OptionsError, match="set"):
            override(config, [wrong])


def test_plateau_lowers_the_rate_after_the_patience() -> None:
    phase = PhaseConfig(
        drop_factor=0.1, plateau_steps=2, plateau_patience=2, learning_rate=1e-3,
        plateau_least=2e-5,
    )  # fmt: skip
    plateau = Plateau()
    factors = []
    for loss in (3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0):  # per epoch of two steps
        plateau.observe(loss + 0.5, phase)
        plateau.observe(loss - 0.5, phase)
        factors.append(plateau.state["factor"])
    assert factors == pytest.approx([1, 1, 1, 0.1, 0.1, 0.02, 0.02])
