"""Smooth periodic extension of a frame, so that a Fourier filter sees no edge.

A frame of ``n`` samples is continued on both sides by its own reflection (numpy's ``reflect``:
the edge sample is not repeated). The transform is periodic, so the two reflections meet in a gap
of ``g`` samples behind the frame, where a raised cosine fades from one to the other over the
middle half. Near the frame the extension is the plain reflection, which is exact for a scene
blurred by a symmetric PSF under reflection and a natural guess for any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.support.fft_size import fast_length, reflect_index

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class Extension:
    """Index tables that extend one axis from `samples` to `length`.

    Attributes
    ----------
    samples, length : int
        Samples of the frame along the axis, and of its periodic extension.
    ahead, behind : (length - samples,) intp ndarray
        For each gap position, the sample reflected at the far edge and at the near edge.
    fade : (length - samples,) float32 ndarray
        Weight of `behind`, rising from 0 to 1 as a raised cosine.
    """

    samples: int
    length: int
    ahead: NDArray[np.intp]
    behind: NDArray[np.intp]
    fade: Float32Array


def plan_extension(samples: int, gap: int) -> Extension:
    """Plan the extension of an axis by at least `gap` samples to a fast transform length.

    Parameters
    ----------
    samples : int
        Samples along the axis, positive.
    gap : int
        Least number of extra samples, non-negative.

    Returns
    -------
    Extension
    """
    length = fast_length(samples + gap)
    extra = length - samples
    position = np.arange(extra)
    # Pure reflection for a quarter of the gap at either end, the cross-fade between.
    middle = np.clip(2.0 * (position + 1) / (extra + 1) - 0.5, 0.0, 1.0)
    fade = 0.5 - 0.5 * np.cos(np.pi * middle)
    return Extension(
        samples,
        length,
        reflect_index(samples + position, samples),
        reflect_index(position - extra, samples),
        fade.astype(np.float32),
    )


def extend_columns(block: Float32Array, columns: Extension) -> None:
    """Fill the gap columns of rows whose first `columns.samples` samples are set.

    Parameters
    ----------
    block : (n, columns.length) float32 ndarray
        Changed in place.
    columns : Extension
    """
    ahead = block[:, columns.ahead]
    block[:, columns.samples :] = ahead + (block[:, columns.behind] - ahead) * columns.fade


def extend_rows(plane: Float32Array, rows: Extension) -> None:
    """Fill the gap rows of a plane whose first `rows.samples` rows are set.

    Parameters
    ----------
    plane : (rows.length, n) float32 ndarray
        Changed in place.
    rows : Extension
    """
    for gap_row, (ahead, behind, fade) in enumerate(
        zip(rows.ahead, rows.behind, rows.fade, strict=True), start=rows.samples
    ):
        plane[gap_row] = plane[ahead] + (plane[behind] - plane[ahead]) * fade
