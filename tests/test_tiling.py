"""Tile plans, windows and the identity pipeline, over any frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from imagine_deblur import _core
from imagine_deblur.errors import OptionsError
from oracle import overlap_weights
from plans import plan_for

QUICK = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.filter_too_much],
)


@st.composite
def plans(draw: st.DrawFn) -> tuple[_core.TilePlan, dict[str, int]]:
    """A plan that can be made, and what was asked for."""
    unit = draw(st.sampled_from([1, 1, 2, 4]))
    halo = draw(st.integers(0, 9))
    overlap = draw(st.integers(0, 9))
    least = 2 * halo + 2 * overlap + 4 * unit
    side = st.integers(0, 40).map(lambda extra: (least + extra) // unit * unit + unit)
    asked = {
        "frame_rows": draw(st.integers(1, 150)),
        "frame_columns": draw(st.integers(1, 150)),
        "tile_rows": draw(side),
        "tile_columns": draw(side),
        "overlap": overlap,
        "halo": halo,
        "multiple_of": unit,
    }
    return _core.TilePlan(**asked, may_shrink=draw(st.booleans())), asked


@QUICK
@given(plans())
def test_cores_cover_the_frame_once_and_reads_have_one_shape(made):
    plan, asked = made
    covered = np.zeros((asked["frame_rows"], asked["frame_columns"]), np.int32)
    for index in range(len(plan)):
        tile = plan.tile(index)
        top, left, bottom, right = tile.core
        covered[top:bottom, left:right] += 1
        assert (tile.read[2] - tile.read[0], tile.read[3] - tile.read[1]) == (
            plan.tile_rows,
            plan.tile_columns,
        )
        assert tile.read[0] % asked["multiple_of"] == 0
        assert tile.read[1] % asked["multiple_of"] == 0
        for axis in (0, 1):  # the halo lies around everything that is written
            assert tile.read[axis] <= tile.write[axis] - asked["halo"]
            assert tile.read[axis + 2] >= tile.write[axis + 2] + asked["halo"]
    assert (covered == 1).all()
    assert plan.tile_rows <= asked["tile_rows"]
    assert plan.tile_columns <= asked["tile_columns"]


@QUICK
@given(plans())
def test_windows_are_a_partition_of_unity(made):
    plan, asked = made
    window = _core.BlendWindow(plan)
    total = np.zeros((asked["frame_rows"], asked["frame_columns"]), np.float64)
    for index in range(len(plan)):
        tile = plan.tile(index)
        top, left, bottom, right = tile.write
        rows, columns = window.rows(tile.tile_row), window.columns(tile.tile_column)
        assert (rows > 0).all()
        assert (rows <= 1).all()
        expected = overlap_weights(
            plan.overlap_rows, tile.core[0], tile.core[2], top, bottom, asked["frame_rows"]
        )
        np.testing.assert_allclose(rows, expected, atol=2e-7)
        total[top:bottom, left:right] += np.outer(
            rows.astype(np.float64), columns.astype(np.float64)
        )
    np.testing.assert_allclose(total, 1.0, atol=1e-12)


@QUICK
@given(
    made=plans(),
    bands=st.sampled_from([1, 3]),
    float32=st.booleans(),
    local=st.booleans(),
    threads=st.integers(1, 3),
    strip=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_the_identity_pipeline_returns_the_frame(made, bands, float32, local, threads, strip, seed):
    plan, asked = made
    shape = (asked["frame_rows"], asked["frame_columns"], bands)
    assume(shape[0] * shape[1] < 12_000)
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, shape, np.uint8)
    if float32:
        image = rng.uniform(-0.5, 1.5, shape).astype(np.float32)
    if bands == 1:
        image = image[..., 0]
    engine = _core.IdentityEngine(
        input_planes=bands,
        output_bands=bands,
        tile_rows=plan.tile_rows,
        tile_columns=plan.tile_columns,
        halo=asked["halo"],
        local=local,
    )
    overlap, unit = asked["overlap"], asked["multiple_of"]
    cut = plan_for(
        engine,
        shape,
        list(range(bands)),
        strip=strip,
        overlap=overlap,
        multiple_of=unit,
        float32=float32,
    )
    pool = _core.BufferPool(cut.pool_bytes, anonymous=True)
    out = np.zeros_like(image)
    report = _core.run_array(image, out, engine, None, pool, _core.WorkerPool(threads), cut)
    if local or not float32:
        np.testing.assert_array_equal(out, image)
    else:
        np.testing.assert_allclose(out, image, atol=1e-6)
    statistics = pool.statistics()
    assert statistics["high_water"] <= report["planned_bytes"] <= statistics["capacity"]
    assert statistics["in_use"] == statistics["leases"] == statistics["refused"] == 0


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("frame", {"frame_rows": 0}),
        ("tile", {"tile_rows": 0}),
        ("tile", {"tile_rows": 33, "multiple_of": 2}),
        ("tile", {"halo": 16}),
        ("overlap", {"overlap": -1}),
    ],
)
def test_plans_that_cannot_be_made_are_refused(field, asked):
    wanted = {"frame_rows": 50, "frame_columns": 50, "tile_rows": 32, "tile_columns": 32} | asked
    with pytest.raises(OptionsError, match=field):
        _core.TilePlan(**wanted)


def test_a_tile_that_does_not_exist():
    plan = _core.TilePlan(50, 50, tile_rows=32, tile_columns=32)
    with pytest.raises(IndexError):
        plan.tile(len(plan))
