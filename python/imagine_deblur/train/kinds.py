"""The two kinds of training behind one surface: our own networks, and the published systems."""

from __future__ import annotations

import abc
import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from imagine_deblur.errors import OptionsError
from imagine_deblur.train import config as own_config
from imagine_deblur.train import runs
from imagine_deblur.train.device import Device
from imagine_deblur.train.learner import Learner
from imagine_deblur.train.loop import Batch, Limits, Stop
from imagine_deblur.train.published import config as published_config
from imagine_deblur.train.published import train as published
from imagine_deblur.train.published.data import Labelled, Pairs
from imagine_deblur.train.published.exported import read_exported
from imagine_deblur.train.typed import read


class Timer(abc.ABC):
    """Times steps with a learner that is thrown away."""

    learner: Learner

    @abc.abstractmethod
    def batch(self, phase: int, size: int) -> Batch:
        """A batch of a phase; the learner's step is that phase's first."""

    def seconds(self, phase: int, size: int, steps: int) -> float:
        """Seconds of the device's clock per step, the data's making included where it counts."""
        clock = self.learner.device.clock
        self.learner.train_step(*self.batch(phase, size))
        began = clock()
        for _ in range(steps):
            self.learner.train_step(*self.batch(phase, size))
        return (clock() - began) / steps


class Kind(abc.ABC):
    """A configuration that can be timed, stretched and trained."""

    def take_up(self, path: str, data: str, out: Path) -> float:
        """Begin the run in `out` where an exported file ends.

        Returns
        -------
        float
            What this schedule's crops were multiplied by in the file's own training.

        Raises
        ------
        OptionsError
            Not of this kind of training, or the file does not fit.
        """
        raise OptionsError("resume", path, "a published system's job; others take `initialise`")

    @property
    @abc.abstractmethod
    def steps(self) -> int:
        """Of the whole schedule."""

    @property
    @abc.abstractmethod
    def phases(self) -> int:
        """Parts of the schedule that differ in what a step costs."""

    @abc.abstractmethod
    def batch(self, phase: int) -> int:
        """Crops per step."""

    @abc.abstractmethod
    def crops(self, phase: int) -> int:
        """Crops of a phase's whole schedule."""

    @abc.abstractmethod
    def crop_pixels(self, phase: int) -> int:
        """Pixels of one crop."""

    @abc.abstractmethod
    def stretched(self, factor: float, batch: int = 0) -> Kind:
        """As many crops times `factor`, in batches of `batch` where it is not 0.

        Learning rates go with the square root of the batch, as suits Adam (Malladi et al. 2022).
        """

    @abc.abstractmethod
    def timer(self, data: str | os.PathLike[str], device: Device, perceptual: Any = None) -> Timer:
        """For `fit`."""

    @abc.abstractmethod
    def train(
        self,
        data: str | os.PathLike[str],
        out: str | os.PathLike[str],
        *,
        device: Device | None = None,
        initialise: str | os.PathLike[str] | None = None,
        perceptual: str | os.PathLike[str] | None = None,
        workers: int | None = None,
        background: bool | None = None,
        limits: Limits | None = None,
        stop: Stop | None = None,
        progress: bool = True,
    ) -> tuple[Path, str]:
        """Train or resume; see `imagine_deblur.train.loop.run`."""


def kind_of(config: str | os.PathLike[str], set_values: Sequence[str] = ()) -> Kind:
    """Read a configuration file, or the shipped one of that name: with a ``system``, a published.

    Raises
    ------
    OptionsError
        For a wrong configuration.
    """
    values = read(config)
    if "system" in values:
        chosen = published_config.from_dict(values)
        return PublishedKind(published_config.override(chosen, set_values))
    return OwnKind(own_config.override(own_config.from_dict(values), set_values))


def _scaled(steps: int, batch: int, factor: float, size: int) -> tuple[int, float]:
    """New steps, and how many times as many they are."""
    new = max(1, round(steps * batch * factor / size))
    return new, new / steps


@dataclasses.dataclass(frozen=True)
class OwnKind(Kind):
    """One of our networks."""

    config: own_config.TrainConfig

    @property
    def steps(self) -> int:
        """See `Kind`."""
        return self.config.optim.steps

    @property
    def phases(self) -> int:
        """See `Kind`."""
        return 1

    def batch(self, phase: int) -> int:
        """See `Kind`."""
        return self.config.optim.batch

    def crops(self, phase: int) -> int:
        """See `Kind`."""
        return self.config.optim.steps * self.config.optim.batch

    def crop_pixels(self, phase: int) -> int:
        """See `Kind`."""
        return self.config.data.crop**2

    def stretched(self, factor: float, batch: int = 0) -> OwnKind:
        """See `Kind`."""
        optim, data = self.config.optim, self.config.data
        size = batch or optim.batch
        steps, _ = _scaled(optim.steps, optim.batch, factor, size)
        rate = optim.learning_rate * math.sqrt(size / optim.batch)
        optim = dataclasses.replace(
            optim, steps=steps, batch=size, learning_rate=rate,
            warmup=min(optim.warmup, max(1, steps // 10)),
        )  # fmt: skip
        data = dataclasses.replace(data, refresh=data.refresh * size / self.config.optim.batch)
        return OwnKind(dataclasses.replace(self.config, optim=optim, data=data))

    def timer(self, data: str | os.PathLike[str], device: Device, perceptual: Any = None) -> Timer:
        """See `Kind`."""
        return _OwnTimer(self.config, data, device, perceptual)

    def train(
        self,
        data: str | os.PathLike[str],
        out: str | os.PathLike[str],
        *,
        device: Device | None = None,
        initialise: str | os.PathLike[str] | None = None,
        perceptual: str | os.PathLike[str] | None = None,
        workers: int | None = None,
        background: bool | None = None,
        limits: Limits | None = None,
        stop: Stop | None = None,
        progress: bool = True,
    ) -> tuple[Path, str]:
        """See `Kind`."""
        if workers:
            raise OptionsError("workers", workers, "none: its crops come from one process")
        vgg = None if perceptual is None else published.load_vgg(perceptual)
        return runs.train(
            self.config, data, out, device=device, initialise=initialise, vgg=vgg,
            background=background is not False, limits=limits, stop=stop, progress=progress,
        )  # fmt: skip


class _OwnTimer(Timer):
    """Crops come from another process, so they are made up."""

    def __init__(
        self,
        config: own_config.TrainConfig,
        data: str | os.PathLike[str],
        device: Device,
        perceptual: Any,
    ) -> None:
        vgg = None if perceptual is None else published.load_vgg(perceptual)
        self.learner = runs.NetworkTask(config, data, ".", device=device, vgg=vgg).learner
        self.planes, self.crop = config.input_planes, config.data.crop

    def batch(self, phase: int, size: int) -> Batch:
        shape = (self.crop, self.crop)
        return torch.rand(size, self.planes, *shape) - 0.5, torch.rand(size, 3, *shape)


@dataclasses.dataclass(frozen=True)
class PublishedKind(Kind):
    """One of the published systems."""

    config: published_config.PublishedConfig

    @property
    def steps(self) -> int:
        """See `Kind`."""
        return self.config.steps

    @property
    def phases(self) -> int:
        """See `Kind`."""
        return len(self.config.phases)

    def batch(self, phase: int) -> int:
        """See `Kind`."""
        return self.config.phases[phase].batch

    def crops(self, phase: int) -> int:
        """See `Kind`."""
        return self.config.phases[phase].steps * self.config.phases[phase].batch

    def crop_pixels(self, phase: int) -> int:
        """See `Kind`."""
        return self.config.phases[phase].crop ** 2

    def stretched(self, factor: float, batch: int = 0) -> PublishedKind:
        """See `Kind`."""
        phases = []
        for phase in self.config.phases:
            size = batch or phase.batch
            steps, longer = _scaled(phase.steps, phase.batch, factor, size)
            phases.append(
                dataclasses.replace(
                    phase,
                    steps=steps,
                    batch=size,
                    learning_rate=phase.learning_rate * math.sqrt(size / phase.batch),
                    drop_every=max(1, round(phase.drop_every * longer)) if phase.drop_every else 0,
                    drop_at=tuple(round(at * longer) for at in phase.drop_at),
                    plateau_steps=(
                        max(1, round(phase.plateau_steps * longer)) if phase.plateau_steps else 0
                    ),
                )
            )
        return PublishedKind(dataclasses.replace(self.config, phases=tuple(phases)))

    def timer(self, data: str | os.PathLike[str], device: Device, perceptual: Any = None) -> Timer:
        """See `Kind`."""
        return _PublishedTimer(self.config, data, device, perceptual)

    def train(
        self,
        data: str | os.PathLike[str],
        out: str | os.PathLike[str],
        *,
        device: Device | None = None,
        initialise: str | os.PathLike[str] | None = None,
        perceptual: str | os.PathLike[str] | None = None,
        workers: int | None = None,
        background: bool | None = None,
        limits: Limits | None = None,
        stop: Stop | None = None,
        progress: bool = True,
    ) -> tuple[Path, str]:
        """See `Kind`."""
        return published.train(
            self.config, data, out, device=device, initialise=initialise, perceptual=perceptual,
            workers=workers or 0, limits=limits, stop=stop, progress=progress,
        )  # fmt: skip

    def take_up(self, path: str, data: str, out: Path) -> float:
        """See `Kind`."""
        factor = float(read_exported(path, "resume").training["of_steps"]) / self.steps
        published.PublishedTask(self.stretched(factor).config, data).take_up(path, out)
        return factor


class _PublishedTimer(Timer):
    """Real batches, made while the clock runs, as without workers."""

    def __init__(
        self,
        config: published_config.PublishedConfig,
        data: str | os.PathLike[str],
        device: Device,
        perceptual: Any,
    ) -> None:
        vgg = None if perceptual is None else published.load_vgg(perceptual)
        if config.is_perceptual and vgg is None:
            raise OptionsError(
                "perceptual", None, "a finished VGG16's job where the schedule is fitted"
            )
        self.config = config
        self.task = published.PublishedTask(config, data, device=device, vgg=vgg)
        self.learner = self.task.learner
        # The scenes are decoded once, as in training.
        self._made: tuple[tuple[int, int], Pairs | Labelled] | None = None
        self._taken = 0

    def batch(self, phase: int, size: int) -> Batch:
        if self._made is None or self._made[0] != (phase, size):
            self._made = None  # the last phase's scenes go first
            self._made = ((phase, size), self._batches(phase, size))
        self._taken += 1
        return self._made[1][self._taken % len(self._made[1])]

    def _batches(self, phase: int, size: int) -> Pairs | Labelled:
        phases = list(self.config.phases)
        phases[phase] = dataclasses.replace(phases[phase], batch=size)
        changed = dataclasses.replace(self.config, phases=tuple(phases))
        self.learner.step = sum(p.steps for p in phases[:phase])
        labelled = self.task.labelled
        if labelled is not None:
            return Labelled(labelled, changed, phase)
        return Pairs(self.task.data / "train", changed, phase)
