"""Losses on restored images; all take (N, 3, H, W) float32 and give one number."""

from __future__ import annotations

import torch


def charbonnier(restored: torch.Tensor, sharp: torch.Tensor, epsilon: float = 1e-3) -> torch.Tensor:
    """Mean of sqrt(d^2 + epsilon^2): a smooth L1 (Charbonnier et al. 1994)."""
    return torch.sqrt((restored - sharp).square() + epsilon * epsilon).mean()


def spectral(restored: torch.Tensor, sharp: torch.Tensor) -> torch.Tensor:
    """Mean magnitude of the difference of the orthonormal spectra (Cho et al. 2021, equation 5).

    Weighs a missing frequency by its amplitude, wherever in the crop it sits.
    """
    difference = torch.fft.rfft2(restored - sharp, norm="ortho")
    return torch.sqrt(difference.real.square() + difference.imag.square() + 1e-8).mean()


def restoration_loss(
    restored: torch.Tensor, sharp: torch.Tensor, *, margin: int, spectral_weight: float
) -> torch.Tensor:
    """Charbonnier plus `spectral_weight` times the spectral loss, without the outer `margin`
    pixels.

    The margin keeps what the zero padding of the convolutions touches most out of the loss.
    """
    if margin:
        inner = (..., slice(margin, -margin), slice(margin, -margin))
        restored, sharp = restored[inner], sharp[inner]
    loss = charbonnier(restored, sharp)
    if spectral_weight:
        loss = loss + spectral_weight * spectral(restored, sharp)
    return loss
