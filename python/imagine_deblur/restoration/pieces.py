"""Wide strips are transformed in pieces, so that memory does not grow with their width."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

BLOCK = 32
"""Side of the blocks that the reblur check judges, px; pieces begin and end on their borders."""

_PIECE_COLUMNS = 4096


@dataclass(frozen=True)
class Piece:
    """Columns of a strip that are transformed together.

    Attributes
    ----------
    read, write : slice
        Columns read, and those of them that are kept; both in the frame's columns.
    """

    read: slice
    write: slice

    @property
    def width(self) -> int:
        """Columns read."""
        return int(self.read.stop - self.read.start)

    @property
    def kept(self) -> slice:
        """`write` counted from the first column read."""
        return slice(self.write.start - self.read.start, self.write.stop - self.read.start)


def cut_columns(columns: int, margin: Callable[[], int]) -> list[Piece]:
    """Cut a strip's columns into pieces of one width that the transforms can hold.

    Parameters
    ----------
    columns : int
        Of the frame, px.
    margin : callable
        Returns the context a piece needs on each side, px; called where there are several.

    Returns
    -------
    list of Piece
        One for frames up to 4096 px wide. Reads begin, and writes begin and end, on multiples of
        `BLOCK`; a piece at the frame's border reads as many columns as the others.
    """
    if columns <= _PIECE_COLUMNS:
        return [Piece(slice(0, columns), slice(0, columns))]
    step = -(-columns // -(-columns // _PIECE_COLUMNS))
    step += -step % BLOCK
    context = margin()
    context += -context % BLOCK
    width = step + 2 * context
    width += (columns - width) % BLOCK
    if width >= columns:
        return [Piece(slice(0, columns), slice(0, columns))]
    pieces = []
    for first in range(0, columns, step):
        start = min(max(first - context, 0), columns - width)
        pieces.append(Piece(slice(start, start + width), slice(first, min(first + step, columns))))
    return pieces
