"""sRGB encoding (IEC 61966-2-1): between encoded values and linear light, both in [0, 1]."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def to_linear(encoded: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Linear light of encoded values; any shape, float32 in [0, 1] (values outside are clipped)."""
    value = np.clip(encoded, 0.0, 1.0)
    curve = ((value + np.float32(0.055)) * np.float32(1 / 1.055)) ** np.float32(2.4)
    return np.where(value <= 0.04045, value * np.float32(1 / 12.92), curve).astype(np.float32)


def to_encoded(linear: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Encoded values of linear light; any shape, float32 in [0, 1] (values outside are clipped)."""
    value = np.clip(linear, 0.0, 1.0)
    curve = np.float32(1.055) * value ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.where(value <= 0.0031308, value * np.float32(12.92), curve).astype(np.float32)
