"""Engines: what their settings do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from enginekit import assert_close, run
from imagine_deblur.engines import (
    EngineSettings,
    ModelDescriptor,
    describe,
    open_engine,
    resolve_precision,
)
from imagine_deblur.errors import OptionsError
from networks import noise_tile, plain
from runtimes import RUNTIMES, needs_onnxruntime, needs_openvino

_IN_A_PROCESS = """
import json, os, re, sys, time
import numpy as np
from imagine_deblur.engines import *
import imagine_deblur.engines.onnxruntime as ort_module
from imagine_deblur.engines.onnxruntime import OrtEngine
model, runtime, side, threads, repeats, ort_defaults = json.loads(sys.argv[1])

class WithDefaults(OrtEngine):
    def _session_options(self, onnxruntime, settings, tile):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings.threads
        return options

d = describe(model)
settings = EngineSettings(threads=threads)
if ort_defaults:
    ort_module.return_large_blocks = lambda: None
engine = (WithDefaults(d, (side, side), settings) if ort_defaults
          else open_engine(d, (side, side), engine=runtime, settings=settings))
x = np.full(engine.spec.input_shape, 0.1, np.float32)
y = np.empty(engine.spec.output_shape, np.float32)

def cpu_by_thread():
    times = {}
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        times[task] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return times

def peak_mib():
    # Not getrusage: its maximum begins with that of the process that started this one.
    with open("/proc/self/status") as file:
        return int(re.search(r"VmHWM:\\s*(\\d+) kB", file.read())[1]) / 1024

engine.infer(x, y)
before = cpu_by_thread()
for _ in range(repeats):
    engine.infer(x, y)
after = cpu_by_thread()
idle = 0.0
for _ in range(5):
    engine.infer(x, y)
    start = time.process_time()
    time.sleep(0.05)
    idle += time.process_time() - start
print(json.dumps({
    "settings": None if ort_defaults else engine.settings,
    "cpu": sorted((t - before.get(k, 0.0) for k, t in after.items()), reverse=True),
    "idle_cpu": idle,
    "peak_mib": peak_mib(),
    "imported": [m for m in ("openvino", "onnxruntime", "onnx", "torch") if m in sys.modules],
}))
"""


def measure(
    model: ModelDescriptor,
    runtime: str,
    *,
    side: int = 128,
    threads: int = 1,
    repeats: int = 2,
    ort_defaults: bool = False,
) -> dict[str, object]:
    """Run an engine in a process of its own and read what the system says about it."""
    arguments = [str(model.path), runtime, side, threads, repeats, ort_defaults]
    done = subprocess.run(
        [sys.executable, "-c", _IN_A_PROCESS, json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("threads", [1, 2])
def test_as_many_threads_compute_as_asked_for(
    runtime: str, threads: int, fast_model: ModelDescriptor
) -> None:
    seen = measure(fast_model, runtime, side=256, threads=threads, repeats=12)
    assert seen["settings"]["threads"] == threads
    busy = [t for t in seen["cpu"] if t > 0.1 * seen["cpu"][0]]
    assert len(busy) == threads, seen["cpu"]


@needs_onnxruntime
def test_ort_waits_without_spinning(fast_model: ModelDescriptor) -> None:
    ours = measure(fast_model, "onnxruntime", threads=2)
    theirs = measure(fast_model, "onnxruntime", threads=2, ort_defaults=True)
    assert ours["settings"]["spinning"] is False
    assert ours["idle_cpu"] < 0.02
    assert theirs["idle_cpu"] > 2 * ours["idle_cpu"]


@needs_onnxruntime
def test_ort_without_arena_peaks_lower(folder: Path) -> None:
    model = describe(plain(folder / "wide.onnx", 48, 6))
    # Several tiles: a heap that fragments shows only after a few.
    ours = measure(model, "onnxruntime", side=512, repeats=6)
    theirs = measure(model, "onnxruntime", side=512, repeats=6, ort_defaults=True)
    assert ours["settings"]["arena"] is False
    assert ours["settings"]["memory_pattern"] is True
    assert ours["peak_mib"] < theirs["peak_mib"] - 10, (ours["peak_mib"], theirs["peak_mib"])


@needs_openvino
def test_openvino_runs_without_being_imported(small_model: ModelDescriptor) -> None:
    assert measure(small_model, "openvino")["imported"] == []


@needs_openvino
def test_openvino_settings_are_read_back(small_model: ModelDescriptor) -> None:
    settings = open_engine(small_model, (64, 64), engine="openvino").settings
    assert settings["threads"] == 1
    assert settings["streams"] == 1
    assert settings["precision"] == "f32"
    assert settings["performance_hint"] == "LATENCY"
    assert settings["pin_threads"] is False
    assert settings["version"].startswith("20")


@needs_openvino
def test_cache_directory_is_used(small_model: ModelDescriptor, tmp_path: Path) -> None:
    tile = noise_tile(8, 64, 64)
    plain_run = run(open_engine(small_model, (64, 64), engine="openvino"), tile)
    settings = EngineSettings(cache_directory=tmp_path / "cache")
    for _ in range(2):  # compiled, then taken from the cache
        engine = open_engine(small_model, (64, 64), engine="openvino", settings=settings)
        assert np.array_equal(run(engine, tile), plain_run)
    assert list((tmp_path / "cache").iterdir())


@needs_openvino
def test_bf16_stays_within_an_eight_bit_step(small_model: ModelDescriptor) -> None:
    if resolve_precision("auto") != "bf16":
        pytest.skip("this CPU has no native bfloat16")
    tile = noise_tile(8, 64, 64)
    exact = run(open_engine(small_model, (64, 64), engine="openvino"), tile)
    settings = EngineSettings(precision="bf16")
    engine = open_engine(small_model, (64, 64), engine="openvino", settings=settings)
    rounded = run(engine, tile)
    assert engine.spec.precision == "bf16"
    assert np.abs(rounded - exact).max() > 1e-5  # it did compute in bf16
    assert_close(rounded, exact, 1 / 255)


def test_precision_depends_on_the_cpu() -> None:
    assert resolve_precision("auto", frozenset({"avx2", "avx512f"})) == "f32"
    assert resolve_precision("auto", frozenset({"avx512_bf16"})) == "bf16"
    assert resolve_precision("bf16", frozenset({"amx_bf16"})) == "bf16"
    assert resolve_precision("f32", frozenset({"amx_bf16"})) == "f32"
    with pytest.raises(OptionsError, match="no native bfloat16"):
        resolve_precision("bf16", frozenset({"avx512f"}))
    with pytest.raises(OptionsError, match="precision"):
        EngineSettings(precision="f16")
    with pytest.raises(OptionsError, match="threads"):
        EngineSettings(threads=0)


@needs_onnxruntime
def test_ort_refuses_bf16(small_model: ModelDescriptor) -> None:
    with pytest.raises(OptionsError, match="ONNX Runtime"):
        open_engine(
            small_model, (64, 64), engine="onnxruntime", settings=EngineSettings(precision="bf16")
        )
