"""What a JPEG's luma quantisation table says about the floor of its spectrum."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import OptionsError

_ZONES = ((1, 4), (5, 8), (9, 14))


def table_scalars(table: npt.ArrayLike | bytes | None, *, known: bool) -> npt.NDArray[np.float32]:
    """Four numbers for the estimator.

    Parameters
    ----------
    table : (8, 8) array or 64 values row by row, or None
        Luma quantisation steps, 1 to 65535; None where the frame never was a JPEG.
    known : bool
        False where it is not known whether, or how, the frame was quantised.

    Returns
    -------
    (4,) float32 ndarray
        1 if known else 0, and the base-2 logarithm of the mean step over low, middle and high
        frequencies (0 where there is no table or it is not known).
    """
    result = np.zeros(4, dtype=np.float32)
    if not known:
        return result
    result[0] = 1.0
    if table is None:
        return result
    steps = np.frombuffer(table, np.uint8) if isinstance(table, bytes) else np.asarray(table)
    if steps.size != 64 or not np.all((steps >= 1) & (steps <= 65535)):
        raise OptionsError("quantisation", table, "64 luma quantisation steps from 1 to 65535")
    steps = steps.astype(np.float64).reshape(8, 8)
    diagonal = np.add.outer(np.arange(8), np.arange(8))
    for i, (first, last) in enumerate(_ZONES):
        zone = steps[(diagonal >= first) & (diagonal <= last)]
        result[i + 1] = np.log2(zone.mean())
    return result
