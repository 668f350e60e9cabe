"""The report of one capture: its pictures, figures, plots and provenance."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imagine_deblur.errors import EstimationError, ImagineDeblurError, PsfError
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.record import Record, load_record
from imagine_deblur.psf.uncertainty import draw_psfs
from imagine_deblur.report_html import figures, measure
from imagine_deblur.report_html.pixels import (
    PageFull,
    Source,
    Stretch,
    View,
    detail_view,
    liveliest,
    open_source,
    whole_view,
)
from imagine_deblur.report_html.run import Item

_DETAIL_SIDE = 768  # px: fills a laptop's window at 1:1
_DRAWS = 60  # PSFs; each is paired with two resamplings of the blocks
_BLOCK_SIDE = 32  # px, where a report does not say
_MOST_ESTIMATED = 4096  # px a side; the middle of larger frames tells as much
_NEUTRAL = (0.0, 1.0)  # angles and ratios that change nothing
_HIDDEN = {"psf", "seconds", "pool", "warnings", "blocks", "source", "output", "nsr"}


def frame_context(item: Item, limit: int, record: Path | None) -> dict[str, Any]:
    """Return what the template of one capture shows.

    Parameters
    ----------
    item : Item
    limit : int
        Bytes its pictures may take as data URIs.
    record : Path or None
        A PSF record with the covariance of the PSF that was used.

    Raises
    ------
    PsfError
        `record` cannot be read, or holds another PSF than the one that was used.
    ImagineDeblurError, ImportError, OSError
        A picture cannot be read.
    """
    missing: list[str] = []
    context: dict[str, Any] = {
        "item": item,
        "warnings": [str(w) for w in item.report.get("warnings") or () if str(w) != item.reason],
        "views": [],
        "plots": [],
        "figures": [],
        "stretched": "",
        "missing": missing,
        "overlay": None,
        "blocks": None,
    }
    mask = figures.block_map(item.report)
    if mask is not None:
        context["blocks"] = figures.block_section(mask, _side(item.report))
        context["overlay"] = context["blocks"]["overlay"]
    curves = None
    pair = _pair(item, missing)
    psf, draws = _blur(item.report, record, pair, missing)
    if pair is not None:
        stretch = Stretch.of(pair[0])
        context["views"] = _views(item, pair, stretch, limit, missing)
        if not stretch.is_identity:
            why = "The lowest value is white" if pair[0].min_is_white else "Samples beyond 8 bits"
            context["stretched"] = (
                f"{why}: both pictures show "
                + "; ".join(
                    f"{low:.6g} to {high:.6g}"
                    for low, high in zip(stretch.low, stretch.high, strict=True)
                )
                + " as black to white."
            )
        spectra = measure.block_spectra(pair, stretch)
        if spectra is None:
            missing.append(
                "Blur and noise were not measured: fewer than 6 blocks of 128 px that are not flat."
            )
        else:
            curves = measure.curves(spectra, psf, draws)
            drawn = (figures.psf_figure(curves), figures.mtf_figure(curves))
            context["plots"] = [f for f in (*drawn, figures.noise_figure(curves)) if f is not None]
        context["figures"] = _levels(pair)
    context["figures"] = _figure_rows(item, curves) + context["figures"]
    context["provenance"] = _provenance(item)
    return context


def blur_of(report: Mapping[str, Any]) -> PSF | None:
    """Return the PSF a report names, of a field the middle one; None where it names none."""
    stored = report.get("psf")
    if not isinstance(stored, dict):
        return None
    if "grid" in stored:
        grid = PsfField.from_dict(stored).grid
        return grid[len(grid) // 2][len(grid[0]) // 2]
    return PSF.from_dict({"components": stored.get("components")})


def blur_text(psf: PSF | None) -> str:
    """Return a PSF in a few words."""
    if psf is None or not psf.components:
        return "none"
    parts = []
    for component in psf.to_dict()["components"]:
        kind = component.pop("kind")
        if kind == "sampled":
            parts.append(f"sampled kernel of {len(component['kernel'])} px")
            continue
        first, *others = component.items()
        more = [f"{k} {v:.3g}" for k, v in others if v not in _NEUTRAL]
        parts.append(" ".join([kind, f"{first[1]:.3g}", *more]))
    return ", ".join(parts)


def _blur(
    report: Mapping[str, Any],
    path: Path | None,
    pair: tuple[Source, Source] | None,
    missing: list[str],
) -> tuple[PSF | None, tuple[PSF, ...]]:
    """The PSF a report names, and draws from its uncertainty where that is known."""
    psf = blur_of(report)
    stored = report.get("psf") or {}
    if psf is None:
        missing.append("No PSF is recorded, so there is no MTF to show.")
        return None, ()
    if "grid" in stored:
        missing.append("The PSF varies over the frame; the one in the middle is shown.")
    if path is not None:
        record = load_record(path)
        if record.psf.id != psf.id:
            raise PsfError(
                f"{path}: holds PSF {record.psf.id}, but the capture was restored with {psf.id}; "
                "give the record that was used"
            )
        return psf, draw_psfs(record, _DRAWS)
    if report.get("psf_source") == "estimated" and pair is not None:
        return psf, _estimated_again(psf, pair[0])
    return psf, ()


def _estimated_again(psf: PSF, capture: Source) -> tuple[PSF, ...]:
    """Draws about an estimated PSF; a report does not hold the estimate's covariance."""
    from imagine_deblur.psf.estimation import estimate_psf

    rows, columns = min(capture.rows, _MOST_ESTIMATED), min(capture.columns, _MOST_ESTIMATED)
    top, left = (capture.rows - rows) // 2, (capture.columns - columns) // 2
    pixels = capture.read(top, left, rows, columns)
    if pixels.dtype != np.uint8:
        return ()
    pixels = 255 - pixels if capture.min_is_white else pixels
    try:
        estimate = estimate_psf([pixels if pixels.shape[2] == 3 else pixels[..., 0]])
    except EstimationError:
        return ()
    parameters, covariance = estimate.uncertain
    if [part.kind for part in estimate.psf.components] != [part.kind for part in psf.components]:
        return ()
    return draw_psfs(Record(psf, covariance, parameters), _DRAWS)


def _pair(item: Item, missing: list[str]) -> tuple[Source, Source] | None:
    if item.restored is None:
        missing.append("There is no restored picture to show.")
        return None
    if item.capture is None:
        missing.append(
            f"The capture {item.name!r} was not found beside the report; name its folder with "
            "--captures."
        )
        return None
    pair = open_source(item.capture), open_source(item.restored)
    sizes = [(source.rows, source.columns) for source in pair]
    if sizes[0] != sizes[1]:
        missing.append(
            f"The capture has {sizes[0][0]} x {sizes[0][1]} px and the restoration {sizes[1][0]} x "
            f"{sizes[1][1]}: not the same frame, so nothing is compared."
        )
        return None
    return pair


def _views(
    item: Item, pair: tuple[Source, Source], stretch: Stretch, limit: int, missing: list[str]
) -> list[View]:
    """The whole frame, and a window at its own resolution where it had to be reduced."""
    assert item.capture is not None
    assert item.restored is not None
    try:
        whole = whole_view((item.capture, item.restored), pair, stretch, limit)
        if whole.reduced == 1:
            return [whole]
        whole = whole_view((item.capture, item.restored), pair, stretch, limit * 3 // 5)
        place = liveliest(pair[0], stretch, _DETAIL_SIDE)
        rest = limit - len(whole.before) - len(whole.after)
        return [whole, detail_view(pair, stretch, rest, place, _DETAIL_SIDE, "detail")]
    except PageFull:
        missing.append("The pictures do not fit into the page's size; raise --max-bytes.")
        return []


def _figure_rows(item: Item, curves: measure.Curves | None) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    if curves is not None:
        before, after = curves.mtf_before, curves.mtf_after
        if before is not None and after is not None:
            low, high = (_half(curves, curve) for curve in (before, after))
            rows.append(("MTF50, cycles/px (90 % interval)", low, high))
            quarter = int(np.argmin(np.abs(curves.frequency - 0.25)))
            values = [
                f"{c[0, quarter]:.3f} ({c[1, quarter]:.3f} to {c[2, quarter]:.3f})"
                for c in (before, after)
            ]
            rows.append(("MTF at 0.25 cycles/px (90 % interval)", *values))  # type: ignore[arg-type]
        rows.append(
            (
                "Noise above 0.25 cycles/px in the quietest blocks, grey levels",
                f"{curves.noise_before:.2f}",
                f"{curves.noise_after:.2f}",
            )
        )
    sizes = [
        "" if path is None else f"{path.stat().st_size / 1e3:,.0f} kB"
        for path in (item.capture, item.restored)
    ]
    rows.append(("File", sizes[0], sizes[1]))
    return rows


def _half(curves: measure.Curves, curve: measure.FloatArray) -> str:
    ends = [measure.half_frequency(curves.frequency, line) for line in curve]
    if ends[0] is None:
        return "above 0.5"
    high = "above 0.5" if ends[2] is None else f"{ends[2]:.3f}"
    return f"{ends[0]:.3f} ({ends[1] or 0.0:.3f} to {high})"


def _levels(pair: tuple[Source, Source]) -> list[tuple[str, str, str]]:
    """Mean level of each band: a restoration must not change the radiometry."""
    means = []
    for source in pair:
        step = max(1, max(source.rows, source.columns) // 1024)
        look = source.read(0, 0, source.rows, source.columns, step)
        means.append(np.nanmean(look.astype(np.float64), axis=(0, 1)))
    names = ("red", "green", "blue") if len(means[0]) == 3 else ("",)
    return [
        (f"Mean level {name}".strip(), f"{one:.2f}", f"{other:.2f}")
        for name, one, other in zip(names, *means, strict=True)
    ]


def _provenance(item: Item) -> list[tuple[str, str]]:
    report = item.report
    rows = [("capture", item.name)]
    for name, path in (("capture", item.capture), ("restored", item.restored)):
        if path is not None:
            rows.append((f"{name} SHA-256", _digest(path)))
    try:
        rows.append(("PSF", blur_text(blur_of(report))))
    except ImagineDeblurError as error:
        rows.append(("PSF", f"not readable: {error}"))
    stored = report.get("psf")
    if isinstance(stored, dict) and stored.get("id"):
        rows.append(("PSF id", str(stored["id"])))
    nsr = report.get("nsr")
    if isinstance(nsr, list | tuple) and nsr:
        rows.append(("noise-to-signal ratios", ", ".join(f"{v:.3g}" for v in nsr)))
    seconds = report.get("seconds")
    if isinstance(seconds, dict):
        rows.append(("seconds", ", ".join(f"{k} {v:.3f}" for k, v in seconds.items())))
    for key, value in report.items():
        if key not in _HIDDEN and isinstance(value, str | int | float) and value != "":
            rows.append((key.replace("_", " "), _plain(key, value)))
    return rows


def _plain(key: str, value: str | int | float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key.endswith("_bytes") and isinstance(value, int):
        return f"{value / 1e6:,.1f} MB"
    return f"{value:.4g}" if isinstance(value, float) else os.fspath(str(value))


def _side(report: Mapping[str, Any]) -> int:
    blocks = report.get("blocks")
    side = blocks.get("side") if isinstance(blocks, dict) else None
    return side if isinstance(side, int) else _BLOCK_SIDE


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
