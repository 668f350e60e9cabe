"""Latency as ratios measured in one run: A B A B, processor seconds of one thread, medians.

Absolute seconds belong to ``bench/``; a ratio of processor times holds on a loaded machine too.
Small frames keep it quick; the limits are those of the design for 2048 x 1536.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imagine_deblur import Session, _core
from imagine_deblur.engines import find_onnxruntime, find_openvino
from imagine_deblur.engines.model import bundled_models

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench"))

pytest.importorskip("onnx")

import bench_pipeline
import memory_gates
import memory_watch
import scenes
import served_networks
from plans import plan_for

ROWS, COLUMNS = 768, 1024
REPEATS = 3
ENGINES = [
    name
    for name, found in (("openvino", find_openvino()), ("onnxruntime", find_onnxruntime()))
    if found
]


def cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("gates")
    model = folder / "network.onnx"
    served_networks.write_fast_shaped(model)
    return scenes.write_capture(folder / "capture.jpg", ROWS, COLUMNS), model


@pytest.mark.parametrize("engine", ENGINES)
def test_the_whole_costs_at_most_a_third_more_than_its_parts(files, tmp_path, engine):
    capture, model = files
    parts = bench_pipeline.Parts(capture, model, engine, 1)
    output = tmp_path / "out.jpg"
    whole, alone, reports = [], [], []
    with bench_pipeline.session_of(model, engine, 1) as session:
        reports.append(session.process(capture, output))
        for name in parts.NAMES:
            getattr(parts, name)()
        for _ in range(REPEATS):
            whole.append(cpu_seconds(lambda: reports.append(session.process(capture, output))))
            alone.append(sum(cpu_seconds(getattr(parts, name)) for name in parts.NAMES))
    ratio = statistics.median(whole) / statistics.median(alone)
    assert ratio <= 1.3, f"whole {whole}, parts {alone}"
    shares = [
        sum(r.seconds[phase] for phase in ("read", "gather", "store", "write")) / r.seconds["total"]
        for r in reports[1:]
    ]
    assert statistics.median(shares) < 0.15, shares


def test_tiles_cost_little_beside_a_copy_of_the_frame():
    """Gathering and storing convert every sample twice; a few copies' worth of time is right."""
    frame = scenes.frame(ROWS, COLUMNS)
    engine = _core.IdentityEngine(tile_rows=256, tile_columns=256, halo=16)
    plan = plan_for(engine, (ROWS, COLUMNS, 3), [0, 1, 2])
    pool, workers = _core.BufferPool(plan.pool_bytes), _core.WorkerPool(1)
    out = np.empty_like(frame)
    tiled, converted = [], []
    for _ in range(2 * REPEATS + 1):
        tiled.append(
            cpu_seconds(lambda: _core.run_array(frame, out, engine, None, pool, workers, plan))
        )
        converted.append(cpu_seconds(lambda: (frame.astype(np.float32) + 0.5).astype(np.uint8)))
    assert np.array_equal(out, frame)
    assert statistics.median(tiled) <= 20 * statistics.median(converted), (tiled, converted)


def test_a_warm_session_does_not_prepare_again(files, tmp_path):
    capture, model = files
    with Session(
        psf="disk:4", model=str(model), engine=ENGINES[0], threads=1, overwrite=True
    ) as session:
        first = cpu_seconds(lambda: session.process(capture, tmp_path / "out.jpg"))
        again = [
            cpu_seconds(lambda: session.process(capture, tmp_path / "out.jpg"))
            for _ in range(REPEATS)
        ]
    assert min(again) < first, (first, again)


def in_a_group() -> int | None:
    """Bytes of the memory cgroup that payloads run in, None where none may be made here."""
    try:
        with memory_watch.memory_cgroup(300_000_000):
            return 300_000_000
    except OSError:
        return None


@pytest.mark.skipif("fast" not in bundled_models(), reason="no network in this installation")
@pytest.mark.parametrize("size", ["3 MP", "12 MP"])
def test_a_cold_blind_frame_stays_within_its_memory_and_a_group(tmp_path, size):
    """10 MB more than the gate, for other builds of numpy and of system libraries."""
    capture = scenes.write_capture(tmp_path / "capture.jpg", *scenes.SIZES[size])
    free = memory_gates.run(capture, tmp_path, "--model", "fast")
    assert free.report["peak_bytes"] <= memory_gates.LIMITS[size] + 10e6
    if (limit := in_a_group()) is None:
        pytest.skip("no memory cgroup may be made here")
    assert memory_gates.run(capture, tmp_path, "--model", "fast", limit=limit).data == free.data
