"""Parameters that depend on themselves: rounds sped up by a secant step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_MAX_GAIN = 8.0


class FixedPoint:
    """Find x = F(x) from successive values of F.

    Each round's answer depends on the parameters that registration and the encoder's loss were
    predicted with. Where that dependence is strong, plain repetition creeps; Anderson's method of
    depth one (Walker & Ni 2011) takes the secant's step instead, at most `_MAX_GAIN` residuals
    long.

    Parameters
    ----------
    lower, upper : (n,) float64 ndarray
        Bounds.
    scale : (n,) float64 ndarray
        Typical sizes, to compare parameters of different units.
    """

    def __init__(self, lower: FloatArray, upper: FloatArray, scale: FloatArray) -> None:
        self._lower, self._upper, self._scale = lower, upper, scale
        self._last: tuple[FloatArray, FloatArray] | None = None
        self.gain = 1.0
        """How much a round's error is enlarged in the end: 1 / (1 - slope of F), 1 or more."""
        self._longest = 0.0
        self.settled = False
        """True once a slope is known, so that a small step means a small error."""

    def next_values(self, x: FloatArray, f: FloatArray) -> FloatArray:
        """Where to evaluate F next, given F(x) = f."""
        residual = (f - x) / self._scale
        if self._last is None:
            self._last = (x, residual)
            # Already there: nothing to learn a slope from.
            self.settled = bool(np.abs(residual).max() < 1e-4)
            return f
        old_x, old_residual = self._last
        turn = residual - old_residual
        travelled = (x - old_x) / self._scale
        size = float(turn @ turn)
        step = residual.copy()
        if size > 1e-16:
            step = residual - float(residual @ turn) / size * (travelled + turn)
        limit = _MAX_GAIN * float(np.linalg.norm(residual))
        length = float(np.linalg.norm(step))
        if length > limit:
            step *= limit / length
        moved = float(travelled @ travelled)
        if moved > max(1e-8, self._longest):  # short steps say little about the slope
            self._longest = moved
            slope = 1.0 + float(turn @ travelled) / moved
            self.gain = float(np.clip(1.0 / max(1.0 - slope, 1e-9), 1.0, _MAX_GAIN))
        self._last = (x, residual)
        self.settled = True
        return np.clip(x + step * self._scale, self._lower, self._upper)
