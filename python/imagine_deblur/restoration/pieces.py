"""Wide strips are transformed in pieces, so that memory does not grow with their width."""

from __future__ import annotations

from dataclasses import dataclass

BLOCK = 32
"""Side of the blocks that the reblur check judges, px; pieces begin and end at their borders."""


def touched_blocks(start: int, stop: int) -> slice:
    """Return the blocks that hold any of the rows or columns from `start` to before `stop`."""
    return slice(start // BLOCK, -(-stop // BLOCK))


@dataclass(frozen=True)
class Piece:
    """Columns of a strip that are transformed together.

    Attributes
    ----------
    read, write : slice
        Columns read, and those of them that are kept; both in the frame's columns. What is read
        before the first of these, or behind the last, is the frame's extension.
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


def piece_of(write: tuple[int, int], width: int, columns: int) -> Piece:
    """Return the piece of `width` columns around those that are kept.

    Parameters
    ----------
    write : (int, int)
        First column kept and the one behind the last.
    width : int
        Columns read, at least those kept: the same for every piece, so that they share their
        tables. A piece as wide as the frame is the frame.
    columns : int
        Of the frame.
    """
    if width >= columns:
        return Piece(slice(0, columns), slice(*write))
    start = write[0] - (width - (write[1] - write[0])) // 2
    return Piece(slice(start, start + width), slice(*write))


def cut_columns(columns: int, context: int, most: int) -> list[Piece]:
    """Cut a strip's columns into pieces of one width.

    Parameters
    ----------
    columns : int
        Of the frame, px.
    context : int
        What a piece reads beside what it keeps, on each side, px.
    most : int
        Columns that a piece keeps, rounded up to a multiple of `BLOCK`.

    Returns
    -------
    list of Piece
        Reads and writes begin, and writes end, on multiples of `BLOCK`.
    """
    step = -(-columns // -(-columns // most))
    step += -step % BLOCK
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
