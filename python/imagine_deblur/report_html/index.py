"""The index of a batch: a table to sort, thumbnails, and a window of each capture to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagine_deblur.errors import ImagineDeblurError
from imagine_deblur.report_html.figures import block_map
from imagine_deblur.report_html.frame import blur_of, blur_text
from imagine_deblur.report_html.pixels import (
    PageFull,
    Stretch,
    View,
    data_uri,
    detail_view,
    liveliest,
    open_source,
    thumbnail,
    uri_bytes,
)
from imagine_deblur.report_html.run import Item

_THUMB_SIDES = (160, 112, 80)  # px, the largest that fits
_DETAIL_SIDE = 448  # px
_DETAIL_BYTES = 60_000  # two windows of 256 px take about so much
_THUMB_BYTES = 8_000  # two thumbnails of 160 px take about so much
_ORDER = {"failed": 0, "passed through": 1, "restored": 2}


@dataclass(frozen=True)
class Cell:
    """A cell of the table: what is read, and what it is sorted by."""

    text: str
    value: str
    style: str = "number"


@dataclass(frozen=True)
class Row:
    """One capture of the index."""

    item: Item
    cells: tuple[Cell, ...]
    thumbs: tuple[tuple[str, str], ...] = ()
    view: View | None = None
    link: str = ""


_COLUMNS = (
    ("Capture", "text"),
    ("Outcome", "text"),
    ("Size, MP", "number"),
    ("PSF", "text"),
    ("Noise-to-signal", "number"),
    ("Blocks replaced", "number"),
    ("Seconds", "number"),
    ("Remarks", "text"),
)


def index_context(
    items: Sequence[Item], limit: int, title: str, links: dict[int, str]
) -> dict[str, Any]:
    """Return what the template of a batch shows.

    Parameters
    ----------
    items : sequence of Item
    limit : int
        Bytes that the page's pictures may take as data URIs. Failures and captures that were
        passed through come first where not all fit.
    title : str
    links : dict of int to str
        Addresses of full reports by the number of the item.
    """
    rows = [Row(item, _cells(item), link=links.get(n, "")) for n, item in enumerate(items)]
    shown = [n for n, item in enumerate(items) if item.restored is not None]
    shown.sort(key=lambda n: _ORDER[items[n].outcome])
    left, pictured, errors = limit, 0, 0
    for done, number in enumerate(shown):
        share = max(left // (len(shown) - done), min(_THUMB_BYTES, left))
        try:
            rows[number] = _pictured(rows[number], share, number)
        except PageFull:
            break
        except (ImagineDeblurError, ImportError, OSError) as error:
            remark = Cell(f"not shown: {error}", f"not shown: {error}", "text")
            rows[number] = replace(rows[number], cells=(*rows[number].cells[:-1], remark))
            errors += 1
            continue
        left -= _size(rows[number])
        pictured += 1
    counts = {
        kind: sum(i.outcome == kind for i in items)
        for kind in ("restored", "passed through", "failed")
    }
    notes = []
    if pictured + errors < len(shown):
        notes.append(
            f"Pictures of {pictured} of {len(shown)} captures fit into the page's size, those that "
            "were not restored first; raise --max-bytes for more."
        )
    return {
        "title": title,
        "rows": rows,
        "columns": [{"text": text, "kind": kind} for text, kind in _COLUMNS],
        "summary": [f"{len(items)} captures", *(f"{n} {kind}" for kind, n in counts.items() if n)],
        "notes": notes,
    }


def _cells(item: Item) -> tuple[Cell, ...]:
    report = item.report
    rows, columns = (_number(report.get(key)) for key in ("rows", "columns"))
    area = None if rows is None or columns is None else rows * columns / 1e6
    try:
        psf = blur_text(blur_of(report)) if report.get("psf") else ""
    except ImagineDeblurError:
        psf = "not readable"
    nsr = report.get("nsr")
    ratio = _number(nsr[len(nsr) // 2]) if isinstance(nsr, list | tuple) and nsr else None
    mask = block_map(report)
    replaced = _number(report.get("replaced_blocks"))
    share = None
    if mask is not None and replaced is not None and (mask == 0).any():
        share = float((mask > 0).mean())
    text = "" if replaced is None else f"{replaced:.0f}"
    if share is not None:
        text = f"{share:.1%}"
    seconds = report.get("seconds")
    total = _number(seconds.get("total")) if isinstance(seconds, dict) else _number(seconds)
    warnings = report.get("warnings") or ()
    remarks = "; ".join(
        dict.fromkeys([item.reason, *map(str, warnings)] if item.reason else map(str, warnings))
    )
    return (
        Cell(item.name, item.name, "text"),
        Cell(item.outcome, item.outcome, "word"),
        _cell(area, ".2f"),
        Cell(psf, psf, "word"),
        _cell(ratio, ".2g"),
        Cell(text, _sortable(share if share is not None else replaced)),
        _cell(total, ".2f"),
        Cell(remarks, remarks, "text"),
    )


def _cell(value: float | None, form: str) -> Cell:
    return Cell("" if value is None else format(value, form), _sortable(value))


def _sortable(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None


def _pictured(row: Row, share: int, number: int) -> Row:
    """Return the row with thumbnails, and with a window to look at where `share` bytes allow."""
    item = row.item
    assert item.restored is not None
    paths: list[tuple[Path, str]] = [(item.restored, "restored")]
    if item.capture is not None:
        paths.insert(0, (item.capture, "as captured"))
    sources = [open_source(path) for path, _ in paths]
    stretch = Stretch.of(sources[0])
    for side in _THUMB_SIDES:
        thumbs = [thumbnail(source, stretch, side) for source in sources]
        taken = sum(uri_bytes(len(data)) for data in thumbs)
        if taken <= share:
            break
    else:
        raise PageFull
    uris = tuple(
        (data_uri(data, "image/webp"), text) for data, (_, text) in zip(thumbs, paths, strict=True)
    )
    row = replace(row, thumbs=uris)
    same = len(sources) == 2 and (sources[0].rows, sources[0].columns) == (
        sources[1].rows,
        sources[1].columns,
    )
    if same and share - taken >= _DETAIL_BYTES:
        place = liveliest(sources[0], stretch, _DETAIL_SIDE)
        pair = sources[0], sources[1]
        view = detail_view(pair, stretch, share - taken, place, _DETAIL_SIDE, f"item{number}")
        row = replace(row, view=view)
    return row


def _size(row: Row) -> int:
    size = sum(len(uri) for uri, _ in row.thumbs)
    return size + (len(row.view.before) + len(row.view.after) if row.view else 0)
