"""What the published networks are trained on: random draws of scene changes, blur, noise and JPEG.

A draw depends on nothing but the generator that is passed in. Our own networks are trained on
`imagine_deblur.train.captures`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.degradation.forward import add_noise, blur, expose
from imagine_deblur.degradation.shake import random_walk_kernel
from imagine_deblur.psf import PSF, Disk, Gaussian, Motion, Sampled
from imagine_deblur.psf.models import Component

Float32Array = NDArray[np.float32]

#: The operating point of IMAGIN-e (protocols `imagine` and `imagine90`): radius in px, contrast.
OPERATING_RADIUS_PX, OPERATING_CONTRAST = 6.8, 0.7

#: Largest radius, sigma and motion drawn, px.
RADIUS_MAX_PX, SIGMA_MAX_PX, MOTION_MAX_PX = 8.5, 4.0, 15.0

#: Largest noise scale s drawn, full scale 1; a camera's own processing reaches the second.
NOISE_MAX, CAMERA_NOISE_MAX = 0.012, 0.03

#: Shares of the PSF families away from the operating point: disks with a small Gaussian, the
#: protocols' cut Gaussians, Gaussians, disks with wide Gaussians, motion, shake; the rest is all
#: but sharp.
PSF_SHARES = (0.45, 0.22, 0.09, 0.08, 0.10, 0.04)

#: Sides of the kernels of shake drawn, px, odd.
SHAKE_PX = (9, 25)

#: Share of the draws away from the operating point whose noise a camera has processed.
CAMERA_SHARE = 0.12

#: Width of a camera's processing in px: demosaicing and noise reduction colour its noise so.
_CAMERA_SIGMA = (0.3, 0.9)


@dataclasses.dataclass(frozen=True)
class Draw:
    """One degradation.

    Attributes
    ----------
    psf : PSF
        What blurs the scene.
    believed : PSF
        What the Wiener planes are made with: `psf` with the error of an estimate.
    noise : float
        Shot and read noise scale s of PROTOCOLS, 0 to 0.012.
    jpeg_quality : int or None
        70 to 98, None for none.
    camera_sigma : float
        Gaussian width in px of what the camera did to its own noise before the encoder: 0 leaves
        it white; otherwise the noise is filtered and its amplitude kept.
    """

    psf: PSF
    believed: PSF
    noise: float
    jpeg_quality: int | None
    camera_sigma: float = 0.0

    def capture(self, sharp: Float32Array, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Degrade a scene: (R, C, 3) float32 in [0, 1] to uint8."""
        blurred = blur(sharp, self.psf)
        if self.camera_sigma > 0:
            noisy = add_noise(blurred, self.noise, rng)
            grain = blur(noisy - blurred, PSF((Gaussian(self.camera_sigma),)))
            grain *= np.float32(np.std(noisy - blurred) / max(1e-9, float(np.std(grain))))
            return expose(blurred + grain, jpeg_quality=self.jpeg_quality, rng=rng)
        return expose(blurred, noise=self.noise, jpeg_quality=self.jpeg_quality, rng=rng)


def _truncated_gaussian(sigma: float) -> PSF:
    """The 15x15 Gaussian of the protocols `gauss` and `gauss+`."""
    offset = np.arange(-7.0, 8.0)
    line = np.exp(-0.5 * (offset / sigma) ** 2)
    kernel = np.outer(line, line)
    return PSF.sampled(kernel / kernel.sum())


def _is_cut_gaussian(psf: PSF) -> bool:
    """Whether a PSF is one of `_truncated_gaussian`'s: shake is not symmetric."""
    kernels = [c.kernel for c in psf.components if isinstance(c, Sampled)]
    return any(np.array_equal(kernel, kernel[::-1, ::-1]) for kernel in kernels)


def _believed(component: Component, radius: float, sigma: float) -> Component:
    """The component with its radius or sigma scaled as the estimator errs."""
    match component:
        case Disk():
            return Disk(component.radius_px * radius)
        case Gaussian():
            return Gaussian(component.sigma_px * sigma)
        case Motion():
            return Motion(component.length_px * radius, component.angle_deg + 60.0 * (radius - 1.0))
    return component


def draw_psf(
    rng: np.random.Generator,
    *,
    operating: bool,
    radius_error: float,
    sigma_error: float,
) -> tuple[PSF, PSF]:
    """A PSF and the one believed instead.

    Parameters
    ----------
    rng : numpy.random.Generator
    operating : bool
        Draw near the operating point of IMAGIN-e instead of from the whole range.
    radius_error, sigma_error : float
        Relative standard deviations of the estimator.
    """
    wrong_radius = 1.0 + radius_error * float(np.clip(rng.standard_normal(), -2.5, 2.5))
    wrong_sigma = 1.0 + sigma_error * float(np.clip(rng.standard_normal(), -2.5, 2.5))
    family = int(np.searchsorted(np.cumsum(PSF_SHARES), rng.random(), side="right"))
    components: tuple[Component, ...]
    if operating:
        radius = float(np.clip(rng.normal(OPERATING_RADIUS_PX, 0.3), 5.5, RADIUS_MAX_PX))
        components = (Disk(radius), Gaussian(float(rng.uniform(0.4, 0.6))))
    elif family == 0:
        radius = float(rng.uniform(1.5, RADIUS_MAX_PX))
        sigma = 0.5 if rng.random() < 0.5 else float(rng.uniform(0.05, 1.0))
        components = (Disk(radius), Gaussian(sigma))
    elif family == 1:
        sigma = float(rng.uniform(0.2, SIGMA_MAX_PX))
        return _truncated_gaussian(sigma), _truncated_gaussian(sigma * wrong_sigma)
    elif family == 2:
        components = (Gaussian(float(rng.uniform(0.2, SIGMA_MAX_PX))),)
    elif family == 3:
        components = (Disk(float(rng.uniform(0.0, 6.0))), Gaussian(float(rng.uniform(0.3, 2.5))))
    elif family == 4:
        motion = Motion(float(rng.uniform(3.0, MOTION_MAX_PX)), float(rng.uniform(0.0, 180.0)))
        components = (motion, Gaussian(0.5))
        if rng.random() < 0.3:
            components = (Disk(float(rng.uniform(1.0, 5.0))), *components)
    elif family == 5:  # of use only where it was measured, so the believed one is the true one
        size = 2 * int(rng.integers(SHAKE_PX[0] // 2, SHAKE_PX[1] // 2 + 1)) + 1
        psf = PSF.sampled(random_walk_kernel(size, rng))
        return psf, psf
    else:
        components = (Disk(float(rng.uniform(0.0, 1.0))), Gaussian(float(rng.uniform(0.05, 0.4))))
    believed = tuple(_believed(c, wrong_radius, wrong_sigma) for c in components)
    return PSF(components), PSF(believed)


def draw(
    rng: np.random.Generator, *, operating: bool, radius_error: float, sigma_error: float
) -> Draw:
    """A whole degradation; parameters as for `draw_psf`."""
    psf, believed = draw_psf(
        rng, operating=operating, radius_error=radius_error, sigma_error=sigma_error
    )
    return _exposed(rng, psf, believed, operating=operating)


def _exposed(rng: np.random.Generator, psf: PSF, believed: PSF, *, operating: bool) -> Draw:
    """Noise and encoder for a blur."""
    kind = rng.random()
    if operating and kind < 0.4:
        return Draw(psf, believed, 0.0, None)
    if operating and kind < 0.75:
        return Draw(psf, believed, 0.006, int(rng.integers(85, 96)))
    if not operating and rng.random() < CAMERA_SHARE:
        noise = float(np.exp(rng.uniform(np.log(0.003), np.log(CAMERA_NOISE_MAX))))
        sigma = float(rng.uniform(*_CAMERA_SIGMA))
        return Draw(psf, believed, noise, int(rng.integers(70, 97)), sigma)
    # Noise-free and nearly so, as `gauss`, `gauss+` and `defocus` are: mostly with cut Gaussians.
    if rng.random() < (0.65 if _is_cut_gaussian(psf) else 0.2):
        return Draw(psf, believed, (0.0, 0.0, 0.002)[int(rng.integers(3))], None)
    kind = rng.random()
    if kind < 0.1:
        noise = 0.0
    elif kind < 0.3:
        noise = 0.002
    elif kind < 0.5:
        noise = 0.006
    else:
        noise = float(np.exp(rng.uniform(np.log(0.0005), np.log(NOISE_MAX))))
    kind = rng.random()
    quality = None
    if kind < 0.4:
        quality = int(rng.integers(85, 98))
    elif kind < 0.65:
        quality = int(rng.integers(70, 99))
    return Draw(psf, believed, noise, quality)


def _cloud(image: Float32Array, rng: np.random.Generator) -> Float32Array:
    """A soft white patch over part of the scene."""
    rows, columns = image.shape[:2]
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    cover = np.zeros((rows, columns), np.float32)
    for _ in range(int(rng.integers(2, 7))):
        cy, cx = rng.uniform(0, rows), rng.uniform(0, columns)
        reach = rng.uniform(0.05, 0.25) * min(rows, columns)
        cover += np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / np.float32(2 * reach**2))
    cover = np.clip(cover * np.float32(rng.uniform(0.7, 2.0)), 0, 1)[..., None]
    clouded: Float32Array = image * (1 - cover) + np.float32(rng.uniform(0.85, 1.0)) * cover
    return clouded


def change_scene(image: Float32Array, rng: np.random.Generator, *, operating: bool) -> Float32Array:
    """Contrast, gamma, saturation; now and then clouds, darkness or saturation.

    Parameters
    ----------
    image : (R, C, 3) float32 ndarray in [0, 1]
    rng : numpy.random.Generator
    operating : bool
        Near the operating point: contrast about 0.7.

    Returns
    -------
    (R, C, 3) float32 ndarray in [0, 1]
    """
    if rng.random() < 0.35:
        image = np.clip(image, 0, 1) ** np.float32(np.exp(rng.uniform(-0.25, 0.25)))
    if rng.random() < 0.35:
        grey = image.mean(axis=2, keepdims=True)
        image = grey + np.float32(rng.uniform(0.5, 1.3)) * (image - grey)
    contrast = 1.0
    if operating:
        contrast = OPERATING_CONTRAST * float(np.exp(rng.normal(0.0, 0.08)))
    elif rng.random() < 0.6:
        contrast = float(rng.uniform(0.5, 1.1))
    if contrast != 1.0:
        mean = image.mean(axis=(0, 1), keepdims=True)
        image = mean + np.float32(contrast) * (image - mean)
    rare = rng.random()
    if rare < 0.02:
        image = _cloud(image, rng)
    elif rare < 0.03:
        image = image * np.float32(rng.uniform(0.03, 0.4))
    elif rare < 0.04:
        image = image * np.float32(rng.uniform(1.3, 2.2))
    elif rare < 0.05:
        mean = image.mean(axis=(0, 1), keepdims=True)
        image = mean + np.float32(rng.uniform(0.0, 0.1)) * (image - mean)
    return np.clip(image, 0, 1).astype(np.float32)
