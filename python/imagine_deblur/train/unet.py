"""`max`: a U-shape behind a trained local network, its trunk, for the ground.

    x --> trunk --> image, features
    x --PixelUnshuffle(2)--> with features --> 3x3 head --> level 1 (width w) --> ... --> middle
                                                                |  skips added            |
    r <--PixelShuffle(2)---------------------- 3x3 tail <--- level 1 <--- ... <-----------'
    output = image + r

The trunk stays as it was trained, so the whole begins as good as that, and a step need not go back
through it. Every level does with a pair of 3x3 convolutions the same work per pixel of the frame,
since each halving of the scale doubles the width. So the arithmetic goes where reach is cheap: at a
quarter of the scale a pair sees 8 px further. Downwards 2x2 convolutions of stride 2, upwards a 1x1
convolution and a pixel shuffle, as in NAFNet (Chen et al. 2022); with `attention` each pair's
answer is weighed by channel from its average (simplified channel attention, the same paper), which
makes the network depend on the whole tile. Without it an output pixel depends on `UNetSpec.halo`
px around it, far more than it uses: tiles are blended, and seams measured.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import nn
from torch.nn import functional

from imagine_deblur.capture.ring_gain import TRAITS
from imagine_deblur.errors import OptionsError
from imagine_deblur.train.network import RGB, Mixture, Network, NetworkSpec

#: Space-to-depth in front of the network.
UNSHUFFLE = 2


@dataclasses.dataclass(frozen=True)
class UNetSpec:
    """The shape of a U-shaped network.

    Parameters
    ----------
    trunk : NetworkSpec
        The local network in front, with an `unshuffle` of 2.
    width : int
        Channels of the first level; twice as many on each further one. A multiple of 4.
    encoder : tuple of int
        Residual pairs per level on the way down, and again on the way up.
    middle : int
        Residual pairs on the lowest level.
    attention : bool
        Weigh each pair's channels by their averages.
    """

    trunk: NetworkSpec
    width: int = 76
    encoder: tuple[int, ...] = (4,)
    middle: int = 10
    attention: bool = False

    def __post_init__(self) -> None:
        if self.trunk.unshuffle != UNSHUFFLE:
            raise OptionsError("unshuffle", self.trunk.unshuffle, f"{UNSHUFFLE}, before a U-shape")
        if self.width < 4 or self.width % 4:
            raise OptionsError("width", self.width, "a multiple of 4")
        if not self.encoder or min(self.encoder) < 1:
            raise OptionsError("encoder", self.encoder, "1 pair or more on at least one level")
        if self.middle < 1:
            raise OptionsError("middle", self.middle, "1 or more")

    @property
    def planes(self) -> int:
        """Input planes."""
        return self.trunk.planes

    @property
    def experts(self) -> int:
        """Sets of kernels of the trunk that are mixed once a frame."""
        return self.trunk.experts

    @property
    def levels(self) -> int:
        """Halvings inside the network."""
        return len(self.encoder)

    @property
    def multiple_of(self) -> int:
        """What the sides of its input must be multiples of."""
        return UNSHUFFLE * int(2**self.levels)

    @property
    def halo(self) -> int:
        """Reach beyond a core aligned to `multiple_of`, px, rounded up to it."""
        reach = self.trunk.halo + 2 * UNSHUFFLE  # and of head and tail
        for level, pairs in enumerate(self.encoder):
            reach += 2 * 2 * pairs * UNSHUFFLE * 2**level
        reach += 2 * self.middle * self.multiple_of
        return reach + -reach % self.multiple_of

    @property
    def macs_per_pixel(self) -> float:
        """Multiply-accumulates per full-resolution pixel."""
        cell = UNSHUFFLE**2
        seen = self.planes * cell + self.trunk.width
        total = 9.0 * (seen * self.width + self.width * RGB * cell)
        pair = 18.0 * self.width**2  # of a level-1 cell, and as much on every other level
        total += pair * (2 * sum(self.encoder) + self.middle)
        for level in range(self.levels):
            wide = self.width * 2**level
            # 2x2 down to twice the width, 1x1 up to twice the width before the shuffle.
            total += (4 * wide * 2 * wide + 2 * wide * 4 * wide) / 4.0 / 4.0**level
        return self.trunk.macs_per_pixel + total / cell

    @property
    def parameters(self) -> int:
        """Weights and biases of the network that a frame runs."""
        plain = dataclasses.replace(self, trunk=dataclasses.replace(self.trunk, experts=1))
        with torch.device("meta"):
            return sum(weight.numel() for weight in UNet(plain).parameters())


class Pair(nn.Module):
    """x + conv3x3(relu(conv3x3(x))), its channels weighed by their averages where asked for."""

    def __init__(self, width: int, *, attention: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.weigh = nn.Conv2d(width, width, 1) if attention else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, width, H, W) to the same shape."""
        answer = self.second(functional.relu(self.first(x)))
        if self.weigh is not None:
            answer = answer * self.weigh(answer.mean(dim=(-2, -1), keepdim=True))
        result: torch.Tensor = x + answer
        return result


class UNet(nn.Module):
    """The network of a `UNetSpec`.

    Input (N, planes, H, W) float32, each plane in about [-0.5, 0.5], H and W multiples of
    `UNetSpec.multiple_of`, and (N, T) traits for a trunk that adapts. Output (N, 3, H, W), image
    values about [0, 1], not clipped. The tail starts at zero, so an untrained network returns
    its trunk's image.
    """

    def __init__(self, spec: UNetSpec) -> None:
        super().__init__()
        self.spec = spec
        cell = UNSHUFFLE**2
        widths = [spec.width * 2**level for level in range(spec.levels + 1)]

        def pairs(count: int, width: int) -> nn.Sequential:
            return nn.Sequential(*(Pair(width, attention=spec.attention) for _ in range(count)))

        self.head = nn.Conv2d(spec.planes * cell + spec.trunk.width, spec.width, 3, padding=1)
        self.encoders = nn.ModuleList(
            pairs(n, w) for n, w in zip(spec.encoder, widths, strict=False)
        )
        self.downs = nn.ModuleList(nn.Conv2d(w, 2 * w, 2, 2) for w in widths[:-1])
        self.middle = pairs(spec.middle, widths[-1])
        self.ups = nn.ModuleList(nn.Conv2d(2 * w, 4 * w, 1) for w in widths[:-1])
        self.decoders = nn.ModuleList(
            pairs(n, w) for n, w in zip(spec.encoder, widths, strict=False)
        )
        self.tail = nn.Conv2d(spec.width, RGB * cell, 3, padding=1)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                    module.bias.zero_()
            for module in self.modules():
                if isinstance(module, Pair):
                    # Deep residual stacks start as near-identities (Zhang et al. 2019, "Fixup").
                    module.second.weight.mul_(0.1)
                    if module.weigh is not None:
                        module.weigh.weight.zero_()
                        module.weigh.bias.fill_(1.0)
            for up in self.ups:
                up.weight.mul_(0.5)  # its answer is added to a skip
            # The trunk's features are a tenth as large as the planes.
            self.head.weight[:, spec.planes * cell :].mul_(8.0)
            self.tail.weight.zero_()
        # Made last: it has weights of its own, and none of them is trained here.
        mixed = spec.trunk.experts > 1
        self.trunk = Mixture(spec.trunk, TRAITS) if mixed else Network(spec.trunk)
        self.trunk.requires_grad_(False)

    def forward(self, x: torch.Tensor, traits: torch.Tensor | None = None) -> torch.Tensor:
        """(N, planes, H, W), for a mixture with (N, T) traits, to (N, 3, H, W)."""
        image, features = self.trunk.with_features(x, traits)
        cells = functional.pixel_unshuffle(x, UNSHUFFLE)
        hidden = self.head(torch.cat([cells.to(features.dtype), features], dim=1))
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            hidden = encoder(hidden)
            skips.append(hidden)
            hidden = down(hidden)
        hidden = self.middle(hidden)
        for level in reversed(range(self.spec.levels)):
            hidden = skips[level] + functional.pixel_shuffle(self.ups[level](hidden), 2)
            hidden = self.decoders[level](hidden)
        result: torch.Tensor = image + functional.pixel_shuffle(self.tail(hidden), UNSHUFFLE)
        return result
