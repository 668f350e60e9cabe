"""MGSTNet (Feng et al., "A Multi-scale Generalized Shrinkage Threshold Network for Image Blind
Deblurring in Remote Sensing", 2023): alternating kernel and image steps, unrolled.

A stage takes a kernel gradient step (equation 11), a kernel proximal step (12), normalises (14),
takes an image gradient step (17) and an image proximal step (18). Images are (B, 3, H, W), kernels
(B, K, K) float32 with their middle at (K // 2, K // 2); one kernel serves the three bands. A stage
works by convolution, ``(h * u)(y, x) = sum_ij h(i, j) u(y - i, x - j)``.

What the paper leaves open, and what is done here: borders are mirrored; the first kernel is flat
and the first image the capture (a first kernel of one pixel would leave equation 11 nothing to
do); the sums of equation 11 are divided by the number of samples, so that the learnt step means the
same for every tile size; widths are those that come nearest to the published parameter count.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from imagine_deblur.train.published.mgstnet_steps import (
    RGB,
    convolve,
    generalised_shrinkage,
    image_gradient,
    kernel_gradient,
    normalised,
    soft,
)

#: Tile sides must be multiples of this: two halvings.
MULTIPLE_OF = 4

#: Constants of the losses (equations 21 and 22).
CHARBONNIER_EPSILON, KERNEL_WEIGHT = 1e-3, 0.05


class SoftThreshold(nn.Module):
    """`soft` with one learnt positive threshold per channel."""

    def __init__(self, width: int, start: float = 0.01) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.full((width, 1, 1), _inverse_softplus(start)))

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """(B, width, H, W) to the same shape."""
        return soft(y, functional.softplus(self.raw))


class GeneralisedThreshold(nn.Module):
    """`generalised_shrinkage` with a learnt threshold per channel and one learnt exponent,
    ``p = sigmoid(p0)``.
    """

    def __init__(self, width: int, start: float = 0.01) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.full((width, 1, 1), _inverse_softplus(start)))
        self.p0 = nn.Parameter(torch.zeros(()))

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """(B, width, H, W) to the same shape, float32 inside."""
        theta = functional.softplus(self.raw.float())
        return generalised_shrinkage(y.float(), theta, torch.sigmoid(self.p0.float()))


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))


# ---- learnt transforms --------------------------------------------------------------------------


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2)


class AttentionBlock(nn.Module):
    """RCAB (figure 1f; Zhang et al. 2018): conv, ReLU, conv, channel attention, plus identity."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.first, self.second = _conv(width, width), _conv(width, width)
        narrow = max(1, width // reduction)
        self.squeeze, self.excite = _conv(width, narrow, 1), _conv(narrow, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, width, H, W) to the same shape; the attention looks at the whole tile."""
        y = self.second(functional.relu(self.first(x)))
        attention = self.excite(functional.relu(self.squeeze(y.mean(dim=(-2, -1), keepdim=True))))
        return x + y * torch.sigmoid(attention)


def _attention_blocks(width: int, count: int, reduction: int) -> nn.Sequential:
    return nn.Sequential(*(AttentionBlock(width, reduction) for _ in range(count)))


class KernelProximal(nn.Module):
    """KPM (figure 1c, equation 12): ``s + G~(Soft(G(s)))``.

    G is a 3x3 convolution and `blocks` RCABs, G~ the mirror image of it. What they add has mean 0:
    normalising would take a common part out again, and one that throws the whole kernel below zero
    leaves it flat for good, since the ReLU of equation 14 lets no gradient back.
    """

    def __init__(self, width: int, blocks: int, reduction: int) -> None:
        super().__init__()
        self.forth = nn.Sequential(_conv(1, width), _attention_blocks(width, blocks, reduction))
        self.threshold = SoftThreshold(width)
        self.back = nn.Sequential(_attention_blocks(width, blocks, reduction), _conv(width, 1))

    def forward(self, kernel: torch.Tensor) -> torch.Tensor:
        """(B, K, K) to the same shape.

        The network sees the kernel times its number of pixels, values about 1.
        """
        gain = float(kernel.shape[-1] ** 2)
        features = self.forth(kernel[:, None] * gain)
        change: torch.Tensor = self.back(self.threshold(features))[:, 0].float()
        return kernel + (change - change.mean(dim=(-2, -1), keepdim=True)) / gain


class _Up(nn.Module):
    """Twice the size by bilinear interpolation, then a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mix = _conv(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        larger = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        mixed: torch.Tensor = self.mix(larger)
        return mixed


class EncoderDecoder(nn.Module):
    """Three scales down and up with RCABs in both arms and on the skips (figure 1e).

    Parameters
    ----------
    widths : (int, int, int)
        Channels at full, half and quarter scale.
    blocks : int
        RCABs per scale of encoder and decoder.
    reduction : int
        Of the channel attention.
    """

    def __init__(self, widths: Sequence[int], blocks: int, reduction: int) -> None:
        super().__init__()
        w1, w2, w4 = widths
        self.encode = nn.ModuleList(_attention_blocks(w, blocks, reduction) for w in widths)
        self.decode = nn.ModuleList(_attention_blocks(w, blocks, reduction) for w in widths)
        self.down = nn.ModuleList([_conv(w1, w2, 3, 2), _conv(w2, w4, 3, 2)])
        self.up = nn.ModuleList([_Up(w2, w1), _Up(w4, w2)])
        self.skip = nn.ModuleList([AttentionBlock(w1, reduction), AttentionBlock(w2, reduction)])

    def forward(
        self, x: torch.Tensor, priors: Sequence[torch.Tensor] | None = None
    ) -> list[torch.Tensor]:
        """(B, w1, H, W) to the decoder's features at the three scales.

        `priors`, where given, are added to the encoder's features scale by scale.
        """
        encoded = []
        for level, blocks in enumerate(self.encode):
            if level:
                x = self.down[level - 1](x)
            x = blocks(x)
            if priors is not None:
                x = x + priors[level]
            encoded.append(x)
        decoded = [self.decode[2](encoded[2])]
        for level in (1, 0):
            x = self.up[level](decoded[0]) + self.skip[level](encoded[level])
            decoded.insert(0, self.decode[level](x))
        return decoded


class ImageProximal(nn.Module):
    """IPMM (figure 1e, equation 18): ``r + F~(GST_p(F(r)))`` with a threshold at each scale."""

    def __init__(self, widths: Sequence[int], blocks: int, reduction: int) -> None:
        super().__init__()
        self.head = _conv(RGB, widths[0])
        self.forth = EncoderDecoder(widths, blocks, reduction)
        self.priors = nn.ModuleList(self._adjust(w, reduction) for w in widths)
        self.thresholds = nn.ModuleList(GeneralisedThreshold(w) for w in widths)
        self.merges = nn.ModuleList(self._adjust(w, reduction) for w in widths)
        self.enter = _conv(widths[0], widths[0])
        self.back = EncoderDecoder(widths, blocks, reduction)
        self.tail = _conv(widths[0], RGB)

    @staticmethod
    def _adjust(width: int, reduction: int) -> nn.Sequential:
        return nn.Sequential(_conv(width, width), AttentionBlock(width, reduction))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to the same shape, H and W multiples of 4."""
        features = self.forth(self.head(image))
        kept = [
            threshold(adjust(f))
            for f, adjust, threshold in zip(features, self.priors, self.thresholds, strict=True)
        ]
        merged = [merge(k) for k, merge in zip(kept, self.merges, strict=True)]
        change: torch.Tensor = self.tail(self.back(self.enter(kept[0]), merged)[0])
        return image + change.float()


def _full_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """No autocast; the "meta" device, on which costs are counted, knows none."""
    if device.type == "meta":
        return contextlib.nullcontext()
    context: contextlib.AbstractContextManager[Any] = torch.autocast(device.type, enabled=False)
    return context


class Stage(nn.Module):
    """One round of kernel and image reconstruction."""

    def __init__(
        self, widths: Sequence[int], blocks: int, kernel_width: int, reduction: int
    ) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.tensor(0.1))
        self.rho = nn.Parameter(torch.tensor(0.1))
        self.kernel_proximal = KernelProximal(kernel_width, blocks, reduction)
        self.image_proximal = ImageProximal(widths, blocks, reduction)

    def forward(
        self, image: torch.Tensor, kernel: torch.Tensor, captured: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Image and kernel of the stage before, and the capture, to image and kernel."""
        with _full_precision(image.device):
            step = kernel - self.mu * kernel_gradient(image, kernel, captured)
        kernel = normalised(self.kernel_proximal(step))
        with _full_precision(image.device):
            image = image - self.rho * image_gradient(image, kernel, captured)
        return self.image_proximal(image), kernel


class Mgstnet(nn.Module):
    """The network.

    Parameters
    ----------
    stages : int
        K, 1 to 3 in the paper.
    widths : (int, int, int)
        Channels of the image transforms by scale.
    blocks : int
        RCABs per scale, and in the kernel transforms.
    kernel_width : int
        Channels of the kernel transforms.
    kernel_size : int
        K of the kernel, odd, px.
    reduction : int
        Of the channel attention.
    """

    def __init__(
        self,
        stages: int = 3,
        widths: Sequence[int] = (32, 64, 128),
        blocks: int = 2,
        kernel_width: int = 64,
        kernel_size: int = 15,
        reduction: int = 4,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stages = nn.ModuleList(
            Stage(widths, blocks, kernel_width, reduction) for _ in range(stages)
        )

    def forward(self, captured: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Restore, and estimate the kernel.

        Parameters
        ----------
        captured : (B, 3, H, W) float32 tensor in [0, 1], H and W multiples of 4

        Returns
        -------
        images : list of (B, 3, H, W) float32 tensor
            After each stage, the last one first; not clipped.
        kernels : list of (B, K, K) float32 tensor
            The same way; non-negative, of sum 1.
        """
        captured = captured.float()
        size = self.kernel_size
        image, kernel = captured, captured.new_full((captured.shape[0], size, size), size**-2.0)
        images: list[torch.Tensor] = []
        kernels: list[torch.Tensor] = []
        for stage in self.stages:
            image, kernel = stage(image, kernel, captured)
            images.insert(0, image)
            kernels.insert(0, kernel)
        return images, kernels


def grow(state: Mapping[str, torch.Tensor], network: Mgstnet) -> dict[str, torch.Tensor]:
    """Weights for a network of more stages from those of one with fewer.

    The further stages are copies of the last trained one whose image module changes nothing yet:
    they begin as one more gradient step each, with a kernel module that knows its work.

    Parameters
    ----------
    state : mapping
        State of a `Mgstnet` of the same widths with as many stages or fewer.
    network : Mgstnet

    Returns
    -------
    dict
        A state for `network`.

    Raises
    ------
    ValueError
        If `state` does not fit.
    """
    trained = 1 + max((int(name.split(".")[1]) for name in state), default=-1)
    grown = dict(network.state_dict())
    for name, weight in grown.items():
        stages, number, rest = name.split(".", 2)
        source = state.get(f"{stages}.{min(int(number), trained - 1)}.{rest}")
        if source is None or source.shape != weight.shape:
            raise ValueError(f"{name} does not fit")
        fresh = int(number) >= trained and rest.startswith("image_proximal.tail.")
        grown[name] = torch.zeros_like(source) if fresh else source
    if trained > len(network.stages):
        raise ValueError(f"{trained} stages do not fit into {len(network.stages)}")
    return grown


def charbonnier_loss(images: Sequence[torch.Tensor], sharp: torch.Tensor) -> torch.Tensor:
    """Sum over stages of the mean of sqrt(difference^2 + epsilon^2) (equation 22, per sample)."""
    terms = [
        torch.sqrt((image - sharp).square() + CHARBONNIER_EPSILON**2).mean() for image in images
    ]
    return torch.stack(terms).sum()


def kernel_loss(
    kernels: Sequence[torch.Tensor], sharp: torch.Tensor, captured: torch.Tensor
) -> torch.Tensor:
    """Sum over stages of the mean of |h_k * u_gt - g| (equation 23, per sample)."""
    terms = [functional.l1_loss(convolve(sharp, kernel), captured) for kernel in kernels]
    return torch.stack(terms).sum()
