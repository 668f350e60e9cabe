"""A batch: every item once, retries with a limit, nothing half-written, all of it written down."""

from __future__ import annotations

import contextlib
import errno
import heapq
import os
import pickle
import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagine_deblur import _core
from imagine_deblur.archive import lineage, remote
from imagine_deblur.archive.item import Identity, Item, scheme_of
from imagine_deblur.archive.lanes import ClusterLanes, Lanes, LocalLanes, WorkerDiedError
from imagine_deblur.archive.manifest import NAME, Done, Manifest
from imagine_deblur.archive.settings import STATE, Settings, make_settings
from imagine_deblur.archive.work import UNCHANGED, Task, restore
from imagine_deblur.errors import MemoryBudgetError, OptionsError
from imagine_deblur.options import Options

DEATHS = 2
"""Workers that an item may end before it is left alone."""

_FIRST_PAUSE = 1.0  # s before the first retry, four times as long before each further one
_WAIT = 0.5  # s between looks at retries that fall due
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LISTED = 1000  # failures kept in memory; the manifest has them all

Watch = Callable[[str, str, str], object]


@dataclass(frozen=True)
class Failure:
    """An item without an output.

    Attributes
    ----------
    source : str
    outcome : {"failed", "quarantined"}
    error : str
    kind : str
        The exception's name.
    number : int or None
        Its ``errno``.
    """

    source: str
    outcome: str
    error: str
    kind: str
    number: int | None = None


@dataclass
class BatchSummary:
    """What became of a batch.

    Attributes
    ----------
    restored, passed_through, skipped, failed, quarantined : int
        Items. Skipped ones were done before.
    failures : list of Failure
        The first thousand; the manifest has them all.
    seconds : float
    damaged_lines : int
        Lines of the manifest that were passed over; their items were done again.
    manifest : str
    """

    manifest: str = ""
    restored: int = 0
    passed_through: int = 0
    skipped: int = 0
    failed: int = 0
    quarantined: int = 0
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    damaged_lines: int = 0

    @property
    def items(self) -> int:
        """All items of the batch."""
        done = self.restored + self.passed_through + self.skipped
        return done + self.failed + self.quarantined


def restore_archive(
    items: Sequence[Item],
    output: str | os.PathLike[str],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    options: Options | None = None,
    manifest: str | os.PathLike[str] | None = None,
    retries: int = 2,
    skip_existing: bool = False,
    retry_quarantined: bool = False,
    timeout: float = 60.0,
    item_seconds: float = 7200.0,
    stac_output: str | os.PathLike[str] | None = None,
    watch: Watch | None = None,
) -> BatchSummary:
    """Restore many files, each by one worker with one thread.

    Called again with the same output it goes on: what the manifest has, with the same source and
    the same options, is skipped. An output's bytes depend on its source and the options alone, not
    on who made it, nor on how many worked beside.

    Parameters
    ----------
    items : sequence of Item
        See `imagine_deblur.archive.inputs.find_items`.
    output : path or URL
        A folder, or ``s3://bucket/prefix``.
    workers : int, optional
        Processes of this machine. Default: as many as cores may be used and as `Options.max_ram`
        fits into the memory that is available.
    scheduler : str, optional
        Address of a Dask cluster that runs already; its workers do the work instead.
    options : Options, optional
        `Options.max_ram` is for each worker; `Options.threads` is 1 always. With
        `Options.overwrite` everything is made again.
    manifest : path, optional
        Default: ``manifest.jsonl`` in the output.
    retries : int
        Further attempts after failures that may pass (network, memory), with growing pauses.
    skip_existing : bool
        Leave outputs alone that exist and that the manifest does not know.
    retry_quarantined : bool
        Try again what ended two workers before.
    timeout, item_seconds : float
        See `Settings`.
    stac_output : path, optional
        Folder for a STAC item of each output.
    watch : callable, optional
        Called with the source, what became of it, and why.

    Returns
    -------
    BatchSummary

    Raises
    ------
    OptionsError
        The manifest tells of outputs made with other options, or two sources have one output.
    ClusterLostError, ManifestBusyError, MemoryBudgetError, OSError
        The batch ended early: no scheduler, another batch, no memory, a full disk. What is done
        is written down.
    """
    chosen = options or Options()
    settings = make_settings(
        output, chosen, timeout=timeout, item_seconds=item_seconds, stac_output=stac_output
    )
    if retries < 0:
        raise OptionsError("retries", retries, "0 or more")
    for folder in (None if settings.remote_output else settings.output, settings.stac_output):
        if folder is not None:
            os.makedirs(folder, exist_ok=True)
    batch = _Batch(
        settings,
        Path(manifest) if manifest is not None else _manifest_path(settings),
        overwrite=chosen.overwrite,
        skip_existing=skip_existing,
        retry_quarantined=retry_quarantined,
        retries=retries,
        watch=watch or (lambda source, outcome, reason: None),
    )
    started = time.monotonic()
    with batch.manifest:
        batch.check(items)
        batch.clean()
        lanes: Lanes
        if scheduler is not None:
            lanes = ClusterLanes(scheduler)
        else:
            lanes = LocalLanes(fitting_workers(workers, chosen, len(items)))
        try:
            batch.run(items, lanes)
        finally:
            lanes.close()
            batch.clean()
    if settings.stac_output is not None:
        lineage.save_catalog(Path(settings.stac_output), Path(settings.output).name)
    batch.summary.seconds = time.monotonic() - started
    return batch.summary


def fitting_workers(asked: int | None, options: Options, items: int) -> int:
    """Return how many workers to start.

    Raises
    ------
    OptionsError
        Not a positive number.
    MemoryBudgetError
        So many budgets do not fit into the memory that is available.
    """
    if asked is not None and (isinstance(asked, bool) or not 1 <= asked <= 1024):
        raise OptionsError("workers", asked, "a whole number from 1 to 1024")
    room = _core.memory_limits()["room_bytes"]
    fit = 1024 if room is None else room // options.ram_bytes
    if asked is not None and room is not None and asked > fit:
        raise MemoryBudgetError(
            f"{asked} workers of max_ram={options.max_ram} do not fit into the "
            f"{room / 1e9:.1f} GB of memory that is left: at most {fit} do, or lower --max-ram",
            wanted=asked * options.ram_bytes,
            allowed=room,
        )
    cores = int(_core.topology()["usable_threads"])
    return asked or max(1, min(cores, fit, items))


def _manifest_path(settings: Settings) -> Path:
    if settings.remote_output:
        raise OptionsError(
            "manifest", None, "a local file (--manifest FILE): object stores cannot append to one"
        )
    return Path(settings.output) / NAME


@dataclass(order=True)
class _Job:
    """An item on its way."""

    due: float
    number: int
    item: Item = field(compare=False)
    task: Task | None = field(default=None, compare=False)
    attempts: int = field(default=0, compare=False)
    deaths: int = field(default=0, compare=False)
    begun: float = field(default=0.0, compare=False)


class _Batch:
    """The loop that gives items to workers and writes down what became of them."""

    def __init__(
        self,
        settings: Settings,
        manifest: Path,
        *,
        overwrite: bool,
        skip_existing: bool,
        retry_quarantined: bool,
        retries: int,
        watch: Watch,
    ) -> None:
        self.settings = settings
        self.manifest = Manifest(manifest)
        self.summary = BatchSummary(str(manifest), damaged_lines=self.manifest.damaged)
        self._overwrite, self._skip_existing = overwrite, skip_existing
        self._retry_quarantined, self._retries, self._watch = retry_quarantined, retries, watch
        self._packed = pickle.dumps(settings)
        self._later: list[_Job] = []

    def check(self, items: Sequence[Item]) -> None:
        """Refuse before any work what would mix up outputs."""
        others: list[Done] = []
        for item in items:
            done = self.manifest.done.get(item.output)
            if done is None or self._overwrite:
                continue
            if done.source != item.name:
                raise OptionsError(
                    "output", self.settings.target(item.output),
                    f"an output that no other source has: the manifest says it is of {done.source}",
                )  # fmt: skip
            if done.has_output and done.options != self.settings.digest:
                others.append(done)
        if others:
            raise OptionsError(
                "options", self.settings.digest,
                f"those of the {len(others)} outputs that are there already "
                f"({others[0].options}: other options, PSF, model or version): write to another "
                "folder, or pass --overwrite to make them again",
            )  # fmt: skip

    def clean(self) -> None:
        """Remove what was not finished."""
        if not self.settings.remote_output:
            shutil.rmtree(self.settings.staging, ignore_errors=True)
            with contextlib.suppress(OSError):
                (Path(self.settings.output) / STATE).rmdir()

    def run(self, items: Sequence[Item], lanes: Lanes) -> None:
        """Work until every item is settled."""
        waiting = deque(_Job(0.0, number, item) for number, item in enumerate(items))
        running = 0
        while waiting or running or self._later:
            while lanes.free and (job := self._next(waiting)) is not None:
                if job.task is None:
                    job.task = self._task(job.item)
                if job.task is None:
                    continue
                job.attempts += 1
                job.begun = time.monotonic()
                lanes.submit(job, restore, job.task, self._packed)
                running += 1
            for token, result in lanes.wait(_WAIT) if running else ():
                assert isinstance(token, _Job)
                running -= 1
                self._settle(token, result)
            if not running and not waiting and self._later:
                time.sleep(min(_WAIT, max(0.0, self._later[0].due - time.monotonic())))

    def _next(self, waiting: deque[_Job]) -> _Job | None:
        if self._later and self._later[0].due <= time.monotonic():
            return heapq.heappop(self._later)
        return waiting.popleft() if waiting else None

    def _task(self, item: Item) -> Task | None:
        """Return what is to be done, None where nothing is."""
        done = self.manifest.done.get(item.output)
        if self._overwrite:
            return Task(item, replace=True)
        if done is None:
            if not (self._skip_existing and self._exists(item)):
                return Task(item)
            self._skip(item, "exists, and the manifest does not know it")
            return None
        if done.has_output:
            local = not scheme_of(item.source)
            if not self._as_written(item, done):
                return Task(item, replace=True)
            if not local or self._identity(item) != done.identity:
                return Task(item, replace=True, known=None if local else done.identity)
            self._skip(item, "done before")
            return None
        if done.outcome == "quarantined" and not self._retry_quarantined:
            self._fail(item, "quarantined", "it ended two workers before (--retry-quarantined)", "")
            return None
        return Task(item, replace=done.owned)

    def _identity(self, item: Item) -> Identity | None:
        with contextlib.suppress(OSError):
            return remote.identity(item.source, self.settings.timeout)
        return None

    def _exists(self, item: Item) -> bool:
        target = self.settings.target(item.output)
        if self.settings.remote_output:
            return remote.exists(target, self.settings.timeout)
        return os.path.lexists(target)

    def _as_written(self, item: Item, done: Done) -> bool:
        """Whether an output is still there with the size it was written with."""
        with contextlib.suppress(OSError):
            found = remote.identity(self.settings.target(item.output), self.settings.timeout)
            return found["size"] == done.bytes
        return False

    def _skip(self, item: Item, reason: str) -> None:
        self.summary.skipped += 1
        self._watch(item.name, "skipped", reason)

    def _settle(self, job: _Job, result: Any) -> None:
        """Write down what became of an item, or put it on the list again."""
        seconds = time.monotonic() - job.begun
        if isinstance(result, WorkerDiedError):
            job.deaths += 1
            late = seconds >= self.settings.item_seconds
            error = f"took over {self.settings.item_seconds:g} s" if late else str(result)
            if job.deaths < DEATHS and not result.final:
                self._again(job, 0.0)
                return
            self._write(job, {"outcome": "quarantined", "error": error, "kind": "WorkerDiedError"})
        elif isinstance(result, BaseException):
            text = str(result) or type(result).__name__
            self._write(job, {"outcome": "failed", "error": text, "kind": type(result).__name__})
        elif result["outcome"] == UNCHANGED:
            self._skip(job.item, "done before")
        elif result["outcome"] == "failed" and result["errno"] in _FULL:
            raise OSError(
                result["errno"],
                f"{result['error']}; free some space and run the same command again: it goes on "
                "where it stopped",
            )
        elif result["outcome"] == "failed" and not result["lasting"] and (
            job.attempts - job.deaths <= self._retries
        ):  # fmt: skip
            self._again(job, _FIRST_PAUSE * 4.0 ** (job.attempts - job.deaths - 1))
        else:
            self._write(job, result)

    def _again(self, job: _Job, pause: float) -> None:
        job.due = time.monotonic() + pause
        heapq.heappush(self._later, job)

    def _write(self, job: _Job, result: dict[str, Any]) -> None:
        item, outcome = job.item, str(result["outcome"])
        failed = outcome in {"failed", "quarantined"}
        kept = ("identity", "bytes", "sha256", "seconds", "error", "kind", "report")
        self.manifest.append(
            {
                "source": item.name,
                "output": item.output,
                "outcome": outcome,
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "options": self.settings.digest,
                "attempts": job.attempts,
                **{name: result[name] for name in kept if name in result},
            }
        )
        if failed:
            number = result.get("errno")
            self._fail(item, outcome, str(result["error"]), str(result["kind"]), number)
            return
        if outcome == "restored":
            self.summary.restored += 1
        else:
            self.summary.passed_through += 1
        warnings = result["report"].get("warnings") or ()
        self._watch(item.name, outcome, "" if outcome == "restored" else "; ".join(warnings))

    def _fail(
        self, item: Item, outcome: str, error: str, kind: str, number: int | None = None
    ) -> None:
        if outcome == "failed":
            self.summary.failed += 1
        else:
            self.summary.quarantined += 1
        if len(self.summary.failures) < _LISTED:
            self.summary.failures.append(Failure(item.name, outcome, error, kind, number))
        self._watch(item.name, outcome, error)
