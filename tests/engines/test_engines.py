"""Engines: what they compute, what they refuse."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from enginekit import assert_close, run
from imagine_deblur.engines import (
    CallableEngine,
    EngineSpec,
    IdentityEngine,
    ModelDescriptor,
    describe,
    native,
    open_engine,
)
from imagine_deblur.errors import EngineError
from networks import affine_truth, noise_tile
from runtimes import RUNTIMES, needs_onnxruntime, needs_openvino

ROOT = Path(__file__).resolve().parents[2]


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


@needs_onnxruntime
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
