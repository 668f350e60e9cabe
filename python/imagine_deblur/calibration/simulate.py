"""Captures and references with known truth, made from a sharp scene: for tests and benchmarks.

The scene is taken as the ground at `gsd_m` metres per px. A capture is the ground seen through a
tilted, rotated camera on a grid four times finer than its own, blurred there by the PSF, sampled
every fourth point, given another radiometry, noise, 8 bits and JPEG. The reference is the ground
blurred by its own sensor, with noise and 8 bits. Neither shares an interpolation or a grid with
the code that calibrates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagine_deblur.calibration import geometry
from imagine_deblur.calibration.extras import require
from imagine_deblur.degradation.forward import (
    ByteImage,
    add_noise,
    blur,
    expose,
    jpeg_decode,
    jpeg_encode,
    quantise,
)
from imagine_deblur.psf import PSF, Disk, Gaussian

FloatImage = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

_FINE = 4
_FOCAL_PX = 10_500.0  # 420 km above ground at 40 m per px


@dataclass(frozen=True, eq=False)
class Truth:
    """A simulated capture and what calibration should find.

    Attributes
    ----------
    capture : bytes or (R, C, 3) uint8 ndarray
        The JPEG file where one was asked for.
    homography : (3, 3) float64 ndarray
        Capture (column, row, 1) to the scene's, pixel centres at integers.
    psf : PSF
    cloud : float
        Share of the frame under cloud.
    """

    capture: bytes | ByteImage
    homography: FloatArray
    psf: PSF
    cloud: float


def enlarge(scene: FloatImage, factor: int) -> FloatImage:
    """A scene resampled `factor` times finer by cubic interpolation."""
    cv2 = require("cv2")
    if factor == 1:
        return scene
    size = (scene.shape[1] * factor, scene.shape[0] * factor)
    fine = cv2.resize(scene, size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(fine, 0.0, 1.0), dtype=np.float32)


def reference_of(
    scene: FloatImage, mtf_nyquist: float, rng: np.random.Generator, noise: float = 0.002
) -> ByteImage:
    """The scene as a sensor with this MTF at its Nyquist frequency delivers it, uint8."""
    # exp(-2 pi^2 s^2 / 4) = m
    sigma = float(np.sqrt(-2.0 * np.log(mtf_nyquist)) / np.pi)
    return quantise(add_noise(blur(scene, PSF((Gaussian(sigma),))), noise, rng))


def view(
    shape: tuple[int, int],
    scale: float,
    rotation_deg: float,
    tilt_deg: float,
    tilt_direction_deg: float,
    centre: tuple[float, float],
) -> FloatArray:
    """Homography of a capture of `shape` whose centre lies at `centre` (column, row) of the scene.

    `scale` is the scene's px per capture px at the centre; a tilt stretches it along its direction.
    """
    tilt, direction, turn = np.deg2rad([tilt_deg, tilt_direction_deg, rotation_deg])
    inner = np.eye(3)
    inner[0, 2], inner[1, 2] = -0.5 * (shape[1] - 1), -0.5 * (shape[0] - 1)
    along = _rotation(direction)
    focal = np.diag([_FOCAL_PX, _FOCAL_PX, 1.0])
    lean = np.array(
        [
            [np.cos(tilt), 0.0, np.sin(tilt)],
            [0.0, 1.0, 0.0],
            [-np.sin(tilt), 0.0, np.cos(tilt)],
        ]
    )
    camera = along @ focal @ lean @ np.linalg.inv(focal) @ along.T
    # The tilt moves the centre; bring it back, and keep the mean scale there.
    at = geometry.project(camera, np.zeros((1, 2)))[0]
    local = np.sqrt(abs(np.linalg.det(geometry.jacobian(camera, (0.0, 0.0)))))
    back = np.array([[1.0, 0.0, -at[0]], [0.0, 1.0, -at[1]], [0.0, 0.0, 1.0]])
    size = np.diag([scale / local, scale / local, 1.0])
    move = np.array([[1.0, 0.0, centre[0]], [0.0, 1.0, centre[1]], [0.0, 0.0, 1.0]])
    result = move @ _rotation(-turn) @ size @ back @ camera @ inner
    return np.asarray(result / result[2, 2])


def capture_of(
    scene: FloatImage,
    homography: FloatArray,
    shape: tuple[int, int],
    psf: PSF,
    rng: np.random.Generator,
    *,
    noise: float = 0.006,
    jpeg_quality: int | None = 85,
    cloud: float = 0.0,
    radiometry: bool = True,
) -> Truth:
    """Take a capture.

    Parameters
    ----------
    scene : (R, C, 3) float32 ndarray, [0, 1]
    homography : (3, 3) float64 ndarray
        From `view`.
    shape : (int, int)
        Rows and columns of the capture.
    psf : PSF
        Of disks and isotropic Gaussians, in capture px.
    rng : numpy.random.Generator
    noise : float
        See `degradation.expose`.
    jpeg_quality : int or None
        None delivers the array.
    cloud : float
        Share of the frame under cloud, about.
    radiometry : bool
        Give each band another gain, offset and gamma, after the optics.
    """
    cv2 = require("cv2")
    # Sample (i, j) of the fine grid lies at the capture's (i / 4, j / 4), with a margin around.
    margin = _FINE * (int(np.ceil(psf.extent_px)) + 8)
    rows, columns = _FINE * shape[0] + 2 * margin, _FINE * shape[1] + 2 * margin
    shift = -margin / _FINE
    to_capture = np.array([[1.0 / _FINE, 0.0, shift], [0.0, 1.0 / _FINE, shift], [0.0, 0.0, 1.0]])
    ground = cv2.warpPerspective(
        scene,
        homography @ to_capture,
        (columns, rows),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    cover = 0.0
    if cloud > 0.0:
        alpha = clouds(rows, columns, cloud, rng)
        ground += alpha[..., None] * (np.float32(0.95) - ground)
        cover = float((alpha > 0.1).mean())
    fine_psf = PSF(
        tuple(
            Disk(_FINE * c.radius_px) if isinstance(c, Disk) else Gaussian(_FINE * c.sigma_px)
            for c in psf.components
            if isinstance(c, Disk | Gaussian)
        )
    )
    if len(fine_psf.components) != len(psf.components):
        raise TypeError("only disks and Gaussians can be simulated")
    inside = (
        slice(margin, margin + _FINE * shape[0], _FINE),
        slice(margin, margin + _FINE * shape[1], _FINE),
    )
    seen = np.stack([blur(ground[..., band], fine_psf)[inside] for band in range(3)], axis=2)
    if radiometry:
        gain = rng.uniform(0.7, 1.0, 3).astype(np.float32)
        offset = rng.uniform(0.0, 0.08, 3).astype(np.float32)
        gamma = rng.uniform(0.85, 1.2, 3).astype(np.float32)
        seen = offset + gain * np.power(np.clip(seen, 0.0, 1.0), gamma)
    taken = expose(seen.astype(np.float32), noise=noise, jpeg_quality=None, rng=rng)
    file = taken if jpeg_quality is None else jpeg_encode(taken, jpeg_quality)
    return Truth(file, homography, psf, cover)


def mirrored(truth: Truth) -> npt.NDArray[np.uint8]:
    """A capture flipped left to right: no camera sees the ground so."""
    capture = truth.capture
    image = jpeg_decode(capture) if isinstance(capture, bytes) else capture
    return np.ascontiguousarray(image[:, ::-1])


def clouds(rows: int, columns: int, share: float, rng: np.random.Generator) -> FloatImage:
    """Opacity in [0, 1] of cumulus patches: a smooth random field above its quantile."""
    cv2 = require("cv2")
    small = rng.standard_normal((max(4, rows // 8), max(4, columns // 8))).astype(np.float32)
    width = 0.035 * max(small.shape)
    field = cv2.GaussianBlur(small, (0, 0), width) / np.float32(1e-6 + 0.28 / width)
    field = cv2.resize(field, (columns, rows), interpolation=cv2.INTER_CUBIC)
    limit = np.quantile(field[::4, ::4], 1.0 - share)
    return np.asarray(np.clip((field - limit) / 0.25, 0.0, 1.0), dtype=np.float32)


def _rotation(angle: float) -> FloatArray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
