"""The U-shape of `max`: its cost, what it starts as, and that it is served like any other file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from imagine_deblur.capture.ring_gain import TRAITS  # noqa: E402
from imagine_deblur.engines.descriptor import describe  # noqa: E402
from imagine_deblur.engines.mixture import mixed_file  # noqa: E402
from imagine_deblur.errors import OptionsError  # noqa: E402
from imagine_deblur.train import export_onnx  # noqa: E402
from imagine_deblur.train.config import NetworkConfig, TrainConfig, load_config  # noqa: E402
from imagine_deblur.train.export import run_onnxruntime  # noqa: E402
from imagine_deblur.train.network import NetworkSpec  # noqa: E402
from imagine_deblur.train.published import counts  # noqa: E402
from imagine_deblur.train.trainer import (  # noqa: E402
    Trainer,
    applied,
    load_network,
    make_network,
    network_spec,
    read_checkpoint,
)
from imagine_deblur.train.unet import UNet, UNetSpec  # noqa: E402
from synthetic import made_up_scene  # noqa: E402
from trainkit import train  # noqa: E402

TINY = NetworkConfig(
    shape="unet", width=4, pairs=1, experts=2, unet_width=4, encoder=(1, 1), middle=1
)
TRUNK = dataclasses.replace(TINY, shape="plain")


@pytest.fixture
def config(tiny_config: TrainConfig) -> TrainConfig:
    """A U-shape whose steps take milliseconds."""
    return dataclasses.replace(tiny_config, name="tiny-max", network=TINY)


@pytest.fixture
def trunk(tiny_config: TrainConfig, scenes_dir: Path, tmp_path: Path) -> Path:
    """A checkpoint of the network in front, two sets of kernels that differ."""
    own = dataclasses.replace(tiny_config, name="tiny-trunk", network=TRUNK)
    return train(own, scenes_dir, tmp_path / "trunk", until=3)


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("encoder", [(1,), (2, 3), (1, 2, 1)])
def test_cost_and_reach_are_what_the_specification_says(
    encoder: tuple[int, ...], attention: bool
) -> None:
    trunk = NetworkSpec(9, 4, 1)
    spec = UNetSpec(trunk, 8, encoder, 2, attention)
    side = 8 * spec.multiple_of
    macs = counts.macs(lambda: UNet(spec), side, side, planes=9)
    own = spec.macs_per_pixel - trunk.macs_per_pixel  # whose kernels are no modules
    # The attention's 1x1 convolutions act on averages: next to nothing per pixel.
    assert macs / side**2 == pytest.approx(own, rel=0.01 if attention else 1e-9)
    assert counts.parameters(UNet(spec)) == spec.parameters
    assert spec.halo % spec.multiple_of == 0


def test_max_is_within_its_budget() -> None:
    spec = network_spec(load_config("max"))
    assert isinstance(spec, UNetSpec)
    assert 600e3 < spec.macs_per_pixel < 1000e3


def test_without_attention_the_halo_bounds_what_a_pixel_sees() -> None:
    torch.manual_seed(0)
    spec = UNetSpec(NetworkSpec(6, 4, 1), 4, (1, 1), 1)
    network = UNet(spec).eval()
    side, at = 2 * spec.halo + 4 * spec.multiple_of, spec.halo
    planes = torch.rand(1, 6, side, side) - 0.5
    with torch.inference_mode():
        before = network(planes)
        planes[..., : spec.multiple_of, :] += 0.5  # everything in the first rows
        after = network(planes)
    moved = (after - before).abs().amax(dim=(0, 1, 3)) > 0
    assert bool(moved[: spec.multiple_of].all())
    assert not bool(moved[spec.multiple_of + at :].any())


def test_it_begins_as_good_as_its_trunk_and_leaves_that_alone(
    config: TrainConfig, trunk: Path, scenes_dir: Path, tmp_path: Path
) -> None:
    alone, _, _ = load_network(trunk)
    trainer = Trainer(config)
    trainer.start_from(alone)
    rng = np.random.default_rng(0)
    planes = torch.from_numpy(rng.uniform(-0.5, 0.5, (2, 9, 32, 32)).astype(np.float32))
    traits = torch.from_numpy(rng.standard_normal((2, TRAITS)).astype(np.float32))
    with torch.inference_mode():
        expected = applied(alone, planes, traits)
        begun = applied(trainer.average, planes, traits)
    torch.testing.assert_close(begun, expected, rtol=0, atol=1e-6)
    run = train(config, scenes_dir, tmp_path / "run", until=3, initialise=trunk)
    network, _, _ = load_network(run)
    for name, value in alone.state_dict().items():
        assert torch.equal(network.trunk.state_dict()[name], value), name


@pytest.mark.parametrize("attention", [False, True])
def test_it_learns(config: TrainConfig, attention: bool) -> None:
    network = dataclasses.replace(TINY, attention=attention)
    optim = dataclasses.replace(config.optim, learning_rate=3e-3, logarithmic=False)
    trainer = Trainer(dataclasses.replace(config, network=network, optim=optim))
    rng = np.random.default_rng(0)
    planes = torch.from_numpy(rng.uniform(-0.5, 0.5, (2, 9, 32, 32)).astype(np.float32))
    sharp = 0.5 + 0.7 * planes[:, 3:6] + 0.3 * planes[:, :3]
    losses = [trainer.train_step(planes, sharp)["loss"] for _ in range(60)]
    assert losses[-1] < 0.9 * losses[0]  # 0.81 of it on noise, which pooling cannot carry


def test_resumed_it_ends_with_the_same_bits(
    config: TrainConfig, trunk: Path, scenes_dir: Path, tmp_path: Path
) -> None:
    begin = {"initialise": trunk}
    whole = read_checkpoint(train(config, scenes_dir, tmp_path / "whole", until=6, **begin))
    train(config, scenes_dir, tmp_path / "parts", until=3, **begin)
    parts = read_checkpoint(train(config, scenes_dir, tmp_path / "parts", until=6, **begin))
    for name, tensor in whole["average"].items():
        assert torch.equal(tensor, parts["average"][name]), name
    plain = dataclasses.replace(config, network=NetworkConfig(width=4, pairs=1))
    with pytest.raises(OptionsError, match="initialise"):
        train(plain, scenes_dir, tmp_path / "x", initialise=tmp_path / "whole" / "checkpoint.pt")


def test_exported_it_restores_a_frame_in_blended_tiles(
    config: TrainConfig, trunk: Path, scenes_dir: Path, tmp_path: Path
) -> None:
    """As PyTorch does on the whole frame, but for what lies beyond the overlap."""
    pytest.importorskip("onnxruntime", reason="the runtime is not installed")
    pytest.importorskip("imagine_deblur._core", reason="the native core is not built")
    from imagine_deblur.session import Session

    checkpoint = train(config, scenes_dir, tmp_path / "run", until=4, initialise=trunk)
    written = export_onnx(checkpoint, tmp_path / "max.onnx")
    assert written["difference"]["onnxruntime"] < 1e-4
    held = describe(tmp_path / "max.onnx")
    network, _, _ = load_network(checkpoint)
    assert isinstance(network, UNet)
    # Of the second expert alone.
    mixed = tmp_path / "second.onnx"
    mixed.write_bytes(mixed_file(dataclasses.replace(held, shares=(0.0, 1.0))))
    planes = np.random.default_rng(0).uniform(-0.6, 0.6, (1, 9, 64, 64)).astype(np.float32)
    with torch.inference_mode():
        first = network.trunk.experts[0](torch.from_numpy(planes)).numpy()
        second = network.trunk.experts[1](torch.from_numpy(planes)).numpy()
        network.trunk.router[2].bias.copy_(torch.tensor([-1e3, 1e3]))
        expected = network(torch.from_numpy(planes), torch.zeros(1, TRAITS)).numpy()
    assert np.abs(second - first).max() > 1e-3
    np.testing.assert_allclose(run_onnxruntime(mixed, planes), expected, atol=1e-4)
    assert (held.local, held.halo, held.multiple_of) == (False, 0, 8)
    assert held.inputs[-1] == "noise"
    assert held.working_bytes > 0
    capture = made_up_scene(150, 130, 4)
    options = {"model": tmp_path / "max.onnx", "engine": "onnxruntime", "threads": 1,
               "psf": "disk:2", "reblur_check": False}  # fmt: skip
    with Session(tile=256, **options) as session:
        whole = session.restore(capture)
    with Session(tile=64, overlap=24, **options) as session:
        tiled, report = session.restore_with_report(capture)
    assert report.tiles > 4
    apart = np.abs(whole.astype(int) - tiled.astype(int))
    assert apart[8:-8, 8:-8].max() <= 2
    assert apart.max() <= 8  # few samples, on the frame's border, whatever the overlap
    assert np.abs(whole.astype(int) - capture.astype(int)).max() > 4


def test_wrong_shapes_are_refused(config: TrainConfig) -> None:
    plain = NetworkSpec(9, 4, 1)
    for wrong in ({"width": 6}, {"encoder": ()}, {"middle": 0}):
        with pytest.raises(OptionsError):
            UNetSpec(plain, **wrong)
    with pytest.raises(OptionsError, match="unshuffle"):
        UNetSpec(NetworkSpec(9, 4, 1, 4))
    with pytest.raises(OptionsError, match=r"network\.shape"):
        NetworkConfig(shape="round")
    with pytest.raises(OptionsError, match=r"data\.crop"):
        dataclasses.replace(config, data=dataclasses.replace(config.data, crop=36))
    assert isinstance(make_network(network_spec(config)), UNet)


def test_it_needs_its_trunk(config: TrainConfig, scenes_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="initialise"):
        train(config, scenes_dir, tmp_path / "run", until=1)
