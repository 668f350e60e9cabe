"""The linear stage gives the pictures it gave when its transforms were numpy's.

`tests/data/same_pictures.npz` holds what the tree at e0a7796 made of captures with a given PSF and
ratio, so that nothing is learned or estimated; `tests/support/same_pictures.py` compares two trees
on every kind of frame.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import same_pictures

STORED = Path(__file__).parent / "data" / "same_pictures.npz"
CASES = {case.name.replace(" ", "_"): case for case in same_pictures.cases(4)}


@pytest.mark.parametrize("name", ["grey_wiener", "kernel_wiener", "field_wiener"])
def test_a_picture_is_the_one_that_was_stored(name: str) -> None:
    case = CASES[name]
    with np.load(STORED) as stored:
        most, share = same_pictures.difference(case.run(), stored[name])
    assert most <= 1
    assert share <= case.share + 8 / stored_size(name)


def stored_size(name: str) -> int:
    with np.load(STORED) as stored:
        return int(stored[name].size)
