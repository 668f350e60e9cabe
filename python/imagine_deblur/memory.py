"""How large the buffer pool may be."""

from __future__ import annotations

from imagine_deblur import _core
from imagine_deblur.errors import MemoryBudgetError

_SLACK = 4 << 20  # for small allocations between here and the peak


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


def plan_pool(
    *, whole: int, least: int, max_ram: int, engine_bytes: int, scratch: int, pool_resident: int
) -> int:
    """Return the bytes of the buffer pool for a frame.

    Parameters
    ----------
    whole, least : int
        Bytes the pool needs for the frame in one strip, and in the shortest strips.
    max_ram : int
        Bytes the process may take.
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
        Not even the shortest strips fit; `wanted` is the `max_ram` that would do.
    """
    allowed = max_ram
    limit = _core.memory_limits()["cgroup_limit_bytes"]
    if limit is not None:
        allowed = min(allowed, limit)
    base = max(0, resident_bytes() - pool_resident) + _SLACK
    if base + whole + max(0, engine_bytes - scratch) <= allowed:
        return whole
    room = allowed - base - engine_bytes
    if room >= least:
        return min(room, whole)
    wanted = base + engine_bytes + least
    raise MemoryBudgetError(
        f"this frame needs {_mib(wanted)} MiB even in the shortest strips (process now "
        f"{_mib(base)}, engine {_mib(engine_bytes)}, buffer pool {_mib(least)}); {_mib(allowed)} "
        "MiB are allowed: raise max_ram (--max-ram) or the memory cgroup's limit, or take smaller "
        "tiles",
        wanted=wanted,
        allowed=allowed,
    )


def _mib(count: int) -> int:
    return -(-count // (1 << 20))
