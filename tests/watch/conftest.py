"""A capture for tests of the service's parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchkit import capture_bytes


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "capture.jpg"
    path.write_bytes(capture_bytes(5, 96, 128))
    return path
