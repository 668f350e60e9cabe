"""What a training run of a published system is made of: one TOML file per system."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from imagine_deblur.errors import OptionsError
from imagine_deblur.train.config import PRECISIONS
from imagine_deblur.train.published.recipes import DEGRADATIONS
from imagine_deblur.train.typed import assigned, build, read

SYSTEMS = ("mimo-unet", "mgstnet", "autoencoder", "vgg16")


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """Sizes; each system reads its own.

    mimo-unet: `width`, `blocks` (8, or 20 for "+"), `rotations` (exported averaged over four
    rotations: "++"). mgstnet: `stages`, `widths`, `blocks` (2), `kernel_width`, `kernel_size`,
    `reduction`. autoencoder: `width` (64), `code`, `side`. vgg16: `width` (64).
    """

    width: int = 32
    blocks: int = 8
    rotations: bool = False
    stages: int = 3
    widths: tuple[int, ...] = (32, 64, 128)
    kernel_width: int = 64
    kernel_size: int = 15
    reduction: int = 4
    code: int = 256
    side: int = 128


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights of the loss's parts, for MIMO-UNet; the other systems have their papers' losses."""

    content: float = 1.0
    frequency: float = 0.1
    adversarial: float = 0.0
    features: float = 0.0
    perceptual: float = 0.0


@dataclasses.dataclass(frozen=True)
class PhaseConfig:
    """A part of the schedule, with an optimiser of its own (Adam).

    `crop` is the side of the network's input. Scenes are taken with `margin` px more on each side,
    degraded, and cut. With `reduction` above 1, pieces of so many times the side are averaged down:
    before they are degraded (`reduced` = "scene": the scene's sampling changes) or afterwards
    (`reduced` = "pair": the published way to serve).

    The learning rate is multiplied by `drop_factor` every `drop_every` steps and at each step of
    `drop_at`; with `plateau_steps`, an epoch of so many steps, it is multiplied where the epochs'
    mean loss has not fallen for `plateau_patience` epochs, down to `plateau_least`.
    """

    name: str = "phase"
    steps: int = 3000
    batch: int = 4
    crop: int = 256
    margin: int = 0
    degradation: str = "mixed"
    reduction: int = 1
    reduced: str = "scene"
    satellite_share: float = 0.4
    learning_rate: float = 1e-4
    beta1: float = 0.9
    clip_norm: float = 0.0
    drop_every: int = 0
    drop_at: tuple[int, ...] = ()
    drop_factor: float = 0.5
    plateau_steps: int = 0
    plateau_patience: int = 5
    plateau_least: float = 5e-7
    loss: LossConfig = LossConfig()

    def __post_init__(self) -> None:
        if self.degradation not in DEGRADATIONS:
            raise OptionsError("degradation", self.degradation, ", ".join(DEGRADATIONS))
        if self.reduced not in ("scene", "pair"):
            raise OptionsError("reduced", self.reduced, "'scene' or 'pair'")
        for field in ("steps", "batch", "crop", "reduction"):
            if getattr(self, field) < 1:
                raise OptionsError(field, getattr(self, field), "1 or more")

    @property
    def region(self) -> int:
        """Side of the piece that is cut from a scene, px."""
        return (self.crop + 2 * self.margin) * self.reduction


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """See `imagine_deblur.train.published.discriminator`."""

    width: int = 64
    scales: int = 3
    attention: bool = True
    conditional: bool = True


@dataclasses.dataclass(frozen=True)
class PerceptualConfig:
    """The VGG16 behind the perceptual loss and how it is trained."""

    width: int = 64
    blocks: tuple[int, ...] = (3,)
    steps: int = 3000
    batch: int = 16
    crop: int = 128
    learning_rate: float = 1e-4


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What the loop writes and when, in steps (0 switches a thing off), and how it computes."""

    log_every: int = 50
    checkpoint_every: int = 500
    evaluate_every: int = 1000
    protocols: tuple[str, ...] = ("imagine", "defocus+", "gauss")
    validate_aerial_every: int = 4
    precision: str = "auto"
    threads: int = 0
    deterministic: bool = True


@dataclasses.dataclass(frozen=True)
class PublishedConfig:
    """One run."""

    name: str
    system: str
    seed: int = 1
    network: NetworkConfig = NetworkConfig()
    phases: tuple[PhaseConfig, ...] = (PhaseConfig(),)
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    perceptual: PerceptualConfig = PerceptualConfig()
    run: RunConfig = RunConfig()

    def __post_init__(self) -> None:
        if self.system not in SYSTEMS:
            raise OptionsError("system", self.system, ", ".join(SYSTEMS))
        if not self.phases:
            raise OptionsError("phases", self.phases, "at least one")
        if self.run.precision not in PRECISIONS:
            raise OptionsError("run.precision", self.run.precision, ", ".join(PRECISIONS))
        if self.system == "mgstnet" and len(self.network.widths) != 3:
            raise OptionsError("network.widths", self.network.widths, "three numbers")
        for phase in self.phases:
            multiple = self.multiple_of
            if phase.crop % multiple or (self.system == "autoencoder" and phase.crop != multiple):
                raise OptionsError("crop", phase.crop, f"a size of {multiple} px")
            if self.system == "autoencoder" and phase.reduction > 1 and phase.reduced == "pair":
                raise OptionsError("reduced", "pair", "'scene' for tiles of a fixed size")
            extra = phase.loss.adversarial or phase.loss.features or phase.loss.perceptual
            if extra and self.system != "mimo-unet":
                raise OptionsError("loss", phase.loss, "0 for this system")

    @property
    def multiple_of(self) -> int:
        """What the sides of the network's input must be multiples of."""
        return {"autoencoder": self.network.side, "vgg16": 16}.get(self.system, 4)

    @property
    def steps(self) -> int:
        """Of all phases."""
        return sum(phase.steps for phase in self.phases)

    @property
    def is_adversarial(self) -> bool:
        """Whether a phase needs a discriminator."""
        return any(p.loss.adversarial or p.loss.features for p in self.phases)

    @property
    def is_perceptual(self) -> bool:
        """Whether a phase needs a VGG16."""
        return any(p.loss.perceptual for p in self.phases)

    @property
    def scale(self) -> int:
        """By how much captures are reduced before the network: what the last phase trained for."""
        last = self.phases[-1]
        return last.reduction if last.reduced == "pair" else 1

    def phase_of(self, step: int) -> tuple[int, int]:
        """Index of the phase that takes a step, and the step counted from the phase's first."""
        for index, phase in enumerate(self.phases):
            if step < phase.steps:
                return index, step
            step -= phase.steps
        raise OptionsError("step", step, f"below {self.steps}")

    def crops(self, steps: int) -> int:
        """Crops seen in the first `steps` steps."""
        seen = 0
        for phase in self.phases:
            taken = min(steps, phase.steps)
            seen, steps = seen + taken * phase.batch, steps - taken
        return seen

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values; `from_dict` reads them back."""
        return dataclasses.asdict(self)


def from_dict(values: Mapping[str, Any]) -> PublishedConfig:
    """A configuration from nested plain values.

    Raises
    ------
    OptionsError
        For an unknown or missing key, a value of the wrong type or outside its range.
    """
    for key in ("name", "system"):
        if key not in values:
            raise OptionsError(key, None, "a value")
    return build(PublishedConfig, values)


def load_config(config: str | os.PathLike[str]) -> PublishedConfig:
    """Read a TOML file, or the shipped configuration of that name."""
    return from_dict(read(config))


def override(config: PublishedConfig, assignments: Sequence[str]) -> PublishedConfig:
    """`config` with ``"section.key=value"`` assignments applied, the value in TOML notation.

    A phase is named by its number: ``"phases.0.steps=100"``.
    """
    return from_dict(assigned(config.to_dict(), assignments))
