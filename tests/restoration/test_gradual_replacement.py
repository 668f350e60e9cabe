"""The reblur check replaces by degrees: rounding at a limit moves a picture by rounding's size."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from imagine_deblur.restoration.block_sums import BlockSums
from imagine_deblur.restoration.pieces import BLOCK, Piece
from imagine_deblur.restoration.reblur_check import CAPTURE, KEPT, WIENER, ReblurCheck

ROWS, COLUMNS = 3 * BLOCK, 5 * BLOCK
LIMIT = 2 / 255
LINEAR, SHOT, RESTORED = 0.25, 0.5, 0.75
ROUNDING = 1e-3
"""Relative change of a block's figures when one sample in it is rounded to the other side."""


def reviewed(
    residual: float = 1e-3, restored_std: float = 0.1, capture_std: float = 0.1, seen: float = 0.1
) -> tuple[NDArray[np.float32], int, int]:
    """Return the restored plane, the middle block's kind and the count of replaced blocks.

    All blocks are beyond doubt but the middle one, whose standard deviations and RMS are given.
    """
    moments = np.zeros((9, 3, 5))
    moments[0], moments[2], moments[4], moments[6] = 1e-6, 0.01, 0.01, 0.01
    moments[[0, 2, 4, 6], 1, 2] = residual**2, capture_std**2, restored_std**2, seen**2
    runs = np.repeat(moments, 2, axis=1) * (BLOCK * BLOCK / 2)
    blocks = BlockSums(ROWS, COLUMNS)
    whole = slice(0, COLUMNS)
    blocks.take(runs, Piece(whole, whole), np.ones(blocks.shape, bool))
    check = ReblurCheck()
    strip = SimpleNamespace(window=(0, ROWS), planes=(0, ROWS), finished=(0, ROWS))
    strip.finished_columns, strip.count, strip.frame_rows = (0, COLUMNS), 1, ROWS
    strip.capture, strip.linear, strip.restored = (
        [np.full((ROWS, COLUMNS), value, np.float32)] for value in (SHOT, LINEAR, RESTORED)
    )
    count = check.review(strip, 0, blocks)
    return strip.restored[0], int(check.masks[0][1, 2]), count


def middle(plane: NDArray[np.float32]) -> float:
    inside = plane[BLOCK : 2 * BLOCK, 2 * BLOCK : 3 * BLOCK]
    assert np.ptp(inside) < 1e-6
    return float(inside[0, 0])


@pytest.mark.parametrize(
    ("figures", "name", "limit", "other"),
    [
        ({}, "residual", LIMIT, LINEAR),
        ({"residual": LIMIT / 2, "seen": 1e-4, "capture_std": 0.05}, "restored_std", 0.0525, SHOT),
        ({"capture_std": 1e-5}, "restored_std", 1.05e-5, SHOT),
        ({"residual": 0.75 * LIMIT}, "seen", None, SHOT),
    ],
    ids=["residual", "busier than the capture", "busier than flat ground", "information"],
)
def test_the_share_goes_evenly_from_none_to_all(figures, name, limit, other):
    if limit is None:  # of what the blur let through: twice the power left unexplained
        limit = np.sqrt(2 * (figures["residual"] ** 2 + 1 / (12 * 255**2)))
        figures = {**figures, "capture_std": 0.05}

    def value(ratio: float) -> float:
        return middle(reviewed(**{**figures, name: ratio * limit})[0])

    ends = (value(1.25), value(0.75)) if name == "seen" else (value(0.75), value(1.25))
    assert ends == pytest.approx((RESTORED, other), abs=1e-6)
    assert value(1.0) == pytest.approx((RESTORED + other) / 2, abs=1e-6)
    places = np.linspace(0.75, 1.25, 101)
    values = np.array([value(place) for place in places])
    steps = np.diff(values)
    assert (steps <= 1e-6).all() or (steps >= -1e-6).all()
    assert np.abs(value(1 + ROUNDING) - value(1 - ROUNDING)) < 30 * ROUNDING * abs(RESTORED - other)


@pytest.mark.parametrize(
    ("figures", "kind"),
    [
        ({"residual": 0.99 * LIMIT}, KEPT),
        ({"residual": 1.01 * LIMIT}, WIENER),
        ({"residual": 2 * LIMIT, "capture_std": 1e-5}, CAPTURE),
        ({"seen": 1e-4, "restored_std": 0.106}, CAPTURE),
        ({"seen": 1e-4, "restored_std": 0.104}, KEPT),
        ({"capture_std": 0.0, "restored_std": 0.0}, KEPT),
    ],
)
def test_a_block_counts_as_what_has_more_than_half_of_it(figures, kind):
    _, found, count = reviewed(**figures)
    assert (found, count) == (kind, int(kind != KEPT))


def test_blocks_far_from_their_limits_are_left_alone():
    plane, kind, _ = reviewed(residual=0.79 * LIMIT)
    np.testing.assert_array_equal(plane, RESTORED)
    assert kind == KEPT


def test_a_share_falls_to_nothing_across_the_neighbours():
    plane, _, _ = reviewed(residual=LIMIT)
    share = (RESTORED - plane) / (RESTORED - LINEAR)
    inside = np.s_[BLOCK : 2 * BLOCK, 2 * BLOCK : 3 * BLOCK]
    np.testing.assert_allclose(share[inside], 0.5, atol=1e-6)
    assert share.max() <= 0.5 + 1e-6
    assert np.abs(np.diff(share, axis=1)).max() < 0.5 / BLOCK + 1e-6
    np.testing.assert_array_equal(share[:, : BLOCK - 1], 0)
