"""The published networks: counts, closed forms, discriminators, the VGG16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
Image = pytest.importorskip("PIL.Image", reason="training needs the extra [train]")

from imagine_deblur.errors import InputImageError, OptionsError  # noqa: E402
from imagine_deblur.train.published import counts, mgstnet, mgstnet_steps, mimo_unet  # noqa: E402
from imagine_deblur.train.published.autoencoder import Autoencoder  # noqa: E402
from imagine_deblur.train.published.config import (  # noqa: E402
    load_config,
)
from imagine_deblur.train.published.discriminator import (  # noqa: E402
    MultiScaleDiscriminator,
    PatchDiscriminator,
    SelfAttention,
    adversarial_loss,
    feature_loss,
)
from imagine_deblur.train.published.perceptual import (  # noqa: E402
    LabelledScenes,
    PerceptualLoss,
    SceneVgg,
)
from imagine_deblur.train.published.systems import (  # noqa: E402
    make_network,
)
from imagine_deblur.train.published.validation import estimate_kernel  # noqa: E402
from publishedkit import CLASSES, on_meta, pair, tiny  # noqa: E402


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
    found = mgstnet_steps.convolve(torch.from_numpy(image), torch.from_numpy(kernel))
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-12)


def test_kernel_gradient_is_autograds() -> None:
    """Equation 9: the gradient of |u * h - g|^2 / 2 over the number of samples."""
    generator = torch.Generator().manual_seed(0)
    u, g = torch.rand(2, 2, 3, 12, 10, generator=generator, dtype=torch.float64)
    h = torch.rand(2, 5, 5, generator=generator, dtype=torch.float64).requires_grad_()
    loss = (mgstnet_steps.convolve(u, h) - g).square().sum() / (2 * 3 * 12 * 10)
    (expected,) = torch.autograd.grad(loss, h)
    found = mgstnet_steps.kernel_gradient(u, h.detach(), g)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_image_gradient_is_autograds_away_from_the_border() -> None:
    """Equation 15; at the border mirroring is not its own adjoint."""
    generator = torch.Generator().manual_seed(0)
    u, g = torch.rand(2, 1, 3, 16, 18, generator=generator, dtype=torch.float64)
    h = torch.rand(1, 5, 5, generator=generator, dtype=torch.float64)
    u.requires_grad_()
    loss = (mgstnet_steps.convolve(u, h) - g).square().sum() / 2
    (expected,) = torch.autograd.grad(loss, u)
    found = mgstnet_steps.image_gradient(u.detach(), h, g)
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
    tau = float(mgstnet_steps.gst_threshold(t, q))
    assert brute_force(0.999 * tau, theta, p) == 0.0
    assert brute_force(1.001 * tau, theta, p) > 0.1 * tau
    values = [-3.0, -1.2 * tau, -0.5 * tau, 0.0, 0.9 * tau, 1.05 * tau, 1.5 * tau, 2.0]
    y = torch.tensor(values, dtype=torch.float64)
    expected = [brute_force(v, theta, p) for v in values]
    converged = mgstnet_steps.generalised_shrinkage(y, t, q, iterations=200)
    np.testing.assert_allclose(converged.numpy(), expected, atol=2e-3 * tau)
    published = mgstnet_steps.generalised_shrinkage(y, t, q)
    np.testing.assert_array_equal(published.numpy() == 0, np.asarray(expected) == 0)
    far = np.abs(values) >= 1.5 * tau
    np.testing.assert_allclose(published.numpy()[far], np.asarray(expected)[far], rtol=0.02)


def test_shrinkage_gradients_stay_finite_and_p_near_1_is_soft() -> None:
    y = torch.linspace(-1, 1, 41, dtype=torch.float64, requires_grad=True)
    theta = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    p = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    mgstnet_steps.generalised_shrinkage(y, theta, p).sum().backward()
    for leaf in (y, theta, p):
        assert torch.isfinite(leaf.grad).all()
    near_one = torch.tensor(1.0 - 1e-9, dtype=torch.float64)
    found = mgstnet_steps.generalised_shrinkage(y.detach(), theta.detach(), near_one)
    torch.testing.assert_close(found, mgstnet_steps.soft(y, theta).detach(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, -1.0, 0.0])
def test_kernels_are_normalised(scale: float) -> None:
    kernel = mgstnet_steps.normalised(scale * torch.randn(3, 7, 7))
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
