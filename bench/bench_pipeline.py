"""The whole restoration against the sum of its parts, its peers, its threads and the frame's area.

Every comparison is paired: A B A B ..., in one process, medians of each; seconds of the wall and of
the processor, since on a shared machine only the second can be trusted with one thread. One JSON
line a result, after a line that says where it ran.

Parts (``--parts``) are run alone, with the same threads: decoding, the look at the capture, the
linear stage on planes in memory, the network on ready tiles, encoding. The whole is
`Session.process`, warm.

Examples
--------
::

    python bench/bench_pipeline.py                      # parts, peer, radii, areas; minutes
    python bench/bench_pipeline.py --only parts --threads 1 --engine onnxruntime --repeats 5
    python bench/bench_pipeline.py --only peer --peer-rows 384 --peer-columns 512
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import scenes
import served_networks
from environment import print_environment
from imagine_deblur import Session, _core
from imagine_deblur.capture.analysis import analyse, named_blur
from imagine_deblur.capture.result import Capture
from imagine_deblur.engines import EngineSettings, describe, open_engine
from imagine_deblur.engines.model import resolve_model
from imagine_deblur.restoration.stage import WienerStage
from imagine_deblur.support.process_memory import status_bytes

PSF = "disk:4"
TILE = 512


class Clock:
    """Wall and processor seconds of repeated calls, a list for each name."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}

    def run(self, name: str, work: Callable[[], object]) -> object:
        """Call `work` once and keep its seconds."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        self.cpu.setdefault(name, []).append(time.process_time() - cpu)
        self.wall.setdefault(name, []).append(time.perf_counter() - wall)
        return result

    def medians(self) -> tuple[dict[str, float], dict[str, float]]:
        """Median seconds by name: of the wall, of the processor."""
        return (
            {name: round(statistics.median(values), 4) for name, values in self.wall.items()},
            {name: round(statistics.median(values), 4) for name, values in self.cpu.items()},
        )


class Parts:
    """Each part of the pipeline on data in memory, alone."""

    def __init__(self, capture: Path, model: Path, engine: str, threads: int) -> None:
        self._capture = str(capture)
        self._descriptor = describe(str(model))
        self.frame = self.decode()
        rows, columns, bands = self.frame.shape
        self._given = named_blur(PSF)
        psf = self._given.psf
        assert psf is not None
        spec = resolve_model(model).wiener_spec(None, checked=False)
        assert spec is not None
        self._stage = WienerStage(psf, spec, workers=_core.WorkerPool(threads))
        everything = (0, rows)
        self._strip: Any = SimpleNamespace(
            window=everything, planes=everything, finished=everything, frame_rows=rows, count=1,
            columns=(0, columns), finished_columns=(0, columns), group_columns=columns,
        )  # fmt: skip
        self._strip.capture = [np.ascontiguousarray(self.frame[..., b]) for b in range(bands)]
        self._strip.linear = [
            np.zeros((rows, columns), np.int16) for _ in range(spec.filtered_count(bands))
        ]
        self._strip.scratch = np.zeros(self._stage.scratch_bytes(rows, columns, columns), np.uint8)
        self.plan = _core.TilePlan(
            rows, columns, tile_rows=TILE, tile_columns=TILE, halo=self._descriptor.halo,
            multiple_of=self._descriptor.multiple_of,
        )  # fmt: skip
        side = (self.plan.tile_rows, self.plan.tile_columns)
        settings = EngineSettings(threads=threads)
        self.engine = open_engine(self._descriptor, side, engine=engine, settings=settings)
        rng = np.random.default_rng(0)
        self._input = rng.random(self.engine.spec.input_shape, np.float32) - np.float32(0.5)
        self._output = np.empty(self.engine.spec.output_shape, np.float32)

    def decode(self) -> np.ndarray:
        """JPEG to rows, in the strips a reader would take."""
        reader = _core.JpegReader(self._capture)
        return reader.read_rows(reader.info["rows"])

    def analyse(self) -> None:
        """The capture's spectra, the gains, and whether it shows the PSF that is given."""
        analyse(Capture(lambda: [self.frame]), self._given, nsr=None, raise_unknown=False)

    def linear(self) -> None:
        """Every plane of the Wiener bank, whole frame."""
        self._stage.restore(self._strip)

    def network(self) -> None:
        """The network as often as the frame has tiles."""
        for _ in range(len(self.plan)):
            self.engine.infer(self._input, self._output)

    def encode(self) -> None:
        """Rows to a JPEG of quality 95."""
        _core.encode_jpeg(self.frame, quality=95)

    NAMES = ("decode", "analyse", "linear", "network", "encode")


def session_of(model: Path, engine: str, threads: int, **changes: Any) -> Session:
    """A session that restores with the PSF of this benchmark."""
    values: dict[str, Any] = {"psf": PSF, "tile": TILE, "max_ram": "1GB", **changes}
    return Session(model=str(model), engine=engine, threads=threads, overwrite=True, **values)


def bench_parts(folder: Path, arguments: argparse.Namespace, engine: str, threads: int) -> None:
    """The whole beside the sum of its parts."""
    model, capture, output = folder / "fast.onnx", folder / "3MP.jpg", folder / "out.jpg"
    macs = served_networks.write_fast_shaped(model)
    rows, columns = scenes.SIZES["3 MP"]
    scenes.write_capture(capture, rows, columns)
    parts, clock, reports = Parts(capture, model, engine, threads), Clock(), []
    with session_of(model, engine, threads) as session:
        session.process(capture, output)
        for name in Parts.NAMES:
            getattr(parts, name)()
        for _ in range(arguments.repeats):
            reports.append(clock.run("whole", lambda: session.process(capture, output)))
            for name in Parts.NAMES:
                clock.run(name, getattr(parts, name))
    first = output.read_bytes()
    with session_of(model, engine, threads, tile=256) as other:
        other.process(capture, output)
    wall, cpu = clock.medians()
    report: Any = reports[-1]
    phases = {
        name: round(statistics.median(r.seconds[name] for r in reports), 4)  # type: ignore[attr-defined]
        for name in report.seconds
    }
    total = phases["total"]
    jpeg_and_tiling = sum(phases[p] for p in ("read", "gather", "store", "write"))
    megapixels = rows * columns / 1e6
    line = {
        "bench": "parts", "engine": engine, "threads": threads, "megapixels": megapixels,
        "kmac_per_px": macs / 1e3, "tile": [report.tile_rows, report.tile_columns],
        "wall_s": wall, "cpu_s": cpu, "phases_s": phases,
        "whole_over_parts_wall": round(wall["whole"] / sum(wall[p] for p in Parts.NAMES), 3),
        "whole_over_parts_cpu": round(cpu["whole"] / sum(cpu[p] for p in Parts.NAMES), 3),
        "jpeg_and_tiling_share": round(jpeg_and_tiling / total, 4),
        "tiling_over_network": round((phases["gather"] + phases["store"]) / phases["engine"], 4),
        "mp_per_s": round(megapixels / wall["whole"], 3),
        "gmac_per_s": round(megapixels * macs / 1e3 / wall["network"], 2),
        "peak_mib": round(status_bytes("VmHWM") / 2**20, 1),
        "other_tiles_largest_difference": _largest_difference(first, output.read_bytes()),
    }  # fmt: skip
    print(json.dumps(line), flush=True)


def _largest_difference(first: bytes, second: bytes) -> int:
    """Compare two JPEGs; tiles may move a sample by one step, which JPEG may spread."""
    frames = [_core.JpegReader(data) for data in (first, second)]
    a, b = (reader.read_rows(reader.info["rows"]).astype(np.int16) for reader in frames)
    return int(np.abs(a - b).max())


def bench_peer(folder: Path, arguments: argparse.Namespace, engine: str, threads: int) -> None:
    """The whole command's work beside MIMO-UNet+ at native resolution, tiles of 256."""
    fast, plus = folder / "fast.onnx", folder / "plus.onnx"
    served_networks.write_fast_shaped(fast)
    macs = served_networks.write_mimo_plus(plus)
    full, crop, output = folder / "3MP.jpg", folder / "crop.jpg", folder / "out.jpg"
    rows, columns = scenes.SIZES["3 MP"]
    scenes.write_capture(full, rows, columns)
    scenes.write_capture(crop, arguments.peer_rows, arguments.peer_columns)
    clock = Clock()
    peer = {"tile": 256, "overlap": 32, "reblur_check": False, "psf": None}
    with (
        session_of(fast, engine, threads) as ours,
        session_of(plus, engine, threads, **peer) as theirs,
    ):
        ours.process(full, output)
        theirs.process(crop, output)
        for _ in range(arguments.peer_repeats):
            clock.run("ours", lambda: ours.process(full, output))
            clock.run("peer", lambda: theirs.process(crop, output))
    ours_px = rows * columns
    peer_px = arguments.peer_rows * arguments.peer_columns
    wall, cpu = clock.medians()
    line = {
        "bench": "peer", "engine": engine, "threads": threads, "peer": "MIMO-UNet+",
        "peer_kmac_per_px": macs / 1e3, "ours_pixels": ours_px, "peer_pixels": peer_px,
        "wall_s": wall, "cpu_s": cpu,
        "ours_us_per_px": round(1e6 * wall["ours"] / ours_px, 4),
        "peer_us_per_px": round(1e6 * wall["peer"] / peer_px, 4),
        "times_faster_wall": round(wall["peer"] / peer_px / (wall["ours"] / ours_px), 1),
        "times_faster_cpu": round(cpu["peer"] / peer_px / (cpu["ours"] / ours_px), 1),
    }  # fmt: skip
    print(json.dumps(line), flush=True)


def bench_axis(
    folder: Path, arguments: argparse.Namespace, engine: str, threads: int, axis: str
) -> None:
    """Seconds along one axis: PSF radius, or frame area."""
    model, output = folder / "fast.onnx", folder / "out.jpg"
    served_networks.write_fast_shaped(model)
    capture = folder / "frame.jpg"
    points = arguments.radii if axis == "radius" else arguments.areas
    for point in points:
        megapixels = arguments.axis_megapixels if axis == "radius" else point
        rows = max(16, round((megapixels * 1e6 * 3 / 4) ** 0.5))
        columns = max(16, round(megapixels * 1e6 / rows))
        scenes.write_capture(capture, rows, columns)
        psf = f"disk:{point}" if axis == "radius" else PSF
        clock = Clock()
        with session_of(model, engine, threads, psf=psf, max_ram=arguments.max_ram) as session:
            for _ in range(2):
                report: Any = clock.run("whole", lambda: session.process(capture, output))
        wall, cpu = clock.wall["whole"][-1], clock.cpu["whole"][-1]
        line = {
            "bench": axis, axis: point, "engine": engine, "threads": threads,
            "rows": rows, "columns": columns, "strips": report.strips,
            "margin_rows": report.margin_rows, "wall_s": round(wall, 3), "cpu_s": round(cpu, 3),
            "cpu_s_per_mp": round(cpu / (rows * columns / 1e6), 3),
            "mp_per_s": round(rows * columns / 1e6 / wall, 3),
            "phases_s": {name: round(value, 3) for name, value in report.seconds.items()},
            "peak_mib": round(status_bytes("VmHWM") / 2**20, 1),
        }  # fmt: skip
        print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("parts", "peer", "radius", "area"))
    parser.add_argument("--engine", nargs="+", default=["openvino", "onnxruntime"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer-repeats", type=int, default=2)
    parser.add_argument("--peer-rows", type=int, default=384)
    parser.add_argument("--peer-columns", type=int, default=512)
    parser.add_argument("--radii", nargs="+", type=float, default=[1.0, 2.0, 4.0, 6.8, 8.0])
    parser.add_argument("--areas", nargs="+", type=float, default=[1.0, 3.0, 12.0, 50.0, 100.0])
    parser.add_argument("--axis-megapixels", type=float, default=3.0, help="frame of --only radius")
    parser.add_argument("--max-ram", default="300MB", help="budget along the axes")
    arguments = parser.parse_args()
    print_environment()
    benches: dict[str, Callable[..., None]] = {"parts": bench_parts, "peer": bench_peer}
    with tempfile.TemporaryDirectory() as name:
        for bench in [arguments.only] if arguments.only else [*benches, "radius", "area"]:
            # Axes are measured on the first engine and thread count only.
            axis = bench not in benches
            for engine in arguments.engine[: 1 if axis else None]:
                for threads in arguments.threads[: 1 if axis else None]:
                    if axis:
                        bench_axis(Path(name), arguments, engine, threads, bench)
                    else:
                        benches[bench](Path(name), arguments, engine, threads)


if __name__ == "__main__":
    main()
