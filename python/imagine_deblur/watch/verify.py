"""Comparing an output with its capture, to find what broken memory leaves behind.

Deblurring keeps local means (a PSF sums to 1) and moves light only over a few px, so block means
of capture and output agree. A flipped bit in a spectrum adds one plane wave to the whole frame: in
a crop's power spectrum it stands far above everything of its frequency. Neither is proof; a doubt
makes the caller restore the frame again on a fresh session and compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur import _core
from imagine_deblur.errors import InputImageError
from imagine_deblur.support.colour import LUMA_WEIGHTS

FloatArray = NDArray[np.float32]

BLOCK = 32
_CROP = 512
_MEAN_LIMIT = 14.0  # 8-bit steps between smoothed block means
_BUSY_FACTOR, _BUSY_FLOOR = 4.0, 12.0  # of a block's standard deviation, 8-bit steps
_PEAK, _PEAK_GAIN = 400.0, 60.0  # over the median power, and gain, of the same frequency


def doubt(capture: str, output: str, *, salvage: bool = False) -> str | None:
    """Return why an output is in doubt, None where it is not.

    Parameters
    ----------
    capture, output : str
        JPEG files. Both are read strip by strip.
    salvage : bool
        The capture may be damaged.

    Raises
    ------
    InputImageError
        The capture cannot be read.
    """
    before = _core.JpegReader(capture, salvage=salvage)
    try:
        after = _core.JpegReader(output)
    except InputImageError as error:
        return _unreadable(error)
    if any(before.info[k] != after.info[k] for k in ("rows", "columns")):
        return "the output has another size than the capture"
    blocks = _Blocks(before.info["rows"], before.info["columns"])
    new_strips = _strips(after)
    for old in _strips(before):
        try:
            new = next(new_strips)
        except InputImageError as error:
            return _unreadable(error)
        blocks.add(old, new)
    return blocks.doubt()


def _unreadable(error: InputImageError) -> str:
    return f"the output cannot be read back: {error}"


def _strips(reader: Any) -> Iterator[FloatArray]:
    left = reader.info["rows"]
    while left > 0:
        rows = reader.read_rows(min(BLOCK, left))
        left -= len(rows)
        yield rows @ LUMA_WEIGHTS if rows.ndim == 3 and rows.shape[2] == 3 else _grey(rows)


def _grey(rows: NDArray[np.uint8]) -> FloatArray:
    return rows.reshape(rows.shape[0], rows.shape[1], -1)[..., 0].astype(np.float32)


class _Blocks:
    """Block statistics of two pictures, and a crop of each."""

    def __init__(self, rows: int, columns: int) -> None:
        self._starts = np.arange(0, columns, BLOCK)
        self._widths = np.minimum(BLOCK, columns - self._starts)
        self._first_row = max(0, (rows - _CROP) // 2 // BLOCK * BLOCK)
        left = max(0, (columns - _CROP) // 2)
        self._columns = slice(left, left + _CROP)
        self._row = 0
        self._means: tuple[list[FloatArray], list[FloatArray]] = ([], [])
        self._deviations: tuple[list[FloatArray], list[FloatArray]] = ([], [])
        self._crops: tuple[list[FloatArray], list[FloatArray]] = ([], [])

    def add(self, old: FloatArray, new: FloatArray) -> None:
        """Take the next strip of each picture."""
        inside = self._first_row <= self._row < self._first_row + _CROP
        self._row += len(old)
        for k, strip in enumerate((old, new)):
            count = self._widths * len(strip)
            mean = np.add.reduceat(strip.sum(axis=0), self._starts) / count
            square = np.add.reduceat((strip * strip).sum(axis=0), self._starts) / count
            self._means[k].append(mean)
            self._deviations[k].append(np.sqrt(np.maximum(square - mean * mean, 0)))
            if inside:
                self._crops[k].append(strip[:, self._columns])

    def doubt(self) -> str | None:
        old, new = (np.stack(means) for means in self._means)
        worst = float(np.abs(_smooth(new - old)).max())
        if worst > _MEAN_LIMIT:
            return f"block means differ by {worst:.0f} steps"
        old, new = (np.stack(deviations) for deviations in self._deviations)
        if bool((new > _BUSY_FACTOR * _widest(old) + _BUSY_FLOOR).any()):
            return "a block came out far busier than it went in"
        old, new = (np.concatenate(crops) for crops in self._crops)
        return _plane_wave(old, new)


def _neighbours(grid: FloatArray) -> FloatArray:
    rows, columns = grid.shape
    padded = np.pad(grid, 1, mode="edge")
    return np.stack([padded[r : r + rows, c : c + columns] for r in range(3) for c in range(3)])


def _smooth(grid: FloatArray) -> FloatArray:
    smooth: FloatArray = _neighbours(grid).mean(axis=0)
    return smooth


def _widest(grid: FloatArray) -> FloatArray:
    widest: FloatArray = _neighbours(grid).max(axis=0)
    return widest


def _plane_wave(old: FloatArray, new: FloatArray) -> str | None:
    rows, columns = new.shape
    if min(rows, columns) < 2 * BLOCK:
        return None
    window = np.hanning(rows)[:, None] * np.hanning(columns)[None, :]
    power_old, power_new = (
        np.abs(np.fft.rfft2((image - image.mean()) * window)) ** 2 + 1.0 for image in (old, new)
    )
    radius = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :])
    ring = (radius * 48).astype(np.intp).ravel()
    order = np.argsort(ring, kind="stable")
    edges = np.searchsorted(ring[order], np.arange(ring.max() + 2))
    power, gain = power_new.ravel()[order], (power_new / power_old).ravel()[order]
    for k in range(1, len(edges) - 1):  # the innermost ring belongs to the block means
        part = slice(edges[k], edges[k + 1])
        if part.stop - part.start < 16:
            continue
        high = power[part] > _PEAK * np.median(power[part])
        if bool((high & (gain[part] > _PEAK_GAIN * np.median(gain[part]))).any()):
            return f"a plane wave of about {(k + 0.5) / 48:.2f} cycles/px"
    return None
