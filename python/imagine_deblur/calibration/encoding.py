"""What JPEG does to a capture on average, so that it is not mistaken for blur.

Quantisation rounds weak coefficients to zero, more so at high frequencies: a blurred scene loses
fine contrast in the encoder that the optics had let through, and a transfer function measured from
the file looks like that of a wider Gaussian (0.8 px instead of 0.5 px at quality 85). The loss
depends on the scene, but the calibration knows the scene: the expected capture goes through the
file's own quantisation table, and the mean error this makes is taken off the capture.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imagine_deblur.calibration.extras import require
from imagine_deblur.support.colour import LUMA_NOISE

FloatImage = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

_DRAWS = 4
_BLOCK = 8


def luma_roundtrip(plane: FloatImage, table: FloatArray) -> FloatImage:
    """Luma through 8-bit rounding, DCT, quantisation and back (ITU-T T.81, annex A.3).

    Parameters
    ----------
    plane : (R, C) float32 ndarray, [0, 1]
    table : (8, 8) float64 ndarray
        Quantisation steps, rows are vertical frequencies.
    """
    transform = require("scipy.fft")
    rows, columns = plane.shape
    down, across = -rows % _BLOCK, -columns % _BLOCK
    levels = np.rint(np.clip(plane, 0.0, 1.0) * np.float32(255)) - np.float32(128)
    padded = np.pad(levels, ((0, down), (0, across)), mode="edge")
    tiles = padded.reshape(padded.shape[0] // _BLOCK, _BLOCK, padded.shape[1] // _BLOCK, _BLOCK)
    steps = table.astype(np.float32)[None, :, None, :]
    coded = transform.dctn(tiles, axes=(1, 3), norm="ortho")
    coded = np.rint(coded / steps) * steps
    back = transform.idctn(coded, axes=(1, 3), norm="ortho").reshape(padded.shape)
    result = np.clip(np.rint(back[:rows, :columns]) + np.float32(128), 0.0, 255.0)
    return np.asarray(result / np.float32(255), dtype=np.float32)


def mean_error(plane: FloatImage, table: FloatArray, noise: float, seed: int = 0) -> FloatImage:
    """Expected ``JPEG(plane + noise) - (plane + noise)``, averaged over draws of the noise.

    Parameters
    ----------
    plane : (R, C) float32 ndarray, [0, 1]
        Noise-free luma of the capture.
    table : (8, 8) float64 ndarray
    noise : float
        Amplitude s of the shot + read model per colour sample; luma has 0.67 of it.
    """
    rng = np.random.default_rng(seed)
    share = np.float32(noise * LUMA_NOISE)
    amplitude = share * np.sqrt(np.clip(plane, 0.0, 1.0) + np.float32(0.1))
    total = np.zeros_like(plane)
    for _ in range(_DRAWS):
        noisy = plane + amplitude * rng.standard_normal(plane.shape, dtype=np.float32)
        total += luma_roundtrip(noisy, table) - noisy
    return total / np.float32(_DRAWS)
