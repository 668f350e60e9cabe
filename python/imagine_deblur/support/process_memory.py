"""What the system says of this process's memory."""

from __future__ import annotations

import ctypes

_INTERPRETER = 60 << 20  # Python with numpy and this package, before the first frame
_LARGE = 64 << 20  # less is what sessions before left behind, and must not change a plan


def status_bytes(field: str) -> int:
    """Return a figure of ``/proc/self/status`` in bytes, 0 where the system does not say.

    Parameters
    ----------
    field : str
        ``"VmRSS"``: resident now. ``"VmHWM"``: the most that was resident at a time since the
        process began, file-backed pages included.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            for line in status:
                if line.startswith(f"{field}:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def host_bytes() -> int:
    """Return the memory a larger program around us held before, 0 where there is none.

    A budget speaks of this package and its interpreter; what a larger program around it holds (a
    notebook, a training) is not its business.
    """
    return_free_memory()  # so that what is freed later is not taken for ours
    held = status_bytes("VmRSS") - _INTERPRETER
    return held if held >= _LARGE else 0


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
