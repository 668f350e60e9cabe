"""Captures as arrays, with the quantisation table of those that are JPEG files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imagine_deblur import _core
from imagine_deblur.calibration.extras import require
from imagine_deblur.errors import InputImageError

FloatImage = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
Source = str | os.PathLike[str] | bytes | npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded capture.

    Attributes
    ----------
    name : str
    image : (R, C, 3) float32 ndarray, [0, 1]
        In the sensor's orientation.
    table : (8, 8) float64 ndarray or None
        Luma quantisation steps of a JPEG file.
    """

    name: str
    image: FloatImage
    table: FloatArray | None = None


def read_capture(source: Source, name: str) -> Picture:
    """Decode a capture.

    Parameters
    ----------
    source : path, bytes or array
        A JPEG (or PNG, TIFF) file, the bytes of one, or an (R, C, 3) array, uint8 or float32.
    name : str

    Raises
    ------
    InputImageError
        Not a picture, or an array of another kind.
    OSError
        The file cannot be read.
    """
    if isinstance(source, np.ndarray):
        return Picture(name, _checked(source, name))
    if isinstance(source, bytes):
        data = source
    else:
        with open(source, "rb") as file:
            data = file.read()
    if data[:2] == b"\xff\xd8":
        reader = _core.JpegReader(data, name=name)
        tables = reader.info["quantisation"]
        image = np.asarray(reader.read_rows(reader.info["rows"]))
        image = image.reshape(*image.shape[:2], -1)
        if image.shape[2] == 1:
            image = np.repeat(image, 3, axis=2)
        table = np.asarray(tables[0], dtype=np.float64).reshape(8, 8) if tables else None
        return Picture(name, _checked(image, name), table)
    cv2 = require("cv2")
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags) if data else None
    if decoded is None:
        raise InputImageError(f"{name}: not a picture that can be read", path=name)
    return Picture(name, _checked(np.ascontiguousarray(decoded[..., ::-1]), name))


def _checked(image: npt.NDArray[Any], name: str) -> FloatImage:
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputImageError(f"{name} has shape {image.shape}; it must be (R, C, 3)")
    if image.dtype == np.uint8:
        return image.astype(np.float32) / np.float32(255)
    if image.dtype != np.float32 or not np.isfinite(image).all():
        raise InputImageError(f"{name} is {image.dtype}; it must be uint8 or finite float32")
    return image
