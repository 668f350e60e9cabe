"""Trainings one after another, at the lowest priority, over any number of sessions.

    data = "../data"                # relative to this file; `--data` says otherwise
    [[job]]
    name = "mimo-unet"              # its folder under RUNS
    config = "mimo-unet"            # a shipped configuration, or a file beside this one
    hours = 6.0                     # of a processor (of the device on an accelerator)
    set = ["run.threads=1"]

A job's schedule is stretched or shortened to its hours once, before its first step: a few steps of
each phase are timed, and ``job.json`` in the job's folder keeps what came out, so that going on
later goes on with the same schedule at the same step. Without hours the configuration's own
schedule is run in full. `status` tells where every job stands.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from imagine_deblur.errors import ImagineDeblurError, OptionsError
from imagine_deblur.train.curves import Standing, draw_curves, standing, write_table
from imagine_deblur.train.device import Device
from imagine_deblur.train.fitting import Fitted, fit
from imagine_deblur.train.kinds import Kind, kind_of
from imagine_deblur.train.loop import Limits, Stop
from imagine_deblur.train.typed import build

#: A job whose steps turn out slower than those timed ends at so many times its hours.
PATIENCE = 1.25

#: How a job can have ended for good; after the other ways it goes on next time.
FINISHED = ("done", "flat", "spent")


@dataclasses.dataclass(frozen=True)
class Job:
    """One training of a queue.

    Attributes
    ----------
    name : str
        Folder of the run.
    config : str
        Name of a shipped configuration, or a TOML file beside the queue's.
    hours : float
        Budget in hours of a processor, on an accelerator in hours of the device; 0: the
        configuration's schedule in full.
    initialise, perceptual : str
        Name of an earlier job, or a checkpoint, to start from, and for the VGG16. One beside the
        queue's file is taken from there. A published system may start from an exported file.
    resume : str
        File that was exported of this job, beside the queue's: where the job has no folder yet, it
        goes on with these weights, at their step and hours. For published systems.
    set : tuple of str
        Single values, as in ``imagine-deblur train --set``.
    workers : int
        Processes that make batches.
    find_batch : bool
        Take as large a batch as is worth it; the number of crops stays.
    flat_db, flat_hours : float
        The job ends early where its validation curve rose less than so many dB in its last so
        many hours; 0 dB: never.
    """

    name: str
    config: str
    hours: float = 0.0
    initialise: str = ""
    perceptual: str = ""
    resume: str = ""
    set: tuple[str, ...] = ()
    workers: int = 0
    find_batch: bool = False
    flat_db: float = 0.05
    flat_hours: float = 1.0

    def __post_init__(self) -> None:
        if not self.name or Path(self.name).name != self.name:
            raise OptionsError("job.name", self.name, "a folder's name")
        if not self.hours >= 0:
            raise OptionsError("job.hours", self.hours, "0 or more")


@dataclasses.dataclass(frozen=True)
class Queue:
    """A queue's file.

    Attributes
    ----------
    job : tuple of Job
    data : str
        Folder with ``train`` and ``val``.
    """

    job: tuple[Job, ...]
    data: str = ""

    def __post_init__(self) -> None:
        names = [job.name for job in self.job]
        if len(set(names)) < len(names) or not names:
            raise OptionsError("job.name", names, "one or more names, each once")
        for place, job in enumerate(self.job):
            for field in ("initialise", "perceptual"):
                wanted = getattr(job, field)
                if wanted in names[place:]:
                    raise OptionsError(f"job.{field}", wanted, "an earlier job's name")


def read_queue(path: str | os.PathLike[str], data: str | os.PathLike[str] | None = None) -> Queue:
    """Read a queue; `data` takes the place of its own.

    Raises
    ------
    OptionsError
        Not a queue, or one without data.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            values = tomllib.load(stream)
    except tomllib.TOMLDecodeError as error:
        raise OptionsError("queue", str(path), f"a TOML file: {error}") from None
    queue = build(Queue, {"job": (), **values})
    folder = data or (queue.data and path.parent / queue.data)
    if not folder or not (Path(folder) / "train").is_dir():
        raise OptionsError("data", str(folder), "a folder with train/ and val/ (--data)")
    jobs = tuple(_beside(job, path.parent) for job in queue.job)
    return dataclasses.replace(queue, data=os.fspath(folder), job=jobs)


def _beside(job: Job, folder: Path) -> Job:
    """The job with the files that it names taken from the queue's folder, where they lie there."""
    paths = ("config", "initialise", "perceptual", "resume")
    named = {name: folder / getattr(job, name) for name in paths}
    return dataclasses.replace(
        job, **{name: os.fspath(path) for name, path in named.items() if path.is_file()}
    )


def run_queue(
    queue: Queue,
    runs: str | os.PathLike[str],
    *,
    device: str | None = None,
    polite: bool = True,
    progress: bool = True,
) -> dict[str, str]:
    """Run the jobs in order, or go on with them.

    Parameters
    ----------
    queue : Queue
    runs : path
        Folder of the runs' folders; receives ``curves.csv``, ``curves.png`` and ``jobs.csv``.
    device : str, optional
        One of `imagine_deblur.train.device.NAMES`.
    polite : bool
        Take the lowest priority of the operating system.
    progress : bool

    Returns
    -------
    dict
        What became of each job: ``"done"``, ``"flat"``, ``"spent"``, ``"stopped"``,
        ``"waiting"``, or ``"failed: "`` with the error.
    """
    if polite:
        lower_priority()
    runs = Path(runs)
    chosen = Device.chosen(device)
    outcome = {job.name: "waiting" for job in queue.job}
    with Stop() as stop:
        for job in queue.job:
            if stop.asked:
                break
            place = _Place(queue, job, runs, chosen, stop, progress)
            try:
                outcome[job.name] = place.run()
            except ImagineDeblurError as error:
                outcome[job.name] = f"failed: {error}"
            if progress:
                print(f"{job.name}: {outcome[job.name]}", flush=True)
            report(queue, runs)
    return outcome


def lower_priority() -> None:
    """Nice 19 for this thread and all that are started later."""
    os.setpriority(os.PRIO_PROCESS, 0, 19)


class _Place:
    """A job in its folder."""

    def __init__(
        self, queue: Queue, job: Job, runs: Path, device: Device, stop: Stop, progress: bool
    ) -> None:
        self.queue, self.job, self.runs = queue, job, runs
        self.device, self.stop, self.progress = device, stop, progress
        self.out = runs / job.name
        self.note = self.out / "job.json"

    def run(self) -> str:
        job, held = self.job, read_note(self.note)
        if held is not None and held["ended"] in FINISHED:
            return str(held["ended"])
        kind = kind_of(job.config, job.set)
        initialise = self._checkpoint(job.initialise)
        perceptual = self._checkpoint(job.perceptual)
        if held is None:
            held = self._begin(kind, perceptual)
        kind = kind.stretched(held["factor"], held["batch"])
        limits = Limits(
            seconds=job.hours * 3600 * PATIENCE if job.hours else None,
            flat_db=job.flat_db,
            flat_seconds=job.flat_hours * 3600,
        )
        if self.progress:
            print(f"{job.name}: {kind.steps} steps", flush=True)
        _, why = kind.train(
            self.queue.data,
            self.out,
            device=self.device,
            initialise=initialise,
            perceptual=perceptual,
            workers=job.workers,
            limits=limits,
            stop=self.stop,
            progress=self.progress,
        )
        write_note(self.note, {**held, "ended": why})
        return why

    def _begin(self, kind: Kind, perceptual: Path | None) -> dict[str, Any]:
        """Fit the schedule to the budget, once."""
        self.out.mkdir(parents=True, exist_ok=True)
        found = Fitted(1.0, 0, 0.0)
        if self.job.resume:
            factor = kind.take_up(self.job.resume, self.queue.data, self.out)
            found = dataclasses.replace(found, factor=factor)
        elif self.job.hours or self.job.find_batch:
            found = fit(
                kind,
                self.queue.data,
                self.device,
                perceptual=perceptual,
                hours=self.job.hours,
                find=self.job.find_batch,
            )
        held = {**dataclasses.asdict(found), "hours": self.job.hours, "ended": ""}
        held["steps"] = kind.stretched(found.factor, found.batch).steps
        write_note(self.note, held)
        return held

    def _checkpoint(self, name: str) -> Path | None:
        """The checkpoint that a job's name, or a path, stands for."""
        if not name:
            return None
        if name not in [job.name for job in self.queue.job]:
            path = Path(name)
        else:
            path = self.runs / name / "checkpoint.pt"
        if not path.exists():
            raise OptionsError("initialise", name, f"a finished job, or a checkpoint ({path})")
        return path


def read_note(path: Path) -> dict[str, Any] | None:
    """What ``job.json`` says, None where there is none."""
    if not path.exists():
        return None
    held: dict[str, Any] = json.loads(path.read_text())
    return held


def write_note(path: Path, held: Mapping[str, Any]) -> None:
    """Write ``job.json`` atomically."""
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(held, indent=1, sort_keys=True) + "\n")
    scratch.replace(path)


def standings(queue: Queue, runs: str | os.PathLike[str]) -> list[Standing]:
    """Where every job stands."""
    found = []
    for job in queue.job:
        folder = Path(runs) / job.name
        held = read_note(folder / "job.json") or {"ended": "", "steps": 0}
        found.append(
            standing(folder, job.name, hours=job.hours, steps=held["steps"], ended=held["ended"])
        )
    return found


def report(queue: Queue, runs: str | os.PathLike[str]) -> None:
    """Write ``jobs.csv``, ``curves.csv`` and ``curves.png`` into the folder of the runs."""
    Path(runs).mkdir(parents=True, exist_ok=True)
    write_table(Path(runs) / "jobs.csv", standings(queue, runs))
    draw_curves(Path(runs), [job.name for job in queue.job])


def status(queue: Queue, runs: str | os.PathLike[str], say: Callable[[str], None] = print) -> None:
    """Tell where every job stands and when it will be done, and write the tables."""
    report(queue, runs)
    wait = 0.0
    for one in standings(queue, runs):
        wait += one.hours_left
        say(one.line(wait))
