"""Cutting a scene into windows that are restored one by one, as the whole would be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

ALIGNMENT = 32
"""Where windows begin, px: the side of the reblur check's blocks, and a multiple of every
network's stride and of the cells that gaps are filled from."""


@dataclass(frozen=True)
class Span:
    """One axis of a window, px.

    Attributes
    ----------
    start, size : int
        What the window owns.
    read_start, read_size : int
        What is read for it, margins included.
    """

    start: int
    size: int
    read_start: int
    read_size: int

    @property
    def kept(self) -> slice:
        """What the window owns, counted from where it is read."""
        first = self.start - self.read_start
        return slice(first, first + self.size)


@dataclass(frozen=True)
class Window:
    """Part of a scene.

    Attributes
    ----------
    rows, columns : Span
    """

    rows: Span
    columns: Span

    @property
    def kept(self) -> tuple[slice, slice]:
        """Index of what the window owns in what is read for it."""
        return self.rows.kept, self.columns.kept


def spans(size: int, margin: int, core: int) -> list[Span]:
    """Cut one axis.

    Parameters
    ----------
    size : int
        Of the scene, px.
    margin : int
        Context a window needs on either side, px.
    core : int
        Most that a window owns, px; a multiple of `ALIGNMENT`.

    Returns
    -------
    list of Span
        All of one read size, so that transforms are planned once. Reads begin on multiples of
        `ALIGNMENT`; at the scene's ends they reach its border, and inward as far as the others.
    """
    count = -(-size // core)
    step = -(-size // count)
    step += -step % ALIGNMENT
    margin += -margin % ALIGNMENT
    read = step + 2 * margin
    read += (size - read) % ALIGNMENT
    if read >= size:
        read = step = size
    found = []
    for start in range(0, size, step):
        first = min(max(start - margin, 0), size - read)
        found.append(Span(start, min(step, size - start), first, read))
    return found


def cut(shape: tuple[int, int], margin: int, core: int) -> Iterator[Window]:
    """Cut a scene of `shape` rows and columns into windows, row by row; see `spans`."""
    columns = spans(shape[1], margin, core)
    for rows in spans(shape[0], margin, core):
        for across in columns:
            yield Window(rows, across)
