"""The U-shape of `max`: its cost, what it starts as, and that it is served like any other file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from imagine_deblur.engines.descriptor import describe  # noqa: E402
from imagine_deblur.errors import OptionsError  # noqa: E402
from imagine_deblur.train import export_onnx  # noqa: E402
from imagine_deblur.train.config import NetworkConfig, TrainConfig, load_config  # noqa: E402
from imagine_deblur.train.published import counts  # noqa: E402
from imagine_deblur.train.trainer import (  # noqa: E402
    Trainer,
    load_network,
    make_network,
    network_spec,
    read_checkpoint,
)
from imagine_deblur.train.unet import UNet, UNetSpec  # noqa: E402
from synthetic import made_up_scene  # noqa: E402
from trainkit import train  # noqa: E402

TINY = NetworkConfig(shape="unet", width=4, encoder=(1, 1), middle=1)


@pytest.fixture
def config(tiny_config: TrainConfig) -> TrainConfig:
    """A U-shape whose steps take milliseconds."""
    return dataclasses.replace(tiny_config, name="tiny-max", network=TINY)


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("encoder", [(1,), (2, 3), (1, 2, 1)])
def test_cost_and_reach_are_what_the_specification_says(
    encoder: tuple[int, ...], attention: bool
) -> None:
    spec = UNetSpec(9, 8, encoder, 2, attention)
    side = 8 * spec.multiple_of
    macs = counts.macs(lambda: UNet(spec), side, side, planes=9)
    # The attention's 1x1 convolutions act on averages: next to nothing per pixel.
    assert macs / side**2 == pytest.approx(spec.macs_per_pixel, rel=0.01 if attention else 1e-9)
    assert counts.parameters(UNet(spec)) == spec.parameters
    assert spec.halo % spec.multiple_of == 0


def test_max_is_within_its_budget() -> None:
    spec = network_spec(load_config("max"))
    assert isinstance(spec, UNetSpec)
    assert 600e3 < spec.macs_per_pixel < 1000e3


def test_without_attention_the_halo_bounds_what_a_pixel_sees() -> None:
    torch.manual_seed(0)
    spec = UNetSpec(6, 4, (1, 1), 1)
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


def test_untrained_it_returns_its_base_plane() -> None:
    torch.manual_seed(0)
    planes = torch.rand(1, 9, 32, 32) - 0.5
    for attention in (False, True):
        network = UNet(UNetSpec(9, 8, (1, 1), 1, attention)).eval()
        with torch.inference_mode():
            restored = network(planes)
        torch.testing.assert_close(restored, planes[:, 3:6] + 0.5, rtol=0, atol=0.15)


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
    config: TrainConfig, scenes_dir: Path, tmp_path: Path
) -> None:
    whole = read_checkpoint(train(config, scenes_dir, tmp_path / "whole", until=6))
    train(config, scenes_dir, tmp_path / "parts", until=3)
    parts = read_checkpoint(train(config, scenes_dir, tmp_path / "parts", until=6))
    for name, tensor in whole["average"].items():
        assert torch.equal(tensor, parts["average"][name]), name
    plain = dataclasses.replace(config, network=NetworkConfig(width=4, pairs=1))
    with pytest.raises(OptionsError, match="initialise"):
        train(plain, scenes_dir, tmp_path / "x", initialise=tmp_path / "whole" / "checkpoint.pt")


def test_exported_it_restores_a_frame_in_blended_tiles(
    config: TrainConfig, scenes_dir: Path, tmp_path: Path
) -> None:
    """As PyTorch does on the whole frame, but for what lies beyond the overlap."""
    pytest.importorskip("onnxruntime", reason="the runtime is not installed")
    pytest.importorskip("imagine_deblur._core", reason="the native core is not built")
    from imagine_deblur.session import Session

    checkpoint = train(config, scenes_dir, tmp_path / "run", until=4)
    written = export_onnx(checkpoint, tmp_path / "max.onnx")
    assert written["difference"]["onnxruntime"] < 1e-4
    held = describe(tmp_path / "max.onnx")
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
    network, _, _ = load_network(checkpoint)
    assert isinstance(network, UNet)


def test_wrong_shapes_are_refused(config: TrainConfig) -> None:
    for wrong in ({"width": 6}, {"encoder": ()}, {"middle": 0}, {"planes": 3}):
        with pytest.raises(OptionsError):
            UNetSpec(**wrong)
    with pytest.raises(OptionsError, match=r"network\.shape"):
        NetworkConfig(shape="round")
    with pytest.raises(OptionsError, match=r"data\.crop"):
        dataclasses.replace(config, data=dataclasses.replace(config.data, crop=36))
    assert isinstance(make_network(network_spec(config)), UNet)
