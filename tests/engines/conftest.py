"""Small networks for the tests of engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagine_deblur.engines import (
    ModelDescriptor,
    describe,
)
from networks import affine, plain


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
