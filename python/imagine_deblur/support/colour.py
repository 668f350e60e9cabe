"""Luma of red, green and blue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luma (ITU-R BT.601, as in JPEG)."""

LUMA_WEIGHTS: NDArray[np.float32] = np.array(LUMA, np.float32)
"""`LUMA` as a vector: ``image @ LUMA_WEIGHTS`` is the luma of an (R, C, 3) image."""

LUMA_NOISE = float(np.sqrt(np.sum(np.square(LUMA))))
"""Standard deviation of the luma of noise that is independent in the bands and 1 in each."""
