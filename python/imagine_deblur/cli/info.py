"""``imagine-deblur info``: what this installation and this machine are."""

from __future__ import annotations

import argparse
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_FEATURES = (
    "sse4_1",
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "asimdhp",
    "asimddp",
    "bf16",
    "i8mm",
    "sve",
)


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "info",
        help="build, CPU, runtimes, cores, limits, models",
        description="Print what this installation and this machine are, for reports of faults.",
        examples="""
        imagine-deblur info --json
        """,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def facts() -> dict[str, Any]:
    """Return what there is to know about this installation and this machine."""
    from imagine_deblur import _core
    from imagine_deblur.engines.descriptor import describe
    from imagine_deblur.engines.model import bundled_models, resolve_model
    from imagine_deblur.engines.settings import cpu_flags

    flags = cpu_flags()
    return {
        **_core.build_info(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu_features": [name for name in _FEATURES if name in flags],
        "runtimes": {name: _version(name) for name in ("openvino", "onnxruntime")},
        **_core.topology(),
        "memory": _core.memory_limits(),
        "models": {
            name: {
                "sha256": descriptor.sha256,
                "halo": descriptor.halo,
                "licence": descriptor.licence,
            }
            for name, path in bundled_models().items()
            for descriptor in [describe(path)]
        },
        "default_model": resolve_model("auto").name,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def run(parsed: argparse.Namespace) -> int:
    """Print the facts."""
    found = facts()
    if parsed.json:
        print(json.dumps(found))
        return 0
    for key, value in found.items():
        print(f"{key:16} {value if isinstance(value, str | int) else json.dumps(value)}")
    return 0
