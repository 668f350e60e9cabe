"""The streaming pipeline equals the obvious whole-frame one, however it is cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oracle
from imagine_deblur import _core
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.engines import (
    CallableEngine,
    EngineSpec,
    ModelDescriptor,
    describe,
    find_openvino,
    native,
    open_engine,
)
from imagine_deblur.engines.model import Model
from imagine_deblur.errors import (
    CancelledError,
    EngineError,
    InputImageError,
    MemoryBudgetError,
    OptionsError,
)
from imagine_deblur.psf.models import PSF
from imagine_deblur.restoration.stage import WienerStage
from imagine_deblur.restoration.wiener import WienerSpec
from networks import affine, plain
from plans import plan_for
from runtimes import needs_onnxruntime
from synthetic import natural

PSF_SMALL = PSF.defocus(2.0)
NSR = WienerSpec((2e-2,), 0)
SIZES = [(1, 1), (3, 8), (63, 65), (64, 64), (65, 63), (97, 131)]
RUNTIMES = [
    pytest.param(
        "onnxruntime",
        marks=pytest.mark.skipif(find_spec("onnxruntime") is None, reason="no ONNX Runtime"),
    ),
    pytest.param(
        "openvino", marks=pytest.mark.skipif(find_openvino() is None, reason="no OpenVINO")
    ),
]


@dataclass(frozen=True)
class Cut:
    """How a frame is cut: rows of tiles per strip, threads."""

    strip: int = 10_000
    threads: int = 1


def frame(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> Any:
    rows, columns = shape[:2]
    image = natural(max(rows, 8), max(columns, 8), seed)[:rows, :columns]
    if len(shape) == 2:
        image = image[..., 1]
    if dtype == "uint8":
        return np.ascontiguousarray((image * 255 + 0.5).astype(np.uint8))
    return np.ascontiguousarray(image, np.float32)


def stream(
    image: Any,
    engine: _core.Engine,
    inputs: list[int],
    *,
    stage: object = None,
    cut: Cut = Cut(),
    keep_going: Callable[[float], bool] | None = None,
    **options: int,
) -> tuple[Any, dict[str, Any]]:
    """Run with a pool of just the bytes planned for the strips asked for."""
    shape = (*image.shape[:2], 1 if image.ndim == 2 else 3)
    float32 = image.dtype == np.float32
    plan = plan_for(engine, shape, inputs, stage=stage, strip=cut.strip, float32=float32, **options)
    pool = _core.BufferPool(plan.pool_bytes, anonymous=True)
    out = np.full_like(image, 77)
    workers = _core.WorkerPool(cut.threads)
    report = _core.run_array(image, out, engine, stage, pool, workers, plan, keep_going)
    statistics = pool.statistics()
    assert statistics["leases"] == statistics["in_use"] == statistics["refused"] == 0
    assert statistics["high_water"] <= report["planned_bytes"]
    return out, report


def identity(bands: int, tile: int, **options: Any) -> _core.IdentityEngine:
    return _core.IdentityEngine(
        input_planes=bands, output_bands=bands, tile_rows=tile, tile_columns=tile, **options
    )


# The linear stage


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("bands", [1, 3])
def test_wiener_equals_the_whole_frame(size, dtype, bands):
    image = frame((*size, 3) if bands == 3 else size, dtype)
    expected = oracle.finished(oracle.linear_planes(image, PSF_SMALL, NSR), image)
    for tile, threads in ((32, 1), (64, 2), (200, 3)):
        stage = WienerStage(PSF_SMALL, NSR)
        inputs = [bands + k for k in range(bands)]
        found, report = stream(
            image, identity(bands, tile), inputs, stage=stage, cut=Cut(threads=threads)
        )
        assert report["strips"] == 1
        # Halves may round either way: the oracle divides by 255 where the stage multiplies, and
        # the stage adds luma and colour difference after each was rounded to 1/4096.
        oracle.assert_images_close(found, expected, 1 if dtype == "uint8" else 1e-6)
        share = 0.06 if dtype == "uint8" and bands == 3 else 1e-3
        assert (np.abs(found.astype(float) - expected) > 1e-6).mean() < share


@pytest.mark.parametrize(("radius", "nsr"), [(1.5, 1e-3), (3.0, 2e-2), (3.0, 1e-3)])
def test_strips_with_their_margin_equal_the_whole_within_one_step(radius, nsr):
    psf = PSF.defocus(radius)
    rng = np.random.default_rng(0)
    image = degrade(natural(1100, 96, 5), psf, noise=0.004, rng=rng)
    stage = WienerStage(psf, WienerSpec((nsr,), 0))
    whole, one = stream(image, identity(3, 128), [3, 4, 5], stage=stage)
    cut, many = stream(image, identity(3, 128), [3, 4, 5], stage=stage, cut=Cut(strip=3))
    assert (one["strips"], one["margin_rows"]) == (1, 0)
    assert many["strips"] == 3
    assert many["margin_rows"] == stage.margin_rows() > 0
    oracle.assert_images_close(cut, whole, 1)


# Networks


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelDescriptor]:
    folder = tmp_path_factory.mktemp("networks")
    return {
        "plain": describe(plain(folder / "plain.onnx", 8, 3)),
        "affine": describe(affine(folder / "affine.onnx"), local=True),
    }


def run_network(
    image: Any, descriptor: ModelDescriptor, runtime: str, tile: int, cut: Cut
) -> tuple[Any, dict[str, Any]]:
    model = Model(descriptor.name, descriptor=descriptor)
    spec = descriptor.bank
    stage = WienerStage(PSF_SMALL, spec) if spec else None
    engine = native(open_engine(descriptor, (tile, tile), engine=runtime))
    bands = 1 if image.ndim == 2 else 3
    inputs = model.input_indices(bands, spec)
    return stream(image, engine, inputs, stage=stage, cut=cut, multiple_of=descriptor.multiple_of)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ["plain", "affine"])
def test_networks_in_tiles_equal_the_whole_frame(networks, runtime, name):
    for shape, dtype, tile, threads in (
        ((1, 1), "uint8", 64, 1),
        ((3, 8, 3), "uint8", 32, 2),
        ((63, 65, 3), "float32", 64, 3),
        ((65, 63), "float32", 48, 1),
        ((97, 131, 3), "uint8", 40, 2),
        ((97, 64), "uint8", 64, 2),
    ):
        image = frame(shape, dtype)
        expected = oracle.whole_network(image, networks[name], runtime, PSF_SMALL)
        found, _ = run_network(image, networks[name], runtime, tile, Cut(threads=threads))
        oracle.assert_images_close(found, expected, 1 if dtype == "uint8" else 2e-5)


@needs_onnxruntime
def test_a_network_over_the_bank_in_strips_equals_the_whole(networks):
    rng = np.random.default_rng(7)
    image = degrade(natural(1000, 80, 7), PSF_SMALL, noise=0.003, rng=rng)
    whole, one = run_network(image, networks["plain"], "onnxruntime", 128, Cut())
    cut, many = run_network(image, networks["plain"], "onnxruntime", 128, Cut(strip=3))
    assert one["strips"] == 1
    assert many["strips"] > 1
    oracle.assert_images_close(cut, whole, 1)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_tile_sizes_and_strips_agree_bit_for_bit_at_8_bits(networks, runtime):
    image = frame((131, 97, 3), seed=9)
    whole, report = run_network(image, networks["affine"], runtime, 200, Cut())
    assert report["tiles"] == 1
    for tile, strip in ((32, 1), (48, 2), (64, 1)):
        found, report = run_network(image, networks["affine"], runtime, tile, Cut(strip=strip))
        assert report["strips"] > 1
        np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_callables_are_blended_as_the_formula_says(bands, dtype):
    def network(tile: Any) -> Any:
        """Depends on the whole tile, so that every weight matters."""
        row = np.linspace(0, 1, tile.shape[1], dtype=np.float32)[:, None]
        return np.roll(tile, 1, axis=0) * row + tile.mean()

    for size in ((1, 1), (3, 8), (50, 120), (131, 97)):
        image = frame((*size, 3) if bands == 3 else size, dtype)
        for overlap, strip, threads in ((0, 1, 1), (7, 1, 2), (16, 2, 3)):
            engine = native(
                CallableEngine(network, EngineSpec("callable", "f32", 3, 3, 64, 64, local=False))
            )
            plan = _core.TilePlan(
                *size, tile_rows=64, tile_columns=64, overlap=overlap, may_shrink=False
            )
            expected = oracle.blended_network(image, network, plan)
            inputs = [0, 1, 2] if bands == 3 else [0, 0, 0]
            cut = Cut(strip, threads)
            found, _ = stream(image, engine, inputs, cut=cut, overlap=overlap)
            # Halves may round either way.
            oracle.assert_images_close(found, expected, 1 if dtype == "uint8" else 2e-6)


# Boundary


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((8, 8, 3), np.uint16), "uint16"),
        (np.zeros((8, 8, 3), np.float64), r"astype\(np.float32\)"),
        (np.zeros((8, 8, 4), np.uint8), r"\(rows, columns, 3\)"),
        (np.zeros((8, 8, 1), np.uint8), r"\(rows, columns, 3\)"),
        (np.zeros((8,), np.uint8), r"\(rows, columns\)"),
        (np.zeros((0, 8), np.uint8), "1 to 65500"),
        (np.zeros((8, 16, 3), np.uint8)[:, ::2], "ascontiguousarray"),
        (np.zeros((3, 8, 8), np.uint8).transpose(1, 2, 0), "ascontiguousarray"),
    ],
)
def test_arrays_of_another_kind_are_refused_with_the_cure(image, says):
    engine, pool = identity(3, 32), _core.BufferPool(1 << 20, anonymous=True)
    plan, workers = plan_for(engine, (8, 8, 3), [0, 1, 2]), _core.WorkerPool(1)
    with pytest.raises(InputImageError, match=says):
        _core.run_array(image, np.empty_like(image), engine, None, pool, workers, plan)


def test_outputs_that_cannot_be_filled_are_refused():
    image = frame((8, 8, 3))
    engine, pool = identity(3, 32), _core.BufferPool(1 << 20, anonymous=True)
    plan, workers = plan_for(engine, (8, 8, 3), [0, 1, 2]), _core.WorkerPool(1)
    locked = np.zeros_like(image)
    locked.flags.writeable = False
    for out, says in (
        (locked, "read-only"),
        (np.zeros((8, 9, 3), np.uint8), "shape or dtype"),
        (np.zeros((8, 8), np.uint8), "shape or dtype"),
        (np.zeros((8, 8, 3), np.float32), "shape or dtype"),
    ):
        with pytest.raises(InputImageError, match=says):
            _core.run_array(image, out, engine, None, pool, workers, plan)
    with pytest.raises(TypeError):  # a list would be filled as a copy and thrown away
        _core.run_array(image, image.tolist(), engine, None, pool, workers, plan)


def test_read_only_input_is_read():
    image = frame((40, 41, 3))
    image.flags.writeable = False
    found, _ = stream(image, identity(3, 32), [0, 1, 2])
    np.testing.assert_array_equal(found, image)


def test_infinite_and_missing_values_stay_where_they_are():
    image = frame((70, 70, 3), "float32")
    image[35, 35] = np.nan
    image[3, 60, 0] = np.inf
    found, _ = stream(image, identity(3, 32), [0, 1, 2])
    np.testing.assert_array_equal(found, image)


# Failure


class Failing:
    """A stage that raises in one of its methods."""

    def __init__(self, method: str) -> None:
        self.method = method

    def _maybe(self, method: str) -> None:
        if method == self.method:
            raise ZeroDivisionError(method)

    def restore(self, strip: _core.Strip) -> None:
        self._maybe("restore")

    def review(self, strip: _core.Strip) -> int:
        self._maybe("review")
        return 0


@pytest.mark.parametrize("method", ["restore", "review"])
def test_what_a_stage_raises_comes_through_as_it_is(method, no_leaks):
    image, engine = frame((70, 50, 3)), identity(3, 32)
    plan = plan_for(engine, (70, 50, 3), [0, 1, 2], strip=1)
    pool, workers = _core.BufferPool(plan.pool_bytes, anonymous=True), _core.WorkerPool(1)
    out = np.empty_like(image)
    with pytest.raises(ZeroDivisionError, match=method):
        _core.run_array(image, out, engine, Failing(method), pool, workers, plan)


@pytest.mark.parametrize("broken", ["raises", "shape", "text"])
def test_what_a_callable_raises_comes_through(broken, no_leaks):
    def network(tile: Any) -> Any:
        if broken == "raises":
            raise KeyError("weights")
        return tile[:, 1:] if broken == "shape" else np.full(tile.shape, "x")

    spec = EngineSpec("callable", "f32", 3, 3, 32, 32, local=False)
    engine = native(CallableEngine(network, spec))
    with pytest.raises(KeyError if broken == "raises" else EngineError):
        stream(frame((70, 50, 3)), engine, [0, 1, 2])


@pytest.mark.parametrize("how", ["false", "raises"])
def test_progress_can_stop_a_run(how):
    seen: list[float] = []

    def keep_going(fraction: float) -> bool:
        seen.append(fraction)
        if how == "raises" and len(seen) == 3:
            raise KeyboardInterrupt
        return len(seen) < 3

    with pytest.raises(CancelledError if how == "false" else KeyboardInterrupt):
        stream(frame((200, 200, 3)), identity(3, 32), [0, 1, 2], keep_going=keep_going)
    assert len(seen) == 3
    assert seen[0] == 0.0
    assert seen == sorted(seen)


def test_a_pool_that_is_too_small_is_refused_and_the_number_named_does():
    image = frame((300, 200, 3))
    engine, stage = identity(3, 32), WienerStage(PSF_SMALL, NSR)
    plan, workers = plan_for(engine, (300, 200, 3), [3, 4, 5], stage=stage), _core.WorkerPool(1)
    out = np.zeros_like(image)
    small = _core.BufferPool(1 << 16, anonymous=True)
    with pytest.raises(MemoryBudgetError, match="max_ram") as caught:
        _core.run_array(image, out, engine, stage, small, workers, plan)
    assert not out.any()
    assert caught.value.wanted == plan.pool_bytes
    pool = _core.BufferPool(caught.value.wanted, anonymous=True)
    _core.run_array(image, out, engine, stage, pool, workers, plan)
    assert out.any()


def test_a_plan_for_another_frame_or_engine_is_refused():
    image, workers = frame((40, 41, 3)), _core.WorkerPool(1)
    pool, out = _core.BufferPool(1 << 22, anonymous=True), np.empty_like(frame((40, 41, 3)))
    engine = identity(3, 32)
    for shape, tile in (((40, 40, 3), 32), ((40, 41, 1), 32), ((40, 41, 3), 48)):
        bands = shape[2]
        plan = plan_for(identity(bands, tile), shape, list(range(bands)))
        with pytest.raises(OptionsError):
            _core.run_array(image, out, engine, None, pool, workers, plan)


def test_options_that_do_not_fit_the_engine_are_refused():
    image = frame((40, 40, 3))
    for inputs in ([0, 1], [0, 1, 3], [0, 1, -1]):
        with pytest.raises(OptionsError):
            stream(image, identity(3, 32), inputs)
    with pytest.raises(OptionsError, match="bands"):
        stream(image, identity(1, 32), [0])


def test_planes_may_outlive_the_run():
    """Arrays handed to a stage keep the pool's mapping alive; using them late is no crash."""

    class Keeper(Failing):
        kept: Any = None
        spec = WienerSpec((0.02,), 0)

        def margin_rows(self) -> int:
            return 4

        def scratch_bytes(self, *sizes: int) -> int:
            return 100

        def restore(self, strip: _core.Strip) -> None:
            self.kept = [*strip.capture, *strip.linear, strip.scratch, strip]

    keeper = Keeper("")
    image = frame((50, 50, 3))
    stream(image, identity(3, 64), [0, 1, 2], stage=keeper)
    assert len(keeper.kept) == 3 + 3 + 2
    assert all(int(plane.sum()) is not None for plane in keeper.kept[:-1])


def test_data_are_images(data_dir: Path):
    """One real scene through a network in both cuts; the rest is done on synthetic ones."""
    files = sorted((data_dir / "val" / "aerial").glob("*.jpg"))
    reader = _core.JpegReader(str(files[0]))
    image = reader.read_rows(200)
    whole, _ = stream(image, identity(3, 512), [3, 4, 5], stage=WienerStage(PSF_SMALL, NSR))
    tiled, _ = stream(image, identity(3, 64), [3, 4, 5], stage=WienerStage(PSF_SMALL, NSR))
    np.testing.assert_array_equal(tiled, whole)


def test_strips_of_a_real_capture_equal_the_whole_within_one_step(data_dir: Path):
    reader = _core.JpegReader(str(data_dir / "captures" / "full" / "iss_015.jpg"))
    image = np.ascontiguousarray(reader.read_rows(reader.info["rows"])[:, 1200:1500])
    stage = WienerStage(PSF.defocus(6.8), WienerSpec((0.3,), 0))
    whole, _ = stream(image, identity(3, 512), [3, 4, 5], stage=stage)
    cut, report = stream(image, identity(3, 512), [3, 4, 5], stage=stage, cut=Cut(strip=1))
    assert report["strips"] >= 6
    # At the frame's own edges the extension fades towards another row in a strip.
    inside = np.s_[32:-32]
    oracle.assert_images_close(cut[inside], whole[inside], 1)
    assert (np.abs(cut.astype(int) - whole) > 1).mean() < 1e-3
