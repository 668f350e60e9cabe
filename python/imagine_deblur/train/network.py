"""The restoration network: a plain local ConvNet on space-to-depth planes.

    x  --PixelUnshuffle(u)-->  3x3 head, ReLU  -->  P pairs  -->  3x3 tail  --PixelShuffle(u)--> r
    pair(h) = h + conv3x3(relu(conv3x3(h)))
    output  = base + r,   base = the Wiener plane of the middle noise-to-signal ratio

Every layer is a 3x3 convolution, a ReLU, a sum or a permutation of samples, so an output pixel
depends on a bounded window of the input and on nothing else: no pooling, no statistics over space,
no transposed convolution. `NetworkSpec.halo` is that window's reach; a tile that carries it gives,
inside its core, exactly what the whole frame gives.

The pixel shuffle is that of Shi et al. 2016 (sub-pixel convolution); the optional training-time
parametrisation is RepVGG's (Ding et al. 2021) in weight space, see `Conv3x3`.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import nn
from torch.nn import functional

from imagine_deblur.errors import OptionsError

Layer = tuple[torch.Tensor, torch.Tensor]

#: Channels of the capture, and of the base Wiener plane that follows them, in the input.
RGB = 3


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """The shape of a network; everything that its cost and its halo follow from.

    Parameters
    ----------
    planes : int
        Input planes: 3 of the capture, 3 of the base Wiener inverse, then luma planes. At least 6.
    width : int
        Channels inside.
    pairs : int
        Residual pairs of 3x3 convolutions. 0 or more.
    unshuffle : int
        Space-to-depth factor, 1, 2 or 4. Frames and tiles must be multiples of it.
    reparam : bool
        Train each 3x3 kernel as the sum of a 3x3, a 1x1 and (where square) a per-channel identity.
        The exported network is the same either way.
    experts : int
        Sets of kernels that are mixed once a frame, see `Mixture`. 1 or more.
    """

    planes: int = 8
    width: int = 48
    pairs: int = 3
    unshuffle: int = 2
    reparam: bool = False
    experts: int = 1

    def __post_init__(self) -> None:
        if self.planes < 2 * RGB:
            raise OptionsError("planes", self.planes, "6 or more")
        if self.width < 1:
            raise OptionsError("width", self.width, "1 or more")
        if self.pairs < 0:
            raise OptionsError("pairs", self.pairs, "0 or more")
        if self.unshuffle not in (1, 2, 4):
            raise OptionsError("unshuffle", self.unshuffle, "1, 2 or 4")
        if self.experts < 1:
            raise OptionsError("experts", self.experts, "1 or more")

    @property
    def layers(self) -> int:
        """Number of 3x3 convolutions on the longest path."""
        return 2 + 2 * self.pairs

    @property
    def halo(self) -> int:
        """Reach in full-resolution pixels beyond a core aligned to `unshuffle`: one cell per
        layer.
        """
        return self.layers * self.unshuffle

    @property
    def multiple_of(self) -> int:
        """What the sides of its input must be multiples of."""
        return self.unshuffle

    @property
    def macs_per_pixel(self) -> float:
        """Multiply-accumulates per full-resolution pixel."""
        cell = self.unshuffle**2
        kernels = (
            self.planes * cell * self.width
            + 2 * self.pairs * self.width**2
            + self.width * RGB * cell
        )
        return 9.0 * kernels / cell

    @property
    def parameters(self) -> int:
        """Weights and biases of the network that a frame runs."""
        cell = self.unshuffle**2
        convolutions = [(self.planes * cell, self.width)]
        convolutions += [(self.width, self.width)] * (2 * self.pairs)
        convolutions += [(self.width, RGB * cell)]
        return sum(9 * a * b + b for a, b in convolutions)


class Conv3x3(nn.Module):  # type: ignore[misc]
    """A 3x3 convolution, padding 1, whose kernel may be a sum of branches.

    With `reparam` the kernel used is W3 + pad(W1) + diag(g) (g only where the layer is square). A
    RepVGG block without batch normalisation is linear, so adding its kernels is exactly adding its
    branches, and the forward pass costs one convolution instead of three.
    """

    def __init__(self, inputs: int, outputs: int, *, reparam: bool = False) -> None:
        super().__init__()
        plain = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.weight = plain.weight
        self.bias = plain.bias
        self.point = nn.Parameter(torch.zeros(outputs, inputs, 1, 1)) if reparam else None
        square = reparam and inputs == outputs
        self.identity = nn.Parameter(torch.zeros(outputs)) if square else None

    def kernel(self) -> torch.Tensor:
        """The 3x3 kernel that the convolution uses, (outputs, inputs, 3, 3)."""
        weight = self.weight
        if self.point is not None:
            weight = weight + functional.pad(self.point, (1, 1, 1, 1))
        if self.identity is not None:
            diagonal = torch.diag(self.identity)[:, :, None, None]
            weight = weight + functional.pad(diagonal, (1, 1, 1, 1))
        return weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(x, self.kernel(), self.bias, padding=1)


class Network(nn.Module):  # type: ignore[misc]
    """The network of a `NetworkSpec`.

    Input (N, planes, H, W) float32, each plane in about [-0.5, 0.5] (image value minus 0.5; Wiener
    planes overshoot); H and W multiples of `unshuffle`. Output (N, 3, H, W) float32, image values
    about [0, 1], not clipped. The tail starts near zero, so an untrained network returns its base
    plane.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        cell = spec.unshuffle**2
        self.head = Conv3x3(spec.planes * cell, spec.width, reparam=spec.reparam)
        self.pairs = nn.ModuleList(
            nn.ModuleList(Conv3x3(spec.width, spec.width, reparam=spec.reparam) for _ in range(2))
            for _ in range(spec.pairs)
        )
        self.tail = Conv3x3(spec.width, RGB * cell, reparam=spec.reparam)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, Conv3x3):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                    module.bias.zero_()
            for _, second in self.pairs:
                # Deep residual stacks start as near-identities (Zhang et al. 2019, "Fixup").
                second.weight.mul_(0.3)
            self.tail.weight.mul_(0.01)

    def layers(self) -> list[Layer]:
        """Kernel and bias of head, of both layers of each pair, of the tail."""
        ordered = [self.head, *(layer for pair in self.pairs for layer in pair), self.tail]
        return [(layer.kernel(), layer.bias) for layer in ordered]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.with_features(x)[0]

    def with_features(
        self, x: torch.Tensor, traits: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What `restored` gives; `traits` are for a `Mixture`."""
        return restored(x, self.layers(), self.spec.unshuffle)


def restored(
    x: torch.Tensor, layers: list[Layer], unshuffle: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the network of some layers (see `Network.layers`) on a batch of planes.

    Returns
    -------
    image : (N, 3, H, W) tensor
    features : (N, width, H / unshuffle, W / unshuffle) tensor
        What the tail sees.
    """

    def convolved(values: torch.Tensor, layer: Layer) -> torch.Tensor:
        return functional.conv2d(values, *layer, padding=1)

    head, *inner, tail = layers
    hidden = functional.relu(convolved(functional.pixel_unshuffle(x, unshuffle), head))
    for first, second in zip(inner[::2], inner[1::2], strict=True):
        hidden = hidden + convolved(functional.relu(convolved(hidden, first)), second)
    residual = functional.pixel_shuffle(convolved(hidden, tail), unshuffle)
    return x[:, RGB : 2 * RGB] + 0.5 + residual.to(x.dtype), hidden


class Mixture(nn.Module):  # type: ignore[misc]
    """Networks of one shape, the experts, whose kernels are mixed once a frame.

    A small router sees what is known of the capture and gives each expert a share; the mixed
    kernels are those of one plain network (conditionally parameterised convolutions, Yang et al.
    2019, with one routing for all layers). So a frame costs what one expert costs, and nothing
    switches between a clean and a noisy capture.

    Input as `Network`'s and (N, traits) float32, see `capture.ring_gain.RingGains.traits`.
    """

    HIDDEN = 16

    def __init__(self, spec: NetworkSpec, traits: int) -> None:
        super().__init__()
        self.spec = spec
        single = dataclasses.replace(spec, experts=1)
        self.experts = nn.ModuleList(Network(single) for _ in range(spec.experts))
        self.router = nn.Sequential(
            nn.Linear(traits, self.HIDDEN), nn.ReLU(), nn.Linear(self.HIDDEN, spec.experts)
        )

    def shares(self, traits: torch.Tensor) -> torch.Tensor:
        """(N, K) shares of the experts, each row adding up to 1."""
        return torch.softmax(self.router(traits.float()), dim=1)

    def mixed(self, shares: torch.Tensor) -> list[list[Layer]]:
        """The plain networks' layers for (N, K) shares."""
        stacks = [
            tuple(torch.stack(part) for part in zip(*same, strict=True))
            for same in zip(*(expert.layers() for expert in self.experts), strict=True)
        ]
        return [
            [(torch.tensordot(row, w, 1), torch.tensordot(row, b, 1)) for w, b in stacks]
            for row in shares
        ]

    def forward(self, x: torch.Tensor, traits: torch.Tensor) -> torch.Tensor:
        return self.with_features(x, traits)[0]

    def with_features(
        self, x: torch.Tensor, traits: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What `restored` gives."""
        with torch.autocast(x.device.type, enabled=False):  # shares and sums are float32
            networks = self.mixed(self.shares(traits))
        images, features = zip(
            *(
                restored(x[k : k + 1], layers, self.spec.unshuffle)
                for k, layers in enumerate(networks)
            ),
            strict=True,
        )
        return torch.cat(images), torch.cat(features)


def grow(small: Network, spec: NetworkSpec, *, seed: int = 0) -> Network:
    """A wider and deeper network that starts as the same function (after Net2Net, Chen et al.
    2016).

    New channels carry fresh random features that nothing reads yet (their outgoing weights are
    zero), new pairs add zero. So training goes on from the small network's quality.

    Parameters
    ----------
    small : Network
        The trained network, plain kernels or reparameterised.
    spec : NetworkSpec
        At least as wide and as deep, the same planes and unshuffle.
    seed : int
        For the fresh weights.

    Raises
    ------
    OptionsError
        If `spec` is not a growth of `small.spec`.
    """
    old = small.spec
    spec = dataclasses.replace(spec, experts=1)
    if (spec.planes, spec.unshuffle) != (old.planes, old.unshuffle):
        raise OptionsError("spec", spec, "the planes and unshuffle of the small network")
    if spec.width < old.width or spec.pairs < old.pairs:
        raise OptionsError("spec", spec, "a width and depth not below the small network's")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        large = Network(spec)
    width = old.width

    def copy(target: Conv3x3, source: Conv3x3, *, inputs: int, outputs: int) -> None:
        kernel = source.kernel()
        target.weight[:outputs, inputs:] = 0.0
        target.weight[:outputs, :inputs] = kernel
        target.bias[:outputs] = source.bias

    with torch.no_grad():
        copy(large.head, small.head, inputs=small.head.weight.shape[1], outputs=width)
        for index, (first, second) in enumerate(large.pairs):
            if index < old.pairs:
                copy(first, small.pairs[index][0], inputs=width, outputs=width)
                copy(second, small.pairs[index][1], inputs=width, outputs=width)
            else:
                second.weight.zero_()
                second.bias.zero_()
        copy(large.tail, small.tail, inputs=width, outputs=small.tail.weight.shape[0])
    return large
