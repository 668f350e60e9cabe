"""The forward model: what the instrument does to a sharp scene.

``y = JPEG( round8( clip( h (*) x + noise ) ) )``. Training, tests, benchmarks and the demo call
these functions and no others. Images are (R, C) or (R, C, 3) float32 in [0, 1], sRGB-encoded values
unless ``light="linear"`` is asked for; every random number comes from the caller's generator.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from imagine_deblur.degradation.rotation import spin
from imagine_deblur.degradation.shake import random_walk_kernel
from imagine_deblur.degradation.srgb import to_encoded, to_linear
from imagine_deblur.errors import InputImageError, OptionsError
from imagine_deblur.psf.models import PSF
from imagine_deblur.support.fft_size import fast_length, reflect_index

__all__ = [
    "add_noise",
    "blur",
    "degrade",
    "expose",
    "jpeg_decode",
    "jpeg_encode",
    "jpeg_roundtrip",
    "quantise",
    "random_walk_kernel",
    "spin",
]

FloatImage = npt.NDArray[np.float32]
ByteImage = npt.NDArray[np.uint8]
NoiseModel = Literal["shot+read", "awgn"]
Light = Literal["encoded", "linear"]
Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]


def blur(image: FloatImage, psf: PSF, *, light: Light = "encoded") -> FloatImage:
    """Convolve an image with a PSF, borders extended by reflection, then cropped back.

    Parameters
    ----------
    image : (R, C) or (R, C, 3) float32 ndarray, [0, 1]
    psf : PSF
        Kernel of unit flux, in px of `image`.
    light : {"encoded", "linear"}
        The values that are averaged: encoded as they are, or linear light, encoded afterwards.

    Returns
    -------
    float32 ndarray
        Same shape. Analytic kernels are band-limited, so values may leave [0, 1] by a few percent
        beside strong edges; `degrade` clips them as a sensor would.

    Notes
    -----
    The margin is the PSF's extent and 8 px more on each side; the product is taken in frequency on
    planes of a fast size. Memory: about 24 bytes per padded sample.
    """
    _check_image(image)
    if light == "linear":
        return to_encoded(_convolve(to_linear(image), psf))
    if light != "encoded":
        raise OptionsError("light", light, "'encoded' or 'linear'")
    return _convolve(image, psf)


def _convolve(image: FloatImage, psf: PSF) -> FloatImage:
    rows, columns = image.shape[:2]
    margin = int(np.ceil(psf.extent_px)) + 8
    padded_rows = fast_length(rows + 2 * margin)
    padded_columns = fast_length(columns + 2 * margin)
    row_index = reflect_index(np.arange(padded_rows) - margin, rows)
    column_index = reflect_index(np.arange(padded_columns) - margin, columns)
    transfer = psf.half_plane(padded_rows, padded_columns)
    result = np.empty(image.shape, dtype=np.float32)
    inside = (slice(margin, margin + rows), slice(margin, margin + columns))
    for band in range(image.shape[2] if image.ndim == 3 else 1):
        plane = image[..., band] if image.ndim == 3 else image
        padded = plane[row_index][:, column_index]
        # norm="ortho" both ways: numpy 2's float32 transforms are several times slower when their
        # scale factor is the integer 1, which is what the default norm passes.
        spectrum = np.fft.rfft(padded, axis=1, norm="ortho")
        np.fft.fft(spectrum, axis=0, norm="ortho", out=spectrum)
        spectrum *= transfer
        np.fft.ifft(spectrum, axis=0, norm="ortho", out=spectrum)
        blurred = np.fft.irfft(spectrum, n=padded_columns, axis=1, norm="ortho")
        if image.ndim == 3:
            result[..., band] = blurred[inside]
        else:
            result[...] = blurred[inside]
    return result


def add_noise(
    image: FloatImage,
    s: float,
    rng: np.random.Generator,
    *,
    model: NoiseModel = "shot+read",
) -> FloatImage:
    """Add sensor noise.

    Parameters
    ----------
    image : float32 ndarray, [0, 1]
    s : float
        Noise amplitude, full scale 1; 0 adds nothing and draws nothing.
    rng : numpy.random.Generator
    model : {"shot+read", "awgn"}
        ``s * sqrt(clip(y, 0, 1) + 0.1) * N(0, 1)`` per sample, or ``s * N(0, 1)``.

    Returns
    -------
    float32 ndarray
        Same shape, not clipped.
    """
    if not s >= 0.0:
        raise OptionsError("s", s, "0 or more")
    if model not in ("shot+read", "awgn"):
        raise OptionsError("model", model, "'shot+read' or 'awgn'")
    if s == 0.0:
        return image
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise *= np.float32(s)
    if model == "shot+read":
        noise *= np.sqrt(np.clip(image, 0.0, 1.0) + np.float32(0.1))
    noise += image
    return noise


def quantise(image: FloatImage) -> ByteImage:
    """Clip to [0, 1] and round to the nearest of 256 levels; float32 in, uint8 out."""
    scaled = np.clip(image, 0.0, 1.0)
    scaled *= np.float32(255.0)
    scaled += np.float32(0.5)
    return scaled.astype(np.uint8)


def jpeg_roundtrip(image: ByteImage, quality: int, subsampling: Subsampling = "4:2:0") -> ByteImage:
    """Encode as baseline JPEG in memory and decode again.

    Parameters
    ----------
    image : (R, C) or (R, C, 3) uint8 ndarray
    quality : int
        libjpeg's scale, 1 to 100.
    subsampling : {"4:4:4", "4:2:2", "4:2:0"}
        Chroma subsampling; without effect on grey images.

    Returns
    -------
    uint8 ndarray
        Same shape.
    """
    return jpeg_decode(jpeg_encode(image, quality, subsampling))


def jpeg_encode(image: ByteImage, quality: int, subsampling: Subsampling = "4:2:0") -> bytes:
    """The JPEG file of an image as bytes; parameters as for `jpeg_roundtrip`."""
    from imagine_deblur import _core

    if not 1 <= quality <= 100:
        raise OptionsError("quality", quality, "1 to 100")
    if subsampling not in ("4:4:4", "4:2:2", "4:2:0"):
        raise OptionsError("subsampling", subsampling, "'4:4:4', '4:2:2' or '4:2:0'")
    return _core.encode_jpeg(np.ascontiguousarray(image), quality=quality, subsampling=subsampling)


def jpeg_decode(data: bytes) -> ByteImage:
    """The samples of a JPEG file held in memory: (R, C) or (R, C, 3) uint8."""
    from imagine_deblur import _core

    reader = _core.JpegReader(data)
    return reader.read_rows(reader.info["rows"])


def degrade(
    image: FloatImage,
    psf: PSF,
    *,
    noise: float = 0.0,
    noise_model: NoiseModel = "shot+read",
    jpeg_quality: int | None = None,
    rng: np.random.Generator,
    light: Light = "encoded",
) -> ByteImage:
    """The whole forward model: blur, noise, clipping, 8-bit rounding, JPEG.

    Parameters
    ----------
    image : (R, C) or (R, C, 3) float32 ndarray, [0, 1]
    psf : PSF
    noise, noise_model, rng
        See `add_noise`.
    jpeg_quality : int or None
        4:2:0 JPEG of this quality; None leaves it out.
    light : {"encoded", "linear"}
        See `blur`.

    Returns
    -------
    uint8 ndarray
        Same shape as `image`.
    """
    return expose(
        blur(image, psf, light=light),
        noise=noise,
        noise_model=noise_model,
        jpeg_quality=jpeg_quality,
        rng=rng,
    )


def expose(
    blurred: FloatImage,
    *,
    noise: float = 0.0,
    noise_model: NoiseModel = "shot+read",
    jpeg_quality: int | None = None,
    rng: np.random.Generator,
) -> ByteImage:
    """What follows the optics: noise, clipping, 8-bit rounding, JPEG. See `degrade`."""
    captured = quantise(add_noise(blurred, noise, rng, model=noise_model))
    return captured if jpeg_quality is None else jpeg_roundtrip(captured, jpeg_quality)


def _check_image(image: FloatImage) -> None:
    shaped = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if not shaped or image.size == 0 or image.dtype != np.float32:
        raise InputImageError(
            f"image is {image.dtype} of shape {image.shape}; it must be float32 (R, C) or (R, C, 3)"
        )
