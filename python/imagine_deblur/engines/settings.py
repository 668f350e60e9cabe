"""How engines are set up, and what this CPU computes natively."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagine_deblur.errors import OptionsError
from imagine_deblur.options import PRECISIONS

if TYPE_CHECKING:
    from imagine_deblur import _core

_CPUINFO = Path("/proc/cpuinfo")
# x86 flags with bfloat16 dot products in hardware. AVX-512 without them emulates bfloat16 and is
# 7 to 9 times slower than float32.
_NATIVE_BF16 = frozenset({"avx512_bf16", "amx_bf16"})


@dataclass(frozen=True)
class EngineSettings:
    """Options common to all runtimes.

    Attributes
    ----------
    threads : int
        Threads that compute, the caller's included; at least 1. Give the number of cores the
        process may really use (affinity and cgroup quota): runtimes overestimate it in containers.
    precision : str
        ``"f32"``; ``"bf16"``, refused where the CPU lacks it; ``"auto"``: f32 in the core's own
        engine, which is quicker so than runtimes in bf16; bf16 where the CPU and the runtime have
        it, f32 elsewhere. ``"int8"`` is a property of the network's file; what is
        not quantised in it is computed as by ``"auto"``.
    workers : WorkerPool or None
        The core's threads, for the core's own engine; None starts `threads` for it alone.
    processors : tuple of int
        To pin a runtime's threads to, the calling thread's first; empty pins none. ONNX Runtime
        does as asked; OpenVINO does not let itself be pinned to given processors and is left as it
        is.
    cache_directory : path or None
        Where OpenVINO keeps compiled models; None keeps nothing.
    """

    threads: int = 1
    precision: str = "f32"
    workers: _core.WorkerPool | None = None
    processors: tuple[int, ...] = ()
    cache_directory: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise OptionsError("threads", self.threads, "1 or more")
        if self.precision not in PRECISIONS:
            raise OptionsError("precision", self.precision, ", ".join(PRECISIONS))


def cpu_flags(cpuinfo: Path = _CPUINFO) -> frozenset[str]:
    """Feature flags of the first CPU; empty where the system does not tell."""
    try:
        text = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def resolve_precision(precision: str, flags: frozenset[str] | None = None) -> str:
    """Turn a wish into ``"f32"`` or ``"bf16"``: OpenVINO's layers in floating point on this CPU.

    Parameters
    ----------
    precision : {"f32", "bf16", "int8", "auto"}
    flags : frozenset of str, optional
        CPU flags; those of this machine by default.

    Raises
    ------
    OptionsError
        bf16 was asked for and the CPU only emulates it.
    """
    if precision not in PRECISIONS:
        raise OptionsError("precision", precision, ", ".join(PRECISIONS))
    if precision == "f32":
        return "f32"
    has_bf16 = bool(_NATIVE_BF16 & (cpu_flags() if flags is None else flags))
    if precision == "bf16" and not has_bf16:
        raise OptionsError(
            "precision", precision, "f32 or auto on this CPU, which has no native bfloat16"
        )
    return "bf16" if has_bf16 else "f32"
