"""Peak memory of the whole command, by kind of page, also inside a memory cgroup.

Each case is the command a user would type, in a process of its own, watched from outside
(`memory_watch`): anonymous pages, pages of program files, pages of the pool's file. With
``--cgroup`` the same command runs again inside a memory cgroup of that size; it must finish and
write the same bytes. One JSON line a case, after a line that says where it ran.

Examples
--------
::

    python bench/bench_memory.py --sizes "3 MP" --engine openvino
    python bench/bench_memory.py --sizes "100 MP" --cgroup 300MB        # needs root
    python bench/bench_memory.py --psf disk:6.8 --tile 256
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import memory_watch
import scenes
import served_networks
from environment import print_environment
from imagine_deblur.options import parse_bytes

_MAIN = "import sys; from imagine_deblur.cli import main; sys.exit(main())"


def measure(
    capture: Path, model: Path, folder: Path, engine: str, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Run the command, and again in the cgroup where one is asked for."""
    output = folder / "out.jpg"
    command = [sys.executable, "-c", _MAIN, "process", str(capture), "-o", str(output), "--json",
               "--overwrite", "--model", str(model), "--engine", engine,
               "--threads", str(arguments.threads), "--max-ram", arguments.max_ram,
               "--tile", str(arguments.tile)]  # fmt: skip
    if arguments.psf != "blind":
        command += ["--psf", arguments.psf]
    usage = memory_watch.run(command)
    report = json.loads(usage.output.strip().splitlines()[-1])
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    line = {
        "engine": engine, "psf": arguments.psf, "threads": arguments.threads,
        "max_ram": arguments.max_ram, "rows": report["rows"], "columns": report["columns"],
        "strips": report["strips"], "tile": [report["tile_rows"], report["tile_columns"]],
        "margin_rows": report["margin_rows"],
        "peak_mib": round(usage.peak_mib, 1), "anonymous_mib": round(usage.anonymous_mib, 1),
        "libraries_mib": round(usage.libraries_mib, 1), "pool_mib": round(usage.pool_mib, 1),
        "pool_high_water_mib": round(report["pool"]["high_water"] / 2**20, 1),
        "wall_s": round(usage.seconds, 2), "cpu_s": round(usage.cpu_seconds, 2),
        "mp_per_s": round(report["rows"] * report["columns"] / 1e6 / usage.seconds, 3),
        "output_sha256": digest[:16],
    }  # fmt: skip
    if arguments.cgroup:
        output.unlink()
        limited = memory_watch.run(command, limit_bytes=parse_bytes("cgroup", arguments.cgroup))
        same = hashlib.sha256(output.read_bytes()).hexdigest() == digest
        line["cgroup"] = {
            "limit": arguments.cgroup, "same_bytes": same,
            "cgroup_peak_mib": round(limited.cgroup_peak_mib or 0.0, 1),
            "anonymous_mib": round(limited.anonymous_mib, 1), "wall_s": round(limited.seconds, 2),
        }  # fmt: skip
        if not same:
            print(json.dumps(line), flush=True)
            raise SystemExit("the limited run wrote other bytes")
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=list(scenes.SIZES), default=["3 MP", "12 MP"])
    parser.add_argument("--engine", nargs="+", default=["openvino", "onnxruntime"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--psf", default="disk:4", help="as --psf of the command, or blind")
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--max-ram", default="300MB")
    parser.add_argument("--cgroup", metavar="BYTES", help="such as 300MB; needs root")
    arguments = parser.parse_args()
    print_environment()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "network.onnx"
        served_networks.write_fast_shaped(model)
        for size in arguments.sizes:
            capture = scenes.write_capture(folder / "capture.jpg", *scenes.SIZES[size])
            for engine in arguments.engine:
                line = measure(capture, model, folder, engine, arguments)
                print(json.dumps({"bench": "memory", "size": size, **line}), flush=True)


if __name__ == "__main__":
    main()
