"""The adversarial fine-tuning: both sides learn, and a resumed run ends with the same bits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from imagine_deblur.errors import OptionsError  # noqa: E402
from imagine_deblur.train.adversarial import AdversarialTrainer  # noqa: E402
from imagine_deblur.train.config import (  # noqa: E402
    AdversarialConfig,
    TrainConfig,
    from_dict,
    load_config,
)
from imagine_deblur.train.published.perceptual import SceneVgg  # noqa: E402
from imagine_deblur.train.runs import NetworkTask  # noqa: E402
from imagine_deblur.train.trainer import Trainer, read_checkpoint  # noqa: E402
from trainkit import train  # noqa: E402

#: What every step of a restoration tells.
RESTORATION = {"loss", "gradient_norm", "learning_rate"}


@pytest.fixture
def config(tiny_config: TrainConfig) -> TrainConfig:
    adversarial = AdversarialConfig(weight=0.1, features=0.1, width=4, scales=2)
    return dataclasses.replace(tiny_config, adversarial=adversarial)


def batch(config: TrainConfig, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    side = config.data.crop
    sharp = rng.random((2, 3, side, side), np.float32)
    planes = rng.random((2, config.input_planes, side, side), np.float32) - np.float32(0.5)
    planes[:, 3:6] = sharp - np.float32(0.45)
    return torch.from_numpy(planes), torch.from_numpy(sharp)


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_discriminators_learn_and_the_network_is_moved_by_them(config):
    torch.use_deterministic_algorithms(True, warn_only=True)
    with_critic = AdversarialTrainer(config)
    without = Trainer(dataclasses.replace(config, adversarial=AdversarialConfig()))
    without.network.load_state_dict(with_critic.network.state_dict())
    before = weights(with_critic.discriminator)
    # Both steps are of the same length; the restoration loss alone would give the same direction.
    with_critic.train_step(*batch(config, 1))
    without.train_step(*batch(config, 1))
    moved = weights(with_critic.discriminator)
    assert any(not torch.equal(before[name], moved[name]) for name in before)
    assert not torch.equal(with_critic.network.tail.weight, without.network.tail.weight)
    first = None
    for step in range(30):
        parts = with_critic.train_step(*batch(config, step % 3))
        first = first or parts["critic"]
    assert parts["critic"] < 0.8 * first
    assert set(parts) - RESTORATION == {"critic", "adversarial", "features"}


def test_a_resumed_run_ends_with_the_same_bits(config, scenes_dir: Path, tmp_path: Path):
    whole = read_checkpoint(train(config, scenes_dir, tmp_path / "whole"))
    train(config, scenes_dir, tmp_path / "parts", until=5)
    parts = read_checkpoint(train(config, scenes_dir, tmp_path / "parts"))
    assert whole["step"] == parts["step"] == config.optim.steps
    for part in ("network", "average", "discriminator"):
        for name, tensor in whole[part].items():
            assert torch.equal(tensor, parts[part][name]), f"{part}.{name}"
    plain = dataclasses.replace(config, adversarial=AdversarialConfig())
    with pytest.raises(OptionsError, match="adversarial"):
        train(plain, scenes_dir, tmp_path / "parts")


def test_the_perceptual_loss_needs_its_network_and_uses_it(config):
    wanted = dataclasses.replace(
        config, adversarial=AdversarialConfig(perceptual=0.5, width=4, scales=1)
    )
    with pytest.raises(OptionsError, match="VGG16"):
        AdversarialTrainer(wanted)
    torch.manual_seed(0)
    vgg = SceneVgg(2, width=2)
    trainer = AdversarialTrainer(wanted, vgg=vgg)
    before = weights(vgg)
    parts = trainer.train_step(*batch(wanted, 1))
    assert parts["perceptual"] > 0
    assert set(parts) - RESTORATION == {
        "perceptual"
    }  # without a weight no discriminator takes part
    assert all(torch.equal(before[name], value) for name, value in vgg.state_dict().items())


def test_configurations(config, tiny_config: TrainConfig, scenes_dir: Path, tmp_path: Path):
    assert from_dict(config.to_dict()) == config
    assert load_config("best-gan").adversarial.is_on
    assert load_config("best-gan").network == load_config("best").network
    assert not load_config("best").adversarial.is_on
    with pytest.raises(OptionsError, match="0 where weight is 0"):
        AdversarialConfig(features=1.0)
    with pytest.raises(OptionsError, match="0 or more"):
        AdversarialConfig(weight=-1.0)
    with pytest.raises(OptionsError, match=r"\[adversarial\]"):
        NetworkTask(tiny_config, scenes_dir, tmp_path / "run", vgg=SceneVgg(2, width=2))
