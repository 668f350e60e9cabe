"""How large the buffer pool may be."""

from __future__ import annotations

import ctypes

from imagine_deblur import _core
from imagine_deblur.errors import MemoryBudgetError

_HEADROOM = 8 << 20  # the next attempt may begin with a little more resident memory
_SLACK = 4 << 20  # for small allocations between here and the peak
_INTERPRETER = 60 << 20  # Python with numpy and this package, before the first frame


def resident_bytes() -> int:
    """Return the resident memory of this process now, 0 where the system does not say."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def host_bytes() -> int:
    """Return the memory this process held before it came to us: what is above a bare interpreter.

    A budget speaks of this package and its interpreter; what a larger program around it holds (a
    notebook, a training) is not its business.
    """
    return_free_memory()  # so that what is freed later is not taken for ours
    return max(0, resident_bytes() - _INTERPRETER)


def return_free_memory() -> bool:
    """Give the C library's free memory back to the system; opening a network leaves some MB.

    Returns
    -------
    bool
        Whether something was given back; False where the C library has no such call.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return False
    return bool(trim(0))


def plan_pool(
    *,
    whole: int,
    least: int,
    max_ram: int,
    host: int,
    base: int,
    engine_bytes: int,
    scratch: int,
    kept: int,
    kept_least: int,
) -> int:
    """Return the bytes of the buffer pool for a frame.

    Parameters
    ----------
    whole, least : int
        Bytes the pool needs for the frame in one strip, and in the shortest strips.
    max_ram : int
        Bytes the process may take, less `host`.
    host : int
        What `host_bytes` returned before anything was allocated.
    base : int
        Resident bytes with the engine loaded, without the pool.
    engine_bytes : int
        Memory the engine needs beside the pool, while tiles run.
    scratch : int
        Bytes of `whole` that are given back before tiles run.
    kept, kept_least : int
        Bytes the linear stage keeps outside the pool, for `whole` and for `least`.

    Returns
    -------
    int
        `whole` where it fits, else what is left, at least `least`.

    Raises
    ------
    MemoryBudgetError
        Not even the shortest strips fit; `wanted` is the `max_ram` that would do, or the memory
        cgroup's limit is too low.
    """
    allowed = max_ram + host
    limit = _core.memory_limits()["cgroup_limit_bytes"]
    if limit is not None:
        allowed = min(allowed, limit)
    base += _SLACK
    if base + whole + kept + max(0, engine_bytes - scratch) <= allowed:
        return whole
    # Of a pool that is shared out to short strips, transforms take the largest part.
    room = int((allowed - base - engine_bytes) / (1.0 + kept_least / least))
    if room >= least:
        return min(room, whole)
    wanted = base - host + engine_bytes + least + kept_least + _HEADROOM
    raise MemoryBudgetError(
        f"this frame needs {_mib(wanted)} MiB even in the shortest strips (interpreter and runtime "
        f"{_mib(base - host)}, engine {_mib(engine_bytes)}, linear stage {_mib(kept_least)}, "
        f"buffer pool {_mib(least)}, headroom {_mib(_HEADROOM)}); {_mib(allowed - host)} MiB are "
        "allowed: raise max_ram (--max-ram) or the memory cgroup's limit",
        wanted=wanted,
        allowed=allowed - host,
    )


def _mib(count: int) -> int:
    return -(-count // (1 << 20))
