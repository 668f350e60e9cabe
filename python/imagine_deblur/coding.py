"""How a restored frame becomes a JPEG: its quality, its tables, and a limit of its size."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur import _core
from imagine_deblur.capture.jpeg_file import JpegFile
from imagine_deblur.engines.model import IDENTITY
from imagine_deblur.errors import OptionsError
from imagine_deblur.options import Options, parse_bytes
from imagine_deblur.session_frame import Progress, Run

FINER = 0.7
"""Steps of a restoration's tables over those of its capture, with ``quality="auto"``.

The coarsest factor at which the coder eats less than a twentieth of the gain in every protocol
with JPEG: 4.3, 2.1, 2.3 and 4.9 %, in files of 1.5 to 1.9 times the capture's. At 1.0 it eats up
to 6.3 %; quality 95 eats 1.5 to 3.7 % in 1.7 to 3.5 times the bytes (docs/results/file_size.csv,
made by bench/bench_file_size.py on the validation scenes).
"""

_STANDARD = 95  # quality where the capture tells none
_WHOLE = 100  # quality of what is kept while the size is looked for
_LARGEST_STEP = 255  # of a baseline file

Tables = tuple[NDArray[np.uint16], ...]


@dataclass(frozen=True)
class Coding:
    """Quantisation of an output.

    Attributes
    ----------
    quality : int
        Of the standard tables; where `tables` are given, the quality whose tables are nearest.
    tables : tuple of (8, 8) uint16 ndarray
        Luma's and chroma's, natural order; empty for the standard ones.
    """

    quality: int
    tables: Tables = ()


def choose_coding(quality: int | str, info: Mapping[str, Any], *, restored: bool) -> Coding:
    """Return how an output is coded.

    Parameters
    ----------
    quality : int or "auto"
        ``"auto"`` takes the capture's own tables, finer by `FINER` where the frame was restored,
        so that the coder does not eat what was gained. A capture that is passed through keeps its
        tables.
    info : mapping
        Of the capture, see `imagine_deblur._core.JpegReader`.
    restored : bool

    Returns
    -------
    Coding
    """
    if quality != "auto":
        return Coding(int(quality))
    own: Sequence[NDArray[np.uint16]] = info["quantisation"]
    # CMYK has no luma; a table with a zero is damage.
    if info["components"] not in (1, 3) or not own or not all(np.all(table) for table in own):
        return Coding(_STANDARD)
    factor = FINER if restored else 1.0
    tables = [np.clip(np.rint(table * factor), 1, _LARGEST_STEP).astype(np.uint16) for table in own]
    return Coding(_core.nearest_quality(tables), tuple(tables[:2]))


def write_frame(
    run: Run,
    file: JpegFile,
    options: Options,
    facts: Mapping[str, Any],
    progress: Progress | None,
    descriptor: int,
) -> tuple[dict[str, Any], bytes | None]:
    """Restore a capture into a JPEG of the quality and size that the options ask for.

    Parameters
    ----------
    run : Run
    file : JpegFile
    options : Options
    facts : mapping
        Provenance, see `JpegFile.output`.
    progress : callable or None
    descriptor : int
        Of the open output; -1 returns the bytes.

    Returns
    -------
    account : dict
        The core's, with ``quality`` and ``output_bytes``.
    encoded : bytes or None
        None with a descriptor.

    Raises
    ------
    OptionsError
        The frame takes more than `max_bytes` even at quality 1.
    """
    restored = run.model is not IDENTITY
    coding = choose_coding(options.quality, file.info, restored=restored)
    decoded = file.decoded(keep=run.plan.strips == 1)
    if options.max_bytes is None:
        output = file.output(descriptor, facts, quality=coding.quality, tables=coding.tables)
        native, encoded = run.jpeg(file.reader, output, progress, decoded)
        size = os.fstat(descriptor).st_size if encoded is None else len(encoded)
        return native | {"quality": coding.quality, "output_bytes": size}, encoded
    limit = parse_bytes("max_bytes", options.max_bytes)
    folder = options.temp_dir or run.pool.statistics()["folder"]
    with tempfile.TemporaryFile(dir=folder or None) as whole:
        # Colour is kept whole too: what is coded twice then differs by rounding alone.
        output = file.output(whole.fileno(), facts, quality=_WHOLE, subsampling="4:4:4")
        native, _ = run.jpeg(file.reader, output, progress, decoded)
        attempts = _Attempts(Path(f"/proc/self/fd/{whole.fileno()}"), file, descriptor)
        coding, encoded, size = _within(attempts, coding, limit)
    return native | {"quality": coding.quality, "output_bytes": size}, encoded


@dataclass
class _Attempts:
    """Codes a frame again and again, each time in place of the last."""

    whole: Path
    file: JpegFile
    descriptor: int

    def __call__(self, coding: Coding) -> tuple[bytes | None, int]:
        """Return the bytes where there is no descriptor, and their number."""
        if self.descriptor >= 0:
            os.ftruncate(self.descriptor, 0)
            os.lseek(self.descriptor, 0, os.SEEK_SET)
        reader = _core.JpegReader(os.fspath(self.whole))
        output = self.file.output(
            self.descriptor, None, quality=coding.quality, tables=coding.tables
        )
        encoded = _core.recode_jpeg(reader, output)
        size = os.fstat(self.descriptor).st_size if encoded is None else len(encoded)
        return encoded, size


def _within(attempts: _Attempts, coding: Coding, limit: int) -> tuple[Coding, bytes | None, int]:
    """Code as asked, or at the best standard quality below that stays within the limit."""
    encoded, size = attempts(coding)
    if size <= limit:
        return coding, encoded, size
    low, high = 0, coding.quality  # `low` fits, or is none; `high` does not
    last = high
    while high - low > 1:
        last = (low + high) // 2
        encoded, size = attempts(replace(coding, quality=last, tables=()))
        low, high = (last, high) if size <= limit else (low, last)
    if low == 0:
        raise OptionsError(
            "max_bytes",
            limit,
            f"at least {size} bytes: what this frame takes at quality 1, with its metadata; "
            "allow more, or ask for subsampling='4:2:0' or progressive=True",
        )
    if last != low:
        encoded, size = attempts(Coding(low))
    return Coding(low), encoded, size
