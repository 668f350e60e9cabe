"""A capture and its scene cut into windowed blocks.

Windows. Natural scenes are far from white (amplitude like 1/f), which would add leakage from their
steep low frequencies to what `spectrum` says of windows; so both sides are first whitened by the
same filter of amplitude ``sqrt(f^2 + f_0^2)``. Pixels that do not count (cloud, saturation,
outside) are faded out in the windows.

Sampling. The scene is seen at half a capture px; its transform is cut at the capture's Nyquist
frequency, so nothing is interpolated or aliased.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagine_deblur.calibration.alignment import OVERSAMPLING
from imagine_deblur.calibration.extras import require
from imagine_deblur.calibration.spectrum import CrossSpectrum, frequencies
from imagine_deblur.psf.components import Transfer
from imagine_deblur.support.fft_size import fast_length

FloatImage = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_WHITE_CORNER = 1.0 / 48.0  # cycles/px, below it the whitening filter is flat
_MARGIN_PX = 6  # left out at the frame's border, where whitening sees the reflection
_FEATHER_PX = 4.0
_LEAST_SHARE = 0.3  # of a block's window energy that must be usable


def block_size(rows: int, columns: int) -> int:
    """Side of the blocks for a frame: an eighth to a third of it, 64 to 192 px."""
    side = min(rows, columns)
    for size in (192, 128, 96):
        if side >= 3 * size:
            return size
    return 64


def whiten(plane: FloatImage, sampling: int) -> FloatImage:
    """Filter a plane of `sampling` samples per capture px with ``sqrt(f^2 + f_0^2)``."""
    margin = 32 * sampling
    rows, columns = plane.shape
    long_rows, long_columns = fast_length(rows + 2 * margin), fast_length(columns + 2 * margin)
    after = (long_rows - rows - margin, long_columns - columns - margin)
    padded = np.pad(plane, ((margin, after[0]), (margin, after[1])), mode="reflect")
    fy = np.fft.fftfreq(long_rows)[:, None] * sampling
    fx = np.fft.rfftfreq(long_columns)[None, :] * sampling
    gain = np.sqrt(fy**2 + fx**2 + _WHITE_CORNER**2).astype(np.float32)
    gain[0, 0] = 0.0
    spectrum = np.fft.rfft2(padded, norm="ortho")
    spectrum *= gain
    result = np.fft.irfft2(spectrum, s=padded.shape, norm="ortho")
    return result[margin : margin + rows, margin : margin + columns].astype(np.float32)


def seen_through(
    fine: FloatImage, transfer: Callable[[FloatArray, FloatArray], Transfer]
) -> FloatImage:
    """A scene at half a capture px, filtered and sampled on the capture's grid.

    Parameters
    ----------
    fine : (2 R, 2 C) float32 ndarray
        Sample (i, j) lies at the capture's (i / 2, j / 2).
    transfer : callable
        Frequencies down and right in cycles per capture px to a transfer function.

    Returns
    -------
    (R, C) float32 ndarray
        The spectrum is cut at the capture's Nyquist frequency: an ideal sampler.
    """
    margin = 32
    rows, columns = fine.shape[0] // OVERSAMPLING, fine.shape[1] // OVERSAMPLING
    long = (fast_length(rows + 2 * margin), fast_length(columns + 2 * margin))
    pads = [
        (OVERSAMPLING * margin, OVERSAMPLING * (n - margin) - length)
        for n, length in zip(long, fine.shape, strict=True)
    ]
    spectrum = np.fft.rfft2(np.pad(fine, pads, mode="reflect"), norm="forward")
    height = OVERSAMPLING * long[0]
    pick = np.r_[0 : long[0] // 2, height - long[0] // 2 : height]
    cut_spectrum = spectrum[pick][:, : long[1] // 2 + 1]
    fy = np.asarray(np.fft.fftfreq(long[0]), dtype=np.float64)[:, None]
    fx = np.asarray(np.fft.rfftfreq(long[1]), dtype=np.float64)[None, :]
    cut_spectrum = cut_spectrum * transfer(fy, fx)
    plane = np.fft.irfft2(cut_spectrum, s=long, norm="forward")
    return plane[margin : margin + rows, margin : margin + columns].astype(np.float32)


@dataclass(frozen=True, eq=False)
class Blocks:
    """Whitened planes of a capture and of the scene, cut into windowed blocks.

    Attributes
    ----------
    groups : list of CrossSpectrum
        The blocks dealt out in contiguous runs.
    centres : (n, 2) float64 ndarray
        (column, row) of each block's centre.
    shifts : (n, 2) float64 ndarray
        By how much (columns, rows) the scene must still be moved in each block, px.
    information : (n,) float64 ndarray
        How well each shift is known: the inverse of its variance, up to a common factor.
    """

    groups: list[CrossSpectrum]
    centres: FloatArray
    shifts: FloatArray
    information: FloatArray


def cut(
    capture: FloatImage,
    scene: FloatImage,
    usable: Mask,
    own_transfer: FloatArray,
    expected: Transfer,
    size: int,
    groups: int,
) -> Blocks:
    """Sum the cross-spectra of one capture.

    Parameters
    ----------
    capture : (R, C) float32 ndarray
        Luma in the reference's radiometry, unusable pixels filled in.
    scene : (2 R, 2 C) float32 ndarray
        The reference's luma at half a px.
    usable : (R, C) bool ndarray
    own_transfer : (B, B // 2 + 1) float64 ndarray
        The reference's transfer function, taken out of the scene.
    expected : (B, B // 2 + 1) ndarray
        The current PSF's transfer function, for the blocks' shifts.
    size : int
        B.
    groups : int
        Number of groups to deal the blocks into.
    """
    cv2 = require("cv2")
    rows, columns = capture.shape
    y, x = whiten(capture, 1), whiten(scene, OVERSAMPLING)
    keep = usable.copy()
    keep[:_MARGIN_PX] = keep[-_MARGIN_PX:] = False
    keep[:, :_MARGIN_PX] = keep[:, -_MARGIN_PX:] = False
    # Inside the mask only: distance to the nearest unusable pixel, faded over _FEATHER_PX.
    inset = cv2.distanceTransform(keep.astype(np.uint8), cv2.DIST_L2, 5)
    fade = np.clip(inset / np.float32(_FEATHER_PX), 0.0, 1.0)
    soft = (0.5 - 0.5 * np.cos(np.pi * fade)).astype(np.float32)
    to_half = np.diag([1.0 / OVERSAMPLING, 1.0 / OVERSAMPLING, 1.0])
    soft_fine = cv2.warpPerspective(
        soft,
        to_half,
        (OVERSAMPLING * columns, OVERSAMPLING * rows),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    fine = OVERSAMPLING * size
    hann = (0.5 - 0.5 * np.cos(2.0 * np.pi * (np.arange(fine) + 0.5) / fine)).astype(np.float32)
    window = np.outer(hann, hann)
    full = float((window[::OVERSAMPLING, ::OVERSAMPLING] ** 2).sum())
    places = [
        (top, left)
        for top in _starts(rows, size)
        for left in _starts(columns, size)
        if _energy(soft, window, top, left, size) >= _LEAST_SHARE * full
    ]
    fy, fx = frequencies(size)
    low = (np.hypot(fy, fx) < 0.3) & (np.hypot(fy, fx) > 1.5 / size)
    sums = [CrossSpectrum.empty(size) for _ in range(max(1, groups))]
    centres, shifts, information = [], [], []
    used = np.zeros((rows, columns), dtype=np.bool_)
    pick = np.r_[0 : size // 2, fine - size // 2 : fine]
    for number, (top, left) in enumerate(places):
        at, at_fine = _square(top, left, size), _square(2 * top, 2 * left, fine)
        w_fine = window * soft_fine[at_fine]
        w = w_fine[::OVERSAMPLING, ::OVERSAMPLING]
        spectrum_y = np.fft.rfft2(y[at] * w)
        spectrum_x = np.fft.rfft2(x[at_fine] * w_fine)[pick][:, : size // 2 + 1]
        spectrum_x = spectrum_x / (OVERSAMPLING**2 * own_transfer)
        group = sums[number * len(sums) // len(places)]
        cross = spectrum_y * np.conj(spectrum_x)
        group.yx += cross
        group.xx += np.abs(spectrum_x) ** 2
        group.yy += np.abs(spectrum_y) ** 2
        group.window += np.fft.irfft2(np.abs(np.fft.rfft2(w)) ** 2, s=(size, size))
        group.blocks += 1
        fresh = soft[at] > 0.5
        group.samples += float((fresh & ~used[at]).sum())
        used[at] |= fresh
        shift, known = _shift(cross * np.conj(expected), np.abs(spectrum_x * expected) ** 2, low)
        centres.append((left + 0.5 * size - 0.5, top + 0.5 * size - 0.5))
        shifts.append(shift)
        information.append(known)
    return Blocks(
        sums,
        np.array(centres).reshape(-1, 2),
        np.array(shifts).reshape(-1, 2),
        np.array(information),
    )


def _shift(
    cross: npt.NDArray[np.complex128], power: FloatArray, low: Mask
) -> tuple[tuple[float, float], float]:
    """Shift (columns, rows) of Y against its expectation, by least squares on the phase.

    ``Y = E exp(-2 pi i f d)`` to first order gives ``Im(Y conj E) = -2 pi f.d |E|^2``; three
    Gauss-Newton steps follow larger shifts.
    """
    fy, fx = frequencies(cross.shape[0])
    fy, fx = np.broadcast_to(fy, cross.shape)[low], np.broadcast_to(fx, cross.shape)[low]
    c, p = cross[low], power[low]
    total = float(p.sum())
    if total <= 0.0:
        return (0.0, 0.0), 0.0
    normal = (2.0 * np.pi) ** 2 * np.array(
        [[(p * fx * fx).sum(), (p * fx * fy).sum()], [(p * fx * fy).sum(), (p * fy * fy).sum()]]
    )
    d = np.zeros(2)
    for _ in range(3):
        turned = c * np.exp(2j * np.pi * (fx * d[0] + fy * d[1]))
        right = -2.0 * np.pi * np.array([(turned.imag * fx).sum(), (turned.imag * fy).sum()])
        d = d + np.linalg.solve(normal + 1e-9 * np.trace(normal) * np.eye(2), right)
        d = np.clip(d, -4.0, 4.0)
    return (float(d[0]), float(d[1])), float(np.sqrt(np.linalg.det(normal)))


def _starts(length: int, size: int) -> list[int]:
    """Even starts of blocks that overlap by half and cover an axis."""
    if length <= size:
        return [0]
    count = int(np.ceil((length - size) / (size / 2))) + 1
    return [int(v) for v in np.linspace(0, length - size, count)]


def _square(top: int, left: int, size: int) -> tuple[slice, slice]:
    return slice(top, top + size), slice(left, left + size)


def _energy(soft: FloatImage, window: FloatImage, top: int, left: int, size: int) -> float:
    w = window[::OVERSAMPLING, ::OVERSAMPLING] * soft[_square(top, left, size)]
    return float((w**2).sum())
