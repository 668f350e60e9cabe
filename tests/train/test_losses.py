"""The losses against closed forms."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from imagine_deblur.train.losses import (  # noqa: E402
    SQUARED_FLOOR,
    charbonnier,
    restoration_loss,
    spectral,
)


def test_charbonnier_of_a_constant_difference() -> None:
    sharp = torch.zeros(2, 3, 8, 8)
    restored = sharp + torch.tensor([0.03, 0.4])[:, None, None, None]
    expected = torch.tensor([math.hypot(0.03, 0.01), math.hypot(0.4, 0.01)])
    torch.testing.assert_close(charbonnier(restored, sharp, epsilon=0.01), expected)


def test_spectral_of_one_wave() -> None:
    """A cosine of amplitude a lies in one bin of the half plane, with magnitude a sqrt(n m) / 2."""
    size, amplitude = 16, 0.5
    wave = amplitude * torch.cos(2 * math.pi * 3 * torch.arange(size) / size)
    restored = wave.expand(1, 3, size, size)
    bins = size * (size // 2 + 1)
    expected = amplitude * size / 2 / bins
    assert float(spectral(restored, torch.zeros_like(restored))) == pytest.approx(
        expected, abs=1.1e-4
    )


def test_margin_is_left_out() -> None:
    sharp = torch.zeros(1, 3, 12, 12)
    restored = sharp.clone()
    restored[..., :3, :] = 1.0
    inside = restoration_loss(restored, sharp, margin=3, spectral_weight=0.1)
    whole = restoration_loss(restored, sharp, margin=0, spectral_weight=0.1)
    assert float(inside) == pytest.approx(1e-3 + 0.1e-4, rel=0.01)
    assert float(whole) > 0.2


def test_logarithm_counts_ratios() -> None:
    """Halving the error of the easy or of the hard sample lowers the loss by the same amount."""
    sharp = torch.zeros(2, 3, 8, 8)

    def loss(easy: float, hard: float) -> float:
        restored = sharp + torch.tensor([easy, hard])[:, None, None, None]
        return float(
            restoration_loss(restored, sharp, margin=0, spectral_weight=0.0, logarithmic=True)
        )

    start = loss(0.04, 0.4)
    assert start - loss(0.02, 0.4) == pytest.approx(start - loss(0.04, 0.2), abs=2e-3)
    assert start - loss(0.02, 0.4) == pytest.approx(math.log(2) / 2, abs=2e-3)


def test_squared_loss_is_the_logarithm_of_the_mean_squared_error() -> None:
    sharp = torch.zeros(2, 3, 16, 16)
    restored = torch.full_like(sharp, 0.1)
    restored[1] = 0.01
    options = {"margin": 2, "spectral_weight": 0.05, "logarithmic": True, "squared": True}
    found = restoration_loss(restored, sharp, **options)
    floor = SQUARED_FLOOR
    assert float(found) == pytest.approx((math.log(1e-2 + floor) + math.log(1e-4 + floor)) / 2)
