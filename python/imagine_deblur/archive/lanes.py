"""Who does the work: processes of this machine, or the workers of a Dask cluster.

Both take one task a worker, so that a worker that dies names the task that killed it, and no
other task is blamed. Both tell of a death as `WorkerDiedError`, whatever the library calls it.

Processes of this machine are executors of one process each: an executor of many breaks as a whole
when one of its processes dies.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any

from imagine_deblur._version import VERSION
from imagine_deblur.errors import EngineError, ImagineDeblurError
from imagine_deblur.support.extras import require

_CONNECT_SECONDS = 10.0
_JOIN_SECONDS = 30.0
_RECOUNT_SECONDS = 5.0  # how soon workers that join a cluster get work


class WorkerDiedError(ImagineDeblurError, RuntimeError):
    """The worker ended in the middle of a task: killed, out of memory, or crashed.

    Attributes
    ----------
    final : bool
        Other workers were tried and ended too.
    """

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class ClusterLostError(ImagineDeblurError, ConnectionError):
    """The cluster's scheduler is gone; what was running is not known."""


class Lanes(ABC):
    """Workers, each with one task at a time."""

    @property
    @abstractmethod
    def free(self) -> int:
        """How many tasks may be given now."""

    @abstractmethod
    def submit(self, token: object, function: Callable[..., Any], *arguments: Any) -> None:
        """Give a task to a free worker.

        Parameters
        ----------
        token : object
            Returned with the result.
        function : callable
            Of a module, so that it can be pickled.
        """

    @abstractmethod
    def wait(self, timeout: float) -> list[tuple[object, Any]]:
        """Return (token, result) of tasks that ended; results that are exceptions were raised.

        Parameters
        ----------
        timeout : float
            Seconds after which an empty list is returned.

        Raises
        ------
        ClusterLostError
        """

    @abstractmethod
    def close(self) -> None:
        """End what is still running, and the workers that were started here."""


class LocalLanes(Lanes):
    """Processes of this machine.

    Parameters
    ----------
    workers : int
    """

    def __init__(self, workers: int) -> None:
        self._ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._running: dict[Future[Any], tuple[object, _Process]] = {}
        self._idle = [_Process() for _ in range(workers)]

    @property
    def free(self) -> int:
        """See `Lanes`."""
        return len(self._idle)

    def submit(self, token: object, function: Callable[..., Any], *arguments: Any) -> None:
        """See `Lanes`."""
        process = self._idle.pop()
        future = process.submit(function, *arguments)
        self._running[future] = token, process
        future.add_done_callback(self._ended.put)

    def wait(self, timeout: float) -> list[tuple[object, Any]]:
        """See `Lanes`."""
        found = []
        for future in _drained(self._ended, timeout):
            token, process = self._running.pop(future)
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                process.end(kill=False)
                process, error = _Process(), WorkerDiedError("the worker ended in the middle")
            self._idle.append(process)
            found.append((token, future.result() if error is None else error))
        return found

    def close(self) -> None:
        """See `Lanes`."""
        for process in [*self._idle, *(process for _, process in self._running.values())]:
            process.end()
        self._idle, self._running = [], {}


class _Process:
    """An executor of one process, whose number is known."""

    def __init__(self) -> None:
        # Spawned: a fork would copy threads and libraries of the caller in whatever state.
        self._executor = ProcessPoolExecutor(1, get_context("spawn"), _begin)
        self._number: Future[int] | None = None

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        if self._number is None:
            self._number = self._executor.submit(os.getpid)
        return self._executor.submit(function, *arguments)

    def end(self, *, kill: bool = True) -> None:
        if kill and self._number is not None:
            with contextlib.suppress(BrokenProcessPool, ProcessLookupError):
                os.kill(self._number.result(), signal.SIGKILL)
        self._executor.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """Begin a worker: Ctrl-C is its parent's to hear, and it ends when its parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


class ClusterLanes(Lanes):
    """The workers of a Dask cluster that runs already.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``"tcp://10.0.0.1:8786"``.

    Raises
    ------
    ClusterLostError
        No scheduler answers there, or it has no workers.
    EngineError
        A worker has another version of this package, or none.
    """

    def __init__(self, address: str) -> None:
        if re.search(r":\d+", address) is None:  # a client of it would take 20 s to give up
            raise ClusterLostError(
                f"no Dask scheduler answers at {address}: its port is missing, as in "
                "tcp://10.0.0.1:8786"
            )
        distributed = require("distributed", extra="archive", purpose="--scheduler")
        self._killed: type[BaseException] = distributed.KilledWorker
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._running: dict[str, tuple[object, Any]] = {}
        self._threads, self._counted = 0, -_RECOUNT_SECONDS
        try:
            self._client = distributed.Client(
                address, timeout=_CONNECT_SECONDS, set_as_default=False, heartbeat_interval="5s"
            )
        except (OSError, ValueError) as error:
            raise ClusterLostError(f"no Dask scheduler answers at {address}: {error}") from error
        try:
            self._client.wait_for_workers(1, timeout=_JOIN_SECONDS)
            self._check_versions()
        except TimeoutError as error:
            self._client.close()
            raise ClusterLostError(
                f"the cluster at {address} has no workers after {_JOIN_SECONDS:g} s: start some "
                f"with 'dask worker {address} --nthreads 1'"
            ) from error
        except BaseException:
            self._client.close()
            raise

    @property
    def free(self) -> int:
        """See `Lanes`."""
        if time.monotonic() - self._counted > _RECOUNT_SECONDS:
            with contextlib.suppress(OSError):
                self._threads = sum(self._client.nthreads().values())
            self._counted = time.monotonic()
        return max(0, self._threads - len(self._running))

    def submit(self, token: object, function: Callable[..., Any], *arguments: Any) -> None:
        """See `Lanes`."""
        future = self._client.submit(function, *arguments, pure=False)
        self._running[future.key] = token, future
        future.add_done_callback(self._ended.put)

    def wait(self, timeout: float) -> list[tuple[object, Any]]:
        """See `Lanes`."""
        found = []
        for future in _drained(self._ended, timeout):
            token, _ = self._running.pop(future.key)
            try:
                found.append((token, self._outcome(future)))
            except (CancelledError, OSError) as error:  # the scheduler ended before it was fetched
                raise ClusterLostError("the connection to the Dask scheduler is lost") from error
        return found

    def _outcome(self, future: Any) -> Any:
        """The result of a future that ended, or its exception."""
        if future.status == "finished":
            return future.result()
        if future.status != "error":
            raise CancelledError(future.status)
        error = future.exception()
        if isinstance(error, self._killed):
            return WorkerDiedError(f"workers ended one after another: {error}", final=True)
        return error

    def close(self) -> None:
        """See `Lanes`."""
        futures = [future for _, future in self._running.values()]
        with contextlib.suppress(OSError, TimeoutError):
            self._client.cancel(futures, force=True)
        self._client.close()

    def _check_versions(self) -> None:
        found = self._client.run(_version)
        others = {worker: version for worker, version in found.items() if version != VERSION}
        if others:
            worker, version = next(iter(others.items()))
            raise EngineError(
                f"{len(others)} of {len(found)} workers cannot give the same bytes: {worker} has "
                f"imagine_deblur {version}, here is {VERSION}; install the same version everywhere"
            )


def _version() -> str:
    return VERSION


def _drained(ended: queue.SimpleQueue[Any], timeout: float) -> list[Any]:
    """Return what is in a queue, waiting for the first."""
    found = []
    with contextlib.suppress(queue.Empty):
        found.append(ended.get(timeout=timeout))
        while True:
            found.append(ended.get_nowait())
    return found
