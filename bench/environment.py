"""Where a benchmark ran: machine, build, threads, commit. Print it before the numbers."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("imagine-deblur", "numpy", "onnxruntime", "openvino", "onnx")
_VECTOR_FLAGS = ("neon", "asimd", "sve", "sse4_1", "avx", "avx2", "avx512f", "avx512_bf16",
                 "amx_bf16")  # fmt: skip


def environment() -> dict[str, Any]:
    """Describe this machine and this build.

    Returns
    -------
    dict
        Ready for JSON: ``cpu``, ``vector_flags``, ``cores`` (usable by affinity), ``load`` (the
        1-minute average: times taken under load are upper bounds), ``memory_gib``, ``system``,
        ``libc``, ``python``, ``packages``, ``core_build``, ``commit``, ``changed_files``.
    """
    names, flags = _cpu()
    return {
        "cpu": names or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "vector_flags": [f for f in _VECTOR_FLAGS if f in flags],
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.system() + " " + platform.release(),
        "libc": "".join(platform.libc_ver()),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "core_build": _core_build(),
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "changed_files": len(_git("status", "--porcelain").splitlines()),
    }


def print_environment() -> None:
    """Print `environment` as one line of JSON under the key ``environment``."""
    print(json.dumps({"environment": environment()}), flush=True)


def _cpu() -> tuple[str, frozenset[str]]:
    name, flags = "", frozenset[str]()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return name, flags
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "model name" and not name:
            name = value
        elif key in ("flags", "Features") and not flags:
            flags = frozenset(value.split())
    return name, flags


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _core_build() -> dict[str, str] | None:
    try:
        from imagine_deblur import _core
    except ImportError:
        return None
    return dict(_core.build_info()) if hasattr(_core, "build_info") else {}


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).resolve().parent), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    print_environment()
