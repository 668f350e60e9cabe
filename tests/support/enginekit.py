"""What tests of engines share: which runtimes are there, one tile through one engine."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from numpy.typing import NDArray

from imagine_deblur.engines import (
    Engine,
    find_openvino,
)

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
