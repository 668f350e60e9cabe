"""What the pipeline refuses, and what comes through when a part of it fails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imagine_deblur import _core
from imagine_deblur.engines import (
    CallableEngine,
    EngineSpec,
    native,
)
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
from pipelinekit import frame, identity, stream
from plans import plan_for

PSF_SMALL = PSF.defocus(2.0)
NSR = WienerSpec((2e-2,), 0)


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
