"""Which bands are one colour picture, and which stand alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from imagine_deblur.errors import OptionsError

_COLOURS = ("red", "green", "blue")

COLOUR = "colour"
"""Key that names the colour picture as a whole where bands are given PSFs."""

OTHERS = "*"
"""Key that names every band without a PSF of its own."""

_P = TypeVar("_P")  # how a PSF is given

BandsArgument = Sequence[int | str] | None


def with_others(psf: _P, by_band: Mapping[int | str, _P]) -> _P | dict[int | str, _P]:
    """Return the blur of a scene: one for all bands, and those of single bands beside it."""
    return {OTHERS: psf, **by_band} if by_band else psf


@dataclass(frozen=True)
class Bands:
    """Bands that are restored together.

    Attributes
    ----------
    indices : tuple of int
        Counted from 0: red, green and blue, or one band.
    names : tuple of str
        Their descriptions, or ``"band N"`` with N counted from 1.
    """

    indices: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def role(self) -> str:
        """``"colour"`` or ``"grey"``."""
        return COLOUR if len(self.indices) == 3 else "grey"


def names_of(descriptions: Sequence[str | None]) -> list[str]:
    """Return a name for every band: its description where it has one of its own."""
    given = [text or "" for text in descriptions]
    return [
        text if text and given.count(text) == 1 else f"band {number}"
        for number, text in enumerate(given, start=1)
    ]


def group_bands(
    names: Sequence[str],
    colours: Sequence[str],
    chosen: BandsArgument,
    separate: Sequence[int | str] = (),
) -> list[Bands]:
    """Return the bands of a scene as they are restored: colour first, then every other one.

    Parameters
    ----------
    names : sequence of str
        Of all bands.
    colours : sequence of str
        Their colour interpretation in lower case, ``"undefined"`` where there is none. Alpha
        is in no group.
    chosen : sequence of int or str, or None
        Numbers (from 1) or names of red, green and blue; empty: no three are one picture; None:
        by the colour interpretation, or by names that are red, green and blue.
    separate : sequence of int or str
        Bands with a PSF of their own, which are never part of a colour picture.

    Returns
    -------
    list of Bands

    Raises
    ------
    OptionsError
        `chosen` is not three bands of the scene, or none.
    """
    picture = _picture(names, colours, chosen)
    alone = {_index(name, names) for name in separate}
    if picture is not None and alone & set(picture):
        picture = None
    groups = [] if picture is None else [picture]
    groups += [
        (k,) for k, colour in enumerate(colours) if k not in (picture or ()) and colour != "alpha"
    ]
    return [Bands(group, tuple(names[k] for k in group)) for group in groups]


def separate_bands(psf: object) -> list[int | str]:
    """Return the bands that a mapping gives PSFs of their own."""
    return (
        [band for band in psf if band not in (COLOUR, OTHERS)] if isinstance(psf, Mapping) else []
    )


def _picture(
    names: Sequence[str], colours: Sequence[str], chosen: BandsArgument
) -> tuple[int, ...] | None:
    if chosen is not None:
        if len(chosen) == 0:
            return None
        found = tuple(_index(one, names) for one in chosen)
        if len(set(found)) != 3:
            raise OptionsError("bands", list(chosen), "three different bands, or none")
        return found
    for labels in (list(colours), [name.lower() for name in names]):
        if all(labels.count(colour) == 1 for colour in _COLOURS):
            return tuple(labels.index(colour) for colour in _COLOURS)
    return None


def _index(band: int | str, names: Sequence[str]) -> int:
    if isinstance(band, str) and band in names:
        return list(names).index(band)
    number = int(band) if isinstance(band, str) and band.isdecimal() else band
    if isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= len(names):
        return number - 1
    raise OptionsError("bands", band, f"1 to {len(names)}, or one of {', '.join(names)}")
