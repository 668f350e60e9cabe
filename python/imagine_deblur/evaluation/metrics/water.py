"""Whether downstream uses get the same answer: water masks and their contours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import InputImageError

FloatArray = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]


def water_index(image: FloatArray) -> npt.NDArray[np.float32]:
    """Normalised difference of blue and red, ``(B - R) / (B + R + 0.02)``, in [-1, 1].

    Water absorbs red before blue; without a near-infrared band this is what RGB offers. The
    constant keeps dark pixels from deciding by their noise.

    Parameters
    ----------
    image : (R, C, 3) float ndarray, [0, 1]
    """
    if image.ndim != 3 or image.shape[2] != 3:
        raise InputImageError(f"image of shape {image.shape}; a water index needs (R, C, 3)")
    red, blue = image[..., 0].astype(np.float32), image[..., 2].astype(np.float32)
    return np.asarray((blue - red) / (blue + red + np.float32(0.02)))


def otsu_threshold(values: FloatArray, bins: int = 256) -> float:
    """Threshold that maximises the variance between two classes (Otsu 1979, eq. 18).

    A bin's centre; values above it are the upper class. Constant values give that constant.
    """
    flat = np.asarray(values, dtype=np.float64).ravel()
    if flat.min() == flat.max():
        return float(flat[0])
    counts, edges = np.histogram(flat, bins=bins)
    centres = 0.5 * (edges[:-1] + edges[1:])
    share = np.cumsum(counts) / flat.size  # omega(k)
    first = np.cumsum(counts * centres) / flat.size  # mu(k)
    between = np.zeros(bins)
    inner = (share > 0.0) & (share < 1.0)
    between[inner] = (first[-1] * share[inner] - first[inner]) ** 2
    between[inner] /= share[inner] * (1.0 - share[inner])
    return float(centres[int(np.argmax(between))])


def water_mask(image: FloatArray, threshold: float | None = None) -> Mask:
    """Pixels whose water index lies above a threshold, by default Otsu's own for the image.

    To compare a restored image with the truth, take the truth's threshold for both.
    """
    index = water_index(image)
    return np.asarray(index > (otsu_threshold(index) if threshold is None else threshold))


def mask_agreement(mask: Mask, truth: Mask) -> float:
    """Intersection over union of two (R, C) masks; 1 where both are empty."""
    _check_masks(mask, truth)
    union = int(np.count_nonzero(mask | truth))
    return 1.0 if union == 0 else int(np.count_nonzero(mask & truth)) / union


def contour(mask: Mask) -> Mask:
    """Pixels of a mask with a 4-neighbour outside it; the frame's edge is no outside."""
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def contour_agreement(mask: Mask, truth: Mask, tolerance_px: float = 2.0) -> float:
    """F-score of two masks' contours within a distance.

    Parameters
    ----------
    mask, truth : (R, C) bool ndarray
    tolerance_px : float, default 2
        Contour pixels match when the other contour passes within this distance.

    Returns
    -------
    float
        Harmonic mean of the matched shares of both contours (the boundary F-score of Csurka et al.
        2013), in [0, 1]; 1 where neither has a contour, 0 where only one has.
    """
    _check_masks(mask, truth)
    a, b = contour(mask), contour(truth)
    if not a.any() or not b.any():
        return float(a.any() == b.any())
    precision = np.count_nonzero(a & _dilated(b, tolerance_px)) / np.count_nonzero(a)
    recall = np.count_nonzero(b & _dilated(a, tolerance_px)) / np.count_nonzero(b)
    total = precision + recall
    return 0.0 if total == 0.0 else float(2.0 * precision * recall / total)


def _dilated(mask: Mask, radius: float) -> Mask:
    """Every pixel within `radius` px of the mask."""
    reach = int(radius)
    rows, columns = mask.shape
    padded = np.pad(mask, reach)
    result = np.zeros_like(mask)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if dy * dy + dx * dx <= radius * radius:
                top, left = reach + dy, reach + dx
                result |= padded[top : top + rows, left : left + columns]
    return result


def _check_masks(mask: Mask, truth: Mask) -> None:
    if mask.shape != truth.shape or mask.ndim != 2 or mask.dtype != bool or truth.dtype != bool:
        raise InputImageError(
            f"masks are {mask.dtype} {mask.shape} and {truth.dtype} {truth.shape}; "
            "both must be bool of one shape (R, C)"
        )
