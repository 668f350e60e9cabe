"""Losses on restored images; all take (N, 3, H, W) float32."""

from __future__ import annotations

import torch

#: Added to the mean squared error before its logarithm: samples restored beyond 45 dB hardly count.
SQUARED_FLOOR = 3e-5


def charbonnier(restored: torch.Tensor, sharp: torch.Tensor, epsilon: float = 1e-3) -> torch.Tensor:
    """Mean of sqrt(d^2 + epsilon^2) per sample: a smooth L1 (Charbonnier et al. 1994); (N,)."""
    distance = torch.sqrt((restored - sharp).square() + epsilon * epsilon)
    return distance.mean(dim=(1, 2, 3))


def spectral(restored: torch.Tensor, sharp: torch.Tensor) -> torch.Tensor:
    """Mean magnitude of the difference of the orthonormal spectra per sample; (N,).

    Weighs a missing frequency by its amplitude, wherever in the crop it sits (Cho et al. 2021,
    equation 5).
    """
    difference = torch.fft.rfft2(restored - sharp, norm="ortho")
    magnitude = torch.sqrt(difference.real.square() + difference.imag.square() + 1e-8)
    return magnitude.mean(dim=(1, 2, 3))


def restoration_loss(
    restored: torch.Tensor,
    sharp: torch.Tensor,
    *,
    margin: int,
    spectral_weight: float,
    logarithmic: bool = False,
    squared: bool = False,
) -> torch.Tensor:
    """Charbonnier plus `spectral_weight` times the spectral loss, without the outer `margin` px.

    With `squared` it is the mean squared error instead, plus `SQUARED_FLOOR`; its logarithm *is*
    PSNR, and its minimum the posterior's mean where Charbonnier's is nearer the median.

    The margin keeps what the zero padding of the convolutions touches most out of the loss.
    `logarithmic` averages the logarithm of the samples' losses instead of the losses: like PSNR, it
    then counts an improvement by a tenth the same on an easy sample as on a hard one.
    """
    if margin:
        inner = (..., slice(margin, -margin), slice(margin, -margin))
        restored, sharp = restored[inner], sharp[inner]
    if squared:
        loss = (restored - sharp).square().mean(dim=(1, 2, 3)) + SQUARED_FLOOR
    else:
        loss = charbonnier(restored, sharp)
        if spectral_weight:
            loss = loss + spectral_weight * spectral(restored, sharp)
    return torch.log(loss).mean() if logarithmic else loss.mean()
