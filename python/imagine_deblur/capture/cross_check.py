"""Whether a PSF that is given is a blur that the capture itself holds possible.

A filter G leaves of a scene with the power spectrum S, blurred by H, with noise of the power N, the
squared error (Wiener 1949, averaged over H)::

    e(G) = sum over frequency of S (1 - 2 G E[H] + G^2 (E[H^2] + N / S))              (1)

Blind estimation tells H as a distribution and the learned gains N / S, both from the capture alone.
So the error of any other filter is known before it runs, and that of none at all, ``G = 1``. All
are round here: G, H and the spectra are functions of radial frequency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture.result import Analysis, Image
from imagine_deblur.capture.ring_gain import TO_RINGS, UNKNOWN_NSR, RingGains
from imagine_deblur.capture.ring_spectra import RING_FREQUENCY, RingSpectra
from imagine_deblur.psf.components import Disk, Gaussian
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.otf_moments import FREQUENCY, OtfMoments, otfs

FloatArray = NDArray[np.float64]

WINDOW, WINDOWS = 384, (2, 3)
"""Side of the parts that are looked at, px, and how many of them down and across: 0.9 MP tell a
width to a few per cent, for a third of the time that a frame of 3 MP takes."""

ALIKE, ROUND = 0.05, 0.15
"""Largest difference of two radial transfer functions that count as one, and of one in any
direction from its mean. Disks of 4.0 and 4.2 px differ by 0.04; disks of 2 to 7 px drawn by whole
pixels are 0.17 to 0.03 off round, boxes of 5 to 7 px 0.14, a Gaussian with an axis 0.6 times the
other 0.20.
"""

_RADII, _SIGMAS = np.arange(0.0, 14.01, 0.1), np.arange(0.0, 7.01, 0.1)  # px

_RINGS = slice(0, np.searchsorted(FREQUENCY, 0.5).item(), 8)  # every 0.011 cycles/px
_DIRECTIONS = np.pi * np.arange(12) / 12

_LOW = 0.01  # cycles/px
_AREA = FREQUENCY * (FREQUENCY < 0.5)
"""Weight of a ring in a sum over the plane of frequencies; the corners hold little."""


@dataclass(frozen=True)
class Expected:
    """What undoing a blur does to the capture's error, dB; more is better, 0 is leaving it alone.

    Attributes
    ----------
    given_db : float
        With the PSF that is given.
    own_db : float
        With what the capture itself shows.
    wider : float
        Rms width of the given PSF over that of the capture's own.
    """

    given_db: float
    own_db: float
    wider: float


def as_disk_and_gaussian(psf: PSF) -> PSF | None:
    """Return the disk times Gaussian that a PSF is, to within `ALIKE`; None where it is none.

    Kernels are so compared with what blind estimation tells. Of one with wide tails, or longer in
    one direction, estimation finds a narrower round one, which contradicts nothing.
    """
    if all(isinstance(part, Disk | Gaussian) and part.isotropic for part in psf.components):
        return psf
    rings = FREQUENCY[_RINGS, None]
    transfer = psf.at(rings * np.sin(_DIRECTIONS), rings * np.cos(_DIRECTIONS))
    mean = transfer.real.mean(axis=1)
    if np.abs(transfer - mean[:, None]).max() > ROUND:
        return None
    disks, gaussians = otfs(Disk, tuple(_RADII)), otfs(Gaussian, tuple(_SIGMAS))
    product = disks[:, None, _RINGS] * gaussians[None, :, _RINGS]
    apart = np.abs(product - mean).max(axis=-1)
    radius, sigma = np.unravel_index(int(np.argmin(apart)), apart.shape)
    if apart[radius, sigma] > ALIKE:
        return None
    return PSF.defocus(float(_RADII[radius]), float(_SIGMAS[sigma]))


def expected(
    spectra: RingSpectra,
    found: Analysis,
    given: Sequence[PSF],
    moments: OtfMoments,
    own: RingGains,
) -> Expected:
    """Return what a given PSF promises by the capture's own showing, equation (1).

    Parameters
    ----------
    spectra : RingSpectra
        Of the capture.
    found : Analysis
        With the given PSF, and its gains where they are what undoes it.
    given : sequence of PSF
        It, or the cells of a field, as disks and Gaussians. The cell that promises most counts,
        since a capture tells one blur for all its parts.
    moments : OtfMoments
        Of the round blurs that the capture holds possible.
    own : RingGains
        Of those.
    """
    mean, second = moments.mean, moments.mean**2 + moments.deviation**2
    noise = np.exp(own.nu[0])
    # S is smooth where H has zeros, which a ring's mean power fills.
    in_rings = spectra.power[0] / ((second + noise) @ TO_RINGS)
    scene = np.exp(np.interp(FREQUENCY, RING_FREQUENCY, np.log(np.maximum(in_rings, 1e-30))))

    def error(gain: FloatArray) -> float:
        of_scene = 1 - 2 * gain * mean + gain**2 * (second + noise)
        return float(np.sum(_AREA * scene * of_scene))

    alone = error(np.ones_like(mean))

    def gained(gain: FloatArray) -> float:
        return float(10 * np.log10(max(alone, 1e-12) / max(error(gain), 1e-12)))

    promised, nearest = max(
        ((gained(_filter(found, psf, noise)), psf) for psf in given), key=itemgetter(0)
    )
    wider = width_of(nearest) / max(width_told(moments), 1e-3)
    return Expected(promised, gained(own.radial(0)), wider)


def width_of(psf: PSF) -> float:
    """Return the rms width per axis of a round PSF, px."""
    return _width_px(float(psf.mtf(_LOW)))


def width_told(moments: OtfMoments) -> float:
    """Return the rms width per axis of what is held possible of a round blur, px."""
    return _width_px(float(np.interp(_LOW, FREQUENCY, moments.mean)))


def _width_px(transfer: float) -> float:
    """Rms width per axis from the OTF near frequency 0, where ``H = 1 - 2 (pi w f)^2``."""
    return float(np.sqrt(max(0.0, 1.0 - transfer) / 2.0) / (np.pi * _LOW))


def _filter(found: Analysis, psf: PSF, noise: FloatArray) -> FloatArray:
    """G at `FREQUENCY` of a round PSF: its learned gains, else its Wiener filter.

    A ratio that is given may be right for a network that takes the noise away, so a smaller one
    than the capture's `noise`, N / S, is not held against the PSF.
    """
    if found.gains is not None and not found.gains.directed:
        return found.gains.radial(0)
    otf = np.asarray(psf.at(0.0, FREQUENCY).real, np.float64)
    given = 4.0 * (found.filter_nsr or UNKNOWN_NSR) * FREQUENCY**2
    return np.asarray(otf / (otf**2 + np.maximum(given, noise)), np.float64)


def windows(images: Sequence[Image]) -> list[Image]:
    """Return parts of a capture, evenly spread, that are enough to tell its blur."""
    rows, columns = WINDOWS
    if len(images) > 1:
        rows = columns = 1
    parts: list[Image] = []
    for image in images:
        tops = np.linspace(0, max(0, image.shape[0] - WINDOW), rows).astype(int)
        lefts = np.linspace(0, max(0, image.shape[1] - WINDOW), columns).astype(int)
        corners = dict.fromkeys((int(top), int(left)) for top in tops for left in lefts)
        parts += [image[top : top + WINDOW, left : left + WINDOW] for top, left in corners]
    return parts
