"""Gates of memory: the peak of a cold command, and the same bytes inside a memory cgroup.

Each row is what a user types, blind and with the default budget, in a process of its own; it fails
where the process takes more than the row allows. ``--cgroup`` runs it once more inside a memory
cgroup (v1 or v2, needs root) of that size, where it must write the same bytes.

Examples
--------
::

    python bench/memory_gates.py
    python bench/memory_gates.py --sizes "100 MP" --cgroup 300MB
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import memory_watch
import scenes
from environment import print_environment
from imagine_deblur.options import parse_bytes

LIMITS = {"3 MP": 150_000_000, "12 MP": 200_000_000, "100 MP": 200_000_000}
"""Bytes of the whole process (VmHWM), `fast`, blind."""


@dataclass(frozen=True)
class Result:
    """What a command took.

    Attributes
    ----------
    report : dict
        What the command printed.
    data : bytes
        The restored JPEG.
    group_peak_mib : float or None
        The cgroup's own maximum.
    """

    report: dict[str, Any]
    data: bytes
    group_peak_mib: float | None = None


def run(capture: Path, folder: Path, *options: str, limit: int | None = None) -> Result:
    """Run the command, inside a memory cgroup where a limit is given."""
    output = folder / "restored.jpg"
    command = [sys.executable, "-m", "imagine_deblur", "process", str(capture), "-o", str(output)]
    command += ["--overwrite", "--json", *options]
    usage = memory_watch.run(command, limit_bytes=limit, watch=False)
    report = json.loads(usage.output.strip().splitlines()[-1])
    return Result(report, output.read_bytes(), usage.cgroup_peak_mib)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=list(LIMITS), default=["3 MP", "12 MP"])
    parser.add_argument("--model", default="fast")
    parser.add_argument("--psf", help="as --psf of the command; blind without")
    parser.add_argument("--cgroup", metavar="BYTES", help="such as 300MB; needs root")
    arguments = parser.parse_args()
    print_environment()
    options = ["--model", arguments.model, *(["--psf", arguments.psf] if arguments.psf else [])]
    failed = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in arguments.sizes:
            capture = scenes.write_capture(folder / "capture.jpg", *scenes.SIZES[size])
            free = run(capture, folder, *options)
            line: dict[str, Any] = {
                "bench": "memory gates", "size": size, "model": free.report["model"],
                "psf": arguments.psf or "blind", "strips": free.report["strips"],
                "margin_rows": free.report["margin_rows"],
                "peak_mb": round(free.report["peak_bytes"] / 1e6, 1),
                "limit_mb": LIMITS[size] / 1e6,
            }  # fmt: skip
            if free.report["peak_bytes"] > LIMITS[size]:
                failed.append(size)
            if arguments.cgroup:
                limit = parse_bytes("cgroup", arguments.cgroup)
                tight = run(capture, folder, *options, limit=limit)
                line["cgroup"] = {"limit": arguments.cgroup, "same_bytes": tight.data == free.data,
                                  "peak_mib": round(tight.group_peak_mib or 0.0, 1)}  # fmt: skip
                if tight.data != free.data:
                    failed.append(f"{size} in a cgroup")
            print(json.dumps(line), flush=True)
    if failed:
        raise SystemExit(f"over the limit, or other bytes: {', '.join(failed)}")


if __name__ == "__main__":
    main()
