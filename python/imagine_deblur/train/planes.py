"""From a capture to the network's input, and from a scene to training crops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture.policy import OTHER_KIND, SURELY_OTHER
from imagine_deblur.capture.ring_gain import TRAITS, RingGains, gains_for, rounded_nsr
from imagine_deblur.capture.ring_spectra import ring_spectra
from imagine_deblur.errors import EstimationError
from imagine_deblur.psf import PSF
from imagine_deblur.psf.estimation.estimator import Estimate, estimate_from, summary_of
from imagine_deblur.psf.estimation.quantisation_table import table_scalars
from imagine_deblur.psf.otf_moments import moments_of_normal
from imagine_deblur.restoration.wiener import WienerSpec, wiener_planes
from imagine_deblur.train.blind_data import quality_table
from imagine_deblur.train.captures import (
    Capture,
    SceneFiles,
    described_capture,
    draw_capture,
    draw_mode,
)
from imagine_deblur.train.config import DataConfig

Float16Array = NDArray[np.float16]
Float32Array = NDArray[np.float32]

BLIND_SHARE, FILE_SHARE = 0.6, 0.65
"""How often the blur is estimated, and how often the JPEG's table is known."""

RADIUS_ERRORS, SIGMA_FACTOR = (0.002, 0.04), 3.0
"""Relative standard errors of a given PSF's radius, and how much larger its sigma's are."""

NOTHING_SHARE = 0.02
"""How often nothing is known of the capture, as in flight of frames that are too small."""


def plane_names(spec: WienerSpec) -> tuple[str, ...]:
    """Names of the network's input planes, in order; they go into the model's metadata."""
    return ("capture.r", "capture.g", "capture.b", *spec.plane_names)


def input_planes(
    capture: NDArray[np.uint8], psf: PSF, spec: WienerSpec, gains: RingGains | None
) -> Float32Array:
    """The network's input for a whole image.

    Parameters
    ----------
    capture : (R, C, 3) uint8 ndarray
    psf : PSF
        The PSF believed to have blurred it.
    spec : WienerSpec
        Its ratios are multiples of the capture's own where it has a ``noise`` plane.
    gains : RingGains or None
        Of the capture; None takes the PSF's Wiener gains.

    Returns
    -------
    (P, R, C) float32 ndarray
        `plane_names` in order, each image value minus 0.5.
    """
    if spec.level:
        spec = spec.scaled(rounded_nsr(None if gains is None else gains.level))
    image = capture.astype(np.float32) / np.float32(255)
    filters = None if gains is None else gains.filters(spec.factors)
    bank = wiener_planes(image, psf, spec, gains=filters)
    planes = np.concatenate([np.moveaxis(image, -1, 0), bank])
    planes -= np.float32(0.5)
    return planes


def crop_corners(length: int, crop: int, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """`count` starts of crops spread over an axis, moved by a random offset where there is room."""
    room = length - crop
    starts = np.linspace(0, room, count)
    slack = max(0.0, (length - crop * count) / 2)
    moved = np.rint(starts + rng.uniform(-slack, slack)).astype(np.intp)
    return np.clip(moved, 0, room)


def believed(capture: Capture, rng: np.random.Generator) -> tuple[PSF, RingGains | None]:
    """What a restoration believes of a capture: its PSF, and the gains that follow.

    The blur is estimated, with the JPEG's table or without, or given with the error of a record.
    """
    blind, file = bool(rng.random() < BLIND_SHARE), bool(rng.random() < FILE_SHARE)
    error = float(np.exp(rng.uniform(*np.log(RADIUS_ERRORS))))
    draws = rng.standard_normal(2)
    spectra = ring_spectra([capture.degraded])
    if spectra is None or rng.random() < NOTHING_SHARE:
        return capture.psf, None
    quality = quality_table(capture.quality) if capture.quality else None
    table = table_scalars(quality if file else None, known=file)
    if blind and (estimate := _estimated(capture, table)) is not None:
        known = estimate.distribution
        psf = PSF(()) if known.facts[2] > OTHER_KIND else estimate.psf
        return psf, gains_for(spectra, psf, table, moments=known.moments, facts=known.facts)
    if not capture.psf.isotropic or not capture.psf.components:
        return capture.psf, gains_for(spectra, capture.psf, table)
    spread = error * np.array([capture.radius, SIGMA_FACTOR * capture.sigma])
    radius, sigma = np.maximum([capture.radius, capture.sigma] + spread * draws, 0.0)
    moments = moments_of_normal(float(radius), float(sigma), np.diag(spread**2))
    psf = PSF.defocus(float(radius), float(sigma))
    return psf, gains_for(spectra, psf, table, moments=moments)


def _estimated(capture: Capture, table: NDArray[np.float32]) -> Estimate | None:
    """The blind estimate, where it is one that would be undone."""
    try:
        found = estimate_from(summary_of(capture.degraded), table)
    except EstimationError:
        return None
    left = not found.psf.components or found.distribution.facts[2] > SURELY_OTHER
    return None if left else found


def make_group(
    index: int, seed: int, scenes: SceneFiles, data: DataConfig, spec: WienerSpec
) -> tuple[Float16Array, Float32Array]:
    """Group `index` of the training set: crops of one degraded piece of one scene.

    A pure function of its arguments. The piece is degraded and inverse-filtered as a whole, as a
    frame is, and only then cut, so that crops carry the long reach of blur and inverse.

    Returns
    -------
    crops : (grid**2, P + 3, crop, crop) float16 ndarray
        Input planes, then the sharp image, all minus 0.5.
    traits : (TRAITS,) float32 ndarray
        Of the capture, zeros where nothing is known of it.
    """
    rng = np.random.default_rng((seed, 1, index))
    mode = draw_mode(rng)
    scene = scenes.draw(rng, scenes.draw_kind(rng, mode))
    if data.camera.name:
        capture = described_capture(data.camera, scene, rng)
    else:
        capture = draw_capture(scene, mode, rng)
    psf, gains = believed(capture, rng)
    planes = input_planes(capture.degraded, psf, spec, gains)
    truth = np.moveaxis(capture.sharp, -1, 0) - np.float32(0.5)
    stack = np.concatenate([planes, truth]).astype(np.float16)
    size, grid = data.crop, data.grid
    group = np.empty((grid * grid, stack.shape[0], size, size), np.float16)
    tops = crop_corners(stack.shape[1], size, grid, rng)
    lefts = crop_corners(stack.shape[2], size, grid, rng)
    for place, (top, left) in enumerate((t, c) for t in tops for c in lefts):
        group[place] = stack[:, top : top + size, left : left + size]
    return group, np.zeros(TRAITS, np.float32) if gains is None else gains.traits
