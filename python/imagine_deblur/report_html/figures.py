"""The plots, pictures and tables of one capture's report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imagine_deblur.report_html import svg
from imagine_deblur.report_html.measure import Curves, half_frequency
from imagine_deblur.report_html.pixels import indexed_png

FloatArray = npt.NDArray[np.float64]

_KINDS = (
    (0, "restored by the network", (47, 125, 79)),
    (1, "linear (Wiener) restoration instead", (224, 138, 0)),
    (2, "left as captured", (109, 91, 208)),
)
_ROUNDING = float(np.sum(np.square([0.299, 0.587, 0.114]))) / 12.0
"""Variance of a colour's luma rounded to 8 bits, (grey levels)^2: three uniform errors."""


@dataclass(frozen=True)
class Part:
    """A drawing with its legend (style and text of each line) and caption."""

    svg: str
    legend: tuple[tuple[str, str], ...]
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A section of drawings, a sentence on how to read them, and their numbers."""

    heading: str
    parts: tuple[Part, ...]
    text: str
    numbers: list[list[str]]


def mtf_figure(curves: Curves) -> Figure | None:
    """MTF before and after; None without a PSF."""
    before, after = curves.mtf_before, curves.mtf_after
    if before is None or after is None:
        return None
    halves = [half_frequency(curves.frequency, c[0]) for c in (before, after)]
    high = max(1.05, float(min(2.0, np.max(after[0]))) * 1.08)
    said = " and ".join(
        f"{name} {_frequency(half)}" for name, half in zip(("before", "after"), halves, strict=True)
    )
    plot = svg.Plot(
        "mtf",
        "MTF before and after",
        f"Contrast that is passed, from 0 to 0.5 cycles/px. It falls to a half at: {said}.",
        svg.Axis("frequency, cycles/px", 0.0, 0.5),
        svg.Axis("MTF", 0.0, high),
    )
    plot.rule(0.5, "mark", along="y")
    for curve, style in ((before, "before"), (after, "after")):
        plot.band(curves.frequency, curve[1], curve[2], style)
        plot.line(curves.frequency, curve[0], style)
    numbers = svg.table(
        [
            ("cycles/px", curves.frequency),
            ("before", before[0]),
            ("5 %", before[1]),
            ("95 %", before[2]),
            ("after", after[0]),
            ("5 %", after[1]),
            ("95 %", after[2]),
        ]
    )
    legend = (
        ("before", "before: the PSF that was undone"),
        ("after", "after: PSF times measured gain"),
    )
    text = (
        "1 passes a detail's contrast in full, 0 loses it. The gain is the least-squares linear "
        f"part of what was done to {curves.blocks} blocks of the capture. "
        f"Shaded: central 90 % interval; it holds {curves.interval}."
    )
    return Figure("MTF before and after", (Part(plot.render(), legend),), text, numbers)


def psf_figure(curves: Curves) -> Figure | None:
    """Profiles of the PSF before and after through the centre; None without a PSF."""
    before, after = curves.kernel_before, curves.kernel_after
    if before is None or after is None:
        return None
    half = before.shape[0] // 2
    distance = np.arange(-half, half + 1.0)
    profiles = [k[half] for k in (before, after)]
    top = float(max(p.max() for p in profiles)) * 1.08
    low = float(min(0.0, *(p.min() for p in profiles))) * 1.08
    peaks = [float(p.max()) for p in profiles]
    plot = svg.Plot(
        "psf",
        "PSF before and after",
        "Share of a point's light in each px along a row through its middle. The highest is "
        f"{peaks[0]:.3f} before and {peaks[1]:.3f} after.",
        svg.Axis("distance along the row, px", -float(half), float(half)),
        svg.Axis("share of light a px", low, top),
    )
    for profile, style in zip(profiles, ("before", "after"), strict=True):
        plot.line(distance, profile, style)
    parts = [Part(plot.render(), (("before", "before"), ("after", "after")))]
    for kernel, name in ((before, "before"), (after, "after")):
        parts.append(Part(_kernel_picture(kernel, name), (), f"PSF {name}, 49 × 49 px"))
    text = (
        "A point of light as the capture shows it, and as the restoration does. Blue is less than "
        "nothing: ringing. Each picture is scaled to its own highest value."
    )
    numbers = svg.table([("px", distance), ("before", profiles[0]), ("after", profiles[1])], 17)
    return Figure("PSF before and after", tuple(parts), text, numbers)


def noise_figure(curves: Curves) -> Figure:
    """Power densities of capture and restoration, and of their quietest blocks."""
    lines = (
        ("before", "capture, all blocks", curves.psd_before),
        ("after", "restored, all blocks", curves.psd_after),
        ("quiet before", "capture, quietest blocks", curves.quiet_before),
        ("quiet after", "restored, quietest blocks", curves.quiet_after),
    )
    low = min(_ROUNDING, *(float(v.min()) for _, _, v in lines))
    high = max(float(v.max()) for _, _, v in lines)
    low, high = 10.0 ** np.floor(np.log10(max(low, 1e-4))), 10.0 ** np.ceil(np.log10(high))
    plot = svg.Plot(
        "noise",
        "Noise spectrum",
        "Power over frequency, before and after. Noise in the quietest blocks above 0.25 "
        f"cycles/px: {curves.noise_before:.2f} grey levels before, {curves.noise_after:.2f} after.",
        svg.Axis("frequency, cycles/px", 0.0, 0.5),
        svg.Axis("power density, (grey levels)² px²", float(low), float(high), log=True),
    )
    plot.rule(_ROUNDING, "mark", along="y")
    for style, _, values in lines:
        plot.line(curves.frequency, values, style)
    legend = (*((style, name) for style, name, _ in lines), ("mark", "rounding to 8 bits"))
    text = (
        "White noise with a standard deviation of s grey levels lies at s². The quietest blocks "
        "are those with the least detail: at high frequency they show the noise."
    )
    numbers = svg.table([("cycles/px", curves.frequency), *((name, v) for _, name, v in lines)])
    return Figure("Noise spectrum", (Part(plot.render(), legend),), text, numbers)


def _kernel_picture(kernel: FloatArray, name: str) -> str:
    scaled = kernel / kernel.max()
    values = np.asarray(np.rint(127.5 + 127.5 * np.clip(scaled, -1.0, 1.0)), np.uint8)
    ramp = np.abs(np.arange(256) - 127.5) / 127.5
    # Grey for light, blue for what ringing takes away.
    palette = [
        (round(255 * r), round(255 * r), round(255 * r), 255)
        if i > 127
        else (round(60 * r), round(110 * r), round(255 * r), 255)
        for i, r in enumerate(np.sqrt(ramp))
    ]
    uri = indexed_png(values, palette)
    size = kernel.shape[0]
    alt = f"PSF {name} as a picture"
    return f'<img class="kernel" width="{size}" height="{size}" src="{uri}" alt="{alt}">'


def block_map(report: Mapping[str, Any]) -> npt.NDArray[np.uint8] | None:
    """Return the (n, m) map of a report's blocks, None where it holds none."""
    stored = report.get("blocks")
    if not isinstance(stored, dict):
        return None
    rows, columns, runs = (stored.get(key) for key in ("rows", "columns", "runs"))
    if not (isinstance(rows, int) and isinstance(columns, int) and isinstance(runs, list)):
        return None
    values = [np.full(count, value, np.uint8) for value, count in runs]
    flat = np.concatenate(values) if values else np.zeros(0, np.uint8)
    return flat.reshape(rows, columns) if flat.size == rows * columns else None


def block_section(mask: npt.NDArray[np.uint8], side: int) -> dict[str, Any]:
    """Return what the template shows of a map of blocks."""
    counts = {value: int(np.count_nonzero(mask == value)) for value, _, _ in _KINDS}
    legend = [
        {"value": v, "text": text, "count": counts[v], "share": f"{counts[v] / mask.size:.1%}"}
        for v, text, _ in _KINDS
    ]
    said = "; ".join(f"{counts[v]} {text}" for v, text, _ in _KINDS)
    return {
        "rows": mask.shape[0],
        "columns": mask.shape[1],
        "uri": indexed_png(mask, [(*colour, 255) for _, _, colour in _KINDS]),
        "overlay": {
            "uri": indexed_png(mask, [(0, 0, 0, 0), *((*c, 255) for _, _, c in _KINDS[1:])]),
            "rows": mask.shape[0] * side,
            "columns": mask.shape[1] * side,
        },
        "description": f"Map of {mask.size} blocks: {said}.",
        "legend": legend,
        "total": mask.size,
        "side": side,
    }


def _frequency(value: float | None) -> str:
    return "above 0.5 cycles/px" if value is None else f"{value:.3f} cycles/px"
