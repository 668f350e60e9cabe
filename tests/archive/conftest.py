"""Small archives made on the fly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archives import OPTIONS
from imagine_deblur.archive import BatchSummary, restore_archive
from imagine_deblur.archive.inputs import find_items
from jpegkit import jpeg
from synthetic import natural

Run = Callable[..., BatchSummary]


@pytest.fixture(scope="session")
def pictures() -> list[bytes]:
    """Eight different small captures."""
    return [jpeg((natural(64, 80, seed=k) * 255).astype(np.uint8)) for k in range(8)]


@pytest.fixture
def scenes(tmp_path: Path, pictures: list[bytes]) -> Path:
    """A folder of eight captures."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    for number, data in enumerate(pictures):
        (folder / f"c{number}.jpg").write_bytes(data)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Restore inputs into ``out`` with one worker, or as the keywords say."""

    def run(*inputs: str | Path, output: str | Path = tmp_path / "out", **changes: Any) -> Any:
        recursive = changes.pop("recursive", False)
        found = find_items([str(i) for i in inputs], recursive=recursive)
        given = {"workers": 1, "options": OPTIONS, **changes}
        if "scheduler" in given:
            del given["workers"]
        return restore_archive(found.items, output, **given)

    return run
