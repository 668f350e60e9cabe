"""Plans of frames for tests that drive the core's pipeline themselves."""

from __future__ import annotations

from typing import Any

from imagine_deblur import _core

ALL = 1 << 20
"""More rows or columns of tiles than any frame has."""


def plan_for(
    engine: _core.Engine,
    shape: tuple[int, int, int],
    inputs: list[int],
    *,
    stage: Any = None,
    strip: int = ALL,
    group: int = ALL,
    overlap: int = 0,
    multiple_of: int = 1,
    region: tuple[int, int, int, int] | None = None,
    float32: bool = False,
) -> _core.FramePlan:
    """Return the plan of a frame on an engine's tiles, cut as asked.

    Parameters
    ----------
    engine : Engine
    shape : (int, int, int)
        Rows, columns and bands.
    inputs : list of int
    stage : WienerStage or alike, optional
        One without a `spec` makes no planes.
    strip, group : int
        Rows and columns of tiles.
    overlap, multiple_of, region, float32
        As the core takes them.
    """
    rows, columns, bands = shape
    tiles = _core.TilePlan(
        rows,
        columns,
        tile_rows=engine.tile_rows,
        tile_columns=engine.tile_columns,
        overlap=0 if engine.local else overlap,
        halo=engine.halo,
        multiple_of=multiple_of,
        may_shrink=False,
        region=region,
    )
    made = getattr(stage, "spec", None)
    plan = _core.FramePlan(
        tiles,
        bands=bands,
        float32=float32,
        output_bands=engine.output_bands,
        inputs=inputs,
        linear_planes=0 if made is None else made.filtered_count(bands),
        constants=[made.level_value] if made is not None and made.level else [],
        strip_height=strip,
        group_width=group,
        margin_rows=0 if made is None else stage.margin_rows(),
    )
    if made is None:
        return plan
    return plan.with_scratch(stage.scratch_bytes(plan.window_rows, columns, plan.group_columns))
