"""Pixels of captures and restorations, read in windows, and pictures that fit into a page."""

from __future__ import annotations

import base64
import io
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import InputImageError
from imagine_deblur.raster.photometric import min_is_white

Pixels = npt.NDArray[np.uint8]

_JPEG = {".jpg", ".jpeg", ".jpe"}
_STRETCH = (0.5, 99.5)  # percentiles of the capture shown as black and white, beyond 8 bits
_LOOK_SIDE = 1024  # px a side, read to find them
_SMALLEST_SIDE = 96  # px; a picture that does not fit at this size is left out
QUALITY = 90
"""WebP quality of pictures that are not a file's own bytes."""


class Source(Protocol):
    """A picture on disk.

    Attributes
    ----------
    rows, columns : int
    min_is_white : bool
        Whether the lowest value is white.
    """

    rows: int
    columns: int
    min_is_white: bool

    def read(self, top: int, left: int, rows: int, columns: int, step: int = 1) -> npt.NDArray[Any]:
        """Return a window as (R, C, bands), every `step`-th pixel or averages of so many."""
        ...


class JpegSource:
    """A JPEG, decoded once."""

    min_is_white = False

    def __init__(self, path: Path) -> None:
        from imagine_deblur import _core

        reader = _core.JpegReader(os.fspath(path), max_pixels=1 << 31)
        self._pixels = np.asarray(reader.read_rows(reader.info["rows"]))
        if self._pixels.ndim == 2:
            self._pixels = self._pixels[..., None]
        self.rows, self.columns = self._pixels.shape[:2]

    def read(self, top: int, left: int, rows: int, columns: int, step: int = 1) -> npt.NDArray[Any]:
        """See `Source.read`; averages of `step` x `step` pixels."""
        part = self._pixels[top : top + rows, left : left + columns]
        if step == 1:
            return part
        rows, columns = part.shape[0] // step * step, part.shape[1] // step * step
        blocks = part[:rows, :columns].reshape(rows // step, step, columns // step, step, -1)
        return np.asarray(np.rint(blocks.mean(axis=(1, 3), dtype=np.float32)), np.uint8)


class RasterSource:
    """What rasterio reads: GeoTIFF, JPEG 2000, PNG; its first three bands."""

    def __init__(self, path: Path) -> None:
        try:
            import rasterio
        except ImportError as error:
            raise ImportError(
                f"{path}: pictures other than JPEG are read with rasterio: "
                "pip install 'imagine-deblur[geo]'",
                name="rasterio",
            ) from error
        self._rasterio = rasterio
        try:
            with self._opened(path) as opened:
                self.rows, self.columns = int(opened.height), int(opened.width)
                self._bands = list(range(1, min(3, int(opened.count)) + 1))
                self.min_is_white = min_is_white(opened)
        except rasterio.errors.RasterioIOError as error:
            raise InputImageError(f"{path}: not a picture that rasterio reads: {error}") from error
        if len(self._bands) == 2:
            self._bands = [1]
        self._path = path

    @contextmanager
    def _opened(self, path: Path) -> Iterator[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._rasterio.errors.NotGeoreferencedWarning)
            with self._rasterio.open(path) as opened:
                yield opened

    def read(self, top: int, left: int, rows: int, columns: int, step: int = 1) -> npt.NDArray[Any]:
        """See `Source.read`; reduced reads use the file's overviews. Invalid pixels are NaN."""
        window = self._rasterio.windows.Window(left, top, columns, rows)
        shape = (len(self._bands), max(1, rows // step), max(1, columns // step))
        with self._opened(self._path) as opened:
            values = opened.read(self._bands, window=window, out_shape=shape, masked=True)
        samples = values.data
        if np.ma.is_masked(values):
            samples = values.astype(np.float32).filled(np.nan)
        return np.asarray(np.moveaxis(samples, 0, -1))


def open_source(path: Path) -> Source:
    """Open a picture by its ending.

    Raises
    ------
    ImportError
        It is no JPEG, and rasterio is not installed; the message names the extra.
    InputImageError, OSError
        It cannot be read.
    """
    return JpegSource(path) if path.suffix.lower() in _JPEG else RasterSource(path)


@dataclass(frozen=True)
class Stretch:
    """How samples become the 8 bits of a screen, the same for a capture and its restoration.

    Attributes
    ----------
    low, high : tuple of float
        A band's values shown as black and as white.
    """

    low: tuple[float, ...] = (0.0,)
    high: tuple[float, ...] = (255.0,)

    @classmethod
    def of(cls, source: Source) -> Stretch:
        """The identity for 8 bits, else percentiles of what the capture holds.

        Where the lowest value is white, black is above white.
        """
        step = max(1, max(source.rows, source.columns) // _LOOK_SIDE)
        look = source.read(0, 0, source.rows, source.columns, step)
        made = cls()
        if look.dtype != np.uint8:
            low, high = np.nanpercentile(look.reshape(-1, look.shape[2]), _STRETCH, axis=0)
            made = cls(tuple(low.tolist()), tuple(np.maximum(high, low + 1e-9).tolist()))
        return cls(made.high, made.low) if source.min_is_white else made

    @property
    def is_identity(self) -> bool:
        """Whether 8-bit samples are shown as they are."""
        return self == Stretch()

    def show(self, samples: npt.NDArray[Any]) -> Pixels:
        """Return (R, C, bands) uint8; invalid pixels are black."""
        if samples.dtype == np.uint8 and self.is_identity:
            return np.asarray(samples)
        low, high = np.asarray(self.low), np.asarray(self.high)
        scaled = (samples.astype(np.float64) - low) * (255.0 / (high - low))
        return np.asarray(np.rint(np.clip(np.nan_to_num(scaled), 0, 255)), np.uint8)

    def unit(self, samples: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return samples scaled so that black is 0 and white 1, unclipped; invalid ones are 0."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        return np.asarray(np.nan_to_num((samples.astype(np.float64) - low) / (high - low)))


@dataclass(frozen=True)
class View:
    """A pair of pictures for one slider.

    Attributes
    ----------
    title : str
    before, after : str
        Data URIs.
    rows, columns : int
        Of the pictures, px.
    top, left : int
        Of their first pixel, in the frame.
    reduced : int
        Frame px per picture px a side.
    note : str
        How the pictures were made.
    """

    title: str
    before: str
    after: str
    rows: int
    columns: int
    top: int = 0
    left: int = 0
    reduced: int = 1
    note: str = ""
    name: str = field(default="view")


def encode(pixels: Pixels, quality: int = QUALITY) -> bytes:
    """Return (R, C, 1 or 3) uint8 as WebP.

    Raises
    ------
    ImportError
        Pillow is not installed; the message names the extra.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            f"a report needs Pillow: pip install 'imagine-deblur[report]' ({error})", name="PIL"
        ) from error
    picture = Image.fromarray(
        np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    )
    out = io.BytesIO()
    picture.convert("RGB").save(out, "WEBP", quality=quality, method=4)
    return out.getvalue()


def indexed_png(values: npt.NDArray[np.uint8], palette: Sequence[tuple[int, int, int, int]]) -> str:
    """Return a data URI of (R, C) indices into RGBA colours, one pixel a value."""
    from PIL import Image

    picture = Image.fromarray(values, mode=None).convert("L")
    picture.putpalette([part for colour in palette for part in colour[:3]])
    out = io.BytesIO()
    picture.save(out, "PNG", transparency=bytes(colour[3] for colour in palette), optimize=True)
    return data_uri(out.getvalue(), "image/png")


def data_uri(data: bytes, kind: str) -> str:
    """Return bytes as a ``data:`` URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def uri_bytes(size: int) -> int:
    """Length of `size` bytes once they are base64."""
    return 4 * math.ceil(size / 3)


class PageFull(Exception):
    """The pictures do not fit into what is left of a page's bytes."""


def whole_view(
    paths: tuple[Path, Path], sources: tuple[Source, Source], stretch: Stretch, limit: int
) -> View:
    """Return the whole frame, as the files themselves where they fit, else encoded, else reduced.

    Parameters
    ----------
    paths, sources : pair
        Capture and restoration.
    stretch : Stretch
    limit : int
        Bytes the two data URIs may take.

    Raises
    ------
    PageFull
        Not even a thumbnail fits.
    """
    rows, columns = sources[0].rows, sources[0].columns
    if all(path.suffix.lower() in _JPEG for path in paths):
        sizes = [path.stat().st_size for path in paths]
        if sum(map(uri_bytes, sizes)) <= limit:
            before, after = (data_uri(path.read_bytes(), "image/jpeg") for path in paths)
            return View("Whole frame", before, after, rows, columns, note="the files' own bytes")
    # WebP at this quality takes about 2 bits a pixel of such pictures: begin where that may fit.
    step = max(1, math.floor(math.sqrt(rows * columns * 2 * 0.2 * 4 / 3 / limit)))
    while min(rows, columns) // step >= min(_SMALLEST_SIDE, rows, columns):
        pair = [stretch.show(s.read(0, 0, rows, columns, step)) for s in sources]
        data = [encode(pixels) for pixels in pair]
        if sum(uri_bytes(len(d)) for d in data) <= limit:
            note = f"WebP quality {QUALITY}"
            if step > 1:
                note = f"reduced {step} times to fit the page, {note}"
            before, after = (data_uri(d, "image/webp") for d in data)
            height, width = pair[0].shape[:2]
            return View("Whole frame", before, after, height, width, reduced=step, note=note)
        step += 1
    raise PageFull


def detail_view(
    sources: tuple[Source, Source],
    stretch: Stretch,
    limit: int,
    place: tuple[int, int],
    side: int,
    name: str,
) -> View:
    """Return a square window at the frame's own resolution, about a place of the frame.

    Raises
    ------
    PageFull
        It does not fit at 64 px a side.
    """
    rows, columns = sources[0].rows, sources[0].columns
    while side >= 64:
        height, width = min(side, rows), min(side, columns)
        top = int(np.clip(place[0] - height // 2, 0, rows - height))
        left = int(np.clip(place[1] - width // 2, 0, columns - width))
        pair = [stretch.show(s.read(top, left, height, width)) for s in sources]
        data = [encode(pixels) for pixels in pair]
        if sum(uri_bytes(len(d)) for d in data) <= limit:
            before, after = (data_uri(d, "image/webp") for d in data)
            title = f"Detail at row {top}, column {left}"
            note = f"WebP quality {QUALITY}"
            return View(title, before, after, height, width, top, left, 1, note, name)
        side = side * 3 // 4
    raise PageFull


def thumbnail(source: Source, stretch: Stretch, side: int, quality: int = 75) -> bytes:
    """Return a small WebP whose longer side has at most about `side` px."""
    step = max(1, max(source.rows, source.columns) // side)
    return encode(stretch.show(source.read(0, 0, source.rows, source.columns, step)), quality)


def liveliest(source: Source, stretch: Stretch, side: int) -> tuple[int, int]:
    """Return the centre (row, column) of the window of `side` px with the most detail."""
    step = max(1, max(source.rows, source.columns) // _LOOK_SIDE)
    look = stretch.unit(source.read(0, 0, source.rows, source.columns, step)).mean(axis=2)
    detail = np.zeros_like(look)
    detail[:-1, :-1] = np.abs(np.diff(look, axis=0)[:, :-1]) + np.abs(np.diff(look, axis=1)[:-1])
    cell = max(1, side // step)
    if min(look.shape) <= cell:
        return source.rows // 2, source.columns // 2
    sums = np.pad(detail.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    boxes = sums[cell:, cell:] - sums[:-cell, cell:] - sums[cell:, :-cell] + sums[:-cell, :-cell]
    row, column = np.unravel_index(int(np.argmax(boxes)), boxes.shape)
    return int((row + cell // 2) * step), int((column + cell // 2) * step)
