"""The loop of every training: checkpoints, tables, signals, budgets.

What is trained comes as a `Task`. A run is resumed from its checkpoint at the exact step; how
often it writes or validates changes nothing in its weights.
"""

from __future__ import annotations

import abc
import csv
import dataclasses
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imagine_deblur.errors import OptionsError
from imagine_deblur.train.learner import Learner, read_checkpoint

#: Seconds after which a checkpoint is written, whatever the number of steps.
CHECKPOINT_SECONDS = 240.0

_LOG = ("time", "step", "seconds", "processor_seconds", "learning_rate")
_TABLE = ("step", "seconds", "processor_seconds", "protocol")

Batch = tuple[torch.Tensor, torch.Tensor] | tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Cadence:
    """What a run writes and when, in steps. 0 switches a thing off."""

    log_every: int = 50
    checkpoint_every: int = 500
    evaluate_every: int = 1000
    sample_every: int = 0


@dataclasses.dataclass(frozen=True)
class Limits:
    """Where a run ends before its schedule does.

    Attributes
    ----------
    until : int or None
        After this step; the schedule stays.
    seconds : float or None
        After so many seconds of the device's clock (`Device.clock`), all sessions together.
    flat_db : float
        Where the mean validation PSNR has risen by less in the last `flat_seconds` of the device's
        clock; 0: never.
    flat_seconds : float
    """

    until: int | None = None
    seconds: float | None = None
    flat_db: float = 0.0
    flat_seconds: float = 3600.0


class Task(abc.ABC):
    """What is trained: a learner, its batches, its validation.

    Attributes
    ----------
    name : str
    steps : int
        Of the whole schedule.
    learner : Learner
    cadence : Cadence
    columns : tuple of str
        Parts of the loss that the log has columns for.
    figures : tuple of str
        Columns of the validation table; ``ours`` is the one that curves show.
    training_checksum : str
        Of the images it is trained on.
    """

    name: str
    steps: int
    learner: Learner
    cadence: Cadence
    columns: tuple[str, ...]
    figures: tuple[str, ...]
    training_checksum: str

    @abc.abstractmethod
    def batches(self, last: int) -> Iterator[Batch]:
        """The batches of the steps from the learner's to `last` - 1, in order."""

    @abc.abstractmethod
    def refuse(self, held: dict[str, Any]) -> None:
        """Raise an OptionsError where a checkpoint's content belongs to another run."""

    @abc.abstractmethod
    def start(self, initialise: str | os.PathLike[str] | None) -> list[dict[str, Any]]:
        """Begin at step 0, from another run's weights where given; returns their history."""

    @abc.abstractmethod
    def validate(self) -> Iterator[tuple[str, dict[str, float]]]:
        """Protocols and their figures, one after another."""

    def sample(self, path: Path) -> None:  # noqa: B027 - not every task has one
        """Write a picture of what the network makes of a validation scene."""

    def close(self) -> None:  # noqa: B027 - not every task has something to end
        """End what was started."""


class Journal:
    """Appends rows to a CSV file, with a header when it is new."""

    def __init__(self, path: Path, fields: tuple[str, ...]) -> None:
        self.path, self.fields = path, fields
        if not path.exists():
            self._append(fields)

    def _append(self, row: tuple[Any, ...]) -> None:
        with self.path.open("a", newline="") as stream:
            csv.writer(stream).writerow(row)

    def write(self, **values: Any) -> None:
        """Append one row; fields without a value stay empty."""

        def text(value: Any) -> Any:
            return f"{value:.6g}" if isinstance(value, float) else value

        self._append(tuple(text(values.get(field, "")) for field in self.fields))


class Stop:
    """SIGTERM and SIGINT end a run: the first after the step in hand, a second one at once.

    At once is safe: the last checkpoint is whole, and going on from it repeats the same steps.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._take)
        return self

    def _take(self, number: int, frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def run(
    task: Task,
    out: str | os.PathLike[str],
    *,
    initialise: str | os.PathLike[str] | None = None,
    limits: Limits | None = None,
    stop: Stop | None = None,
    progress: bool = True,
) -> tuple[Path, str]:
    """Train or resume.

    Parameters
    ----------
    task : Task
    out : path
        Run folder: ``checkpoint.pt``, ``log.csv``, ``validation.csv``.
    initialise : path, optional
        Checkpoint whose weights a new run starts from; ignored when resuming.
    limits : Limits, optional
    stop : Stop, optional
        An entered one; by default the run takes the signals itself.
    progress : bool
        Print a line per log entry.

    Returns
    -------
    checkpoint : Path
    why : str
        How it ended: ``"done"``, ``"stopped"`` by a signal or `Limits.until`, ``"spent"`` or
        ``"flat"``.

    Raises
    ------
    OptionsError
        If the checkpoint in `out` belongs to another configuration or other images.
    EngineError
        If the loss is no longer finite.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        if stop is not None:
            return _Run(task, out, limits or Limits(), stop, progress).go(initialise)
        with Stop() as own:
            return _Run(task, out, limits or Limits(), own, progress).go(initialise)
    finally:
        task.close()


class _Run:
    """One session of a run."""

    def __init__(self, task: Task, out: Path, limits: Limits, stop: Stop, progress: bool) -> None:
        self.task, self.out, self.limits, self.stop = task, out, limits, stop
        self.progress = progress
        self.checkpoint = out / "checkpoint.pt"
        self.log = Journal(out / "log.csv", (*_LOG, *task.columns))
        self.table = Journal(out / "validation.csv", (*_TABLE, *task.figures))
        self.history: list[dict[str, Any]] = []
        self.seconds = self.used = 0.0
        self._wall = self._clock = self._saved = 0.0

    def go(self, initialise: str | os.PathLike[str] | None) -> tuple[Path, str]:
        task, cadence = self.task, self.task.cadence
        learner = task.learner
        self._restore(initialise)
        last = min(task.steps, self.limits.until or task.steps)
        self._tick()
        self._saved = time.monotonic()
        rows: list[dict[str, float]] = []
        why = ""
        held = read_curve(self.table.path)
        evaluated = held[-1][0] if held else -1
        if learner.step < last and not self.stop.asked:
            for batch in task.batches(last):
                rows.append(learner.train_step(*batch))
                self._tick(count=True)
                if self._due(cadence.log_every) or learner.step == last:
                    self._report(rows)
                    rows = []
                if self._due(cadence.evaluate_every):
                    self._validate()
                    evaluated = learner.step
                if self._due(cadence.sample_every):
                    task.sample(self.out / f"sample-{learner.step:07d}.png")
                late = time.monotonic() - self._saved > CHECKPOINT_SECONDS
                if late or self._due(cadence.checkpoint_every):
                    self._save()
                why = self._ended(evaluated == learner.step)
                if why:
                    break
        self._save()
        if cadence.evaluate_every and not self.stop.asked and evaluated != learner.step:
            self._validate()
        return self.checkpoint, why or ("done" if learner.step >= task.steps else "stopped")

    def _restore(self, initialise: str | os.PathLike[str] | None) -> None:
        task = self.task
        if not self.checkpoint.exists():
            self.history = task.start(initialise)
            return
        state = read_checkpoint(self.checkpoint, task.learner.FORMAT)
        task.refuse(state)
        if state["training_checksum"] != task.training_checksum:
            raise OptionsError("data", state["training_checksum"], "the images the run began with")
        task.learner.resume(state)
        self.seconds = float(state["seconds"])
        # Checkpoints of earlier versions did not tell the two clocks apart.
        self.used = float(state.get("processor_seconds", self.seconds))
        self.history = state.get("history", [])

    def _tick(self, *, count: bool = False) -> None:
        """Read the clocks; what passed since the last reading counts where asked to."""
        wall, clock = time.monotonic(), self.task.learner.device.clock()
        if count:
            self.seconds += wall - self._wall
            self.used += clock - self._clock
        self._wall, self._clock = wall, clock

    def _due(self, every: int) -> bool:
        return every > 0 and self.task.learner.step % every == 0

    def _ended(self, evaluated: bool) -> str:
        """Why the run ends after the step in hand, or nothing."""
        limits = self.limits
        if self.stop.asked:
            return "stopped"
        if limits.seconds is not None and self.used >= limits.seconds:
            return "spent"
        if (
            evaluated
            and limits.flat_db
            and is_flat(self.out / "validation.csv", limits.flat_db, limits.flat_seconds)
        ):
            return "flat"
        return ""

    def _report(self, rows: list[dict[str, float]]) -> None:
        means = {
            name: float(np.mean([row[name] for row in rows if name in row]))
            for name in self.task.columns
            if any(name in row for row in rows)
        }
        self.log.write(
            time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            step=self.task.learner.step,
            seconds=self.seconds,
            processor_seconds=self.used,
            learning_rate=rows[-1]["learning_rate"],
            **means,
        )
        if self.progress:
            parts = "  ".join(f"{name} {value:.5f}" for name, value in means.items())
            print(
                f"{self.task.name} step {self.task.learner.step}/{self.task.steps}  {parts}  "
                f"{self.seconds:.0f} s, {self.used:.0f} s of processor time",
                flush=True,
            )

    def _save(self) -> None:
        self.task.learner.save(
            self.checkpoint,
            seconds=self.seconds,
            processor_seconds=self.used,
            training_checksum=self.task.training_checksum,
            history=self.history,
        )
        self._saved = time.monotonic()

    def _validate(self) -> None:
        step = self.task.learner.step
        for name, row in self.task.validate():
            figures = {key: row.get(key, float("nan")) for key in self.task.figures}
            self.table.write(
                step=step,
                seconds=self.seconds,
                processor_seconds=self.used,
                protocol=name,
                **figures,
            )
            if self.progress:
                text = "  ".join(f"{key} {value:.3f}" for key, value in row.items())
                print(f"{self.task.name} step {step}  {name}: {text}", flush=True)
            if self.stop.asked:
                break
        self._tick()  # validation does not count


def read_curve(table: Path) -> list[tuple[int, float, float]]:
    """Step, seconds of the device's clock and mean ``ours`` over protocols, per evaluation.

    Evaluations that a signal cut short (fewer protocols than the first one) are left out.
    """
    if not table.exists():
        return []
    points: dict[int, dict[str, tuple[float, float]]] = {}
    with table.open(newline="") as stream:
        for row in csv.DictReader(stream):
            at = points.setdefault(int(row["step"]), {})
            at[row["protocol"]] = (float(row["processor_seconds"]), float(row["ours"]))
    most = max((len(at) for at in points.values()), default=0)
    curve = []
    for step, at in sorted(points.items()):
        if len(at) == most:
            seconds, values = zip(*at.values(), strict=True)
            curve.append((step, max(seconds), sum(values) / most))
    return curve


def is_flat(table: Path, rise: float, seconds: float) -> bool:
    """Whether the best of the last `seconds` is less than `rise` above the best before them."""
    curve = read_curve(table)
    if not curve:
        return False
    since = curve[-1][1] - seconds
    before = [value for _, at, value in curve if at <= since]
    recent = [value for _, at, value in curve if at > since]
    return bool(before) and max(recent) - max(before) < rise
