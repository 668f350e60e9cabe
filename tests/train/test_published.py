"""The published systems: counts, closed forms, training, export, and captures through `Session`."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
Image = pytest.importorskip("PIL.Image", reason="training needs the extra [train]")

from imagine_deblur.cli.main import main  # noqa: E402
from imagine_deblur.engines import IdentityEngine, ScaledEngine, describe  # noqa: E402
from imagine_deblur.engines.model import resolve_model  # noqa: E402
from imagine_deblur.engines.scaled import area_reduce, bicubic_enlarge  # noqa: E402
from imagine_deblur.errors import InputImageError, OptionsError  # noqa: E402
from imagine_deblur.train.published import counts, mgstnet, mimo_unet  # noqa: E402
from imagine_deblur.train.published.autoencoder import Autoencoder  # noqa: E402
from imagine_deblur.train.published.config import (  # noqa: E402
    PhaseConfig,
    PublishedConfig,
    from_dict,
    load_config,
    override,
)
from imagine_deblur.train.published.data import Pairs, batches  # noqa: E402
from imagine_deblur.train.published.discriminator import (  # noqa: E402
    MultiScaleDiscriminator,
    PatchDiscriminator,
    SelfAttention,
    adversarial_loss,
    feature_loss,
)
from imagine_deblur.train.published.export import export  # noqa: E402
from imagine_deblur.train.published.initialise import scale_to_data  # noqa: E402
from imagine_deblur.train.published.perceptual import (  # noqa: E402
    LabelledScenes,
    PerceptualLoss,
    SceneVgg,
)
from imagine_deblur.train.published.recipes import DEGRADATIONS  # noqa: E402
from imagine_deblur.train.published.systems import (  # noqa: E402
    Restorer,
    make_network,
    restore_image,
)
from imagine_deblur.train.published.train import train  # noqa: E402
from imagine_deblur.train.published.trainer import (  # noqa: E402
    Plateau,
    Trainer,
    learning_rate,
    load_network,
    read_checkpoint,
)
from imagine_deblur.train.published.validation import estimate_kernel  # noqa: E402
from imagine_deblur.train.typed import read, shipped  # noqa: E402
from synthetic import made_up_scene  # noqa: E402

CLASSES = ("field", "water")

TINY_NETWORK = {
    "mimo-unet": {"width": 8, "blocks": 1},
    "mgstnet": {
        "stages": 2, "widths": [4, 4, 4], "blocks": 1, "kernel_width": 4, "kernel_size": 5,
    },
    "autoencoder": {"width": 4, "code": 16, "side": 32},
    "vgg16": {"width": 4},
}  # fmt: skip


def tiny(system: str, *phases: dict[str, object], **changes: object) -> PublishedConfig:
    """A configuration whose steps take milliseconds."""
    common = {"batch": 2, "crop": 32, "steps": 6, "degradation": "defocus"}
    return from_dict(
        {
            "name": f"tiny-{system}",
            "system": system,
            "network": TINY_NETWORK[system],
            "phases": [{**common, **phase} for phase in phases or ({},)],
            "discriminator": {"width": 4, "scales": 2},
            "perceptual": {"width": 4, "steps": 2, "batch": 2, "crop": 32, "blocks": [2, 3]},
            "run": {
                "precision": "f32",
                "threads": 1,
                "checkpoint_every": 0,
                "evaluate_every": 0,
                "log_every": 2,
            },
            **changes,
        }
    )


GAN = (
    {"name": "generic", "steps": 3, "degradation": "generic"},
    {"name": "refined", "steps": 3, "degradation": "refined", "beta1": 0.5,
     "loss": {"adversarial": 0.01, "features": 0.1, "perceptual": 0.05}},
)  # fmt: skip


@pytest.fixture(scope="session")
def labelled_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes with class names: flat-ish fields and dark water."""
    root = tmp_path_factory.mktemp("labelled")
    for split, first in (("train", 0), ("val", 20)):
        folder = root / split / "aerial"
        folder.mkdir(parents=True)
        for number in range(4):
            for shift, name in enumerate(CLASSES):
                scene = made_up_scene(64, 72, first + number) // (1 + 2 * shift)
                Image.fromarray(scene).save(folder / f"aerial_{name}_{number}.png")
    return root


def pair(count: int = 2, side: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Sharp scenes and the same averaged over 3x3 px."""
    scenes = np.stack([made_up_scene(side, side, seed) for seed in range(count)])
    sharp = torch.from_numpy(np.moveaxis(scenes, -1, 1).astype(np.float32) / 255)
    padded = torch.nn.functional.pad(sharp, (1, 1, 1, 1), mode="reflect")
    return torch.nn.functional.avg_pool2d(padded, 3, 1), sharp


# ---- counts -------------------------------------------------------------------------------------


def on_meta(make):  # type: ignore[no-untyped-def]
    with torch.device("meta"):
        return make()


@pytest.mark.parametrize(
    ("blocks", "parameters", "gmacs"), [(8, "6.81", "63.7"), (20, "16.11", "150.7")]
)
def test_mimo_unet_counts_are_the_published_ones(blocks: int, parameters: str, gmacs: str) -> None:
    network = on_meta(lambda: mimo_unet.MimoUnet(32, blocks))
    assert f"{counts.parameters(network) / 1e6:.2f}" == parameters
    macs = counts.macs(lambda: mimo_unet.MimoUnet(32, blocks), 256, 256)
    assert f"{macs / 1e9:.1f}" == gmacs


def test_autoencoder_counts_are_those_of_table_1() -> None:
    network = on_meta(Autoencoder)
    layers = [*network.encoder, network.to_code, network.from_code, *network.decoder, network.tail]
    assert [counts.parameters(layer) for layer in layers] == [
        1_792, 73_856, 295_168, 16_777_472, 16_842_752, 590_080, 295_040, 73_792, 1_731,
    ]  # fmt: skip
    assert counts.parameters(network) == 34_951_683
    shape = on_meta(lambda: Autoencoder()(torch.empty(1, 3, 128, 128))).shape
    assert shape == (1, 3, 128, 128)


@pytest.mark.parametrize(
    ("name", "parameters"), [("mgstnet", 15_254_811), ("mgstnet-1", 5_084_937)]
)
def test_mgstnet_counts(name: str, parameters: int) -> None:
    """The text fixes no widths; ours come within 0.2 % of the published 15.23 M at 3 stages."""
    network = on_meta(lambda: make_network(load_config(name)))
    assert counts.parameters(network) == parameters
    stages = load_config(name).network.stages
    assert abs(parameters * 3 / stages / 15.23e6 - 1) < 0.002
    macs = counts.macs(lambda: make_network(load_config(name)), 256, 256)
    assert macs / stages == pytest.approx(47.22e9, rel=1e-3)


def test_vgg16_has_the_convolutions_of_configuration_d() -> None:
    network = on_meta(lambda: SceneVgg(7))
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 13
    assert sum(counts.parameters(c) for c in convolutions) == 14_714_688


def test_macs_agree_with_a_sum_by_hand() -> None:
    def make() -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.ConvTranspose2d(4, 5, 4, 2, 1)
        )

    assert counts.macs(make, 8, 6) == 27 * 4 * 4 * 3 + 4 * 5 * 16 * 4 * 3


# ---- MIMO-UNet ----------------------------------------------------------------------------------


def test_outputs_at_three_scales_and_their_loss() -> None:
    torch.manual_seed(0)
    network = mimo_unet.MimoUnet(8, 1)
    captured, sharp = pair()
    outputs = network(captured)
    assert [tuple(o.shape[-2:]) for o in outputs] == [(32, 32), (16, 16), (8, 8)]
    exact = mimo_unet.pyramid(sharp)
    assert mimo_unet.content_loss(exact, sharp) == 0
    assert mimo_unet.frequency_loss(exact, sharp) == 0
    # An offset of d is one Fourier coefficient of H W d, all real.
    shifted = [e + 0.5 for e in exact]
    assert float(mimo_unet.content_loss(shifted, sharp)) == pytest.approx(1.5, rel=1e-5)
    expected = sum(0.5 * n * n / (2 * n * (n // 2 + 1)) for n in (32, 16, 8))
    assert float(mimo_unet.frequency_loss(shifted, sharp)) == pytest.approx(expected, rel=1e-4)


def test_quarter_turns_are_numpys_rotations() -> None:
    x = torch.arange(2 * 3 * 5.0).reshape(2, 3, 5)
    for count in range(-4, 5):
        expected = np.rot90(x.numpy(), count, axes=(-2, -1))
        np.testing.assert_array_equal(mimo_unet.quarter_turns(x, count).numpy(), expected)


def test_rotation_average_commutes_with_rotation_and_keeps_the_weights() -> None:
    torch.manual_seed(0)
    network = mimo_unet.MimoUnet(4, 1)
    torch.nn.init.normal_(network.out1.weight, std=0.1)  # an untrained one commutes anyway
    average = mimo_unet.RotationAverage(network)
    assert counts.parameters(average) == counts.parameters(network)
    image = torch.rand(1, 3, 16, 24)
    turned = mimo_unet.quarter_turns(image, 1)
    with torch.inference_mode():
        whole, plain = average(image), network(image)[0]
        again = mimo_unet.quarter_turns(average(turned), -1)
    torch.testing.assert_close(again, whole, rtol=0, atol=1e-6)
    assert (whole - plain).abs().max() > 1e-4


# ---- MGSTNet ------------------------------------------------------------------------------------


def test_convolution_is_the_textbook_sum() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((1, 2, 9, 11))
    kernel = rng.random((1, 5, 5))
    padded = np.pad(image[0], ((0, 0), (2, 2), (2, 2)), mode="reflect")
    expected = np.zeros((2, 9, 11))
    for i in range(5):
        for j in range(5):
            # (h * u)(y, x) = sum h(i, j) u(y - i, x - j), indices from the kernel's middle.
            expected += kernel[0, i, j] * padded[:, 4 - i : 13 - i, 4 - j : 15 - j]
    found = mgstnet.convolve(torch.from_numpy(image), torch.from_numpy(kernel))
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-12)


def test_kernel_gradient_is_autograds() -> None:
    """Equation 9: the gradient of |u * h - g|^2 / 2 over the number of samples."""
    generator = torch.Generator().manual_seed(0)
    u, g = torch.rand(2, 2, 3, 12, 10, generator=generator, dtype=torch.float64)
    h = torch.rand(2, 5, 5, generator=generator, dtype=torch.float64).requires_grad_()
    loss = (mgstnet.convolve(u, h) - g).square().sum() / (2 * 3 * 12 * 10)
    (expected,) = torch.autograd.grad(loss, h)
    found = mgstnet.kernel_gradient(u, h.detach(), g)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_image_gradient_is_autograds_away_from_the_border() -> None:
    """Equation 15; at the border mirroring is not its own adjoint."""
    generator = torch.Generator().manual_seed(0)
    u, g = torch.rand(2, 1, 3, 16, 18, generator=generator, dtype=torch.float64)
    h = torch.rand(1, 5, 5, generator=generator, dtype=torch.float64)
    u.requires_grad_()
    loss = (mgstnet.convolve(u, h) - g).square().sum() / 2
    (expected,) = torch.autograd.grad(loss, u)
    found = mgstnet.image_gradient(u.detach(), h, g)
    inner = (..., slice(5, -5), slice(5, -5))
    torch.testing.assert_close(found[inner], expected[inner], rtol=1e-10, atol=1e-12)


def brute_force(y: float, theta: float, p: float) -> float:
    """The minimiser of (x - y)^2 / 2 + theta |x|^p on a fine grid."""
    x = np.linspace(0.0, abs(y), 400_001)
    cost = 0.5 * (x - abs(y)) ** 2 + theta * x**p
    return float(np.sign(y) * x[np.argmin(cost)])


@pytest.mark.parametrize("p", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("theta", [0.05, 0.4])
def test_generalised_shrinkage_is_the_brute_force_minimiser(p: float, theta: float) -> None:
    """Equations 19 and 20: where the threshold lies, and what remains above it."""
    t, q = torch.tensor(theta, dtype=torch.float64), torch.tensor(p, dtype=torch.float64)
    tau = float(mgstnet.gst_threshold(t, q))
    assert brute_force(0.999 * tau, theta, p) == 0.0
    assert brute_force(1.001 * tau, theta, p) > 0.1 * tau
    values = [-3.0, -1.2 * tau, -0.5 * tau, 0.0, 0.9 * tau, 1.05 * tau, 1.5 * tau, 2.0]
    y = torch.tensor(values, dtype=torch.float64)
    expected = [brute_force(v, theta, p) for v in values]
    converged = mgstnet.generalised_shrinkage(y, t, q, iterations=200)
    np.testing.assert_allclose(converged.numpy(), expected, atol=2e-3 * tau)
    published = mgstnet.generalised_shrinkage(y, t, q)
    np.testing.assert_array_equal(published.numpy() == 0, np.asarray(expected) == 0)
    far = np.abs(values) >= 1.5 * tau
    np.testing.assert_allclose(published.numpy()[far], np.asarray(expected)[far], rtol=0.02)


def test_shrinkage_gradients_stay_finite_and_p_near_1_is_soft() -> None:
    y = torch.linspace(-1, 1, 41, dtype=torch.float64, requires_grad=True)
    theta = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    p = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    mgstnet.generalised_shrinkage(y, theta, p).sum().backward()
    for leaf in (y, theta, p):
        assert torch.isfinite(leaf.grad).all()
    near_one = torch.tensor(1.0 - 1e-9, dtype=torch.float64)
    found = mgstnet.generalised_shrinkage(y.detach(), theta.detach(), near_one)
    torch.testing.assert_close(found, mgstnet.soft(y, theta).detach(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, -1.0, 0.0])
def test_kernels_are_normalised(scale: float) -> None:
    kernel = mgstnet.normalised(scale * torch.randn(3, 7, 7))
    assert (kernel >= 0).all()
    torch.testing.assert_close(kernel.sum(dim=(-2, -1)), torch.ones(3))


def test_every_stage_gives_an_image_and_a_kernel_of_sum_1() -> None:
    torch.manual_seed(0)
    network = make_network(tiny("mgstnet"))
    captured, sharp = pair()
    images, kernels = network(captured)
    assert [tuple(i.shape) for i in images] == [(2, 3, 32, 32)] * 2
    assert [tuple(k.shape) for k in kernels] == [(2, 5, 5)] * 2
    for kernel in kernels:
        torch.testing.assert_close(kernel.sum(dim=(-2, -1)), torch.ones(2))
    # The true kernel explains the capture, the flat first guess of another size does not.
    box = torch.zeros(2, 5, 5)
    box[:, 1:4, 1:4] = 1 / 9
    assert float(mgstnet.kernel_loss([box], sharp, captured)) < 1e-6
    assert float(mgstnet.kernel_loss([torch.full((2, 5, 5), 0.04)], sharp, captured)) > 1e-3
    exact = float(mgstnet.charbonnier_loss([sharp, sharp], sharp))
    assert exact == pytest.approx(2 * mgstnet.CHARBONNIER_EPSILON, rel=1e-4)
    image = captured[0].permute(1, 2, 0).contiguous().numpy()
    assert estimate_kernel(network, image).sum() == pytest.approx(1.0, abs=1e-12)


# ---- discriminators and the VGG16 ---------------------------------------------------------------


def spectral_norms(network: torch.nn.Module) -> list[float]:
    found = []
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            assert torch.nn.utils.parametrize.is_parametrized(layer, "weight")
            found.append(float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)))
    return found


def test_every_convolution_has_spectral_norm_1() -> None:
    torch.manual_seed(0)
    network = MultiScaleDiscriminator(6, 4, 2)
    x = torch.rand(1, 6, 32, 32)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight = 5.0 * layer.parametrizations.weight.original
        network.train()
        for _ in range(60):  # one power iteration each
            network(x)
    network.eval()
    norms = spectral_norms(network)
    assert len(norms) == 2 * (5 + 3)
    assert all(0.97 < norm < 1.001 for norm in norms), norms


def test_patches_of_70_px() -> None:
    """A score depends on 70x70 px of the image."""
    torch.manual_seed(0)
    network = PatchDiscriminator(3, 2, attention=False).double().eval()
    x = torch.rand(1, 3, 128, 128, dtype=torch.float64, requires_grad=True)
    scores = network(x)[-1]
    scores[0, 0, 8, 8].backward()
    rows, columns = np.nonzero(x.grad[0].abs().sum(0).numpy())
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (70, 70)


def test_attention_starts_as_the_identity_and_then_sees_everything() -> None:
    torch.manual_seed(0)
    layer = SelfAttention(16).eval()
    x = torch.rand(1, 16, 6, 5, requires_grad=True)
    assert torch.equal(layer(x), x)
    with torch.no_grad():
        layer.gamma.fill_(1.0)
    layer(x)[0, 0, 0, 0].backward()
    assert (x.grad.abs().sum(dim=1) > 0).all()


def test_adversarial_and_feature_losses() -> None:
    answers = [[torch.ones(1, 2, 4, 4), torch.full((1, 1, 3, 3), value)] for value in (1.0, 0.5)]
    assert float(adversarial_loss(answers, real=True)) == pytest.approx(0.125)
    assert float(adversarial_loss(answers, real=False)) == pytest.approx(0.625)
    other = [[torch.zeros(1, 2, 4, 4), scores] for _, scores in answers]
    assert float(feature_loss(answers, other)) == pytest.approx(1.0)


def test_perceptual_loss_is_zero_for_equals_and_freezes_the_network() -> None:
    torch.manual_seed(0)
    loss = PerceptualLoss(SceneVgg(2, 4), (1, 3)).train()
    captured, sharp = pair()
    assert float(loss(sharp, sharp)) == 0
    captured.requires_grad_()
    loss(captured, sharp).backward()
    assert captured.grad.abs().sum() > 0
    assert all(p.grad is None for p in loss.parameters())
    assert not any(m.training for m in loss.vgg.modules())
    with pytest.raises(OptionsError, match="blocks"):
        PerceptualLoss(SceneVgg(2, 4), (6,))


def test_labels_come_from_the_file_names(labelled_dir: Path, scenes_dir: Path) -> None:
    scenes = LabelledScenes(labelled_dir / "train", smallest=32)
    assert scenes.classes == CLASSES
    assert sorted(scenes.labels) == [0] * 4 + [1] * 4
    images, labels = scenes.batch(1, 0, 6, 32)
    assert images.shape == (6, 3, 32, 32)
    assert images.min() >= 0
    assert images.max() <= 1
    again, _ = scenes.batch(1, 0, 6, 32)
    assert torch.equal(images, again)
    brightness = images.mean(dim=(1, 2, 3))
    assert brightness[labels == 0].mean() > brightness[labels == 1].mean() + 0.1
    with pytest.raises(InputImageError, match="aerial_<class>"):
        LabelledScenes(scenes_dir / "train", smallest=32)


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


def test_shipped_configurations() -> None:
    names = {name for name in shipped() if "system" in read(name)}
    full = {
        "autoencoder", "imagine", "imagine-reduced", "mgstnet", "mgstnet-1", "mimo-unet",
        "mimo-unet-plus", "vgg16",
    }  # fmt: skip
    short = {
        "autoencoder-short", "imagine-short", "mgstnet-1-short", "mimo-unet-plus-short",
        "mimo-unet-short", "vgg16-short",
    }  # fmt: skip
    assert names == full | short
    assert load_config("mimo-unet-short").network == load_config("mimo-unet").network
    assert load_config("mgstnet-1-short").network == load_config("mgstnet-1").network
    assert load_config("autoencoder-short").network == load_config("autoencoder").network
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


# ---- training -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "rate", "steps", "fall"),
    [
        ("mimo-unet", 3e-3, 50, 0.8),
        ("mgstnet", 4e-3, 12, 0.5),
        ("autoencoder", 1e-2, 60, 0.6),
    ],
)
@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_one_batch_is_learnt(
    system: str, rate: float, steps: int, fall: float, precision: str
) -> None:
    config = tiny(system, {"steps": steps, "learning_rate": rate})
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, precision=precision))
    trainer = Trainer(config)
    captured, sharp = pair()
    losses = [trainer.train_step(captured, sharp)["loss"] for _ in range(steps)]
    assert losses[-1] < fall * losses[0], losses[::8]


def test_vgg_learns_classes() -> None:
    config = tiny("vgg16", {"steps": 60, "learning_rate": 1e-3})
    trainer = Trainer(config, classes=CLASSES)
    captured, _ = pair(4)
    labels = torch.tensor([0, 1, 0, 1])
    losses = [trainer.train_step(captured, labels)["loss"] for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    trainer = Trainer(tiny("mimo-unet"))
    captured, sharp = pair()
    captured[0, 0, 0, 0] = float("nan")
    with pytest.raises(Exception, match="not finite"):
        trainer.train_step(captured, sharp)


def test_generator_and_critic_work_against_each_other(labelled_dir: Path) -> None:
    config = tiny("mimo-unet", {"steps": 80, "loss": {"adversarial": 1.0, "content": 0.1}})
    trainer = Trainer(config)
    captured, sharp = pair(2, 64)
    rows = [trainer.train_step(captured, sharp) for _ in range(30)]
    assert rows[-1]["critic"] < rows[0]["critic"]  # it learns to tell them apart
    assert all(set(r) >= {"critic", "adversarial", "reconstruction"} for r in rows)
    # What the generator is asked for changes nothing in the discriminators.
    assert all(p.requires_grad for p in trainer.discriminator.parameters() if p.is_leaf)


def assert_same(a: dict[str, object], b: dict[str, object]) -> None:
    def compare(x: object, y: object, where: str) -> None:
        if isinstance(x, torch.Tensor):
            assert torch.equal(x, y), where
        elif isinstance(x, dict):
            assert x.keys() == y.keys(), where
            for key in x:
                compare(x[key], y[key], f"{where}.{key}")
        elif isinstance(x, list | tuple):
            for number, (one, other) in enumerate(zip(x, y, strict=True)):
                compare(one, other, f"{where}.{number}")
        else:
            assert x == y or x is None, where

    parts = ("step", "network", "optimizer", "discriminator", "critic", "plateau")
    compare({k: a[k] for k in parts}, {k: b[k] for k in parts}, "")


@pytest.mark.parametrize("system", ["mimo-unet", "mgstnet", "autoencoder", "vgg16"])
def test_resumed_run_equals_an_uninterrupted_one(
    system: str, labelled_dir: Path, tmp_path: Path
) -> None:
    plateau = {"plateau_steps": 2, "plateau_patience": 1, "learning_rate": 1e-2}
    config = tiny(system, plateau)
    whole = train(config, labelled_dir, tmp_path / "whole", progress=False)
    for until in (1, 3, None):
        parts = train(config, labelled_dir, tmp_path / "parts", until=until, progress=False)
    assert read_checkpoint(whole)["step"] == 6
    assert_same(read_checkpoint(whole), read_checkpoint(parts))


def test_resumed_gan_equals_an_uninterrupted_one(labelled_dir: Path, tmp_path: Path) -> None:
    config = tiny("mimo-unet", *GAN)
    whole = train(config, labelled_dir, tmp_path / "whole", progress=False)
    vgg = tmp_path / "whole" / "vgg16" / "checkpoint.pt"
    assert read_checkpoint(vgg)["classes"] == list(CLASSES)
    for until in (2, 3, 4, None):  # inside the phases, and between them
        parts = train(
            config, labelled_dir, tmp_path / "parts", until=until, perceptual=vgg, progress=False
        )
    assert not (tmp_path / "parts" / "vgg16").exists()
    assert_same(read_checkpoint(whole), read_checkpoint(parts))
    rows = (tmp_path / "whole" / "log.csv").read_text().splitlines()
    assert rows[0].startswith("time,step,phase,seconds,learning_rate,loss")
    assert [row.split(",")[1:3] for row in rows[1:]] == [
        ["2", "generic"], ["4", "refined"], ["6", "refined"],
    ]  # fmt: skip


def test_another_configuration_or_folder_is_refused(
    labelled_dir: Path, scenes_dir: Path, tmp_path: Path
) -> None:
    train(tiny("mimo-unet"), labelled_dir, tmp_path, until=1, progress=False)
    with pytest.raises(OptionsError, match="phases"):
        train(tiny("mimo-unet", {"batch": 1}), labelled_dir, tmp_path, progress=False)
    with pytest.raises(OptionsError, match="data"):
        train(tiny("mimo-unet"), scenes_dir, tmp_path, progress=False)


def test_initialise_starts_from_weights(labelled_dir: Path, tmp_path: Path) -> None:
    config = tiny("mimo-unet")
    first = train(config, labelled_dir, tmp_path / "a", until=2, progress=False)
    trainer = Trainer(config)
    trainer.start_from(read_checkpoint(first)["network"])
    later = tiny("mimo-unet", {"degradation": "gauss", "learning_rate": 1e-9})
    second = train(later, labelled_dir, tmp_path / "b", until=1, initialise=first, progress=False)
    state = read_checkpoint(second)
    (before,) = state["history"]
    assert (before["name"], before["steps"], before["crops"]) == ("tiny-mimo-unet", 2, 4)
    assert before["processor_seconds"] <= before["seconds"] + 1
    for name, tensor in trainer.network.state_dict().items():
        torch.testing.assert_close(state["network"][name], tensor, rtol=0, atol=1e-7)


def test_a_grown_network_computes_the_same(labelled_dir: Path, tmp_path: Path) -> None:
    first = train(tiny("mimo-unet"), labelled_dir, tmp_path / "a", progress=False)
    deeper = tiny("mimo-unet", network={"width": 8, "blocks": 3})
    small, large = load_network(first)[0], Trainer(deeper)
    large.start_from(read_checkpoint(first)["network"])
    captured, sharp = pair()
    with torch.inference_mode():
        torch.testing.assert_close(small(captured), large.network.eval()(captured))
    before = [block.second.weight.clone() for block in large.network.encode1]
    for _ in range(2):
        large.train_step(captured, sharp)
    after = [block.second.weight for block in large.network.encode1]
    assert all(bool((a != b).any()) for a, b in zip(after, before, strict=True))
    for wrong in ({"width": 4, "blocks": 3}, {"width": 8, "blocks": 0}):
        with pytest.raises(OptionsError, match="initialise"):
            train(
                tiny("mimo-unet", network=wrong), labelled_dir, tmp_path / "b", initialise=first,
                progress=False,
            )  # fmt: skip


def test_an_untrained_network_changes_nothing() -> None:
    captured, _ = pair()
    torch.manual_seed(0)
    for restored, wanted in zip(
        mimo_unet.MimoUnet(8, 1)(captured), mimo_unet.pyramid(captured), strict=True
    ):
        torch.testing.assert_close(restored, wanted)


def test_fresh_features_have_mean_0_and_variance_1() -> None:
    torch.manual_seed(0)
    network = mimo_unet.MimoUnet(8, 2)
    captured, _ = pair(4)
    captured = 0.4 + 0.2 * (captured - 0.5)  # a blurred scene of low contrast
    found: dict[str, torch.Tensor] = {}

    def spreads() -> dict[str, float]:
        for name, part in (("head", network.head[0]), ("join1", network.join1[0])):
            part.register_forward_hook(lambda m, i, o, name=name: found.update({name: o.clone()}))
        with torch.inference_mode():
            network(captured)
        return {name: float(o.std(dim=(0, 2, 3)).min()) for name, o in found.items()}

    before = spreads()
    scale_to_data(network, captured)
    after = spreads()
    assert max(before.values()) < 0.05
    assert min(after.values()) == pytest.approx(1.0, abs=0.02)
    assert float(found["join1"].mean(dim=(0, 2, 3)).abs().max()) < 0.02
    torch.testing.assert_close(network(captured)[0], captured)


def test_scaled_mgstnet_starts_from_its_gradient_steps() -> None:
    torch.manual_seed(0)
    network = mgstnet.Mgstnet(2, (4, 8, 8), 1, 4, 5, 2)
    captured, _ = pair(4)
    kernels = {k: v.clone() for k, v in network.state_dict().items() if "kernel_proximal" in k}
    scale_to_data(network, captured)
    state = network.state_dict()
    assert all(torch.equal(state[name], before) for name, before in kernels.items())
    with torch.no_grad():
        images, (_, first) = network(captured)
    step = captured - network.stages[0].rho * mgstnet.image_gradient(captured, first, captured)
    torch.testing.assert_close(images[1], step)
    head = network.stages[0].image_proximal.head
    assert float(head.weight.detach().sum(dim=(2, 3)).abs().max()) < 1e-5
    spread = head(step).detach().std(dim=(0, 2, 3))
    torch.testing.assert_close(spread, torch.ones_like(spread), rtol=0.05, atol=0.0)


def test_validation_table(scenes_dir: Path, tmp_path: Path) -> None:
    run = {"precision": "f32", "threads": 1, "evaluate_every": 1, "checkpoint_every": 0,
           "protocols": ["gauss", "spin"], "validate_aerial_every": 2}  # fmt: skip
    train(tiny("mgstnet", {"steps": 1}, run=run), scenes_dir, tmp_path, progress=False)
    rows = [r.split(",") for r in (tmp_path / "validation.csv").read_text().splitlines()]
    assert rows[0] == ["step", "protocol", "input", "ours", "gain_p5", "mnc"]
    assert [r[:2] for r in rows[1:]] == [["1", "gauss"], ["1", "spin"]]
    assert 0 < float(rows[1][5]) <= 1
    assert rows[2][5] == "nan"
    export(tmp_path / "checkpoint.pt", tmp_path / "network.onnx")
    figures = describe(tmp_path / "network.onnx").training["validation"]
    assert figures["gauss"]["ours"] == pytest.approx(float(rows[1][3]), abs=1e-3)
    assert set(figures["spin"]) == {"step", "input", "ours", "gain_p5"}


@pytest.mark.parametrize("system", ["mimo-unet", "autoencoder"])
def test_whole_images_of_any_size(system: str) -> None:
    """A network that hands its input through leaves every image as it is."""

    class Through(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.shape[-1] % 32 == x.shape[-2] % 32 == 0
            return x

    fixed = system == "autoencoder"
    for rows, columns in ((1, 5), (32, 64), (75, 110)):
        image = np.random.default_rng(0).random((rows, columns, 3), np.float32)
        found = restore_image(Restorer(Through()), image, multiple_of=32, fixed=fixed)
        np.testing.assert_allclose(found, image, atol=1e-6)


# ---- export and captures ------------------------------------------------------------------------


@pytest.fixture(scope="session")
def checkpoints(labelled_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A few steps of each system."""
    root = tmp_path_factory.mktemp("published")
    return {
        system: train(tiny(system), labelled_dir, root / system, until=2, progress=False)
        for system in ("mimo-unet", "mgstnet", "autoencoder", "vgg16")
    }


@pytest.fixture(scope="session")
def models(checkpoints: dict[str, Path]) -> dict[str, Path]:
    """Their exports."""
    pytest.importorskip("onnxruntime")
    made = {}
    for system in ("mimo-unet", "mgstnet", "autoencoder"):
        made[system] = checkpoints[system].with_name(f"{system}.onnx")
        values = export(checkpoints[system], made[system])
        assert values["difference"]["onnxruntime"] < 1e-4
    return made


@pytest.mark.parametrize(
    ("system", "multiple"), [("mimo-unet", 4), ("mgstnet", 4), ("autoencoder", 1)]
)
def test_export_describes_itself(system: str, multiple: int, models: dict[str, Path]) -> None:
    descriptor = describe(models[system])
    assert descriptor.inputs == ("capture.r", "capture.g", "capture.b")
    assert (descriptor.local, descriptor.halo, descriptor.scales) == (False, 0, (1,))
    assert (descriptor.multiple_of, descriptor.input_offset) == (multiple, 0.0)
    assert descriptor.training["system"] == system
    assert descriptor.training["steps"] == 2


def test_export_of_the_rotation_average(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    export(checkpoints["mimo-unet"], tmp_path / "pp.onnx", rotations=True, scale=4)
    assert describe(tmp_path / "pp.onnx").scales == (4,)
    network, _, _ = load_network(checkpoints["mimo-unet"])
    weights = 4 * counts.parameters(network)
    assert (tmp_path / "pp.onnx").stat().st_size < 2 * weights  # they are there once
    tile = np.random.default_rng(0).random((1, 3, 24, 40), np.float32)
    session = onnxruntime.InferenceSession(
        str(tmp_path / "pp.onnx"), providers=["CPUExecutionProvider"]
    )
    with torch.inference_mode():
        expected = mimo_unet.RotationAverage(network)(torch.from_numpy(tile)).numpy()
    np.testing.assert_allclose(session.run(None, {"planes": tile})[0], expected, atol=1e-5)


@pytest.fixture(scope="session")
def through(labelled_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MIMO-UNet checkpoint that hands the capture on unchanged."""
    config = tiny("mimo-unet")
    folder = tmp_path_factory.mktemp("through")
    path = train(config, labelled_dir, folder, until=1, progress=False)
    state = read_checkpoint(path)
    for name in ("out1.weight", "out1.bias"):
        state["network"][name].zero_()
    torch.save(state, path)
    return path


def capture(rows: int, columns: int) -> np.ndarray:
    """(rows, columns, 3) float32: a made-up scene as the instrument might see it."""
    return made_up_scene(rows, columns, 7).astype(np.float32) / 255


@pytest.fixture
def session_class():  # type: ignore[no-untyped-def]
    pytest.importorskip("onnxruntime")
    pytest.importorskip("imagine_deblur._core", reason="the native core is not built")
    from imagine_deblur.session import Session

    return Session


FRAME_UNDER_A_BUDGET = """
import sys
import numpy as np
from imagine_deblur.errors import MemoryBudgetError
from imagine_deblur.session import Session
try:
    session = Session(model=sys.argv[1], max_ram=sys.argv[2], tile=256, threads=1,
                      engine="onnxruntime")
    session.restore(np.random.default_rng(0).integers(0, 256, (300, 520, 3), np.uint8))
except MemoryBudgetError as error:
    print("wanted", error.wanted)
else:
    status = open("/proc/self/status").read()
    print("peak", int(status.partition("VmHWM:")[2].split()[0]) << 10)
"""


def test_memory_of_a_wide_network_is_planned(tmp_path: Path, session_class) -> None:  # type: ignore[no-untyped-def]
    """Its tiles take ten times what our own networks take; the plan knows, and keeps to it."""
    config = from_dict({"name": "wide", "system": "mimo-unet", "network": {"blocks": 1}})
    trainer = Trainer(config)
    torch.nn.init.normal_(trainer.network.out1.weight, std=0.01)
    trainer.save(
        tmp_path / "wide.pt", seconds=0.0, processor_seconds=0.0, training_checksum="", history=[]
    )
    held = export(tmp_path / "wide.pt", tmp_path / "wide.onnx")
    assert 1000 < held["working_bytes"] < 4000
    model = resolve_model(tmp_path / "wide.onnx")
    assert model.working_bytes(256, 128) == 256 * 128 * held["working_bytes"]
    reduced = dataclasses.replace(
        model, descriptor=dataclasses.replace(model.descriptor, scales=(4,))
    )
    assert reduced.working_bytes(256, 128) == 64 * 32 * held["working_bytes"]

    def run(max_ram: int) -> tuple[str, int]:
        command = [sys.executable, "-c", FRAME_UNDER_A_BUDGET, str(tmp_path / "wide.onnx")]
        done = subprocess.run([*command, str(max_ram)], capture_output=True, text=True, check=True)
        word, number = done.stdout.split()
        return word, int(number)

    word, wanted = run(150 << 20)
    assert word == "wanted"
    word, peak = run(wanted)
    assert word == "peak"
    assert 0.8 * wanted < peak < 1.15 * wanted  # a tenth above it, as measured


def test_side_by_side(
    through: Path, labelled_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture, session_class
) -> None:  # type: ignore[no-untyped-def]
    """A network that changes nothing gains nothing, has no seams, and costs what its file says."""
    import side_by_side

    export(through, tmp_path / "same.onnx")
    rows, system = str(tmp_path / "rows.jsonl"), f"same={tmp_path / 'same.onnx'}"
    scenes = str(labelled_dir / "val")
    quality = ["quality", scenes, rows, "--protocol", "defocus", "--limit", "2"]
    assert side_by_side.main([*quality, "--references"]) == 0
    assert side_by_side.main([*quality, "--system", system]) == 0
    shot = tmp_path / "capture.jpg"
    Image.fromarray(made_up_scene(150, 170, 3)).save(shot, quality=95)
    assert side_by_side.main(["speed", str(shot), rows, "--tile", "96", "--system", system]) == 0
    found = {(r["kind"], r["system"]): r for r in side_by_side.read_rows(Path(rows))}
    same, given = found["quality", "same"], found["quality", "input"]
    assert same["gain"] == 0.0
    assert same["ssim"] == given["ssim"]
    assert (same["steps"], same["crops"], same["images"]) == (1, 2, 2)
    assert found["quality", "oracle Wiener"]["gain"] > 0.5
    run = found["speed", "same"]
    assert run["peak_mib"] > 30
    assert run["cpu_seconds"] > 0.1
    assert abs(run["seam_relative"]) < 0.05
    capsys.readouterr()
    assert side_by_side.main(["table", rows]) == 0
    gains, costs = capsys.readouterr().out.split("\n\n")
    assert f"| same | +0.00 / {same['ssim']:.3f} |" in gains
    assert f"| same | {same['parameters']:,} |" in costs


@pytest.mark.parametrize("shape", [(97, 130), (40, 33)])
def test_a_capture_through_a_blended_network_that_changes_nothing(
    shape: tuple[int, int], through: Path, tmp_path: Path, session_class
) -> None:  # type: ignore[no-untyped-def]
    model = tmp_path / "through.onnx"
    export(through, model)
    image = capture(*shape)
    with session_class(model=model, engine="onnxruntime", tile=48, overlap=12, threads=1) as s:
        restored, report = s.restore_with_report(image)
        byte_image = np.rint(image * 255).astype(np.uint8)
        np.testing.assert_array_equal(s.restore(byte_image), byte_image)
    np.testing.assert_allclose(restored, image, atol=1e-6)
    assert report.engine == "onnxruntime"
    assert report.tiles > 1 or max(shape) <= 48


@pytest.mark.parametrize(
    ("system", "scale", "side"),
    [("mimo-unet", 1, 96), ("mimo-unet", 4, 96), ("mgstnet", 1, 64), ("autoencoder", 1, 32)],
)
def test_one_tile_is_what_pytorch_gives(
    system: str,
    scale: int,
    side: int,
    checkpoints: dict[str, Path],
    models: dict[str, Path],
    tmp_path: Path,
    session_class,  # type: ignore[no-untyped-def]
) -> None:
    model = models[system]
    if scale > 1:
        model = tmp_path / "m.onnx"
        export(checkpoints[system], model, scale=scale)
    image = capture(side, side)
    network, config, _ = load_network(checkpoints[system])
    expected = restore_image(
        Restorer(network),
        image,
        multiple_of=config.multiple_of,
        fixed=system == "autoencoder",
        scale=scale,
    )
    with session_class(model=model, engine="onnxruntime", tile=side, threads=1) as s:
        restored, report = s.restore_with_report(image)
    assert report.tiles == 1
    np.testing.assert_allclose(restored, expected, atol=1e-4)
    # A quarter of the scale loses detail even where the network is fair.
    lost = np.abs(np.diff(restored, axis=1)).mean() / np.abs(np.diff(image, axis=1)).mean()
    if scale == 4:
        assert lost < 0.7


@pytest.mark.parametrize("shape", [(70, 45), (20, 90), (9, 9)])
def test_the_autoencoder_gets_its_own_tile_whatever_is_asked(
    shape: tuple[int, int], models: dict[str, Path], session_class
) -> None:  # type: ignore[no-untyped-def]
    model = models["autoencoder"]
    with session_class(model=model, engine="onnxruntime", tile=512, overlap=8, threads=1) as s:
        restored, report = s.restore_with_report(capture(*shape))
    assert (report.tile_rows, report.tile_columns) == (32, 32)
    assert np.isfinite(restored).all()


def test_blending_hides_the_tiles(models: dict[str, Path], session_class) -> None:  # type: ignore[no-untyped-def]
    """Tiles of the autoencoder disagree at their borders; overlap spreads the difference."""
    model = models["autoencoder"]
    image = capture(96, 96)
    steps = {}
    for overlap in (0, 12):
        with session_class(
            model=model, engine="onnxruntime", overlap=overlap, threads=1, reblur_check=False
        ) as s:
            restored = s.restore(image)
        jump = np.abs(np.diff(restored, axis=1)).mean(axis=(0, 2))
        steps[overlap] = jump.max() / np.median(jump)
    assert steps[12] < 0.5 * steps[0]


def test_process_writes_a_jpeg(models: dict[str, Path], tmp_path: Path, session_class) -> None:  # type: ignore[no-untyped-def]
    model, source = models["mgstnet"], tmp_path / "capture.jpg"
    Image.fromarray(made_up_scene(90, 77, 3)).save(source, quality=90)
    with session_class(model=model, engine="onnxruntime", tile=64, overlap=16, threads=1) as s:
        report = s.process(source, tmp_path / "out.jpg")
    assert report.model == "mgstnet"
    with Image.open(tmp_path / "out.jpg") as picture:
        assert picture.size == (77, 90)


def test_area_and_bicubic() -> None:
    rng = np.random.default_rng(0)
    planes = rng.random((2, 8, 12), np.float32)
    reduced = area_reduce(planes, 4)
    assert reduced[1, 0, 2] == pytest.approx(planes[1, :4, 8:].mean())
    with pytest.raises(OptionsError, match="factor"):
        area_reduce(planes, 5)
    # A ramp comes through exactly away from the borders, and so does a constant everywhere.
    ramp = np.broadcast_to(np.arange(10, dtype=np.float32), (1, 6, 10)).copy()
    enlarged = bicubic_enlarge(ramp, 4)
    expected = (np.arange(40) + 0.5) / 4 - 0.5
    inner = slice(8, -8)
    np.testing.assert_allclose(enlarged[0, 3, inner], expected[inner], atol=1e-5)
    flat = np.full((1, 3, 5), 0.25, np.float32)
    np.testing.assert_allclose(bicubic_enlarge(flat, 3), 0.25, atol=1e-6)
    # Pillow's bicubic is Keys' with the same a.
    picture = Image.fromarray(planes[0])
    larger = np.asarray(picture.resize((48, 32), Image.Resampling.BICUBIC))
    found = bicubic_enlarge(planes[:1], 4)[0]
    np.testing.assert_allclose(found[8:-8, 8:-8], larger[8:-8, 8:-8], atol=2e-6)


def test_scaled_engine_declares_what_it_is() -> None:
    inner = IdentityEngine((16, 24), halo=4)
    engine = ScaledEngine(inner, 4)
    assert (engine.spec.tile_rows, engine.spec.tile_columns) == (64, 96)
    assert (engine.spec.local, engine.spec.halo) == (False, 0)
    assert engine.settings["scale"] == 4
    tile = np.random.default_rng(0).random((3, 64, 96), np.float32)
    out = np.empty_like(tile)
    engine.infer(tile, out)
    np.testing.assert_allclose(out, bicubic_enlarge(area_reduce(tile, 4), 4), atol=1e-6)
    with pytest.raises(OptionsError, match="factor"):
        ScaledEngine(inner, 1)


def test_what_cannot_be_exported(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="restores"):
        export(checkpoints["vgg16"], tmp_path / "v.onnx")
    with pytest.raises(OptionsError, match="scale"):
        export(checkpoints["autoencoder"], tmp_path / "a.onnx", scale=4)
    assert not list(tmp_path.iterdir())


def test_command_line(scenes_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    small = [
        "network.width=4", "network.blocks=1", "phases.0.crop=16", "phases.0.margin=4",
        "phases.0.batch=1", "run.threads=1", "run.evaluate_every=0",
    ]  # fmt: skip
    arguments = [x for value in small for x in ("--set", value)]
    run = ["train", "mimo-unet", str(scenes_dir), str(tmp_path), "--until", "1", "--device", "cpu"]
    assert main([*run, *arguments]) == 0
    checkpoint = tmp_path / "checkpoint.pt"
    assert str(checkpoint) in capsys.readouterr().out
    assert main(["export", str(checkpoint), str(tmp_path / "m.onnx"), "--scale", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["scales"] == [2]
    assert main(["export", str(checkpoint), str(tmp_path / "m.onnx"), "--tile", "64"]) == 2
    assert main(["train", "mimo", str(scenes_dir), str(tmp_path)]) == 2
    assert main([*run, "--set", "network.depth=1"]) == 2
    errors = capsys.readouterr().err
    assert all(word in errors for word in ("tile", "mimo-unet", "network.depth"))
