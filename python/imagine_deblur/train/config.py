"""The training configuration: frozen dataclasses read from one TOML file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from imagine_deblur.degradation.camera_description import NO_CAMERA, CameraDescription
from imagine_deblur.errors import OptionsError
from imagine_deblur.restoration.wiener import CHROMA, WienerSpec
from imagine_deblur.train.typed import assigned, build, read

#: Shapes of our networks.
SHAPES = ("plain", "unet")

#: Of the forward pass; ``"auto"`` is bf16 wherever the device is fast at it.
PRECISIONS = ("auto", "f32", "bf16")


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """Shape and size of the network.

    ``"plain"`` is that of `imagine_deblur.train.network.NetworkSpec` with `width`, `pairs`,
    `unshuffle`, `reparam` and `experts`; ``"unet"`` puts that of
    `imagine_deblur.train.unet.UNetSpec` behind it, with `unet_width`, `encoder`, `middle` and
    `attention`.
    """

    shape: str = "plain"
    width: int = 48
    pairs: int = 3
    unshuffle: int = 2
    reparam: bool = False
    experts: int = 1
    unet_width: int = 76
    encoder: tuple[int, ...] = (4,)
    middle: int = 10
    attention: bool = False

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise OptionsError("network.shape", self.shape, ", ".join(SHAPES))

    @property
    def multiple_of(self) -> int:
        """What the sides of the network's input must be multiples of."""
        return self.unshuffle if self.shape == "plain" else 2 * int(2 ** len(self.encoder))


@dataclasses.dataclass(frozen=True)
class PlanesConfig:
    """The Wiener bank in front of the network.

    `nsr` are multiples of the noise-to-signal ratio found in each capture, see
    `imagine_deblur.capture.ring_gain.rounded_nsr`; `base` indexes the one that is given in colour
    and that the residual is added to; `chroma` is as in
    `imagine_deblur.restoration.wiener.WienerSpec`.
    """

    nsr: tuple[float, ...] = (8.0, 1.0, 0.125)
    base: int = 1
    chroma: float = CHROMA

    @property
    def spec(self) -> WienerSpec:
        """The bank for a ratio of 1, with the plane that tells the ratio."""
        return WienerSpec(self.nsr, self.base, self.chroma, level=True)


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """How crops are made; what the captures are is in `imagine_deblur.train.captures`.

    `grid`**2 crops of `crop` pixels are cut from one degraded and inverse-filtered piece of a scene
    and make one *group*. The pool holds `pool_groups` groups and takes in `refresh` new groups per
    step, at most `ahead` in advance. Cost: about 12 MB per group of 9 at 160 px. A `camera` with a
    name draws the captures in place of these.
    """

    crop: int = 128
    grid: int = 3
    pool_groups: int = 400
    ahead: int = 40
    refresh: float = 0.125
    camera: CameraDescription = NO_CAMERA


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """AdamW, flat learning rate with a cosine decay over the last `decay_fraction` of the steps."""

    batch: int = 8
    steps: int = 20_000
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-6
    warmup: int = 200
    decay_fraction: float = 0.5
    weight_decay: float = 0.0
    clip_norm: float = 5.0
    ema: float = 0.999
    spectral_weight: float = 0.05
    logarithmic: bool = True
    squared: bool = False
    margin: int = 8
    precision: str = "auto"


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What the loop writes and when, in steps. 0 switches a thing off."""

    log_every: int = 50
    checkpoint_every: int = 1000
    evaluate_every: int = 2000
    sample_every: int = 4000
    protocols: tuple[str, ...] = ("imagine", "imagine90", "defocus+", "gauss")
    validate_aerial_every: int = 4
    threads: int = 0
    deterministic: bool = True


@dataclasses.dataclass(frozen=True)
class AdversarialConfig:
    """Weights of the losses of `imagine_deblur.train.adversarial`, all 0 without them, and the
    discriminators: channels of their first layer, number of scales, self-attention.
    """

    weight: float = 0.0
    features: float = 0.0
    perceptual: float = 0.0
    width: int = 32
    scales: int = 2
    attention: bool = False
    learning_rate: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("weight", "features", "perceptual"):
            if not getattr(self, name) >= 0:
                raise OptionsError(f"adversarial.{name}", getattr(self, name), "0 or more")
        if self.features and not self.weight:
            raise OptionsError("adversarial.features", self.features, "0 where weight is 0")
        if self.width < 1 or self.scales < 1:
            raise OptionsError("adversarial", (self.width, self.scales), "sizes of 1 or more")

    @property
    def is_on(self) -> bool:
        """Whether anything is added to the restoration loss."""
        return self.weight > 0 or self.perceptual > 0


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    name: str = "network"
    seed: int = 1
    network: NetworkConfig = NetworkConfig()
    planes: PlanesConfig = PlanesConfig()
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()
    adversarial: AdversarialConfig = AdversarialConfig()
    run: RunConfig = RunConfig()

    def __post_init__(self) -> None:
        self.planes.spec  # noqa: B018 - refuses what it cannot use
        if self.optim.precision not in PRECISIONS:
            raise OptionsError("optim.precision", self.optim.precision, ", ".join(PRECISIONS))
        if self.data.crop % self.network.multiple_of:
            raise OptionsError(
                "data.crop", self.data.crop, f"a multiple of {self.network.multiple_of} px"
            )
        if 2 * self.optim.margin >= self.data.crop:
            raise OptionsError("optim.margin", self.optim.margin, "below half of data.crop")
        if self.optim.steps < 1:
            raise OptionsError("optim.steps", self.optim.steps, "1 or more")

    @property
    def input_planes(self) -> int:
        """Planes of the network's input: capture, base Wiener, luma of the others, noise."""
        return 3 + self.planes.spec.plane_count(3)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as nested plain values; `from_dict` reads it back."""
        return dataclasses.asdict(self)


def from_dict(values: Mapping[str, Any]) -> TrainConfig:
    """A configuration from nested plain values.

    Raises
    ------
    OptionsError
        For an unknown key, a value of the wrong type or outside its range.
    """
    return build(TrainConfig, values)


def load_config(config: str | os.PathLike[str]) -> TrainConfig:
    """Read a TOML file, or the shipped configuration of that name (``"fast"``, ``"best"``)."""
    return from_dict(read(config))


def override(config: TrainConfig, assignments: Sequence[str]) -> TrainConfig:
    """`config` with ``"section.key=value"`` assignments applied, the value in TOML notation."""
    return from_dict(assigned(config.to_dict(), assignments))
