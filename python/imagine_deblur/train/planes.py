"""From a capture to the network's input, and from a scene to training crops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture.nsr import filter_nsr, rounded_nsr
from imagine_deblur.capture.spectrum import mean_power
from imagine_deblur.psf import PSF
from imagine_deblur.restoration.wiener import WienerSpec, wiener_planes
from imagine_deblur.train.config import DataConfig
from imagine_deblur.train.recipe import change_scene, draw, of_camera
from imagine_deblur.train.scenes import Scenes

Float16Array = NDArray[np.float16]
Float32Array = NDArray[np.float32]


def plane_names(spec: WienerSpec) -> tuple[str, ...]:
    """Names of the network's input planes, in order; they go into the model's metadata."""
    return ("capture.r", "capture.g", "capture.b", *spec.plane_names)


def input_planes(capture: NDArray[np.uint8], psf: PSF, spec: WienerSpec) -> Float32Array:
    """The network's input for a whole image.

    Parameters
    ----------
    capture : (R, C, 3) uint8 ndarray
    psf : PSF
        The PSF believed to have blurred it.
    spec : WienerSpec
        Its ratios are multiples of the capture's own where it has a ``noise`` plane.

    Returns
    -------
    (P, R, C) float32 ndarray
        `plane_names` in order, each image value minus 0.5.
    """
    if spec.level:
        spec = spec.scaled(rounded_nsr(filter_nsr(mean_power([capture]), psf)))
    image = capture.astype(np.float32) / np.float32(255)
    planes = np.concatenate([np.moveaxis(image, -1, 0), wiener_planes(image, psf, spec)])
    planes -= np.float32(0.5)
    return planes


def crop_corners(length: int, crop: int, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """`count` starts of crops spread over an axis, moved by a random offset where there is room."""
    room = length - crop
    starts = np.linspace(0, room, count)
    slack = max(0.0, (length - crop * count) / 2)
    moved = np.rint(starts + rng.uniform(-slack, slack)).astype(np.intp)
    return np.clip(moved, 0, room)


def make_group(
    index: int, seed: int, scenes: Scenes, data: DataConfig, spec: WienerSpec
) -> Float16Array:
    """Group `index` of the training set: crops of one degraded piece of one scene.

    A pure function of its arguments. The piece is degraded and inverse-filtered as a whole, as a
    frame is, and only then cut, so that crops carry the long reach of blur and inverse.

    Returns
    -------
    (grid**2, P + 3, crop, crop) float16 ndarray
        Input planes, then the sharp image, all minus 0.5.
    """
    rng = np.random.default_rng((seed, 1, index))
    piece, satellite = scenes.draw(rng, satellite_share=data.satellite_share)
    operating = bool(rng.random() < (data.operating_share if satellite else 0.1))
    if data.camera.name:
        chosen, sharp = of_camera(data.camera, piece, rng, error=data.psf_radius_error)
    else:
        sharp = change_scene(piece, rng, operating=operating)
        chosen = draw(
            rng,
            operating=operating,
            radius_error=data.psf_radius_error,
            sigma_error=data.psf_sigma_error,
            exposure=data.exposure,
        )
    capture = chosen.capture(sharp, rng)
    planes = input_planes(capture, chosen.believed, spec)
    truth = np.moveaxis(sharp, -1, 0) - np.float32(0.5)
    stack = np.concatenate([planes, truth]).astype(np.float16)
    size, grid = data.crop, data.grid
    group = np.empty((grid * grid, stack.shape[0], size, size), np.float16)
    tops = crop_corners(stack.shape[1], size, grid, rng)
    lefts = crop_corners(stack.shape[2], size, grid, rng)
    for place, (top, left) in enumerate((t, c) for t in tops for c in lefts):
        group[place] = stack[:, top : top + size, left : left + size]
    return group
