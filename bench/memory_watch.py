"""Run a command and see what kinds of memory it held at its peak; optionally inside a cgroup.

``VmHWM`` (the kernel's own peak of resident pages) counts three kinds that mean different things:

* anonymous pages, which nothing but swap can take from the process;
* pages of mapped program files, which the kernel can drop and read again;
* pages of the buffer pool's file, which the kernel can write out and drop.

The kernel keeps a peak of their sum only, so the parts are sampled from outside every few
milliseconds; the sampled sum is compared with ``VmHWM`` so that a missed peak is seen.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_PERIOD_SECONDS = 0.002
_POOL_EVERY = 25  # the list of mappings is read once in so many samples: it is not free
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MIB = float(1 << 20)
_CGROUP_V1 = Path("/sys/fs/cgroup/memory")
_CGROUP_V2 = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Usage:
    """What a command took.

    Attributes
    ----------
    seconds : float
        Wall time from start to exit, with the interpreter's start.
    cpu_seconds : float
        Processor time of all its threads.
    peak_mib : float
        VmHWM: every kind of page.
    anonymous_mib : float
        Most anonymous memory at one time (sampled).
    libraries_mib : float
        Most pages of files other than the pool's at one time (sampled).
    pool_mib : float
        Most pages of the pool's unlinked file at one time (sampled).
    seen_mib : float
        Most resident memory seen by sampling; near `peak_mib` unless a short peak was missed.
    cgroup_peak_mib : float or None
        The cgroup's own maximum, page cache included.
    output : str
        What the command printed.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float
    anonymous_mib: float
    libraries_mib: float
    pool_mib: float
    seen_mib: float
    cgroup_peak_mib: float | None
    output: str

    @property
    def without_pool_mib(self) -> float:
        """Upper bound of what was resident besides the pool's droppable pages."""
        return self.anonymous_mib + self.libraries_mib


class CommandError(RuntimeError):
    """The command failed; the message holds its status and what it said."""


def run(
    command: Sequence[str],
    *,
    environment: dict[str, str] | None = None,
    limit_bytes: int | None = None,
    watch: bool = True,
) -> Usage:
    """Run a command to its end.

    Parameters
    ----------
    command : sequence of str
    environment : dict, optional
        Variables set beside this process's own.
    limit_bytes : int or None
        Run inside a memory cgroup of this size, made for it; needs the permission to make one.
    watch : bool
        Sample the kinds of memory; False for timing.

    Raises
    ------
    CommandError
        It did not exit with 0.
    OSError
        No cgroup can be made here.
    """
    variables = {**os.environ, **(environment or {})}
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(tempfile.TemporaryFile("w+"))
        group = None if limit_bytes is None else stack.enter_context(memory_cgroup(limit_bytes))
        wrapped = list(command)
        if group is not None:
            join = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
            wrapped = ["sh", "-c", join, str(group), *command]
        started = time.perf_counter()
        process = subprocess.Popen(wrapped, stdout=out, stderr=subprocess.STDOUT, env=variables)
        sampler = _Sampler(process.pid)
        while _running(process.pid):
            if watch:
                sampler.sample()
            time.sleep(_PERIOD_SECONDS)
        sampler.finish()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = None if group is None else _cgroup_peak(group)
        out.seek(0)
        text = out.read()
        if process.returncode != 0:
            raise CommandError(f"exit status {process.returncode}: {text[-2000:]}")
    return Usage(
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_mib=sampler.peak_kib / 1024,
        anonymous_mib=sampler.anonymous / _MIB,
        libraries_mib=sampler.libraries / _MIB,
        pool_mib=sampler.pool / _MIB,
        seen_mib=sampler.resident / _MIB,
        cgroup_peak_mib=peak,
        output=text,
    )


def _running(pid: int) -> bool:
    """Whether the child still runs; it stays a zombie, with its status, until it is waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


class _Sampler:
    """Largest values seen of each kind, bytes."""

    def __init__(self, pid: int) -> None:
        self._proc = Path(f"/proc/{pid}")
        self._count = 0
        self._pool_now = 0
        self.resident = self.anonymous = self.libraries = self.pool = 0
        self.peak_kib = 0

    def sample(self) -> None:
        try:
            resident, shared = (
                int(field) * _PAGE for field in (self._proc / "statm").read_text().split()[1:3]
            )
            self._count += 1
            if self._count % _POOL_EVERY == 1:
                self._pool_now = self._pool()
                self.libraries = max(self.libraries, shared - self._pool_now)
                self._peak()
        except (OSError, ValueError):
            return
        self.resident = max(self.resident, resident)
        self.anonymous = max(self.anonymous, resident - shared)
        self.pool = max(self.pool, self._pool_now)

    def _peak(self) -> None:
        for line in (self._proc / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                self.peak_kib = max(self.peak_kib, int(line.split()[1]))

    def _pool(self) -> int:
        """Resident bytes of mapped files that have no name any more."""
        total, inside = 0, False
        with open(self._proc / "smaps", encoding="utf-8", errors="replace") as maps:
            for line in maps:
                first = line.split(None, 1)[0]
                if not first.endswith(":"):
                    inside = line.rstrip().endswith("(deleted)")
                elif inside and first == "Rss:":
                    total += int(line.split()[1]) * 1024
        return total

    def finish(self) -> None:
        """Take the largest sum seen where the process was gone before its peak could be read."""
        self.peak_kib = max(self.peak_kib, self.resident // 1024)


@contextlib.contextmanager
def memory_cgroup(limit_bytes: int) -> Iterator[Path]:
    """Make a memory cgroup (v1 or v2) of a size, and remove it at the end.

    Raises
    ------
    OSError
        Not permitted, or no memory controller.
    """
    root, limit = (
        (_CGROUP_V1, "memory.limit_in_bytes") if _CGROUP_V1.is_dir() else (_CGROUP_V2, "memory.max")
    )
    group = root / f"imagine-deblur-bench-{os.getpid()}"
    group.mkdir()
    try:
        (group / limit).write_text(str(limit_bytes))
        yield group
    finally:
        for _ in range(50):
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.02)  # the last process is still leaving


def _cgroup_peak(group: Path) -> float | None:
    for name in ("memory.max_usage_in_bytes", "memory.peak"):
        with contextlib.suppress(OSError, ValueError):
            return int((group / name).read_text()) / _MIB
    return None
