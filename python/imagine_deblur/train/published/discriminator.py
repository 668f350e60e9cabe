"""The multi-scale discriminators of the IMAGIN-e recipe.

Identical 70x70-patch discriminators on the image and on its 2x and 4x average-pooled versions
(pix2pixHD, Wang et al. 2018), with self-attention (SAGAN, Zhang et al. 2019) and spectral
normalisation of every convolution (Miyato et al. 2018) in place of instance normalisation. The
least-squares adversarial loss and the optional feature matching are pix2pixHD's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm


def _normed(layer: nn.Module) -> nn.Module:
    normed: nn.Module = spectral_norm(layer)
    return normed


class SelfAttention(nn.Module):
    """x + gamma * attention(x): 1x1 query and key at C/8 channels, value at C, gamma from 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = max(1, width // 8)
        self.query = _normed(nn.Conv2d(width, narrow, 1))
        self.key = _normed(nn.Conv2d(width, narrow, 1))
        self.value = _normed(nn.Conv2d(width, width, 1))
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same shape; memory grows with (H W)^2."""
        query, key, value = (part(x).flatten(2) for part in (self.query, self.key, self.value))
        weights = torch.softmax((query.transpose(1, 2) @ key).float(), dim=-1).to(value.dtype)
        attended = (value @ weights.transpose(1, 2)).reshape(x.shape)
        return x + self.gamma * attended


class PatchDiscriminator(nn.Module):
    """Scores of overlapping 70x70 patches.

    4x4 convolutions with C, 2C, 4C, 8C and 1 channels, stride 2, 2, 2, 1, 1, leaky ReLU 0.2
    between them; self-attention behind the third, at an eighth of the scale.

    Parameters
    ----------
    inputs : int
        Bands of the input.
    width : int
        C; 64 in pix2pixHD.
    attention : bool
    """

    def __init__(self, inputs: int, width: int = 64, *, attention: bool = True) -> None:
        super().__init__()
        widths = (inputs, width, 2 * width, 4 * width, 8 * width)
        layers: list[nn.Module] = []
        for place, stride in enumerate((2, 2, 2, 1)):
            parts = [
                _normed(nn.Conv2d(widths[place], widths[place + 1], 4, stride, 2)),
                nn.LeakyReLU(0.2),
            ]
            if attention and place == 2:
                parts.append(SelfAttention(widths[place + 1]))
            layers.append(nn.Sequential(*parts))
        layers.append(_normed(nn.Conv2d(widths[-1], 1, 4, 1, 2)))
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """(B, inputs, H, W) to the features of each layer, the patch scores last."""
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return features


class MultiScaleDiscriminator(nn.Module):
    """`scales` patch discriminators with weights of their own on ever smaller images.

    Parameters
    ----------
    inputs : int
        3, or 6 where the capture is shown beside the image (as in pix2pixHD).
    width : int
    scales : int
    attention : bool
    """

    def __init__(
        self, inputs: int = 6, width: int = 64, scales: int = 3, *, attention: bool = True
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            PatchDiscriminator(inputs, width, attention=attention) for _ in range(scales)
        )

    def forward(self, x: torch.Tensor) -> list[list[torch.Tensor]]:
        """(B, inputs, H, W) to the features of each discriminator."""
        answers = []
        for number, part in enumerate(self.parts):
            if number:
                x = functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
            answers.append(part(x))
        return answers


Answers = Sequence[Sequence[torch.Tensor]]


def adversarial_loss(answers: Answers, *, real: bool) -> torch.Tensor:
    """Least squares: mean over scales of the mean of (score - target)^2, target 1 or 0."""
    target = 1.0 if real else 0.0
    terms = [(features[-1].float() - target).square().mean() for features in answers]
    return torch.stack(terms).mean()


def feature_loss(fake: Answers, real: Answers) -> torch.Tensor:
    """Mean absolute difference of all features but the scores (pix2pixHD, equation 4)."""
    terms = [
        functional.l1_loss(f.float(), r.detach().float())
        for ours, theirs in zip(fake, real, strict=True)
        for f, r in zip(ours[:-1], theirs[:-1], strict=True)
    ]
    return torch.stack(terms).mean()
