"""What the windows of a scene share: its bands' roles, their scale, their blur and noise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture import policy
from imagine_deblur.capture.analysis import named_blur
from imagine_deblur.capture.result import Analysis, Capture
from imagine_deblur.errors import EstimationError, OptionsError
from imagine_deblur.options import PsfArgument
from imagine_deblur.psf.field import PsfField
from imagine_deblur.raster.bands import COLOUR, OTHERS, Bands
from imagine_deblur.raster.margin import margin_of
from imagine_deblur.raster.radiometry import REACH_PX, anchored
from imagine_deblur.raster.scale import Scale, scale_of
from imagine_deblur.raster.validity import Mask, fill, valid_rectangle
from imagine_deblur.raster.windows import ALIGNMENT
from imagine_deblur.report import Report
from imagine_deblur.session import Session

_BLOCK = 1024  # px a side, read to learn about a scene: 49 blocks of the blur's estimator
_PER_SIDE = 6  # blocks looked at along each side of a scene
_MOST_BLOCKS = 8  # of those, the liveliest that are analysed: 8 MP, as much as a large capture
_SAMPLE = 512  # px a side of the part that the reblur check's limit is taken from: 256 blocks
GAP_MARGINS = 4
"""Least length of a window's extension, in margins."""
_LEAST = 256  # px a side of the valid part of such a block
_STEP = 4  # px between the samples that liveliness and percentiles are taken from

PsfChoice = PsfArgument | Mapping[str | int, PsfArgument]


class Reader(Protocol):
    """A scene that is read in windows.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns.
    bits : int or None
        Bits in use, where these are fewer than the samples' type has.
    min_is_white : bool
        Whether the lowest value is white.
    """

    shape: tuple[int, int]
    bits: int | None
    min_is_white: bool

    def read(
        self, bands: Sequence[int], top: int, left: int, rows: int, columns: int
    ) -> tuple[NDArray[Any], Mask]:
        """Return (B, R, C) values of bands counted from 0, and where all of them are valid."""
        ...


@dataclass(frozen=True)
class Group:
    """Bands that are restored together, and what is known of them.

    Attributes
    ----------
    bands : Bands
    scale : Scale
    found : Analysis
    nodata : float or None
        A value that no restored pixel may take.
    margin : int
        Context that a window needs on every side, px.
    limit : float or None
        Of the reblur check, see `ReblurCheck.limit`; one for all windows.
    """

    bands: Bands
    scale: Scale
    found: Analysis
    nodata: float | None = None
    margin: int = 0
    limit: float | None = None

    @property
    def restored(self) -> bool:
        """Whether there is a blur to undo."""
        return self.found.psf is not None and self.found.passed is None

    def restore(
        self,
        session: Session,
        values: NDArray[Any],
        valid: Mask,
        kept: tuple[slice, slice] | None = None,
    ) -> tuple[NDArray[Any], Report | None]:
        """Restore a window.

        Parameters
        ----------
        session : Session
            With the options that the group was looked at with, and of nobody else: what windows
            share is set in its parts.
        values : (B, R, C) ndarray
        valid : (R, C) bool ndarray
            Other pixels stay bit for bit as they are, and nothing of them is seen.
        kept : (slice, slice), optional
            What is wanted of the window: the network does not run over the rest, which is context.

        Returns
        -------
        restored : (B, R, C) ndarray
            The type of `values`; beside `kept` not to be used.
        report : Report or None
            The session's, None where nothing is valid. Its blocks are the window's.
        """
        if not valid.any():
            return values, None
        known = values if valid.all() else np.where(valid, values, values.dtype.type(0))
        encoded = fill(self.scale.encode(known), valid)
        parts = session.parts
        # Half of the extension is the scene's own reflection. As far as the margin alone, rows next
        # to the scene's border were up to 2.4 steps of 8 bits from the whole scene's; so, 0.75.
        parts.least_gap = GAP_MARGINS * self.margin
        parts.reblur_check = replace(parts.reblur_check, limit=self.limit)
        parts.passes_wild = False  # the scene is judged, see `judged`, not a window
        region = None if kept is None else _with_context(kept, valid.shape)
        try:
            result, report = session.restore_with_report(
                _as_image(encoded), analysis=self.found, region=region
            )
        finally:
            parts.passes_wild = True
        samples = np.asarray(result, np.float32)
        planes = samples[None] if samples.ndim == 2 else np.moveaxis(samples, -1, 0)
        if region is not None:
            whole = np.array(encoded, np.float32)
            whole[(slice(None), *region)] = planes
            planes, report = whole, _of_window(report, region, valid.shape)
        planes = anchored(planes, encoded, valid)
        restored = self.scale.decode(planes, encoded, known)
        if self.nodata is not None and not np.isnan(self.nodata):
            restored = _kept_off(restored, values, self.nodata)
        return np.where(valid, restored, values), report

    def judged(self, session: Session, block_map: NDArray[np.uint8] | None) -> Group:
        """Return the group as the reblur check of all its windows lets it be.

        Parameters
        ----------
        session : Session
            That restored the windows.
        block_map : (n, m) uint8 ndarray or None
            Of the scene; None where nothing was restored.

        Returns
        -------
        Group
            Itself, or one that is to be passed through.

        Raises
        ------
        EstimationError
            It is to be passed through, with ``without_information="error"``.
        """
        stage = session.parts.stage
        if block_map is None or stage is None or stage.reblur_check is None:
            return self
        doubted = policy.passed_if_refuted(self.found, block_map)
        if doubted.passed is None:
            return self
        if session.options.without_information == "error":
            raise EstimationError(doubted.passed, reason="wild")
        return replace(self, found=doubted)


def _with_context(kept: tuple[slice, slice], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Grow what is kept by what the means of flat fields look at, to whole blocks."""
    reach = REACH_PX + -REACH_PX % ALIGNMENT
    rows, columns = (
        slice(
            max(part.start - reach, 0) // ALIGNMENT * ALIGNMENT,
            min(part.stop + reach + -part.stop % ALIGNMENT, size),
        )
        for part, size in zip(kept, shape, strict=True)
    )
    return rows, columns


def _of_window(report: Report, region: tuple[slice, slice], shape: tuple[int, ...]) -> Report:
    """Return the report of a region with the blocks of its window, kept where nothing ran."""
    if report.block_map is None:
        return report
    blocks = np.zeros([-(-size // ALIGNMENT) for size in shape], np.uint8)
    first, left = (part.start // ALIGNMENT for part in region)
    rows, columns = report.block_map.shape
    blocks[first : first + rows, left : left + columns] = report.block_map
    return replace(report, block_map=blocks)


def _as_image(planes: NDArray[Any]) -> Any:
    """Return (B, R, C) planes as (R, C, 3), or (R, C) where there is one."""
    if len(planes) == 1:
        return planes[0]
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1))


def _kept_off(restored: NDArray[Any], values: NDArray[Any], nodata: float) -> NDArray[Any]:
    """Move restored values that mean "no data" by one step towards what they were."""
    hit = restored == nodata
    if not hit.any():
        return restored
    meant = restored.dtype.type(nodata)
    if restored.dtype.kind == "f":
        infinity = restored.dtype.type(np.inf)
        away = np.nextafter(meant, np.where(values > meant, infinity, -infinity))
    else:
        up, down = int(meant) + 1, int(meant) - 1
        away = np.where(values > meant, up, down).astype(restored.dtype)
    return np.where(hit & (values != meant), away, restored)


def look(
    reader: Reader,
    bands: Sequence[Bands],
    session: Session,
    psf: PsfChoice,
    nodata: Sequence[float | None],
) -> list[Group]:
    """Look once at a scene.

    Parameters
    ----------
    reader : Reader
    bands : sequence of Bands
        Those to be restored.
    session : Session
    psf : PSF argument, or mapping of band names or numbers to them
        None, or a band that the mapping lacks: estimated from the scene.
    nodata : sequence of float or None
        Of every band of the scene.

    Returns
    -------
    list of Group

    Raises
    ------
    EstimationError
        The scene does not tell its blur, with ``without_information="error"``.
    OptionsError
        `psf` names a band that is not there.
    """
    named = _named(psf, bands)
    corners = _corners(reader.shape)
    return [
        _group(reader, own, session, chosen, corners, nodata)
        for own, chosen in zip(bands, named, strict=True)
    ]


def _group(
    reader: Reader,
    bands: Bands,
    session: Session,
    psf: Analysis | None,
    corners: list[tuple[int, int]],
    nodata: Sequence[float | None],
) -> Group:
    void = next((v for i in bands.indices if (v := nodata[i]) is not None), None)
    rows, columns = (min(_BLOCK, size) for size in reader.shape)
    # Where the spread-out blocks hold nothing, every block is looked at: a strip may lie between.
    seen = _seen(reader, bands, corners) or _seen(reader, bands, _all_corners(reader.shape))
    if not seen:
        nothing = Analysis(warnings=("passed through unrestored: no valid pixels",))
        return Group(bands, Scale(0.0, 1.0, -np.inf, np.inf), nothing, void)
    scale = scale_of(np.concatenate([values for _, _, values in seen]), bits=reader.bits)
    scale = scale.inverted if reader.min_is_white else scale
    images, patched = [], []
    for _, (top, left), _ in sorted(seen, key=lambda one: -one[0])[:_MOST_BLOCKS]:
        values, valid = reader.read(bands.indices, top, left, rows, columns)
        if valid.all():
            images.append(_as_capture(scale, values, valid))
        elif (part := valid_rectangle(valid, _LEAST)) is not None:
            images.append(_as_capture(scale, values[(slice(None), *part)], valid[part]))
        else:
            patched.append(_as_capture(scale, values, valid))
    images = images or patched  # what fills a gap has no noise, and would pass for a clean sensor
    found = session.parts.analyse(Capture(lambda: images), psf)
    group = Group(bands, scale, found, void, margin_of(session.parts, found))
    if not group.restored:
        return group
    middle = sorted(seen, key=lambda one: one[0])[len(seen) // 2][1]
    return replace(group, limit=_limit(reader, group, session, middle))


def _seen(
    reader: Reader, bands: Bands, corners: Iterable[tuple[int, int]]
) -> list[tuple[float, tuple[int, int], NDArray[Any]]]:
    """Liveliness, corner and sparse values of blocks with valid pixels, so many as are enough."""
    rows, columns = (min(_BLOCK, size) for size in reader.shape)
    seen: list[tuple[float, tuple[int, int], NDArray[Any]]] = []
    for top, left in corners:
        values, valid = reader.read(bands.indices, top, left, rows, columns)
        sparse, sure = values[:, ::_STEP, ::_STEP], valid[::_STEP, ::_STEP]
        if sure.any():
            seen.append((_liveliness(sparse, sure), (top, left), sparse[:, sure].ravel()))
            if len(seen) == _PER_SIDE**2:
                break
    return seen


def _limit(reader: Reader, group: Group, session: Session, corner: tuple[int, int]) -> float | None:
    """The reblur check's limit for all windows, from a block that is neither dull nor lively."""
    if max(reader.shape) <= _SAMPLE or isinstance(group.found.psf, PsfField):
        return None  # one window, which is its own sample
    sizes = [min(_SAMPLE, size) for size in reader.shape]
    inset = [
        (min(_BLOCK, whole) - size) // 2 for whole, size in zip(reader.shape, sizes, strict=True)
    ]
    top, left = (first + more for first, more in zip(corner, inset, strict=True))
    values, valid = reader.read(group.bands.indices, top, left, *sizes)
    if not valid.any():
        return None
    group.restore(session, values, valid)
    stage = session.parts.stage
    if stage is None or stage.reblur_check is None:
        return None
    return float(np.median(stage.reblur_check.limits))


def _as_capture(scale: Scale, values: NDArray[Any], valid: Mask) -> NDArray[np.uint8]:
    """Samples as a capture of 8 bits, which is what estimates of blur and noise learnt from."""
    encoded = fill(scale.encode(np.where(valid, values, values.dtype.type(0))), valid)
    image: NDArray[np.uint8] = _as_image(np.rint(encoded * np.float32(255)).astype(np.uint8))
    return image


def _corners(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """First rows and columns of blocks spread evenly over a scene."""
    starts = []
    for size in shape:
        count = min(_PER_SIDE, max(1, -(-size // _BLOCK)))
        last = max(0, size - _BLOCK)
        starts.append(sorted({int(s) for s in np.linspace(0, last, count)}))
    return [(top, left) for top in starts[0] for left in starts[1]]


def _liveliness(values: NDArray[Any], valid: Mask) -> float:
    """Mean square difference of neighbouring samples, times the share that is valid."""
    mean = values.astype(np.float64).mean(axis=0)
    both = valid[:-1, :-1] & valid[1:, :-1] & valid[:-1, 1:]
    if not both.any():
        return 0.0
    change = np.square(mean[1:, :-1] - mean[:-1, :-1]) + np.square(mean[:-1, 1:] - mean[:-1, :-1])
    return float(change[both].mean() * both.mean())


def _named(psf: PsfChoice, bands: Sequence[Bands]) -> list[Analysis | None]:
    if not isinstance(psf, Mapping):
        one = None if psf is None else named_blur(psf)
        return [one] * len(bands)
    known: dict[str | int, int] = {}
    for group, own in enumerate(bands):
        if own.role == COLOUR:
            known[COLOUR] = group
        for index, name in zip(own.indices, own.names, strict=True):
            known[index + 1] = known[name] = group
    rest = psf.get(OTHERS)
    found = [None if rest is None else named_blur(rest)] * len(bands)
    for key, value in psf.items():
        number = int(key) if isinstance(key, str) and key.isdecimal() else key
        place = known.get(key, known.get(number))
        if place is not None:
            found[place] = None if value is None else named_blur(value)
        elif key != OTHERS:
            raise OptionsError("psf", key, ", ".join(map(str, [*known, OTHERS])))
    return found


def _all_corners(shape: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """First rows and columns of blocks that cover a scene."""
    starts = [
        [min(first, max(0, size - _BLOCK)) for first in range(0, size, _BLOCK)] for size in shape
    ]
    return ((top, left) for top in starts[0] for left in starts[1])
