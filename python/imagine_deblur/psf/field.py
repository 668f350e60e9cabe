"""A PSF that differs over the field: a grid of PSFs, blended smoothly.

Defocus varies off the axis. The field is described by PSFs at the centres of an even grid of cells;
between centres their restorations are mixed with bilinear weights, and beyond the outermost
centres the nearest PSF holds. Weights are a partition of unity.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.errors import PsfError
from imagine_deblur.psf.document import MAX_BYTES, read_document
from imagine_deblur.psf.models import PSF
from imagine_deblur.support.files import write_text

FORMAT = "imagine-deblur-psf-field"
VERSION = 1
MAX_CELLS = 64


@dataclass(frozen=True)
class PsfField:
    """A grid of PSFs over the frame.

    Attributes
    ----------
    grid : tuple of tuple of PSF
        Rows of cells from the top, each from the left; all rows equally long. At most 64 cells:
        every cell costs a pass of the linear stage.

    Raises
    ------
    PsfError
        An empty, ragged or too large grid.

    Examples
    --------
    >>> sharp, soft = PSF.defocus(3.0), PSF.defocus(5.0)
    >>> field = PsfField(((soft, soft, soft), (soft, sharp, soft), (soft, soft, soft)))
    >>> len(field.cells)
    9
    """

    grid: tuple[tuple[PSF, ...], ...]

    def __post_init__(self) -> None:
        grid = tuple(tuple(row) for row in self.grid)
        if not grid or not grid[0] or any(len(row) != len(grid[0]) for row in grid):
            raise PsfError("a PSF field needs rows of equally many PSFs")
        if len(grid) * len(grid[0]) > MAX_CELLS:
            raise PsfError(
                f"a PSF field of {len(grid)} x {len(grid[0])} has over {MAX_CELLS} cells"
            )
        object.__setattr__(self, "grid", grid)

    @property
    def cells(self) -> tuple[tuple[int, int, PSF], ...]:
        """Every cell as (row, column, PSF)."""
        return tuple((r, c, psf) for r, row in enumerate(self.grid) for c, psf in enumerate(row))

    def row_weights(self, row: int, frame_rows: int, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Weights of a grid row's cells at some rows of the frame, in [0, 1]."""
        return _hat(row, len(self.grid), (rows + 0.5) / frame_rows)

    def column_weights(self, column: int, frame_columns: int) -> NDArray[np.float32]:
        """Weights of a grid column's cells at every column of the frame, in [0, 1]."""
        position = (np.arange(frame_columns) + 0.5) / frame_columns
        return _hat(column, len(self.grid[0]), position)

    def support_px(self, fraction: float = 0.999) -> int:
        """Largest `PSF.support_px` of the cells."""
        return max(psf.support_px(fraction) for _, _, psf in self.cells)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"grid": [[psf.to_dict() for psf in row] for row in self.grid]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PsfField:
        """Return the field `to_dict` described.

        Raises
        ------
        PsfError
            Not such a dictionary.
        """
        rows = values.get("grid")
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            raise PsfError("field 'grid' must be rows of PSFs")
        return cls(tuple(tuple(PSF.from_dict(psf) for psf in row) for row in rows))

    @property
    def id(self) -> str:
        """Short digest of the canonical JSON."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _hat(index: int, count: int, position: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Bilinear weight of cell `index` of `count` at positions in [0, 1]."""
    coordinate = np.clip(position * count - 0.5, 0, count - 1)
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(coordinate - index)), np.float32)


def save_field(path: str | os.PathLike[str], field: PsfField) -> None:
    """Write a field as a JSON record.

    Raises
    ------
    PsfError
        Its kernels have so many samples that the record could not be read again.
    OSError
        The file cannot be written.
    """
    record = {"format": FORMAT, "version": VERSION, "id": field.id, **field.to_dict()}
    text = json.dumps(record, indent=1)
    if len(text) > MAX_BYTES:
        raise PsfError(f"{os.fspath(path)}: over the {MAX_BYTES} bytes a PSF record may have")
    write_text(Path(path), text)


def is_field(path: str | os.PathLike[str]) -> bool:
    """Whether a JSON file says that it holds a PSF field."""
    try:
        values = read_document(path)
    except PsfError:
        return False
    return isinstance(values, dict) and values.get("format") == FORMAT


def load_field(path: str | os.PathLike[str]) -> PsfField:
    """Read a field's record.

    Raises
    ------
    PsfError
        Not JSON, another format or version, a damaged grid, or an id that does not match.
    OSError
        The file cannot be read.
    """
    values = read_document(path)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise PsfError(f"{os.fspath(path)}: field 'format' is not {FORMAT!r}")
    if values.get("version") != VERSION:
        raise PsfError(f"{os.fspath(path)}: version {values.get('version')!r}, expected {VERSION}")
    try:
        field = PsfField.from_dict(values)
    except PsfError as error:
        raise PsfError(f"{os.fspath(path)}: {error}") from None
    if values.get("id") != field.id:
        raise PsfError(f"{os.fspath(path)}: its id does not match its content; it is damaged")
    return field


def middle_psf(psf: PSF | PsfField) -> PSF:
    """Return the PSF, or the one in the middle of a field."""
    if isinstance(psf, PSF):
        return psf
    row = psf.grid[len(psf.grid) // 2]
    return row[len(row) // 2]
