"""What the published systems are trained on: degradations by name.

The papers leave amplitudes, kernel families and JPEG settings out; every number of ours is here. A
draw depends on nothing but the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.degradation.forward import degrade, expose, spin
from imagine_deblur.evaluation.protocols import truncated_gaussian
from imagine_deblur.psf import PSF, Gaussian, Motion
from imagine_deblur.train.recipe import change_scene, draw

ByteImage: TypeAlias = NDArray[np.uint8]
Float32Array: TypeAlias = NDArray[np.float32]

#: Support of MGSTNet's kernels, px.
GAUSSIAN_SIZE = 15


def _generic(
    sharp: Float32Array, rng: np.random.Generator, satellite: bool
) -> tuple[Float32Array, ByteImage]:
    """One of Gaussian blur, defocus, shot noise, motion and spin, the list of IMAGIN-e's first
    stage; the blurred ones with a little noise half of the time.
    """
    kind = ("gaussian", "defocus", "shot", "motion", "spin")[int(rng.integers(5))]
    noise = float(rng.uniform(0.0, 0.01)) if rng.random() < 0.5 else 0.0
    match kind:
        case "gaussian":
            psf = PSF((Gaussian(float(rng.uniform(0.5, 4.0))),))
        case "defocus":
            psf = PSF.defocus(float(rng.uniform(2.0, 8.0)), 0.5)
        case "motion":
            motion = Motion(float(rng.uniform(3.0, 15.0)), float(rng.uniform(0.0, 180.0)))
            psf = PSF((motion, Gaussian(0.5)))
        case "shot":
            return sharp, expose(sharp, noise=float(rng.uniform(0.005, 0.05)), rng=rng)
        case _:
            turned = spin(sharp, float(rng.uniform(0.2, 1.0)))
            return sharp, expose(turned, noise=noise, rng=rng)
    return sharp, degrade(sharp, psf, noise=noise, rng=rng)


def _drawn(
    sharp: Float32Array, rng: np.random.Generator, *, operating: bool
) -> tuple[Float32Array, ByteImage]:
    sharp = change_scene(sharp, rng, operating=operating)
    chosen = draw(rng, operating=operating, radius_error=0.0, sigma_error=0.0)
    return sharp, degrade(
        sharp, chosen.psf, noise=chosen.noise, jpeg_quality=chosen.jpeg_quality, rng=rng
    )


def _refined(
    sharp: Float32Array, rng: np.random.Generator, satellite: bool
) -> tuple[Float32Array, ByteImage]:
    """Near the operating point of IMAGIN-e: what the ground team knew after characterising it."""
    return _drawn(sharp, rng, operating=True)


def _mixed(
    sharp: Float32Array, rng: np.random.Generator, satellite: bool
) -> tuple[Float32Array, ByteImage]:
    """The whole of `imagine_deblur.train.recipe`."""
    return _drawn(sharp, rng, operating=bool(rng.random() < (0.5 if satellite else 0.1)))


def _gauss(
    sharp: Float32Array, rng: np.random.Generator, satellite: bool
) -> tuple[Float32Array, ByteImage]:
    """MGSTNet's: an isotropic Gaussian of sigma 0.2 to 4 px in 15x15, no noise."""
    psf = truncated_gaussian(float(rng.uniform(0.2, 4.0)), GAUSSIAN_SIZE)
    return sharp, degrade(sharp, psf, rng=rng)


def _gauss_plus(
    sharp: Float32Array, rng: np.random.Generator, satellite: bool
) -> tuple[Float32Array, ByteImage]:
    """MGSTNet's noisy set: sigma 1 to 4 px, white noise of 0.001."""
    psf = truncated_gaussian(float(rng.uniform(1.0, 4.0)), GAUSSIAN_SIZE)
    return sharp, degrade(sharp, psf, noise=0.001, noise_model="awgn", rng=rng)


def _defocus(
    sharp: Float32Array, rng: np.random.Generator, satellite: bool
) -> tuple[Float32Array, ByteImage]:
    """Defocus alone, as in the autoencoder's data: disk of 2 to 8 px, noise 0.002."""
    psf = PSF.defocus(float(rng.uniform(2.0, 8.0)), 0.5)
    return sharp, degrade(sharp, psf, noise=0.002, rng=rng)


Degradation: TypeAlias = Callable[
    [Float32Array, np.random.Generator, bool], tuple[Float32Array, ByteImage]
]

#: Name to function of (sharp (R, C, 3) float32, generator, whether it is a satellite scene); gives
#: the truth, contrast changed where the recipe does so, and the capture.
DEGRADATIONS: dict[str, Degradation] = {
    "generic": _generic,
    "refined": _refined,
    "mixed": _mixed,
    "gauss": _gauss,
    "gauss+": _gauss_plus,
    "defocus": _defocus,
}
