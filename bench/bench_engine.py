"""Seconds, memory and start-up of each engine on each network, one process a measurement.

One axis varies at a time around a centre: engine and network, then tile side, then threads. Every
measurement is a line of JSON; outputs of the same network and tile are compared with the first
engine's and the largest difference is reported.

Examples
--------
::

    python bench/bench_engine.py                         # all of it, a few minutes
    python bench/bench_engine.py --networks 35k --tiles 256 --threads 1
    python bench/bench_engine.py --probe PATH            # also the core alone, without Python
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from environment import print_environment
from imagine_deblur.support.process_memory import status_bytes

PLANES = {"35k": 8, "94k": 8, "mimo": 3, "mimo_plus": 3}
CENTRE_TILE = 256
REPEATS = 9


def write_network(name: str, folder: Path) -> tuple[Path, float, dict[str, Any]]:
    """Write a network; return its file, its MACs per pixel and the descriptor's fields."""
    import onnx

    if name.startswith("mimo"):
        import mimo_unet

        mimo = mimo_unet.build("MIMO-UNet+" if name == "mimo_plus" else "MIMO-UNet")
        model, macs = mimo.model, mimo.macs_per_px
        fields: dict[str, Any] = {"multiple_of": mimo_unet.MULTIPLE_OF}
    else:
        import plain_net

        plain = plain_net.build(*plain_net.SIZES[name])
        model, macs = plain.model, plain.macs_per_px
        fields = {
            "inputs": plain_net.INPUTS,
            "nsr": (0.1, 0.005, 0.0001),
            "base": 1,
            "halo": plain.halo,
            "multiple_of": plain.multiple_of,
            "local": True,
            "input_offset": 0.5,
        }
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path, macs, fields


def input_tile(name: str, side: int) -> np.ndarray:
    """(planes, side, side) float32 in [-0.5, 0.5), the same for every engine."""
    rng = np.random.default_rng(0)
    return rng.random((PLANES[name], side, side), np.float32) - np.float32(0.5)


def measure_here(job: dict[str, Any]) -> dict[str, Any]:
    """Run one job in this process."""
    from imagine_deblur.engines import EngineSettings, describe, open_engine

    fields = dict(job["fields"])
    for key in ("inputs", "nsr"):
        if key in fields:
            fields[key] = tuple(fields[key])
    start = time.perf_counter()
    descriptor = describe(job["model"], **fields)
    settings = EngineSettings(threads=job["threads"], precision=job["precision"])
    side = job["side"]
    engine = open_engine(descriptor, (side, side), engine=job["engine"], settings=settings)
    ready = time.perf_counter() - start
    tile = np.fromfile(job["input"], np.float32).reshape(engine.spec.input_shape)
    output = np.empty(engine.spec.output_shape, np.float32)
    wall, cpu = [], []
    for _ in range(job["repeats"]):
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        engine.infer(tile, output)
        wall.append(time.perf_counter() - wall_start)
        cpu.append(time.process_time() - cpu_start)
    output.tofile(job["output"])
    return {
        "ready_s": ready,
        "tile_median_s": float(np.median(wall)),
        "tile_min_s": min(wall),
        "tile_cpu_s": min(cpu),
        "peak_mib": status_bytes("VmHWM") / 2**20,
        "precision": engine.spec.precision,
        "version": engine.settings.get("version", ""),
    }


def measure(job: dict[str, Any], probe: str | None) -> dict[str, Any]:
    """Run one job in a process of its own: this script, or the core's probe."""
    if job["engine"] == "core alone":
        from imagine_deblur.engines import find_openvino

        found = find_openvino()
        if probe is None or found is None:
            raise SystemExit("the core alone needs --probe and OpenVINO")
        side, planes = str(job["side"]), str(PLANES[job["network"]])
        command = [probe, str(found.library), job["model"], planes, "3", side, side,
                   str(job["threads"]), job["precision"], str(job["repeats"]), "PATH",
                   job["input"], job["output"]]  # fmt: skip
    else:
        command = [sys.executable, __file__, "--job", json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{job['engine']}: exit status {done.returncode}: {done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def jobs(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The measurements, each point once."""
    engines = [("onnxruntime", "f32"), ("openvino", "f32")]
    if arguments.bf16:
        engines.append(("openvino", "bf16"))
    if arguments.probe:
        engines.append(("core alone", "f32"))
    threads = arguments.threads
    points = [(n, e, p, CENTRE_TILE, threads[0]) for n in arguments.networks for e, p in engines]
    first = arguments.networks[0]
    points += [(first, e, p, t, threads[0]) for t in arguments.tiles for e, p in engines]
    points += [(first, e, p, CENTRE_TILE, n) for n in threads[1:] for e, p in engines]
    keys = ("network", "engine", "precision", "side", "threads")
    return [dict(zip(keys, point, strict=True)) for point in dict.fromkeys(points)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=list(PLANES), default=["35k", "94k"])
    parser.add_argument("--tiles", nargs="+", type=int, default=[128, 256, 512], metavar="SIDE")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--bf16", action="store_true", help="also OpenVINO in bf16")
    parser.add_argument("--probe", metavar="FILE", help="built from tests/native/engine_probe.cpp")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        print(json.dumps(measure_here(json.loads(arguments.job))))
        return
    print_environment()
    with tempfile.TemporaryDirectory() as name:
        run_all(arguments, Path(name))


def run_all(arguments: argparse.Namespace, folder: Path) -> None:
    """Measure every job and print a line for each."""
    networks = {name: write_network(name, folder) for name in arguments.networks}
    reference: dict[tuple[str, int], np.ndarray] = {}
    for job in jobs(arguments):
        model, macs, fields = networks[job["network"]]
        job.update(model=str(model), fields=fields, repeats=arguments.repeats,
                   input=str(folder / "input"), output=str(folder / "output"))  # fmt: skip
        side = job["side"]
        input_tile(job["network"], side).tofile(job["input"])
        result = measure(job, arguments.probe)
        output = np.fromfile(job["output"], np.float32)
        expected = reference.setdefault((job["network"], side), output)
        line = {key: job[key] for key in ("network", "engine", "precision", "side", "threads")}
        line |= {
            "kmac_per_px": round(macs / 1000, 1),
            "ready_s": round(result["ready_s"], 3),
            "tile_median_s": round(result["tile_median_s"], 4),
            "tile_min_s": round(result["tile_min_s"], 4),
            "mpx_per_s": round(side * side / result["tile_median_s"] / 1e6, 3),
            "gmac_per_s": round(side * side * macs / result["tile_median_s"] / 1e9, 1),
            "peak_mib": round(result["peak_mib"], 1),
            "largest_difference": float(np.abs(output - expected).max()),
            "version": result["version"],
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
