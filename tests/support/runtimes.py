"""Marks for tests that need an optional runtime: skipped, with the reason, where it is absent."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from imagine_deblur.engines import find_openvino

needs_onnxruntime = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="no ONNX Runtime")
needs_openvino = pytest.mark.skipif(find_openvino() is None, reason="no OpenVINO")

RUNTIMES = [
    pytest.param("onnxruntime", marks=needs_onnxruntime),
    pytest.param("openvino", marks=needs_openvino),
]
