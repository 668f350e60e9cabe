"""Engines: what they compute, what their settings do, what they refuse."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from imagine_deblur.engines import (
    CallableEngine,
    Engine,
    EngineSettings,
    EngineSpec,
    IdentityEngine,
    ModelDescriptor,
    describe,
    find_openvino,
    native,
    open_engine,
    resolve_precision,
    select,
)
from imagine_deblur.engines.descriptor import METADATA_KEY, file_sha256
from imagine_deblur.engines.onnx_file import read_summary
from imagine_deblur.errors import EngineError, OptionsError
from networks import affine, affine_truth, noise_tile, plain, plain_descriptor

has_core = find_spec("imagine_deblur._core") is not None
needs_core = pytest.mark.skipif(not has_core, reason="the native core is not built")
needs_ort = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="no ONNX Runtime")
needs_openvino = pytest.mark.skipif(
    not has_core or find_openvino() is None, reason="no native core or no OpenVINO"
)
RUNTIMES = [
    pytest.param("onnxruntime", marks=needs_ort),
    pytest.param("openvino", marks=needs_openvino),
]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def affine_model(folder: Path) -> ModelDescriptor:
    return describe(affine(folder / "affine.onnx"), local=True)


@pytest.fixture(scope="module")
def small_model(folder: Path) -> ModelDescriptor:
    return describe(plain(folder / "small.onnx", 8, 4))


@pytest.fixture(scope="module")
def fast_model(folder: Path) -> ModelDescriptor:
    """35 kMAC/px, as the shipped fast network."""
    return describe(plain(folder / "fast.onnx", 32, 16))


def run(engine: Engine, tile: NDArray[np.float32]) -> NDArray[np.float32]:
    output = np.full(engine.spec.output_shape, np.nan, np.float32)
    engine.infer(tile, output)
    return output


def assert_close(found: NDArray, expected: NDArray, tolerance: float) -> None:
    error = np.abs(found.astype(np.float64) - expected)
    if not error.max() <= tolerance:  # NaN fails too
        counts, edges = np.histogram(error[np.isfinite(error)], bins=8)
        table = "\n".join(f"{e:10.3g} {n:8d}" for e, n in zip(edges, counts, strict=False))
        pytest.fail(f"max {error.max():.3g}, mean {error.mean():.3g}\n{table}")


# What they compute


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_known_weights_give_the_matrix_product(runtime: str, affine_model: ModelDescriptor) -> None:
    engine = open_engine(affine_model, (24, 40), engine=runtime)
    for seed in range(3):  # other buffers each time
        tile = noise_tile(3, 24, 40, seed)
        before = tile.copy()
        assert_close(run(engine, tile), affine_truth(tile), 1e-6)
        assert np.array_equal(tile, before)
    assert engine.spec.name == runtime


@needs_ort
@needs_openvino
@pytest.mark.parametrize("name", ["small_model", "fast_model"])
def test_runtimes_agree(name: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(name)
    tile = noise_tile(8, 128, 96)
    ort = run(open_engine(model, (128, 96), engine="onnxruntime"), tile)
    openvino = run(open_engine(model, (128, 96), engine="openvino"), tile)
    assert ort.std() > 0.05  # not a constant
    assert_close(openvino, ort, 1e-3)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_declared_halo_makes_tiles_exact(runtime: str, small_model: ModelDescriptor) -> None:
    halo, core = small_model.halo, 16
    whole_rows, whole_columns = 2 * halo + 2 * core, 2 * halo + 3 * core
    frame = noise_tile(8, whole_rows, whole_columns)
    whole = run(open_engine(small_model, (whole_rows, whole_columns), engine=runtime), frame)
    side = core + 2 * halo
    engine = open_engine(small_model, (side, side), engine=runtime)
    part = np.ascontiguousarray(frame[:, core : core + side, core : core + side])
    inner = slice(halo, halo + core)
    shifted = slice(halo + core, halo + 2 * core)
    assert_close(run(engine, part)[:, inner, inner], whole[:, shifted, shifted], 2e-6)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_less_than_the_halo_is_not_exact(runtime: str, small_model: ModelDescriptor) -> None:
    halo, core = small_model.halo, 16
    frame = noise_tile(8, core + 2 * halo, core + 2 * halo)
    engine = open_engine(small_model, frame.shape[1:], engine=runtime)
    whole = run(engine, frame)
    cut = halo - small_model.multiple_of
    part = np.ascontiguousarray(frame[:, halo - cut : halo + core + cut, :])
    narrow = run(open_engine(small_model, part.shape[1:], engine=runtime), part)
    error = np.abs(narrow[:, cut : cut + core] - whole[:, halo : halo + core])
    assert error[..., halo:-halo].max() > 1e-6


def test_identity_hands_planes_on() -> None:
    engine = IdentityEngine((4, 6), input_planes=8, first_plane=3, input_offset=0.5)
    tile = noise_tile(8, 4, 6)
    assert np.array_equal(run(engine, tile), tile[3:6] + np.float32(0.5))


def test_identity_of_a_network_is_its_base_restoration(small_model: ModelDescriptor) -> None:
    engine = open_engine(small_model, (8, 8), engine="identity")
    tile = noise_tile(8, 8, 8)
    assert np.array_equal(run(engine, tile), tile[3:6] + np.float32(0.5))


@needs_core
def test_native_engines_compute_the_same() -> None:
    tile = noise_tile(8, 4, 6)
    identity = IdentityEngine((4, 6), input_planes=8, first_plane=3, input_offset=0.5)
    spec = EngineSpec("callable", "f32", 8, 3, 4, 6)
    negative = CallableEngine(lambda t: -t[:3], spec)
    for engine in (identity, negative):
        output = np.zeros((3, 4, 6), np.float32)
        native(engine).infer(tile, output)
        assert np.array_equal(output, run(engine, tile))


def test_callable_result_is_checked() -> None:
    spec = EngineSpec("callable", "f32", 3, 3, 4, 6)
    tile = noise_tile(3, 4, 6)
    assert np.array_equal(run(CallableEngine(lambda t: t * 2.0, spec), tile), tile * 2)
    with pytest.raises(EngineError, match=r"returned float32 \(2, 4, 6\), expected"):
        run(CallableEngine(lambda t: t[:2], spec), tile)
    with pytest.raises(ValueError, match="read-only"):
        run(CallableEngine(lambda t: t.__iadd__(1), spec), tile)


@pytest.mark.parametrize("runtime", [*RUNTIMES, "identity"])
def test_wrong_tiles_are_refused(runtime: str, affine_model: ModelDescriptor) -> None:
    engine = open_engine(affine_model, (24, 40), engine=runtime)
    good = np.zeros((3, 24, 40), np.float32)
    read_only = good.copy()
    read_only.flags.writeable = False
    wide = np.zeros((3, 24, 80), np.float32)
    for input_tile, output_tile in (
        (good[:2], good),
        (good.astype(np.float64), good),
        (good, np.zeros((3, 40, 24), np.float32)),
        (wide[:, :, ::2], good),
        (good, read_only),
    ):
        with pytest.raises(EngineError, match="tile is"):
            engine.infer(input_tile, output_tile)


# What their settings do

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


@needs_ort
def test_ort_waits_without_spinning(fast_model: ModelDescriptor) -> None:
    ours = measure(fast_model, "onnxruntime", threads=2)
    theirs = measure(fast_model, "onnxruntime", threads=2, ort_defaults=True)
    assert ours["settings"]["spinning"] is False
    assert ours["idle_cpu"] < 0.02
    assert theirs["idle_cpu"] > 2 * ours["idle_cpu"]


@needs_ort
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


@needs_ort
def test_ort_refuses_bf16(small_model: ModelDescriptor) -> None:
    with pytest.raises(OptionsError, match="ONNX Runtime"):
        open_engine(
            small_model, (64, 64), engine="onnxruntime", settings=EngineSettings(precision="bf16")
        )


# Which runtime


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Make packages look absent."""

    def find(name: str) -> object:
        return None if name in names else find_spec(name)

    monkeypatch.delenv("IMAGINE_DEBLUR_OPENVINO_LIB", raising=False)
    monkeypatch.setattr("imagine_deblur.engines.openvino.find_spec", find)
    monkeypatch.setattr("imagine_deblur.engines.onnxruntime.find_spec", find)


def test_a_missing_runtime_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, affine_model: ModelDescriptor
) -> None:
    without(monkeypatch, "openvino", "onnxruntime")
    with pytest.raises(EngineError, match=r"imagine-deblur\[openvino\]") as caught:
        select("openvino")
    assert caught.value.engine == "openvino"
    with pytest.raises(EngineError, match=r"imagine-deblur\[onnxruntime\]"):
        select("onnxruntime")
    with pytest.raises(EngineError, match=r"onnxruntime.*imagine-deblur\[openvino\]"):
        open_engine(affine_model, (8, 8))
    assert select("identity") == "identity"


@needs_ort
def test_auto_takes_ort_where_openvino_is_missing(
    monkeypatch: pytest.MonkeyPatch, affine_model: ModelDescriptor
) -> None:
    without(monkeypatch, "openvino")
    assert open_engine(affine_model, (8, 8)).spec.name == "onnxruntime"


@needs_openvino
def test_auto_prefers_openvino(affine_model: ModelDescriptor) -> None:
    assert open_engine(affine_model, (8, 8)).spec.name == "openvino"


@needs_core
@needs_ort
def test_auto_goes_on_where_openvino_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch,
    affine_model: ModelDescriptor,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    library = tmp_path / "libopenvino_c.so.1"
    library.write_bytes(b"not a library")
    monkeypatch.setenv("IMAGINE_DEBLUR_OPENVINO_LIB", str(library))
    assert open_engine(affine_model, (8, 8)).spec.name == "onnxruntime"
    assert str(library) in caplog.text
    with pytest.raises(EngineError, match=r"imagine-deblur\[openvino\]"):
        open_engine(affine_model, (8, 8), engine="openvino")


def test_an_old_openvino_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text("")
    info = tmp_path / "openvino-2024.6.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: openvino\nVersion: 2024.6.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("IMAGINE_DEBLUR_OPENVINO_LIB", raising=False)
    if "openvino" in sys.modules:
        pytest.skip("another test has imported openvino")
    with pytest.raises(EngineError, match=r"2024\.6\.0 is too old"):
        find_openvino()


def test_unknown_engine_and_odd_tile_are_refused(small_model: ModelDescriptor) -> None:
    with pytest.raises(OptionsError, match="engine='tensorrt'"):
        select("tensorrt")
    with pytest.raises(OptionsError, match="multiples of 2"):
        open_engine(small_model, (64, 63), engine="identity")


def test_importing_the_engines_imports_no_runtime() -> None:
    code = (
        "import sys, imagine_deblur.engines as e; e.select('auto'); "
        "print([m for m in ('openvino', 'onnxruntime', 'onnx', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Which networks


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_corrupt_network_is_refused(
    runtime: str, affine_model: ModelDescriptor, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.onnx"
    whole = affine_model.path.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EngineError, match=r"broken\.onnx"):
        describe(broken)
    # A description made before the file was damaged.
    stale = ModelDescriptor(name="broken", path=broken)
    with pytest.raises(EngineError, match=r"broken\.onnx"):
        open_engine(stale, (24, 40), engine=runtime)
    # The outer shape is right and the weights are missing: only the runtime can tell.
    model = onnx.load(affine_model.path)
    del model.graph.initializer[0]
    onnx.save(model, broken)
    with pytest.raises(EngineError, match=r"broken\.onnx") as caught:
        open_engine(describe(broken), (24, 40), engine=runtime)
    assert caught.value.engine == runtime


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_wrong_plane_counts_are_refused(runtime: str, affine_model: ModelDescriptor) -> None:
    planes = ("capture.r", "capture.g", "capture.b", "noise")
    with pytest.raises(EngineError, match="expected 1x4xROWSxCOLUMNS"):
        describe(affine_model.path, inputs=planes)
    with pytest.raises(EngineError, match="expected 1x2xROWSxCOLUMNS"):
        describe(affine_model.path, output_bands=2)
    stale = ModelDescriptor(name="four", inputs=planes, path=affine_model.path)
    with pytest.raises(EngineError, match="expected"):
        open_engine(stale, (24, 40), engine=runtime)


def test_missing_file_stays_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        describe(tmp_path / "absent.onnx")


def test_descriptor_travels_in_the_file(small_model: ModelDescriptor) -> None:
    from plain_net import build

    expected = plain_descriptor(
        build(8, 4), path=small_model.path, sha256=file_sha256(small_model.path)
    )
    assert small_model == expected
    assert small_model.base_plane == 3
    assert ModelDescriptor.from_json(expected.to_json(), model="x").nsr == expected.nsr


def test_network_without_descriptor_is_published_style(affine_model: ModelDescriptor) -> None:
    d = describe(affine_model.path)
    assert d.inputs == ("capture.r", "capture.g", "capture.b")
    assert (d.local, d.input_offset, d.nsr, d.halo) == (False, 0.0, (), 0)
    assert d.base_plane == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": ("capture.r", "infrared")}, "unknown input plane 'infrared'"),
        ({"inputs": ("capture.r", "capture.r")}, "listed twice"),
        ({"nsr": (0.1, 0.2)}, "has no ratio in nsr"),
        ({"nsr": (0.1, -1.0, 1.0)}, "positive"),
        ({"base": 3}, "not an index"),
        ({"halo": 3}, "not a multiple of 2"),
        ({"multiple_of": 0}, "1 or more"),
        ({"precision": "f16"}, "f32 or int8"),
    ],
)
def test_contradicting_descriptors_are_refused(
    small_model: ModelDescriptor, change: dict[str, object], message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        describe(small_model.path, **change)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "is not an imagine-deblur-model"),
        ('{"format": "imagine-deblur-model", "format_version": 2}', "update it"),
        ('{"format": "imagine-deblur-model", "format_version": 1}', "damaged"),
        ('{"format": "imagine-deblur-model", "format_version": 1, "colour": 1}', "colour"),
        (
            '{"format": "imagine-deblur-model", "format_version": 1, "name": "a", "nsr": 5}',
            "damaged",
        ),
    ],
)
def test_damaged_descriptors_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = affine(tmp_path / "damaged.onnx", {METADATA_KEY: text})
    with pytest.raises(EngineError, match=message):
        describe(path)


# The reader of ONNX files


def test_summary_agrees_with_onnx(small_model: ModelDescriptor) -> None:
    model = onnx.load(small_model.path)
    summary = read_summary(small_model.path)
    assert summary.ir_version == model.ir_version
    assert summary.producer == model.producer_name
    assert summary.metadata == {p.key: p.value for p in model.metadata_props}
    for ours, theirs in (
        (summary.inputs, model.graph.input),
        (summary.outputs, model.graph.output),
    ):
        assert [t.name for t in ours] == [t.name for t in theirs]
        for tensor, value in zip(ours, theirs, strict=True):
            dims = value.type.tensor_type.shape.dim
            assert tensor.shape == tuple(d.dim_param or d.dim_value for d in dims)
            assert tensor.is_float32


def test_summary_skips_weights_listed_as_inputs(
    affine_model: ModelDescriptor, tmp_path: Path
) -> None:
    model = onnx.load(affine_model.path)
    for weight in model.graph.initializer:
        value = onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
        model.graph.input.append(value)
    path = tmp_path / "old.onnx"
    onnx.save(model, path)
    assert [t.name for t in read_summary(path).inputs] == ["input"]


def test_summary_survives_any_damage(affine_model: ModelDescriptor, tmp_path: Path) -> None:
    whole = affine_model.path.read_bytes()
    path = tmp_path / "damaged.onnx"
    refused = 0
    rng = np.random.default_rng(0)
    damaged = [whole[:length] for length in range(len(whole))]
    for _ in range(500):
        copy = bytearray(whole)
        copy[rng.integers(len(copy))] ^= 1 << rng.integers(8)
        damaged.append(bytes(copy))
    for content in damaged:
        path.write_bytes(content)
        try:
            read_summary(path)
        except EngineError:
            refused += 1
    assert refused > len(whole) // 2


# What the published systems cost, and what we declare of OpenVINO


def test_mimo_unet_has_the_published_cost() -> None:
    from mimo_unet import build

    for name, parameters, gmacs in (("MIMO-UNet", 6.81, 63.7), ("MIMO-UNet+", 16.11, 150.7)):
        net = build(name, all_outputs=True)
        assert round(net.parameters / 1e6, 2) == parameters
        assert round(net.macs_per_px * 256 * 256 / 1e9, 1) == gmacs


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_mimo_unet_runs(runtime: str, tmp_path: Path) -> None:
    from mimo_unet import build

    onnx.save(build().model, tmp_path / "mimo.onnx")
    model = describe(tmp_path / "mimo.onnx", multiple_of=4)
    output = run(open_engine(model, (32, 48), engine=runtime), noise_tile(3, 32, 48))
    assert np.isfinite(output).all()
    assert output.std() > 0.1


def test_c_api_declarations_agree_with_the_wheel() -> None:
    compiler = shutil.which("c++") or shutil.which("g++")
    package = find_spec("openvino")
    if compiler is None or package is None or not package.submodule_search_locations:
        pytest.skip("no compiler or no OpenVINO wheel")
    headers = Path(package.submodule_search_locations[0], "include")
    if not headers.is_dir():
        pytest.skip("this wheel brings no headers")
    subprocess.run(
        [
            compiler,
            "-std=c++20",
            "-fsyntax-only",
            f"-I{ROOT / 'csrc'}",
            f"-isystem{headers}",
            str(ROOT / "tests" / "native" / "openvino_headers.cpp"),
        ],
        check=True,
    )
