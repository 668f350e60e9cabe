"""How close a restored image comes to the truth: PSNR, RMSE, SSIM."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import InputImageError
from imagine_deblur.evaluation.metrics.filters import filter_valid, gaussian_taps

FloatArray = npt.NDArray[np.floating]

PSNR_CAP_DB = 60.0
_FULL_SCALES = {"uint8": 255, "uint16": 65535}
_SSIM_TAPS = gaussian_taps(1.5, 11)
# Rows per strip.
_STRIP = 64
_C1, _C2 = 0.01**2, 0.03**2  # K1, K2 of the paper, range 1


def rmse(image: FloatArray, truth: FloatArray) -> float:
    """Root mean square difference over all samples.

    Parameters
    ----------
    image, truth : (R, C) or (R, C, 3) float ndarray, [0, 1]

    Returns
    -------
    float
        Full scale 1.
    """
    _check_pair(image, truth)
    difference = np.subtract(image, truth, dtype=np.float32).ravel()
    return float(np.sqrt(np.mean(np.square(difference), dtype=np.float64)))


def psnr(image: FloatArray, truth: FloatArray) -> float:
    """Peak signal-to-noise ratio ``-20 log10(rmse)`` in dB for range 1, no border crop.

    Capped at 60 dB, so that a perfect image makes no mean infinite. Parameters as for `rmse`.
    """
    error = rmse(image, truth)
    return PSNR_CAP_DB if error <= 1e-3 else float(-20.0 * np.log10(error))


def ssim(image: FloatArray, truth: FloatArray) -> float:
    """Structural similarity, mean over bands and over all places where the window fits.

    Parameters
    ----------
    image, truth : (R, C) or (R, C, 3) float ndarray, [0, 1]
        R and C at least 11.

    Returns
    -------
    float
        At most 1.

    Notes
    -----
    Wang, Bovik, Sheikh & Simoncelli 2004, eq. 13, with their 11x11 Gaussian window (sigma 1.5) and
    population covariance: the same as scikit-image's ``structural_similarity`` with
    ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1``.
    """
    _check_pair(image, truth)
    if min(image.shape[:2]) < _SSIM_TAPS.size:
        raise InputImageError(f"image of {image.shape[:2]} is smaller than the 11x11 window")
    bands = image.shape[2] if image.ndim == 3 else 1
    x_bands, y_bands = np.atleast_3d(image), np.atleast_3d(truth)
    return float(np.mean([_ssim_plane(x_bands[..., b], y_bands[..., b]) for b in range(bands)]))


def _ssim_plane(x: FloatArray, y: FloatArray) -> float:
    """Mean SSIM of one band, a strip of rows at a time so that the temporaries stay in cache."""
    # float32 with the mean taken out first: the variances below are differences of squares.
    offset = float(y.mean(dtype=np.float64))
    places = x.shape[0] - _SSIM_TAPS.size + 1
    total = 0.0
    for start in range(0, places, _STRIP):
        stop = min(start + _STRIP, places) + _SSIM_TAPS.size - 1
        total += _ssim_strip(x[start:stop] - offset, y[start:stop] - offset, offset)
    return float(total / (places * (x.shape[1] - _SSIM_TAPS.size + 1)))


def _ssim_strip(x: FloatArray, y: FloatArray, offset: float) -> float:
    """Sum of SSIM over the places of a strip; `offset` was subtracted from its samples."""
    planes = np.empty((5, *x.shape), dtype=np.float32)
    planes[0], planes[1] = x, y
    np.multiply(planes[:2], planes[:2], out=planes[2:4])
    np.multiply(planes[0], planes[1], out=planes[4])
    mean_x, mean_y, xx, yy, xy = filter_valid(planes, _SSIM_TAPS)
    covariance = 2.0 * (xy - mean_x * mean_y) + _C2
    variances = (xx - mean_x * mean_x) + (yy - mean_y * mean_y) + _C2
    mean_x += offset
    mean_y += offset
    luminance = (2.0 * mean_x * mean_y + _C1) / (mean_x * mean_x + mean_y * mean_y + _C1)
    return float(np.sum(luminance * covariance / variances, dtype=np.float64))


def _check_pair(image: FloatArray, truth: FloatArray) -> None:
    if image.shape != truth.shape or image.ndim not in (2, 3) or image.size == 0:
        raise InputImageError(f"images of shape {image.shape} and {truth.shape} do not compare")
    for array in (image, truth):
        if not np.issubdtype(array.dtype, np.floating):
            scale = _FULL_SCALES.get(array.dtype.name, "their full scale")
            raise InputImageError(
                f"samples are {array.dtype}; metrics take floats in [0, 1]: divide by {scale} as "
                "float32 first"
            )
