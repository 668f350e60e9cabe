"""The bundled network by engine and precision on one tile, in turn: A B C A B C.

Processor and wall seconds, medians, and ratios to OpenVINO in f32 of runs that followed each other:
on a shared machine only ratios and processor seconds say anything. Also the processor's rate of
multiply-adds in a matrix product, which is what a direct convolution can reach.

Examples
--------
::

    taskset -c 1 python bench/bench_precision.py
    python bench/bench_precision.py --threads 2 --rows 288 --columns 2080
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from environment import print_environment
from imagine_deblur.engines import EngineSettings, describe, open_engine
from imagine_deblur.engines.descriptor import int8_sibling
from imagine_deblur.engines.model import bundled_models
from imagine_deblur.errors import ImagineDeblurError

CASES = (
    ("openvino", "f32"),
    ("winograd", "f32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
    ("onnxruntime", "f32"),
    ("onnxruntime", "int8"),
)


def matrix_product_rate(side: int = 512) -> float:
    """Multiply-adds a second of one thread of numpy's matrix product in float32, GMAC/s."""
    a = np.random.default_rng(0).random((side, side), np.float32)
    seconds = []
    for _ in range(20):
        started = time.process_time()
        a @ a
        seconds.append(time.process_time() - started)
    return side**3 / min(seconds) / 1e9


class Case:
    """One engine at one precision on a tile of noise."""

    def __init__(self, engine: str, precision: str, arguments: argparse.Namespace) -> None:
        path = bundled_models()[arguments.model]
        model = describe(int8_sibling(path) if precision == "int8" else path)
        self.macs = model.training.get("kmac_per_pixel", 0.0) * 1e3
        self.engine = open_engine(
            model,
            (arguments.rows, arguments.columns),
            engine=engine,
            settings=EngineSettings(threads=arguments.threads, precision=precision),
        )
        rng = np.random.default_rng(0)
        self._input = rng.random(self.engine.spec.input_shape, np.float32) - np.float32(0.5)
        self._output = np.empty(self.engine.spec.output_shape, np.float32)
        self.wall: list[float] = []
        self.processor: list[float] = []

    def run(self, *, keep: bool = True) -> None:
        wall, processor = time.perf_counter(), time.process_time()
        self.engine.infer(self._input, self._output)
        if keep:
            self.processor.append(time.process_time() - processor)
            self.wall.append(time.perf_counter() - wall)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="fast")
    parser.add_argument("--rows", type=int, default=544)
    parser.add_argument("--columns", type=int, default=544)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    print_environment()
    print(json.dumps({"matrix_product_gmac_per_s": round(matrix_product_rate(), 1)}))
    cases: dict[tuple[str, str], Case] = {}
    for engine, precision in CASES:
        try:
            cases[engine, precision] = Case(engine, precision, arguments)
        except (ImagineDeblurError, OSError) as error:
            print(json.dumps({"engine": engine, "precision": precision, "left_out": str(error)}))
    for repeat in range(arguments.repeats + 1):
        for case in cases.values():
            case.run(keep=repeat > 0)  # the first warms up
    first = next(iter(cases.values()))
    pixels = arguments.rows * arguments.columns
    for (engine, precision), case in cases.items():
        processor = statistics.median(case.processor)
        line = {
            "engine": engine, "precision": precision, "threads": arguments.threads,
            "tile": [arguments.rows, arguments.columns],
            "processor_s": round(processor, 4),
            "wall_s": round(statistics.median(case.wall), 4),
            "direct_gmac_per_processor_s": round(case.macs * pixels / processor / 1e9, 1),
            "times_faster_processor": round(statistics.median(
                a / b for a, b in zip(first.processor, case.processor, strict=True)), 2),
            "times_faster_wall": round(statistics.median(
                a / b for a, b in zip(first.wall, case.wall, strict=True)), 2),
        }  # fmt: skip
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
