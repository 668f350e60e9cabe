"""What an array must be to be restored, and how to make it so.

Every refusal names what was given, what is taken and the call that turns the one into the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.errors import InputImageError, OptionsError

Frame = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
Samples = NDArray[np.uint8] | NDArray[np.float32]

LONGEST_SIDE = 65_500
"""Px: what a JPEG can hold, for arrays too."""

FULL_SCALE_16 = np.float32(65535)

_TAKEN = "uint8, uint16, or float32 in [0, 1]"


def check_frame(image: object, *, max_pixels: int) -> Frame:
    """Return the array that is to be restored: what `check_picture` takes, in one piece.

    Raises
    ------
    InputImageError
        As `check_picture`, and of strides that skip; the message names the cure.
    """
    frame = check_picture(image, max_pixels=max_pixels)
    if not frame.flags.c_contiguous:
        raise InputImageError(
            f"image has strides {frame.strides} and is not C-contiguous: pass "
            "numpy.ascontiguousarray(image)"
        )
    return frame


def check_picture(image: object, *, max_pixels: int) -> Frame:
    """Return an array whose samples can be used.

    Parameters
    ----------
    image : object
    max_pixels : int
        `Options.max_pixels`.

    Raises
    ------
    InputImageError
        No array of a type, shape or range that can be used; the message names the cure.
    """
    if not isinstance(image, np.ndarray):
        raise InputImageError(
            f"image is of type {type(image).__name__}, not an ndarray: convert it with "
            "numpy.asarray(image)"
        )
    if isinstance(image, np.ma.MaskedArray):
        masked = int(np.count_nonzero(np.ma.getmaskarray(image)))
        raise InputImageError(
            f"image is a masked array with {masked} masked samples, and a blur is undone from all "
            "of them: fill them first, for example image.filled(0)"
        )
    _check_dtype(image)
    _check_shape(image, max_pixels)
    if image.dtype == np.float32:
        _check_range(image)
    return image


def _check_dtype(image: NDArray[Any]) -> None:
    dtype = image.dtype
    if dtype in (np.uint8, np.uint16, np.float32) and dtype.isnative:
        return
    if dtype.newbyteorder("=") in (np.uint8, np.uint16, np.float32):
        cure = 'image.astype(image.dtype.newbyteorder("="))'
    elif dtype == np.bool_:
        cure = "image.astype(numpy.uint8) * 255"
    elif dtype.kind == "f":
        cure = "image.astype(numpy.float32)"
    elif dtype.kind in "iu":
        cure = "(image / full_scale).astype(numpy.float32) with the instrument's full scale"
    elif dtype.kind == "c":
        cure = "numpy.abs(image).astype(numpy.float32), scaled to [0, 1]"
    else:
        cure = "rows of equally many numbers, such as numpy.array(rows, dtype=numpy.uint8)"
    raise InputImageError(f"image has dtype {dtype}; taken are {_TAKEN}: pass {cure}")


def _check_shape(image: NDArray[Any], max_pixels: int) -> None:
    shape = image.shape
    if image.ndim == 2 or (image.ndim == 3 and shape[2] == 3):
        rows, columns = shape[:2]
        if not (1 <= rows <= LONGEST_SIDE and 1 <= columns <= LONGEST_SIDE):
            raise InputImageError(
                f"image has {rows} x {columns} px; rows and columns must be 1 to {LONGEST_SIDE}: "
                "restore it in parts"
            )
        if rows * columns > max_pixels:
            raise InputImageError(
                f"image has {rows} x {columns} px, more than max_pixels={max_pixels}: raise "
                "max_pixels"
            )
        return
    if image.ndim == 3 and shape[0] in (1, 3) and min(shape[1:]) > 4:
        cure = "numpy.ascontiguousarray(numpy.moveaxis(image, 0, -1)), its bands come first"
    elif image.ndim == 3 and shape[2] == 1:
        cure = "image[..., 0]"
    elif image.ndim == 3 and shape[2] == 4:
        cure = "numpy.ascontiguousarray(image[..., :3]), or one band after the other"
    elif image.ndim == 3:
        cure = "one band after the other, numpy.ascontiguousarray(image[..., k])"
    else:
        cure = "one picture after the other"
    raise InputImageError(
        f"image has the shape {shape}; taken are (rows, columns) and (rows, columns, 3): pass "
        f"{cure}"
    )


def _check_range(image: NDArray[np.float32]) -> None:
    low, high = float(image.min()), float(image.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = ~np.isfinite(image)
        first = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), image.shape))
        raise InputImageError(
            f"image has {int(bad.sum())} samples that are NaN or infinite, the first at {first}: "
            "replace them, for example numpy.nan_to_num(image, posinf=1, neginf=0)"
        )
    if low < 0.0 or high > 1.0:
        if high > 255.0:
            cure = "divide by its full scale, image / 65535 where that is 16 bits"
        elif high > 2.0:
            cure = "divide by its full scale, image / 255 where that is 8 bits"
        else:
            cure = "numpy.clip(image, 0, 1)"
        raise InputImageError(
            f"image has float32 values from {low:.4g} to {high:.4g}, outside [0, 1]: {cure}"
        )


def as_samples(image: Frame) -> Samples:
    """Return the frame as the pipeline takes it: uint16 as float32, its full scale 65535 as 1."""
    if image.dtype != np.uint16:
        return image  # type: ignore[return-value]
    return np.asarray(image / FULL_SCALE_16, np.float32)


def check_out(out: object, image: Frame) -> None:
    """Refuse an array that cannot receive the restoration of `image`.

    Raises
    ------
    OptionsError
    """
    alike = f"an ndarray of shape {image.shape} and dtype {image.dtype}, such as empty_like(image)"
    if not isinstance(out, np.ndarray):
        raise OptionsError("out", type(out).__name__, alike)
    if out.shape != image.shape or out.dtype != image.dtype:
        raise OptionsError("out", f"{out.dtype} array of shape {out.shape}", alike)
    if not out.flags.writeable:
        raise OptionsError("out", "a read-only array", "memory that can be written")
    if not out.flags.c_contiguous:
        raise OptionsError("out", f"strides {out.strides}", "a C-contiguous array")
    if np.may_share_memory(image, out):
        raise OptionsError("out", "an array", "memory that does not overlap the image")


def check_region(region: tuple[slice, slice], image: Frame) -> None:
    """Refuse a region that is empty or leaves an image.

    Raises
    ------
    OptionsError
    """
    for part, size in zip(region, image.shape, strict=False):
        if part.step not in (None, 1) or part.start is None or part.stop is None:
            raise OptionsError("region", region, "two slices with a start and a stop")
        if not 0 <= part.start < part.stop <= size:
            raise OptionsError("region", region, f"a part of {image.shape[0]} x {image.shape[1]}")


def deliver(samples: Samples, out: Frame) -> None:
    """Round restored samples into a 16-bit array; 1 is 65535."""
    scaled = samples * FULL_SCALE_16
    np.rint(scaled, out=scaled)
    np.clip(scaled, 0, 65535, out=scaled)
    np.copyto(out, scaled, casting="unsafe")
