"""How large the buffer pool may be."""

from __future__ import annotations

from imagine_deblur import _core
from imagine_deblur.errors import MemoryBudgetError

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
    return max(0, resident_bytes() - _INTERPRETER)


def plan_pool(
    *,
    whole: int,
    least: int,
    max_ram: int,
    host: int,
    engine_bytes: int,
    scratch: int,
    pool_resident: int,
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
    engine_bytes : int
        Memory the engine needs beside the pool, while tiles run.
    scratch : int
        Bytes of `whole` that are given back before tiles run.
    pool_resident : int
        Resident bytes of a pool that exists already.

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
    base = max(0, resident_bytes() - pool_resident) + _SLACK
    if base + whole + max(0, engine_bytes - scratch) <= allowed:
        return whole
    room = allowed - base - engine_bytes
    if room >= least:
        return min(room, whole)
    wanted = base - host + engine_bytes + least
    raise MemoryBudgetError(
        f"this frame needs {_mib(wanted)} MiB even in the shortest strips (interpreter "
        f"{_mib(base - host)}, engine {_mib(engine_bytes)}, buffer pool {_mib(least)}); "
        f"{_mib(allowed - host)} MiB are allowed: raise max_ram (--max-ram) or the memory cgroup's "
        "limit, or take smaller tiles",
        wanted=wanted,
        allowed=allowed - host,
    )


def _mib(count: int) -> int:
    return -(-count // (1 << 20))
