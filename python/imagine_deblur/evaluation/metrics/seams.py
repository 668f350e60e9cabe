"""Whether tile borders can be seen: the gradient across them against the gradient beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import OptionsError
from imagine_deblur.evaluation.metrics.filters import luma

FloatArray = npt.NDArray[np.floating]
# Steps at these distances from the border, in periods, stand for the scene;
# nearer ones share its pixels.
_NEIGHBOURS = (-4, -3, -2, 2, 3, 4)


@dataclass(frozen=True)
class SeamReport:
    """Excess gradient at tile borders.

    Attributes
    ----------
    excess : float
        Mean absolute step across borders minus the mean beside them, full scale 1; 0 where borders
        cannot be told from their surroundings, negative where they are smoothed over.
    relative : float
        `excess` over the mean beside the borders; 0 where both are 0.
    significance : float
        `excess` in units of its standard error over border pixels: values within +-3 are chance.
    borders : int
        Number of border pixels measured.
    """

    excess: float
    relative: float
    significance: float
    borders: int


def seams(
    image: FloatArray, rows: Sequence[int], columns: Sequence[int], *, period: int = 1
) -> SeamReport:
    """Measure seams at known tile borders.

    Parameters
    ----------
    image : (R, C) or (R, C, 3) float ndarray, [0, 1]
    rows, columns : sequence of int
        First row and first column of each tile's core; those less than 5 periods from the frame's
        edge (0 among them) are left out.
    period : int, px
        Of structure that has nothing to do with tiles but lies on their borders as well: 8 for the
        blocks of JPEG or a network's stride. The surroundings are then taken at the same phase.

    Raises
    ------
    OptionsError
        No border is left.

    Notes
    -----
    For a border between pixels k - 1 and k, each pixel along it gives
    ``d = |x[k] - x[k-1]| - mean_j |x[k+jp] - x[k+jp-1]|``, j = -4..-2 and 2..4 and p the period; d
    has mean zero where the border is no different from its surroundings.
    """
    plane = luma(image).astype(np.float64)
    collected = [_steps(plane, rows, period), _steps(plane.T, columns, period)]
    across = np.concatenate([pair[0] for pair in collected])
    beside = np.concatenate([pair[1] for pair in collected])
    if across.size == 0:
        raise OptionsError("rows, columns", (list(rows), list(columns)), "borders inside the frame")
    difference = across - beside
    excess = float(difference.mean())
    error = float(difference.std() / np.sqrt(difference.size))
    level = float(beside.mean())
    return SeamReport(
        excess=excess,
        relative=excess / level if level > 0.0 else (np.inf if excess > 0.0 else 0.0),
        significance=excess / error if error > 0.0 else (np.inf if excess > 0.0 else 0.0),
        borders=int(difference.size),
    )


def _steps(
    plane: npt.NDArray[np.float64], borders: Sequence[int], period: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Steps across the borders between rows, and the mean of those beside them."""
    margin = 5 * period
    inside = np.array([k for k in borders if margin <= k <= plane.shape[0] - margin], dtype=np.intp)
    step = np.abs(np.diff(plane, axis=0))  # step[k - 1] lies between rows k - 1 and k
    beside = np.mean([step[inside - 1 + period * j] for j in _NEIGHBOURS], axis=0)
    return step[inside - 1].ravel(), beside.ravel()
