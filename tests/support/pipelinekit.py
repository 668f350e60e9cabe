"""Frames through the streaming pipeline with plans of a test's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagine_deblur import _core
from plans import plan_for
from synthetic import natural


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
