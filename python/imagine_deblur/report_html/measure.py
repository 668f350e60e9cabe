"""What a capture and its restoration show of blur and noise, measured on their pixels.

Both pictures are cut into the same blocks. On a block's spectra ``Y`` (capture) and ``X``
(restoration) the least-squares linear gain is ``G = sum X conj(Y) / sum |Y|^2`` over the blocks,
bin by bin (the H1 estimate of a transfer function: Bendat and Piersol, Random Data, chapter 6). For
a linear filter it is the filter itself, for a network the linear part of what it did. With the
capture's OTF ``H``, the restoration passes ``H G`` of the scene: the modulus of its average over
directions is the MTF after, its inverse transform the PSF after. What a network does beyond that
is not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagine_deblur.psf.models import PSF
from imagine_deblur.report_html.pixels import Source, Stretch

FloatArray = npt.NDArray[np.float64]

BLOCK = 128
"""Side of the blocks, px: the lowest frequency that is told apart is 1/128 cycles/px."""
_MOST_BLOCKS = 192  # about 3 MP; more blocks of one frame overlap or repeat its statistics
_LEAST_BLOCKS = 6  # fewer tell nothing of how much the gain varies
_RESAMPLES = 120  # of the blocks; a percentile of 120 draws moves by a tenth of the interval
_QUIET = 0.15  # share of the blocks, those with the least detail, that stand for noise
_FINE = 0.25  # cycles/px above which quiet blocks hold little but noise
_LUMA = np.array([0.299, 0.587, 0.114])
_HALF = 24  # px from the centre to the edge of the kernels that are shown
_FLAT = 1e-12


@dataclass(frozen=True, eq=False)
class Curves:
    """Functions of frequency of one capture and its restoration.

    Attributes
    ----------
    frequency : (n,) float64 ndarray
        Cycles/px, centres of rings up to 0.5.
    mtf_before, mtf_after : (3, n) float64 ndarray
        Value, and the ends of its central 90 % interval; without a PSF None.
    psd_before, psd_after : (n,) float64 ndarray
        Mean power density over all blocks, (grey levels)^2 px^2: white noise with a standard
        deviation of s grey levels has a density of s^2.
    quiet_before, quiet_after : (n,) float64 ndarray
        Over the blocks with the least detail.
    noise_before, noise_after : float
        Standard deviation of what quiet blocks hold above 0.25 cycles/px, grey levels.
    kernel_before, kernel_after : (49, 49) float64 ndarray or None
        The PSF, and what the restoration left of it; sums of about 1.
    blocks : int
    interval : str
        What the intervals hold.
    """

    frequency: FloatArray
    mtf_before: FloatArray | None
    mtf_after: FloatArray | None
    psd_before: FloatArray
    psd_after: FloatArray
    quiet_before: FloatArray
    quiet_after: FloatArray
    noise_before: float
    noise_after: float
    kernel_before: FloatArray | None
    kernel_after: FloatArray | None
    blocks: int
    interval: str


def block_spectra(
    sources: tuple[Source, Source], stretch: Stretch
) -> tuple[npt.NDArray[np.complex64], npt.NDArray[np.complex64]] | None:
    """Return the luma spectra of blocks spread over both pictures.

    Parameters
    ----------
    sources : pair of Source
        Capture and restoration, of one size.
    stretch : Stretch
        Scales samples to 0..1.

    Returns
    -------
    pair of (blocks, 128, 65) complex64 ndarray, or None
        Of the capture and the restoration; Hann window, mean removed, scaled so that the squared
        modulus is a power density. None where the picture has too few blocks that are not flat.
    """
    rows, columns = sources[0].rows, sources[0].columns
    corners = _corners(rows, columns)
    line = np.hanning(BLOCK + 1)[:-1]
    taper = np.outer(line, line)
    scale = 1.0 / np.sqrt(np.sum(taper**2))
    found: tuple[list[npt.NDArray[np.complex64]], ...] = ([], [])
    for top, left in corners:
        planes = [_luma(stretch.unit(s.read(top, left, BLOCK, BLOCK))) for s in sources]
        if planes[0].var() < _FLAT:
            continue  # a collar, or saturated throughout
        for plane, spectra in zip(planes, found, strict=True):
            centred = (plane - np.average(plane, weights=taper)) * taper
            spectra.append((np.fft.rfft2(centred) * scale).astype(np.complex64))
    if len(found[0]) < _LEAST_BLOCKS:
        return None
    return np.stack(found[0]), np.stack(found[1])


def curves(
    spectra: tuple[npt.NDArray[np.complex64], npt.NDArray[np.complex64]],
    psf: PSF | None,
    draws: Sequence[PSF] = (),
    seed: int = 0,
) -> Curves:
    """Return what the spectra tell of blur and noise before and after.

    Parameters
    ----------
    spectra : pair of (blocks, 128, 65) complex64 ndarray
        See `block_spectra`.
    psf : PSF or None
        The blur that was undone.
    draws : sequence of PSF
        PSFs as its uncertainty lets it vary; none where that is not known.
    seed : int
        Of the resampling of blocks.
    """
    before, after = spectra
    count = len(before)
    ring, members = _rings()
    frequency = (np.arange(len(members)) + 1.0) / BLOCK
    power_before, power_after = (np.abs(s) ** 2 for s in spectra)
    detail = power_before[:, _radius() < 0.1].mean(axis=1)
    quiet = np.argsort(detail, kind="stable")[: max(2, round(_QUIET * count))]

    def profile(power: FloatArray) -> FloatArray:
        return np.asarray(
            np.bincount(ring, (power * _weights()).ravel())[1 : len(members) + 1] / members
        )

    def grey(power: FloatArray) -> FloatArray:
        return profile(power) * 255.0**2

    fine = (_radius() >= _FINE) * _weights()
    noise = [
        float(255.0 * np.sqrt((p[quiet].mean(axis=0) * fine).sum() / BLOCK**2))
        for p in (power_before, power_after)
    ]
    mtfs: list[FloatArray | None] = [None, None]
    kernels: list[FloatArray | None] = [None, None]
    if psf is not None:
        cross = (after * before.conj()).reshape(count, -1)
        flat_power = power_before.reshape(count, -1)
        rng = np.random.default_rng(seed)
        weights = rng.multinomial(count, np.full(count, 1.0 / count), _RESAMPLES).astype(np.float32)
        gains = (weights @ cross) / (weights @ flat_power + _FLAT)
        gain = (cross.sum(axis=0) / (flat_power.sum(axis=0) + _FLAT)).reshape(BLOCK, -1)
        otf = psf.otf(BLOCK, BLOCK)
        spread = [draw.otf(BLOCK, BLOCK) for draw in draws]
        many = []
        for index, one in enumerate(gains):
            moved = spread[index % len(spread)] if spread else otf
            many.append(np.abs(profile(np.real(moved * one.reshape(BLOCK, -1)))))
        mtfs[1] = _interval(np.abs(profile(np.real(otf * gain))), many)
        mtfs[0] = _interval(psf.mtf(frequency), [draw.mtf(frequency) for draw in draws])
        kernels = [psf.kernel(2 * _HALF + 1), _kernel(otf * gain)]
    interval = "how much blocks differ; the PSF's own uncertainty is not recorded"
    if draws:
        interval = "the PSF's uncertainty and how much blocks differ"
    return Curves(
        frequency,
        mtfs[0],
        mtfs[1],
        grey(power_before.mean(axis=0)),
        grey(power_after.mean(axis=0)),
        grey(power_before[quiet].mean(axis=0)),
        grey(power_after[quiet].mean(axis=0)),
        noise[0],
        noise[1],
        kernels[0],
        kernels[1],
        count,
        interval,
    )


def half_frequency(frequency: FloatArray, values: FloatArray) -> float | None:
    """Return the lowest frequency where a curve falls to a half, None where it does not."""
    below = np.flatnonzero(values <= 0.5)
    if below.size == 0:
        return None
    index = int(below[0])
    low = (0.0, 1.0) if index == 0 else (frequency[index - 1], values[index - 1])
    share = (low[1] - 0.5) / max(low[1] - values[index], 1e-9)
    return float(low[0] + share * (frequency[index] - low[0]))


def _interval(value: FloatArray, draws: Sequence[FloatArray]) -> FloatArray:
    if not draws:
        return np.stack([value, value, value])
    low, high = np.percentile(np.stack(draws), (5.0, 95.0), axis=0)
    return np.stack([value, np.minimum(low, value), np.maximum(high, value)])


def _kernel(transfer: npt.NDArray[np.complexfloating]) -> FloatArray:
    whole = np.fft.fftshift(np.fft.irfft2(transfer, s=(BLOCK, BLOCK)))
    middle = slice(BLOCK // 2 - _HALF, BLOCK // 2 + _HALF + 1)
    return np.asarray(whole[middle, middle], np.float64)


def _luma(samples: FloatArray) -> FloatArray:
    return np.asarray(samples @ _LUMA if samples.shape[2] == 3 else samples[..., 0])


def _corners(rows: int, columns: int) -> list[tuple[int, int]]:
    """Corners of at most about `_MOST_BLOCKS` blocks, evenly spread."""
    if rows < BLOCK or columns < BLOCK:
        return []
    down, across = rows // BLOCK, columns // BLOCK
    if down * across < _MOST_BLOCKS:  # half overlapping
        down, across = 2 * down - 1, 2 * across - 1
    thin = max(1.0, np.sqrt(down * across / _MOST_BLOCKS))
    tops = np.linspace(0, rows - BLOCK, max(1, int(down / thin))).astype(int)
    lefts = np.linspace(0, columns - BLOCK, max(1, int(across / thin))).astype(int)
    return [(int(top), int(left)) for top in tops for left in lefts]


def _radius() -> FloatArray:
    down, right = np.fft.fftfreq(BLOCK)[:, None], np.fft.rfftfreq(BLOCK)[None, :]
    return np.asarray(np.hypot(down, right), np.float64)


def _weights() -> FloatArray:
    """How many bins of the whole plane each bin of the half plane stands for."""
    weights = np.full((BLOCK, BLOCK // 2 + 1), 2.0)
    weights[:, 0] = weights[:, -1] = 1.0
    return weights


def _rings() -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Ring of each bin of the half plane, and the bins in rings 1 to 64."""
    ring = np.asarray(np.rint(_radius() * BLOCK), np.intp).ravel()
    members = np.bincount(ring, _weights().ravel())[1 : BLOCK // 2 + 1]
    return ring, np.asarray(members, np.float64)
