"""Lengths that transform quickly, and the samples with which a line is continued to reach them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fast_length(n: int) -> int:
    """Return the smallest even length at least `n` whose prime factors are 2, 3, 5 and 7.

    Parameters
    ----------
    n : int
        Samples, positive.

    Returns
    -------
    int

    Examples
    --------
    >>> fast_length(2049)
    2058
    """
    length = max(2, n + n % 2)
    while True:
        rest = length
        for prime in (2, 3, 5, 7):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2


def reflect_index(index: NDArray[np.intp], samples: int) -> NDArray[np.intp]:
    """Fold any index into ``[0, samples)`` by repeated reflection (edge sample not repeated).

    Examples
    --------
    >>> reflect_index(np.array([-2, -1, 0, 3, 4, 5]), 4).tolist()
    [2, 1, 0, 3, 2, 1]
    """
    if samples == 1:
        return np.zeros_like(index)
    period = 2 * (samples - 1)
    folded = np.mod(index, period)
    return np.where(folded < samples, folded, period - folded).astype(np.intp)
