"""Whether a capture is clean: never JPEG, and noisy by little more than rounding to 8 bits.

What to do with the finest detail then is another question than where noise or a coder hide it, and
another network answers it (`engines.model.Model.for_capture`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture.compression import shows_jpeg
from imagine_deblur.capture.policy import CLEAN_NOISE, CODER_HIDDEN_MTF
from imagine_deblur.psf.field import PsfField, middle_psf
from imagine_deblur.psf.models import PSF
from imagine_deblur.support.colour import LUMA

_PATCH = 16
_MOST_PATCHES = 4096
_LEAST_PATCHES = 50
_ROUNDING = 1 / 12  # variance of rounding a sample, squared grey levels
_CONSTANT = 0.3  # share of rounding's variance below which a patch shows no rounding: saturated
_QUANTILE = 0.02
_OF_WHITE = 0.413  # that quantile of the mean of 16 squared normals
_HIGH_PASS = np.array([1, -3, 3, -1], np.float32) / np.float32(20**0.5)


def is_clean(images: Sequence[NDArray[np.generic]], psf: PSF | PsfField) -> bool:
    """Tell whether rounding is most of a capture's noise, and no coder has seen it.

    Parameters
    ----------
    images : sequence of (R, C, 3) or (R, C) uint8 or float32 ndarray
        The capture, or parts of it; float32 in [0, 1].
    psf : PSF or PsfField
        Its blur, which decides what a coder would have left of the finest detail.
    """
    noise = noise_variance(images)
    if noise is None or noise > CLEAN_NOISE:
        return False
    return not shows_jpeg(images, blurred=middle_psf(psf).mtf_nyquist() < CODER_HIDDEN_MTF)


def noise_variance(images: Sequence[NDArray[np.generic]]) -> float | None:
    """Return the variance of the noise in units of what rounding to 8 bits adds.

    It is read off the flattest patches of 16 x 16 px, above half of Nyquist's frequency both
    ways, where a blur leaves nothing; textures that are sharp make it too large.

    Returns
    -------
    float or None
        None with fewer than 50 patches that are not constant.
    """
    variances = []
    for image in images:
        rows, columns = (n // _PATCH for n in image.shape[:2])
        if rows * columns == 0:
            continue
        step = max(1, int(np.ceil((rows * columns / _MOST_PATCHES) ** 0.5)))
        whole = image[: rows * _PATCH, : columns * _PATCH]
        patches = whole.reshape(rows, _PATCH, columns, _PATCH, -1)[::step, :, ::step]
        scale = np.float32(1.0 if image.dtype == np.uint8 else 255.0)
        weights = np.array(LUMA if patches.shape[-1] == 3 else (1.0,), np.float32)
        luma = (patches.astype(np.float32) * scale) @ weights
        tops, lefts, fours = luma.shape[0], luma.shape[2], _PATCH // 4
        detail = np.einsum(
            "k,l,rikcjl->rcij",
            *(_HIGH_PASS, _HIGH_PASS),
            luma.reshape(tops, fours, 4, lefts, fours, 4),
            optimize=True,
        )
        rounding = np.float32(_ROUNDING * np.sum(np.square(weights)))
        variances.append(np.square(detail).mean(axis=(2, 3)).ravel() / rounding)
    found = np.concatenate(variances) if variances else np.empty(0)
    found = found[found > _CONSTANT]
    if len(found) < _LEAST_PATCHES:
        return None
    return float(np.quantile(found, _QUANTILE)) / _OF_WHITE
