"""A JPEG file as a capture: opened once for its facts, decoded where its samples are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur import _core
from imagine_deblur.capture.result import Capture
from imagine_deblur.errors import MemoryBudgetError
from imagine_deblur.options import Options
from imagine_deblur.support.provenance import comment, xmp

_DECODER_SHARE = 4  # of max_ram that libjpeg may use for a progressive frame's coefficients

_WHOLE_PIXELS = 8_000_000
"""Frames up to this many pixels are looked at whole, larger ones in evenly spread runs of rows:
the estimate's error no longer falls, and the decoded rows take 24 MB at most."""

_RUN_ROWS = 512
_LEAST_RUN_ROWS = 128  # what the estimate needs
_SKIPPED_ROWS = 64  # decoded at a time and thrown away


class JpegFile:
    """A capture that is a JPEG.

    Parameters
    ----------
    data : str or bytes
        Path, or the file's content.
    options : Options
        Limits of the decoder, and whether a damaged file is salvaged.

    Raises
    ------
    InputImageError, TruncatedJpegError, OSError
        The file cannot be used; the message names it and the cure.
    """

    def __init__(self, data: str | bytes, options: Options) -> None:
        self._data, self._options = data, options
        self._max_memory_bytes = options.ram_bytes // _DECODER_SHARE
        self.reader = self._open()
        self._read = False  # to its end, into `_samples`
        self.info = self.reader.info
        self.shape: tuple[int, int, int] = (
            self.info["rows"],
            self.info["columns"],
            self.info["bands"],
        )

    def _open(self) -> _core.JpegReader:
        try:
            return _core.JpegReader(
                self._data,
                salvage=self._options.salvage,
                max_pixels=self._options.max_pixels,
                max_memory_bytes=self._max_memory_bytes,
            )
        except MemoryBudgetError as error:
            raise self._in_terms_of_max_ram(error) from None

    def _in_terms_of_max_ram(self, error: MemoryBudgetError) -> MemoryBudgetError:
        name = f"{self._data}: " if isinstance(self._data, str) else ""
        wanted, allowed = error.wanted or 0, error.allowed or self._max_memory_bytes
        least = -(-wanted * _DECODER_SHARE // 1_000_000)
        return MemoryBudgetError(
            f"{name}libjpeg takes {wanted} bytes for this frame and may take {allowed}, "
            f"1/{_DECODER_SHARE} of max_ram: raise max_ram (--max-ram) to {least}MB or more. A "
            "progressive JPEG takes the most; as baseline it takes little",
            wanted=error.wanted,
            allowed=error.allowed,
        )

    def rewind(self) -> None:
        """Begin again at the first row."""
        self.forget_samples()
        self.reader = self._open()
        self._read = False

    @property
    def capture(self) -> Capture:
        """The file as what is looked at before it is restored."""
        tables = self.info["quantisation"]
        # A table with a zero is damage: the samples are read all the same, and it tells nothing.
        good = tables and bool(np.all(tables[0]))
        return Capture(lambda: self._samples, tables[0] if good else None)

    @cached_property
    def _samples(self) -> list[NDArray[np.uint8]]:
        """The whole frame, or evenly spread runs of rows of one that is large."""
        rows, columns = self.shape[:2]
        if rows * columns <= _WHOLE_PIXELS:
            self._read = True
            return [self.reader.read_rows(rows)]
        reader = self._open()  # the other one stays at the first row
        run = min(rows, _RUN_ROWS, max(_LEAST_RUN_ROWS, _WHOLE_PIXELS // columns))
        runs = max(1, _WHOLE_PIXELS // (columns * run))
        step = max(run, rows // runs)
        kept: list[NDArray[np.uint8]] = []
        for top in range(0, rows - run + 1, step)[:runs]:
            kept.append(reader.read_rows(run))
            for _ in range(top + run, min(top + step, rows), _SKIPPED_ROWS):
                reader.read_rows(_SKIPPED_ROWS)
        return kept

    def strips(self, rows: int) -> Iterator[NDArray[np.uint8]]:
        """Decode the file once more, so many rows at a time; the last may be fewer."""
        reader = self._open()
        for _ in range(0, self.shape[0], rows):
            yield reader.read_rows(rows)

    def forget_samples(self) -> None:
        """Give the memory of the samples that were looked at back."""
        self.__dict__.pop("_samples", None)

    def decoded(self, *, keep: bool) -> Callable[[], NDArray[np.uint8]] | None:
        """Return what gives the frame that was looked at, once; None where it is to be read.

        Parameters
        ----------
        keep : bool
            False gives the frame's memory back: it is decoded again, some rows at a time.
        """
        if self._read and not keep:
            self.rewind()
        if not self._read:
            self.forget_samples()
        return self._take if self._read else None

    def _take(self) -> NDArray[np.uint8]:
        frame: NDArray[np.uint8] = self.__dict__.pop("_samples")[0]
        return frame

    def warnings(self) -> tuple[str, ...]:
        """Return what was lost on the way in, once the frame was read."""
        found = []
        if self.reader.salvage is not None:
            line, message = self.reader.salvage
            found.append(f"salvaged: damaged from scanline {line}: {message}")
        if self.info["icc_dropped"]:
            found.append("the CMYK profile was dropped: the output is RGB")
        return tuple(found)

    def output(
        self,
        descriptor: int,
        facts: Mapping[str, Any] | None,
        *,
        quality: int,
        tables: Sequence[NDArray[np.uint16]] = (),
        subsampling: str | None = None,
    ) -> _core.JpegOutput:
        """Return how the restored frame is written.

        Parameters
        ----------
        descriptor : int
            Of the open file; -1 keeps the bytes in memory.
        facts : mapping or None
            Provenance, as plain JSON values; None where the metadata holds it already.
        quality : int
            Of the standard tables.
        tables : sequence of (8, 8) uint16 ndarray
            In their place, luma's and chroma's.
        subsampling : str, optional
            In place of what the options ask for.
        """
        subsampling = subsampling or self._options.subsampling
        if subsampling == "keep":
            found = self.info["subsampling"]
            subsampling = found if found in ("4:4:4", "4:2:2", "4:2:0") else "4:2:0"
        return _core.JpegOutput(
            descriptor=descriptor,
            quality=quality,
            quantisation=tables,
            subsampling=subsampling,
            progressive=self._options.progressive,
            max_memory_bytes=self._max_memory_bytes,
            xmp="" if facts is None else xmp(facts),
            comment="" if facts is None else comment(facts),
        )
