"""MIMO-UNet, MIMO-UNet+ and "++" (Cho et al., "Rethinking Coarse-to-Fine Approach in Single Image
Deblurring", ICCV 2021): multi-input encoder, asymmetric feature fusion, multi-output decoder.

MIMO-UNet+ is MIMO-UNet with 20 residual blocks per scale instead of 8; "++" is "+" averaged over
rotations by 0, 90, 180 and 270 degrees, without weights of its own (`RotationAverage`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

RGB = 3

#: Tile sides must be multiples of this: two halvings.
MULTIPLE_OF = 4


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2)


def _conv_relu(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(_conv(inputs, outputs, size, stride), nn.ReLU(inplace=True))


class ResidualBlock(nn.Module):
    """x + conv3x3(relu(conv3x3(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width, 3)
        self.second = _conv(width, width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, width, H, W) to the same shape."""
        result: torch.Tensor = x + self.second(functional.relu(self.first(x)))
        return result


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(count)))


class ShallowModule(nn.Module):
    """SCM: features of a reduced input image (section 3.1): four convolutions, the image beside
    them, and a linear 1x1.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv_relu(RGB, width // 4, 3),
            _conv_relu(width // 4, width // 2, 1),
            _conv_relu(width // 2, width // 2, 3),
            _conv_relu(width // 2, width - RGB, 1),
        )
        self.mix = _conv(width, width, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to (B, width, H, W)."""
        mixed: torch.Tensor = self.mix(torch.cat([image, self.body(image)], dim=1))
        return mixed


class FeatureAttention(nn.Module):
    """FAM: x + conv3x3(x * shallow) (section 3.1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.merge = _conv(width, width, 3)

    def forward(self, x: torch.Tensor, shallow: torch.Tensor) -> torch.Tensor:
        """Two (B, width, H, W) to one."""
        merged: torch.Tensor = x + self.merge(x * shallow)
        return merged


class Fusion(nn.Module):
    """AFF: the features of all scales, resized to one scale, through 1x1 with ReLU and a linear
    3x3 (section 3.3, equation 4).
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv_relu(inputs, width, 1), _conv(width, width, 3))

    def forward(self, features: Sequence[torch.Tensor], scale: int) -> torch.Tensor:
        """Features at scales 1, 1/2 and 1/4 to (B, width, H / 2**scale, W / 2**scale)."""
        resized = [_resize(x, scale - own) for own, x in enumerate(features)]
        fused: torch.Tensor = self.body(torch.cat(resized, dim=1))
        return fused


def _resize(x: torch.Tensor, halvings: int) -> torch.Tensor:
    """Nearest-neighbour resizing by 2**-halvings."""
    if halvings > 0:
        return x[..., :: 2**halvings, :: 2**halvings]
    if halvings < 0:
        return functional.interpolate(x, scale_factor=float(2**-halvings), mode="nearest")
    return x


class MimoUnet(nn.Module):
    """The network.

    Parameters
    ----------
    width : int
        Channels at full scale, a multiple of 2; twice and four times as many below.
    blocks : int
        Residual blocks per encoder and decoder scale: 8, or 20 for MIMO-UNet+.
    """

    def __init__(self, width: int = 32, blocks: int = 8) -> None:
        super().__init__()
        w1, w2, w4 = width, 2 * width, 4 * width
        self.head = _conv_relu(RGB, w1, 3)
        self.down2 = _conv_relu(w1, w2, 3, 2)
        self.down4 = _conv_relu(w2, w4, 3, 2)
        self.shallow2, self.shallow4 = ShallowModule(w2), ShallowModule(w4)
        self.attention2, self.attention4 = FeatureAttention(w2), FeatureAttention(w4)
        self.encode1, self.decode1 = _blocks(w1, blocks), _blocks(w1, blocks)
        self.encode2, self.decode2 = _blocks(w2, blocks), _blocks(w2, blocks)
        self.encode4, self.decode4 = _blocks(w4, blocks), _blocks(w4, blocks)
        self.fuse1, self.fuse2 = Fusion(w1 + w2 + w4, w1), Fusion(w1 + w2 + w4, w2)
        self.up2 = nn.ConvTranspose2d(w4, w2, 4, 2, 1)
        self.up1 = nn.ConvTranspose2d(w2, w1, 4, 2, 1)
        self.join2, self.join1 = _conv_relu(2 * w2, w2, 1), _conv_relu(2 * w1, w1, 1)
        self.out4, self.out2, self.out1 = _conv(w4, RGB, 3), _conv(w2, RGB, 3), _conv(w1, RGB, 3)
        for out in (self.out4, self.out2, self.out1):  # an untrained network changes nothing
            nn.init.zeros_(out.weight)
            nn.init.zeros_(out.bias)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Restore at three scales.

        Parameters
        ----------
        image : (B, 3, H, W) tensor in [0, 1], H and W multiples of 4

        Returns
        -------
        list of tensor
            Restored images at 1, 1/2 and 1/4 scale, not clipped; their targets are the sharp image
            reduced by `pyramid`.
        """
        image, image2, image4 = pyramid(image)
        encoded1 = self.encode1(self.head(image))
        x = self.attention2(self.down2(encoded1), self.shallow2(image2))
        encoded2 = self.encode2(x)
        x = self.attention4(self.down4(encoded2), self.shallow4(image4))
        encoded4 = self.encode4(x)
        features = (encoded1, encoded2, encoded4)
        skip1, skip2 = self.fuse1(features, 0), self.fuse2(features, 1)
        decoded4 = self.decode4(encoded4)
        x = functional.relu(self.up2(decoded4))
        decoded2 = self.decode2(self.join2(torch.cat([x, skip2], dim=1)))
        x = functional.relu(self.up1(decoded2))
        decoded1 = self.decode1(self.join1(torch.cat([x, skip1], dim=1)))
        return [
            image + self.out1(decoded1),
            image2 + self.out2(decoded2),
            image4 + self.out4(decoded4),
        ]


def grow(state: Mapping[str, torch.Tensor], network: MimoUnet) -> dict[str, torch.Tensor]:
    """Weights for a deeper network that computes what a trained shallower one does.

    Parameters
    ----------
    state : mapping
        State of a `MimoUnet` of the same width with as many residual blocks or fewer.
    network : MimoUnet
        The deeper network. Its surplus blocks, the last ones of each scale, keep their own first
        convolution and get a second one of zeros: they pass their input on until they are trained.

    Returns
    -------
    dict
        A state for `network`.

    Raises
    ------
    ValueError
        If `state` has a weight that `network` lacks or that differs from it in shape.
    """
    grown = dict(network.state_dict())
    for name in grown:
        if name not in state and name.endswith(("second.weight", "second.bias")):
            grown[name] = torch.zeros_like(grown[name])
    for name, weight in state.items():
        if name not in grown or grown[name].shape != weight.shape:
            raise ValueError(f"{name} does not fit")
        grown[name] = weight
    if any(
        name not in state and ".first." not in name and ".second." not in name for name in grown
    ):
        raise ValueError("only residual blocks may be missing")
    return grown


def pyramid(image: torch.Tensor) -> list[torch.Tensor]:
    """An image at 1, 1/2 and 1/4 scale by nearest-neighbour sampling."""
    return [_resize(image, halvings) for halvings in range(3)]


def content_loss(restored: Sequence[torch.Tensor], sharp: torch.Tensor) -> torch.Tensor:
    """Sum over scales of the mean absolute error (equation 6)."""
    targets = pyramid(sharp)
    return torch.stack(
        [functional.l1_loss(r, t) for r, t in zip(restored, targets, strict=True)]
    ).sum()


def frequency_loss(restored: Sequence[torch.Tensor], sharp: torch.Tensor) -> torch.Tensor:
    """Sum over scales of the mean absolute error of the Fourier coefficients (equation 7), real
    and imaginary parts of the unnormalised 2-D transform counted apart.
    """
    terms = []
    for r, t in zip(restored, pyramid(sharp), strict=True):
        difference = torch.fft.rfft2(r.float() - t.float())
        terms.append(torch.view_as_real(difference).abs().mean())
    return torch.stack(terms).sum()


def quarter_turns(x: torch.Tensor, count: int) -> torch.Tensor:
    """Rotate (..., H, W) by `count` quarter turns, by transposition and flips alone."""
    count %= 4
    if count % 2:
        x = x.transpose(-2, -1)
    axes = {0: (), 1: (-2,), 2: (-2, -1), 3: (-1,)}[count]
    return torch.flip(x, axes) if axes else x


class RotationAverage(nn.Module):
    """The mean of a network's answers to the image turned by 0, 90, 180 and 270 degrees, each
    turned back: "++". The network's first output counts; its weights are shared.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to the same shape; H and W multiples of the network's."""
        total: torch.Tensor | None = None
        for count in range(4):
            answer = first_output(self.network(quarter_turns(image, count)))
            turned = quarter_turns(answer, -count)
            total = turned if total is None else total + turned
        assert total is not None
        return total * 0.25


def first_output(answer: object) -> torch.Tensor:
    """The full-scale image among what a network returns."""
    while not isinstance(answer, torch.Tensor):
        assert isinstance(answer, list | tuple)
        answer = answer[0]
    return answer
