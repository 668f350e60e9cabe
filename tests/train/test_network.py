"""The network is local: its measured reach is the declared one, and tiles equal the whole frame."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from imagine_deblur.errors import OptionsError  # noqa: E402
from imagine_deblur.train.network import Mixture, Network, NetworkSpec, grow  # noqa: E402

SPECS = [
    NetworkSpec(planes=8, width=5, pairs=0, unshuffle=1),
    NetworkSpec(planes=8, width=5, pairs=1, unshuffle=2),
    NetworkSpec(planes=9, width=4, pairs=3, unshuffle=2, reparam=True),
    NetworkSpec(planes=6, width=4, pairs=1, unshuffle=4),
]


def random_network(spec: NetworkSpec, seed: int = 0) -> Network:
    """A network with every weight random, so that no path is zero."""
    generator = torch.Generator().manual_seed(seed)
    network = Network(spec)
    with torch.no_grad():
        for parameter in network.parameters():
            fan = max(1, parameter[0].numel())
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise / fan**0.5)
    return network


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_measured_reach_is_the_declared_halo(spec: NetworkSpec) -> None:
    """Which input pixels move the output of one aligned cell: exactly the cell and its halo."""
    network = random_network(spec).double()
    side = 4 * spec.halo + 4 * spec.unshuffle
    start = (side // 2) // spec.unshuffle * spec.unshuffle
    generator = torch.Generator().manual_seed(1)
    shape = (1, spec.planes, side, side)
    # A ReLU may close a path for one input; over several random ones some input opens each.
    touched = torch.zeros(side, dtype=torch.bool)
    for _ in range(6):
        x = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        cell = network(x)[..., start : start + spec.unshuffle, start : start + spec.unshuffle]
        (gradient,) = torch.autograd.grad(cell.sum(), x)
        touched |= gradient.abs().amax(dim=(0, 1, 2)) > 0
    reached = torch.nonzero(touched).ravel()
    assert int(reached.min()) == start - spec.halo
    assert int(reached.max()) == start + spec.unshuffle - 1 + spec.halo


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_tiles_equal_the_whole_frame(spec: NetworkSpec) -> None:
    """A tile that carries the halo gives the whole frame's values inside its core."""
    network = random_network(spec).double().eval()
    core = 4 * spec.unshuffle
    side = 3 * core + 2 * spec.halo
    generator = torch.Generator().manual_seed(2)
    frame = torch.randn(1, spec.planes, side, side, generator=generator, dtype=torch.float64)
    with torch.inference_mode():
        whole = network(frame)
        for top in range(spec.halo, side - spec.halo, core):
            for left in range(spec.halo, side - spec.halo, core):
                rows = slice(top - spec.halo, top + core + spec.halo)
                columns = slice(left - spec.halo, left + core + spec.halo)
                inner = slice(spec.halo, spec.halo + core)
                tile = network(frame[..., rows, columns])[..., inner, inner]
                same = whole[..., top : top + core, left : left + core]
                torch.testing.assert_close(tile, same, rtol=1e-12, atol=1e-12)


def test_a_smaller_halo_would_not_do() -> None:
    """The previous test can fail: one cell less of margin changes the core."""
    spec = SPECS[1]
    network = random_network(spec).eval()
    margin = spec.halo - spec.unshuffle
    side = 8 + 2 * spec.halo
    frame = torch.randn(1, spec.planes, side, side, generator=torch.Generator().manual_seed(2))
    cut = spec.halo - margin
    with torch.inference_mode():
        whole = network(frame)[..., spec.halo : spec.halo + 8, spec.halo : spec.halo + 8]
        small = network(frame[..., cut:-cut, cut:-cut])[
            ..., margin : margin + 8, margin : margin + 8
        ]
    assert float((whole - small).abs().max()) > 1e-5


def test_untrained_network_is_nearly_its_base_plane() -> None:
    network = Network(NetworkSpec())
    x = torch.rand(1, 8, 32, 32) - 0.5
    with torch.inference_mode():
        difference = (network(x) - (x[:, 3:6] + 0.5)).abs()
    assert float(difference.mean()) < 0.02


def test_cost_and_parameters_are_those_of_the_modules() -> None:
    spec = NetworkSpec(planes=8, width=48, pairs=3)
    network = Network(spec)
    assert sum(p.numel() for p in network.parameters()) == spec.parameters
    cell = spec.unshuffle**2
    macs = sum(p.numel() for n, p in network.named_parameters() if n.endswith("weight")) / cell
    assert spec.macs_per_pixel == pytest.approx(macs)
    assert 30_000 < spec.macs_per_pixel < 40_000


def test_branches_add_up_to_one_kernel() -> None:
    """RepVGG's branches run one by one equal the fused kernel."""
    spec = NetworkSpec(width=6, pairs=1, reparam=True)
    layer = random_network(spec).pairs[0][0]
    x = torch.randn(1, 6, 9, 9)
    functional = torch.nn.functional
    branches = functional.conv2d(x, layer.weight, layer.bias, padding=1)
    branches = branches + functional.conv2d(x, layer.point) + x * layer.identity[:, None, None]
    torch.testing.assert_close(layer(x), branches, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reparam", [False, True])
def test_growing_keeps_the_function(reparam: bool) -> None:
    small = random_network(NetworkSpec(width=5, pairs=1, reparam=reparam))
    spec = NetworkSpec(width=9, pairs=3)
    x = torch.rand(2, 8, 24, 24) - 0.5
    with torch.inference_mode():
        torch.testing.assert_close(grow(small, spec)(x), small(x), rtol=1e-5, atol=1e-5)
    assert any(p.abs().max() > 0 for p in grow(small, spec).pairs[2][0].parameters())


def test_growing_refuses_to_shrink() -> None:
    small = Network(NetworkSpec(width=5, pairs=2))
    for change in ({"width": 4}, {"pairs": 1}, {"planes": 9}, {"unshuffle": 4}):
        with pytest.raises(OptionsError):
            grow(small, dataclasses.replace(small.spec, **change))


@pytest.mark.parametrize(
    "values", [{"planes": 5}, {"width": 0}, {"pairs": -1}, {"unshuffle": 3}], ids=str
)
def test_impossible_shapes_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(OptionsError, match=next(iter(values))):
        NetworkSpec(**values)


def test_output_is_float32_under_autocast() -> None:
    network = Network(NetworkSpec(width=4, pairs=1))
    with torch.autocast("cpu", torch.bfloat16):
        y = network(torch.zeros(1, 8, 8, 8))
    assert y.dtype is torch.float32
    assert np.isfinite(y.detach().numpy()).all()


def test_a_mixture_with_one_experts_share_is_that_expert() -> None:
    mixture = Mixture(NetworkSpec(width=4, pairs=1, experts=3), 5)
    x = torch.rand(2, 8, 16, 16) - 0.5
    with torch.no_grad():
        mixture.router[2].weight.zero_()
        for k, expert in enumerate(mixture.experts):
            mixture.router[2].bias.copy_(40.0 * torch.nn.functional.one_hot(torch.tensor(k), 3))
            torch.testing.assert_close(mixture(x, torch.randn(2, 5)), expert(x))


def test_each_capture_of_a_batch_has_its_own_mixture() -> None:
    mixture = Mixture(NetworkSpec(width=4, pairs=1, experts=2), 5)
    x, traits = torch.rand(1, 8, 16, 16) - 0.5, torch.randn(2, 5)
    with torch.no_grad():
        together = mixture(x.repeat(2, 1, 1, 1), traits)
        for k in range(2):
            torch.testing.assert_close(together[k : k + 1], mixture(x, traits[k : k + 1]))
    assert (together[0] - together[1]).abs().max() > 1e-5


def test_every_expert_and_the_router_learn() -> None:
    mixture = Mixture(NetworkSpec(width=4, pairs=1, experts=2), 5)
    x, sharp = torch.rand(2, 8, 16, 16) - 0.5, torch.rand(2, 3, 16, 16)
    (mixture(x, torch.randn(2, 5)) - sharp).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in mixture.experts.parameters())
    assert mixture.router[2].weight.grad.abs().max() > 0
