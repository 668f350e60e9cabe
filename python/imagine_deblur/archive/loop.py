"""The loop that gives items to workers, tries again, and writes down what became of them."""

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

from imagine_deblur.archive import remote
from imagine_deblur.archive.item import Identity, Item, scheme_of
from imagine_deblur.archive.lanes import Lanes, WorkerDiedError
from imagine_deblur.archive.manifest import Done, Manifest
from imagine_deblur.archive.settings import STATE, Settings
from imagine_deblur.archive.summary import BatchSummary, Failure
from imagine_deblur.archive.work import UNCHANGED, Task, restore
from imagine_deblur.errors import OptionsError

DEATHS = 2
"""Workers that an item may end before it is left alone."""

_FIRST_PAUSE = 1.0  # s before the first retry, four times as long before each further one
_WAIT = 0.5  # s between looks at retries that fall due
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LISTED = 1000  # failures kept in memory; the manifest has them all

Watch = Callable[[str, str, str], object]


@dataclass(order=True)
class Job:
    """An item on its way."""

    due: float
    number: int
    item: Item = field(compare=False)
    task: Task | None = field(default=None, compare=False)
    attempts: int = field(default=0, compare=False)
    deaths: int = field(default=0, compare=False)
    begun: float = field(default=0.0, compare=False)


class Batch:
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
        self._later: list[Job] = []

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
        waiting = deque(Job(0.0, number, item) for number, item in enumerate(items))
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
            if not running:
                if not lanes.free or self._later:  # no worker yet, or nothing due yet
                    time.sleep(_WAIT if waiting else self._pause())
                continue
            for token, result in lanes.wait(_WAIT):
                assert isinstance(token, Job)
                running -= 1
                self._settle(token, result)

    def _pause(self) -> float:
        """Seconds until a retry falls due, at most `_WAIT`."""
        return min(_WAIT, max(0.0, self._later[0].due - time.monotonic())) if self._later else _WAIT

    def _next(self, waiting: deque[Job]) -> Job | None:
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

    def _settle(self, job: Job, result: Any) -> None:
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
                self.settings.output,
            )
        elif result["outcome"] == "failed" and not result["lasting"] and (
            job.attempts - job.deaths <= self._retries
        ):  # fmt: skip
            self._again(job, _FIRST_PAUSE * 4.0 ** (job.attempts - job.deaths - 1))
        else:
            self._write(job, result)

    def _again(self, job: Job, pause: float) -> None:
        job.due = time.monotonic() + pause
        heapq.heappush(self._later, job)

    def _write(self, job: Job, result: dict[str, Any]) -> None:
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
