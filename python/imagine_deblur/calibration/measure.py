"""One round for one capture: where it lies, what it measures, its cross-spectrum."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from imagine_deblur.calibration import (
    alignment,
    blocks,
    encoding,
    geometry,
    matching,
    radiometry,
    spectrum,
)
from imagine_deblur.calibration.extras import require
from imagine_deblur.calibration.pictures import Picture
from imagine_deblur.calibration.reference import Reference
from imagine_deblur.errors import CalibrationError
from imagine_deblur.psf.components import Transfer
from imagine_deblur.psf.models import PSF
from imagine_deblur.support.colour import LUMA_WEIGHTS

FloatImage = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]


MIN_USABLE = 0.12
"""Least share of a frame that must be usable."""
MIN_BLOCKS = 4
_SMALLEST = 96
_FALLBACK_RADII = (4.0, 2.5, 6.5)
_GROUPS = 8


@dataclass(eq=False)
class State:
    """A capture on its way.

    Attributes
    ----------
    picture : Picture
    reference : Reference
    homography : (3, 3) float64 ndarray
        Capture to `reference.image`, pixel centres at integers.
    matches : int
        Features that agreed on it.
    size : int
        Side of the blocks, px.
    noise : float
        Amplitude s of the noise before encoding.
    encoding_share : float
        Share of the predicted loss in the encoder that is taken off.
    correlation : float
        Reached in fine registration.
    radiometry, blocks, groups
        Of the latest round.
    """

    picture: Picture
    reference: Reference
    homography: FloatArray
    matches: int
    size: int
    noise: float
    encoding_share: float = 1.0
    correlation: float = 0.0
    radiometry: radiometry.Radiometry | None = None
    blocks: blocks.Blocks | None = None
    groups: list[spectrum.CrossSpectrum] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.picture.name

    @property
    def image(self) -> FloatImage:
        return self.picture.image

    @property
    def shape(self) -> tuple[int, int]:
        return int(self.image.shape[0]), int(self.image.shape[1])


def locate(
    picture: Picture,
    reference: Reference,
    psf: PSF | None,
    gsd_range: tuple[float, float],
    noise: float,
) -> State:
    """Coarse registration, with the PSF given or, without one, with several in turn."""
    cv2 = require("cv2")
    image = picture.image
    if min(image.shape[:2]) < _SMALLEST:
        raise CalibrationError(
            f"too small: {image.shape[0]}x{image.shape[1]} px, {_SMALLEST} are needed",
            residual=float(min(image.shape[:2])),
        )
    # Match at about one reference px per capture px.
    ratio = max(1, round(float(np.mean(gsd_range)) / reference.working_gsd_m))
    luma = reference.image @ LUMA_WEIGHTS
    rows, columns = luma.shape[0] // ratio, luma.shape[1] // ratio
    small = cv2.resize(
        luma[: rows * ratio, : columns * ratio], (columns, rows), interpolation=cv2.INTER_AREA
    )
    valid = reference.valid[: rows * ratio : ratio, : columns * ratio : ratio]
    shift = 0.5 * (ratio - 1)
    enlarge = np.array([[ratio, 0.0, shift], [0.0, ratio, shift], [0.0, 0.0, 1.0]])
    trials = [psf] if psf is not None else [PSF.defocus(radius) for radius in _FALLBACK_RADII]
    refusal: CalibrationError | None = None
    for trial in trials:
        try:
            found = matching.find(
                image @ LUMA_WEIGHTS,
                small,
                trial,
                shape_gsd_m=reference.working_gsd_m * ratio,
                gsd_range=gsd_range,
                valid=valid,
            )
        except CalibrationError as error:
            refusal = error
            continue
        return State(
            picture,
            reference,
            enlarge @ found.homography,
            found.inliers,
            blocks.block_size(*image.shape[:2]),
            noise,
        )
    assert refusal is not None
    raise refusal


def measure(state: State, psf: PSF, *, first: bool) -> None:
    """One round for one capture: registration, radiometry, cross-spectrum."""
    reach = psf.support_px(0.99) + 2
    for _ in range(2 if first else 1):
        view = alignment.see(state.reference, state.homography, state.shape)
        expected = alignment.blurred(view, psf)
        matched = radiometry.match(state.image, expected, view.inside, reach)
        _check_area(matched)
        state.homography, state.correlation = alignment.refine(
            state.homography, matched.image @ LUMA_WEIGHTS, expected @ LUMA_WEIGHTS, matched.usable
        )
    take_spectra(state, psf)


def take_spectra(state: State, psf: PSF) -> None:
    """Radiometry and cross-spectrum of a registered capture."""
    reach = psf.support_px(0.99) + 2
    view = alignment.see(state.reference, state.homography, state.shape)
    expected = alignment.blurred(view, psf)
    matched = radiometry.match(state.image, expected, view.inside, reach)
    _check_area(matched)
    scene = view.fine @ LUMA_WEIGHTS

    def way(fy: FloatArray, fx: FloatArray) -> Transfer:
        """From the reference's picture of the ground to the instrument's."""
        result: Transfer = psf.at(fy, fx) / own_transfer(state, fy, fx)
        return result

    exact = blocks.seen_through(scene, way)
    plane = matched.image @ LUMA_WEIGHTS
    if state.picture.table is not None:
        error = _encoding_error(state, exact, plane, matched.usable)
        plane = plane - np.float32(state.encoding_share) * error
    plane = np.where(matched.usable, plane, exact).astype(np.float32)
    size = state.size
    state.radiometry = matched
    state.blocks = blocks.cut(
        plane,
        scene,
        matched.usable,
        own_transfer(state, *spectrum.frequencies(size)),
        spectrum.transfer_of(psf, size),
        size,
        _GROUPS,
    )
    state.groups = state.blocks.groups
    count = sum(group.blocks for group in state.groups)
    if count < MIN_BLOCKS:
        raise CalibrationError(
            f"too little to measure from: {count} blocks of {size} px are clear, {MIN_BLOCKS} are"
            f" needed; cloud or change covers {100 * matched.changed:.0f} %",
            residual=float(count),
        )


def _check_area(matched: radiometry.Radiometry) -> None:
    usable = float(matched.usable.mean())
    if usable < MIN_USABLE:
        raise CalibrationError(
            f"cloud or change: {100 * matched.cloud:.0f} % cloud, {100 * matched.changed:.0f} %"
            f" changed, {100 * usable:.0f} % of the frame is left",
            residual=usable,
        )


def _encoding_error(
    state: State, expected: FloatImage, matched: FloatImage, usable: npt.NDArray[np.bool_]
) -> FloatImage:
    """What JPEG did to the capture on average, in the reference's radiometry.

    `expected` and `matched` are the noise-free expectation and the capture, luma in the
    reference's radiometry; encoding happened in the capture's.
    """
    assert state.picture.table is not None
    raw = state.image @ LUMA_WEIGHTS
    # Straight lines do: only the contrast that reaches the encoder matters.
    slope, offset = np.polyfit(matched[usable], raw[usable], 1)
    before = np.float32(slope) * expected + np.float32(offset)
    error = encoding.mean_error(before, state.picture.table, state.noise)
    return np.asarray(error / np.float32(slope), dtype=np.float32)


def own_transfer(
    state: State, fy: FloatArray, fx: FloatArray, mtf_nyquist: float | None = None
) -> FloatArray:
    """The reference's transfer function at frequencies of the capture, cycles/px."""
    rows, columns = state.shape
    local = geometry.jacobian(state.homography, (0.5 * (columns - 1), 0.5 * (rows - 1)))
    # A wave of frequency f on the capture's grid has J^-T f on the reference's.
    inverse = np.linalg.inv(local)
    right = inverse[0, 0] * fx + inverse[1, 0] * fy
    down = inverse[0, 1] * fx + inverse[1, 1] * fy
    return np.maximum(state.reference.transfer(down, right, mtf_nyquist), 0.05)


def total(states: list[State]) -> spectrum.CrossSpectrum:
    """All blocks of all captures."""
    result = spectrum.CrossSpectrum.empty(states[0].size)
    for state in states:
        for group in state.groups:
            result = result + group
    return result
