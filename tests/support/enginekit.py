"""What tests of engines share: one tile through one engine."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from imagine_deblur.engines import Engine


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
