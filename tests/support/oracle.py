"""The obvious pipeline: the whole frame at once, in numpy, no strips and no shared code for tiles.

Tests compare the streaming pipeline with this; it is never used for anything else.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from imagine_deblur import _core
from imagine_deblur.engines import ModelDescriptor, open_engine
from imagine_deblur.psf.models import PSF
from imagine_deblur.restoration.wiener import WienerSpec, wiener_planes

Frame = NDArray[np.uint8] | NDArray[np.float32]
Planes = NDArray[np.float32]
Network = Callable[[Planes], NDArray[np.floating]]


def capture_planes(image: Frame) -> Planes:
    """(bands, R, C) float32 in [0, 1]."""
    planes = np.moveaxis(image[..., None] if image.ndim == 2 else image, -1, 0)
    return planes / np.float32(255) if image.dtype == np.uint8 else planes.astype(np.float32)


def linear_planes(image: Frame, psf: PSF, spec: WienerSpec) -> Planes:
    """The Wiener bank over the whole frame, rounded to 1/4096 for 8-bit frames."""
    scaled = image / np.float32(255) if image.dtype == np.uint8 else image
    planes = wiener_planes(scaled, psf, spec)
    if image.dtype != np.uint8:
        return planes
    fixed = np.clip(np.rint(planes * np.float32(4096)), -32768, 32767)
    return (fixed / 4096).astype(np.float32)


def network_inputs(image: Frame, descriptor: ModelDescriptor, psf: PSF | None) -> Planes:
    """The planes a network asks for, by name, its offset subtracted."""
    capture = capture_planes(image)
    bands = len(capture)
    named = {f"capture.{c}": capture[k if bands == 3 else 0] for k, c in enumerate("rgb")}
    if (spec := descriptor.bank) is not None:
        assert psf is not None
        linear = linear_planes(image, psf, spec)
        for k, colour in enumerate("rgb"):
            named[f"wiener.{spec.base}.{colour}"] = linear[k if bands == 3 else 0]
        others = [k for k in range(len(spec.nsr)) if k != spec.base]
        for plane, k in enumerate(others, start=bands):
            named[f"wiener.{k}.y"] = linear[plane]
    stack = np.stack([named[name] for name in descriptor.inputs])
    return stack - np.float32(descriptor.input_offset)


def padded(planes: Planes, before: int, multiple: int) -> Planes:
    """Reflected by `before` and by at least as much behind, up to a multiple."""
    sides = [(before, before + (-(n + 2 * before)) % multiple) for n in planes.shape[1:]]
    if min(planes.shape[1:]) > 1:
        return np.pad(planes, [(0, 0), *sides], mode="reflect")
    for axis, (ahead, behind) in enumerate(sides, start=1):
        mode = "edge" if planes.shape[axis] == 1 else "reflect"
        widths = [(0, 0)] * 3
        widths[axis] = (ahead, behind)
        planes = np.pad(planes, widths, mode=mode)
    return planes


def whole_network(
    image: Frame, descriptor: ModelDescriptor, runtime: str, psf: PSF | None
) -> Frame:
    """One tile as large as the frame, through one runtime."""
    planes = padded(network_inputs(image, descriptor, psf), descriptor.halo, descriptor.multiple_of)
    engine = open_engine(descriptor, planes.shape[1:], engine=runtime)
    output = np.empty((descriptor.output_bands, *planes.shape[1:]), np.float32)
    engine.infer(np.ascontiguousarray(planes), output)
    inside = np.s_[:, descriptor.halo :, descriptor.halo :]
    return finished(output[inside][:, : image.shape[0], : image.shape[1]], image)


def blended_network(image: Frame, network: Network, plan: _core.TilePlan) -> Frame:
    """Tiles with full-frame sums of weights and of weighted results, divided at the end."""
    planes = capture_planes(image)
    if len(planes) == 1:
        planes = np.repeat(planes, 3, axis=0)
    rows, columns = image.shape[:2]
    total = np.zeros((3, rows, columns))
    weights = np.zeros((rows, columns))
    for index in range(len(plan)):
        tile = plan.tile(index)
        top, left, bottom, right = tile.read
        source = planes[:, reflected(top, bottom, rows)][:, :, reflected(left, right, columns)]
        result = np.asarray(network(source), np.float64)
        c, w = tile.core, tile.write
        vertical = overlap_weights(plan.overlap_rows, c[0], c[2], w[0], w[2], rows)
        across = overlap_weights(plan.overlap_columns, c[1], c[3], w[1], w[3], columns)
        weight = vertical[:, None] * across[None, :]
        inside = result[:, w[0] - top : w[2] - top, w[1] - left : w[3] - left]
        total[:, w[0] : w[2], w[1] : w[3]] += weight * inside
        weights[w[0] : w[2], w[1] : w[3]] += weight
    return finished(total / weights, image)


def overlap_weights(
    overlap: int, core_first: int, core_last: int, first: int, last: int, frame: int
) -> NDArray[np.float64]:
    """The raised cosine over 2 * overlap samples about each seam, from its formula."""
    position = np.arange(first, last)
    weight = np.ones(last - first)
    if overlap and core_first > 0:
        k = np.clip(position - (core_first - overlap), 0, 2 * overlap - 1)
        rise = 0.5 * (1 - np.cos(np.pi * (k + 0.5) / (2 * overlap)))
        weight = np.where(position < core_first + overlap, rise, weight)
    if overlap and core_last < frame:
        k = np.clip(position - (core_last - overlap), 0, 2 * overlap - 1)
        fall = 0.5 * (1 + np.cos(np.pi * (k + 0.5) / (2 * overlap)))
        weight = np.where(position >= core_last - overlap, weight * fall, weight)
    return weight


def reflected(first: int, last: int, size: int) -> NDArray[np.intp]:
    """Indices `first` to `last` folded into the frame, the edge sample not repeated."""
    index = np.arange(first, last)
    if size == 1:
        return np.zeros_like(index)
    folded = np.abs(index) % (2 * (size - 1))
    return np.where(folded < size, folded, 2 * (size - 1) - folded)


def finished(planes: NDArray[np.floating], like: Frame) -> Frame:
    """Planes back to an interleaved frame of the type of `like`."""
    if like.ndim == 2 and len(planes) == 3:
        planes = planes.mean(axis=0, keepdims=True)
    image = np.moveaxis(planes, 0, -1)
    if like.ndim == 2:
        image = image[..., 0]
    if like.dtype == np.uint8:
        return np.floor(np.clip(image * 255.0, 0, 255) + 0.5).astype(np.uint8)
    return image.astype(np.float32)


def histogram(found: Frame, expected: Frame) -> str:
    """The error histogram, for messages."""
    error = np.abs(found.astype(np.float64) - expected.astype(np.float64)).ravel()
    counts, edges = np.histogram(error, bins=8)
    table = "\n".join(f"{e:10.3g} {n:8d}" for e, n in zip(edges, counts, strict=False))
    return f"max {error.max():.3g}, mean {error.mean():.3g}\n{table}"


def assert_images_close(found: Frame, expected: Frame, tolerance: float) -> None:
    """`tolerance` in the frame's own units: LSB for uint8."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    error = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    assert error.max() <= tolerance, histogram(found, expected)  # NaN fails too
