"""What a camera makes of the light: mosaic, noise, denoising, sharpening, tone curve, JPEG.

The chain, in order: exposure and white balance in linear light, an RGGB Bayer mosaic, shot and read
noise on the raw samples, demosaicing, a denoiser and an unsharp mask on sRGB-encoded luma and
colour, a mild S on top of the sRGB curve, 8 bits, 4:2:0 JPEG. The picture that it would deliver
without mosaic, noise, denoiser, sharpening and coder is `Camera.render`: exposure, colour and tone
are the photographer's choice and no part of the blur.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from imagine_deblur.degradation.forward import add_noise, jpeg_roundtrip, quantise
from imagine_deblur.degradation.srgb import to_encoded, to_linear
from imagine_deblur.errors import InputImageError, OptionsError

FloatImage = npt.NDArray[np.float32]
Plane = npt.NDArray[np.float32]
Demosaic = Literal["bilinear", "gradient"]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

_BILINEAR_GREEN = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
_BILINEAR_COLOUR = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4

# Malvar, He and Cutler, "High-quality linear interpolation for demosaicing of Bayer-patterned
# color images", ICASSP 2004, figure 2; all over 8.
_GREEN_AT_COLOUR = np.array(
    [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]
)
_COLOUR_IN_ITS_ROW = np.array(
    [[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]
)
_COLOUR_AT_THE_OTHER = np.array(
    [
        [0, 0, -1.5, 0, 0],
        [0, 2, 0, 2, 0],
        [-1.5, 0, 6, 0, -1.5],
        [0, 2, 0, 2, 0],
        [0, 0, -1.5, 0, 0],
    ]
)


@dataclass(frozen=True)
class Camera:
    """One camera's settings.

    Attributes
    ----------
    exposure : float
        Factor on linear light, in (0, 1].
    white_balance : (float, float, float)
        Error of the gains of red, green and blue, factors near 1.
    noise : float
        Amplitude s of the shot and read noise ``s * sqrt(y + 0.1) * N(0, 1)`` of the raw samples,
        full scale 1.
    demosaic : {"bilinear", "gradient"}
        Averages of the nearest samples, or the gradient-corrected filters of Malvar, He and Cutler.
    luma_sigma_px, chroma_sigma_px : float
        Gaussians of the denoiser, px.
    sharpen : float
        Amount of the unsharp mask on luma, 0 for none.
    sharpen_sigma_px : float
        Its Gaussian, px.
    sharpen_threshold : float
        Differences of at most this, full scale 1, are left.
    curve : float
        Strength a of the S ``v - a sin(2 pi v) / (2 pi)`` on encoded values, in [0, 1).
    jpeg_quality : int or None
        Of the 4:2:0 JPEG; None for none.
    """

    exposure: float = 1.0
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    noise: float = 0.0
    demosaic: Demosaic = "gradient"
    luma_sigma_px: float = 0.0
    chroma_sigma_px: float = 0.0
    sharpen: float = 0.0
    sharpen_sigma_px: float = 1.0
    sharpen_threshold: float = 0.0
    curve: float = 0.0
    jpeg_quality: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.exposure <= 1.0:
            raise OptionsError("exposure", self.exposure, "above 0 and at most 1")
        if self.demosaic not in ("bilinear", "gradient"):
            raise OptionsError("demosaic", self.demosaic, "'bilinear' or 'gradient'")
        if not 0.0 <= self.curve < 1.0:
            raise OptionsError("curve", self.curve, "0 or more and below 1")

    def expose(self, scene: FloatImage) -> FloatImage:
        """Linear light on the sensor, (R, C, 3) float32 in [0, 1], of sRGB-encoded values."""
        _check(scene)
        gains = np.float32(self.exposure) * np.asarray(self.white_balance, np.float32)
        return np.asarray(to_linear(scene) * gains, np.float32)

    def render(self, linear: FloatImage) -> FloatImage:
        """Tone of linear light: the sRGB curve and the S, (R, C, 3) float32 in [0, 1]."""
        return self._tone(to_encoded(linear))

    def capture(self, linear: FloatImage, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        """Photograph linear light.

        Parameters
        ----------
        linear : (R, C, 3) float32 ndarray, [0, 1]
            Blurred light on the sensor, from `expose`; values outside are clipped.
        rng : numpy.random.Generator
            Of the noise.

        Returns
        -------
        (R, C, 3) uint8 ndarray
            What the camera's file decodes to.
        """
        _check(linear)
        raw = add_noise(mosaic(np.clip(linear, 0.0, 1.0)), self.noise, rng)
        encoded = to_encoded(demosaic(np.clip(raw, 0.0, 1.0), self.demosaic))
        luma = encoded @ _LUMA
        colour = encoded - luma[..., None]
        for band in range(3):
            colour[..., band] = _smooth(colour[..., band], self.chroma_sigma_px)
        luma = self._sharpened(_smooth(luma, self.luma_sigma_px))
        developed = quantise(self._tone(np.clip(luma[..., None] + colour, 0.0, 1.0)))
        if self.jpeg_quality is None:
            return developed
        return jpeg_roundtrip(developed, self.jpeg_quality)

    def to_dict(self) -> dict[str, Any]:
        """Plain values of every field."""
        return asdict(self)

    def _sharpened(self, luma: Plane) -> Plane:
        if self.sharpen == 0.0:
            return luma
        detail = luma - _smooth(luma, self.sharpen_sigma_px)
        detail[np.abs(detail) <= self.sharpen_threshold] = 0.0
        return np.asarray(luma + np.float32(self.sharpen) * detail, np.float32)

    def _tone(self, encoded: FloatImage) -> FloatImage:
        wave = np.sin(np.float32(2 * np.pi) * encoded)
        return np.asarray(encoded - np.float32(self.curve / (2 * np.pi)) * wave, np.float32)


def draw_camera(rng: np.random.Generator) -> Camera:
    """A camera of the protocols `camera` and `camera-low`; see docs/conventions.md, "Camera".

    Exposure 0.7 to 1, white balance within 3 %, noise 0.002 to 0.02 (log-uniform), either
    demosaicing, denoiser of 0 to 1 px on luma and 0.5 to 2.5 px on colour, sharpening by 0 to 0.8
    over 1 to 2 px with a threshold of 0 to 2 grey levels, an S of 0 to 0.15, quality 75 to 95.
    """
    balance = rng.uniform(0.97, 1.03, 2)
    return Camera(
        exposure=float(rng.uniform(0.7, 1.0)),
        white_balance=(float(balance[0]), 1.0, float(balance[1])),
        noise=float(np.exp(rng.uniform(np.log(0.002), np.log(0.02)))),
        demosaic="bilinear" if rng.random() < 0.5 else "gradient",
        luma_sigma_px=float(rng.uniform(0.0, 1.0)),
        chroma_sigma_px=float(rng.uniform(0.5, 2.5)),
        sharpen=float(rng.uniform(0.0, 0.8)),
        sharpen_sigma_px=float(rng.uniform(1.0, 2.0)),
        sharpen_threshold=float(rng.uniform(0.0, 2.0)) / 255,
        curve=float(rng.uniform(0.0, 0.15)),
        jpeg_quality=int(rng.integers(75, 96)),
    )


def mosaic(image: FloatImage) -> Plane:
    """One sample a pixel behind an RGGB Bayer filter, red at (0, 0): (R, C, 3) to (R, C)."""
    raw = image[..., 1].copy()
    raw[0::2, 0::2] = image[0::2, 0::2, 0]
    raw[1::2, 1::2] = image[1::2, 1::2, 2]
    return raw


def demosaic(raw: Plane, method: Demosaic = "gradient") -> FloatImage:
    """Interpolate an RGGB mosaic, red at (0, 0).

    Parameters
    ----------
    raw : (R, C) float32 ndarray
        Both sides at least 3 px; continued by reflection, which keeps the mosaic's phase.
    method : {"bilinear", "gradient"}

    Returns
    -------
    (R, C, 3) float32 ndarray
        Not clipped.
    """
    if method == "bilinear":
        return _bilinear(raw)
    result = np.empty((*raw.shape, 3), np.float32)
    green = _correlate(raw, _GREEN_AT_COLOUR / 8)
    along = _correlate(raw, _COLOUR_IN_ITS_ROW / 8)
    across = _correlate(raw, _COLOUR_IN_ITS_ROW.T / 8)
    diagonal = _correlate(raw, _COLOUR_AT_THE_OTHER / 8)
    result[...] = raw[..., None]
    for band, own, other in ((0, 0, 1), (2, 1, 0)):
        at_own, at_other = np.s_[own::2, own::2], np.s_[other::2, other::2]
        result[..., 1][at_own] = green[at_own]
        result[..., band][at_other] = diagonal[at_other]
        in_row, in_column = np.s_[own::2, other::2], np.s_[other::2, own::2]
        result[..., band][in_row] = along[in_row]
        result[..., band][in_column] = across[in_column]
    return result


def _bilinear(raw: Plane) -> FloatImage:
    result = np.empty((*raw.shape, 3), np.float32)
    for band in range(3):
        sparse = np.zeros_like(raw)
        places = ((0, 0),) if band == 0 else ((1, 1),) if band == 2 else ((0, 1), (1, 0))
        for row, column in places:
            sparse[row::2, column::2] = raw[row::2, column::2]
        kernel = _BILINEAR_GREEN if band == 1 else _BILINEAR_COLOUR
        result[..., band] = _correlate(sparse, kernel)
    return result


def _correlate(plane: Plane, kernel: npt.NDArray[np.float64]) -> Plane:
    """Correlate with a small odd kernel, borders by reflection."""
    half = kernel.shape[0] // 2
    padded = np.pad(plane, half, mode="reflect")
    rows, columns = plane.shape
    result = np.zeros_like(plane)
    for row, column in np.argwhere(kernel):
        weight = np.float32(kernel[row, column])
        result += weight * padded[row : row + rows, column : column + columns]
    return result


def _smooth(plane: Plane, sigma_px: float) -> Plane:
    """Gaussian of a plane, borders by reflection; sampled to four sigmas."""
    reach = int(np.ceil(4 * sigma_px))
    if reach == 0:
        return plane
    offset = np.arange(-reach, reach + 1)
    line = np.exp(-0.5 * (offset / sigma_px) ** 2).astype(np.float32)
    line /= line.sum()
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (reach, reach)
        padded = np.pad(plane, pad, mode="reflect")
        size = plane.shape[axis]
        total = np.zeros_like(plane)
        for k, weight in enumerate(line):
            total += weight * np.take(padded, np.arange(k, k + size), axis=axis)
        plane = total
    return plane


def _check(image: FloatImage) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.float32:
        raise InputImageError(
            f"image is {image.dtype} of shape {image.shape}; a camera needs float32 (R, C, 3)"
        )
    if min(image.shape[:2]) < 3:
        raise InputImageError(f"a mosaic needs 3 px a side; the image is {image.shape[:2]}")
