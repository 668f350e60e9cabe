"""Tables and the picture sheet of `side_by_side`."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imagine_deblur.evaluation.protocols import load_scene, protocol
from imagine_deblur.evaluation.run import ModelMethod, as_float
from imagine_deblur.options import Options

Rows = Sequence[Mapping[str, Any]]

ATTRIBUTION = "Contains modified Copernicus Sentinel data"

#: Scenes of a picture sheet: Sentinel-2 only, which may be shown with `ATTRIBUTION`.
SHEET_SCENES = ("s2_city_river.png", "s2_dolomites.png", "s2_farm_valley_pre.png")

CROP = 128  # px, of the sheet

QUALITY = ("system", "protocol", "scenes", "images", "psnr", "psnr_p5", "ssim", "gain", "gain_p5",
           "gain_worst", "ringing", "model_sha256", "data_checksum", "commit")  # fmt: skip
COST = ("system", "parameters", "kmac_per_pixel", "steps", "crops", "processor_hours",
        "frame_cpu_s", "frame_peak_mib", "ringing_1e-4", "seams_standard_errors", "edge_rise_px",
        "rimmed", "model_sha256")  # fmt: skip


def write_tables(rows: Rows, folder: Path) -> str:
    """Write `published_quality.csv` and `published_cost.csv`; return the same as Markdown.

    A gain stands only where a system saw as many scenes as the others, so that columns compare.
    """
    folder.mkdir(parents=True, exist_ok=True)
    measured = [row for row in rows if row["kind"] == "quality"]
    # The same network with its PSF given costs no less.
    cost = [_cost(name, rows) for name in _systems(rows) if not name.endswith(" PSF")]
    cost = [line for line in cost if line["kmac_per_pixel"] or line["frame_cpu_s"]]
    for name, fields, lines in (
        ("published_quality.csv", QUALITY, measured),
        ("published_cost.csv", COST, cost),
    ):
        with (folder / name).open("w", newline="") as stream:
            writer = csv.DictWriter(stream, fields, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows({key: _short(value) for key, value in row.items()} for row in lines)
    tables = [_gains(measured, scenes) for scenes in dict.fromkeys(r["scenes"] for r in measured)]
    return "\n\n".join([*tables, _markdown(COST[:-1], cost)])


def _systems(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["system"] for row in rows))


def _short(value: object) -> object:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _gains(measured: Rows, scenes: str) -> str:
    """Gain in dB and SSIM by protocol, of one set."""
    chosen = [row for row in measured if row["scenes"] == scenes]
    names = list(dict.fromkeys(row["protocol"] for row in chosen))
    most = {name: max(r["images"] for r in chosen if r["protocol"] == name) for name in names}
    by = {(r["system"], r["protocol"]): r for r in chosen if r["images"] == most[r["protocol"]]}
    heads = [f"{scenes}, blind", *(f"`{name}` ({most[name]})" for name in names)]
    lines = []
    for system in _systems(chosen):
        cells = [_cell(by.get((system, name))) for name in names]
        if any(cells):
            lines.append(dict(zip(heads, [system, *cells], strict=True)))
    return _markdown(heads, lines)


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    first = f"{row['psnr']:.2f}" if row["system"] == "input" else f"{row['gain']:+.2f}"
    return f"{first} / {row['ssim']:.3f}"


def _cost(system: str, rows: Rows) -> dict[str, Any]:
    own = [row for row in rows if row["system"] == system]
    facts = next((row for row in own if row.get("parameters")), {})
    seconds = facts.get("processor_seconds") or facts.get("training_seconds")
    run: Mapping[str, Any] = next((row for row in own if row["kind"] == "speed"), {})
    real: Mapping[str, Any] = next((row for row in own if row["kind"] == "captures"), {})
    rings = [row["ringing"] for row in own if row.get("protocol") == "imagine"]
    return {
        "system": system,
        "parameters": facts.get("parameters"),
        "kmac_per_pixel": facts.get("kmac_per_pixel"),
        "steps": facts.get("steps"),
        "crops": facts.get("crops") or None,
        "processor_hours": None if seconds is None else seconds / 3600,
        "frame_cpu_s": run.get("cpu_seconds"),
        "frame_peak_mib": run.get("peak_mib"),
        "ringing_1e-4": 1e4 * rings[0] if rings else None,
        "seams_standard_errors": run.get("seam_significance"),
        "edge_rise_px": real.get("edge_rise_px"),
        "rimmed": real.get("rimmed"),
        "model_sha256": facts.get("model_sha256"),
    }


def _markdown(heads: Sequence[str], lines: Rows) -> str:
    def text(value: object) -> str:
        if value is None:
            return ""
        return f"{value:,.4g}" if isinstance(value, float) else str(value)

    table = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    table += ["| " + " | ".join(text(line.get(head)) for head in heads) + " |" for line in lines]
    return "\n".join(table)


def write_sheet(systems: Mapping[str, Options], scenes_dir: Path, output: Path) -> None:
    """Write a PNG with crops of Sentinel-2 scenes under `imagine`, one column a system."""
    from PIL import Image, ImageDraw

    chosen = protocol("imagine")
    methods = {
        name: ModelMethod(str(options.model), known=None, options=options)
        for name, options in systems.items()
    }
    bands = []
    for index, path in enumerate(chosen.images(scenes_dir)):
        if path.name not in SHEET_SCENES:
            continue
        case = chosen.make(load_scene(path), index)
        pictures = [as_float(case.degraded), *(run(case) for run in methods.values()), case.sharp]
        top, left = ((length - CROP) // 2 for length in case.sharp.shape[:2])
        cut = [p[top : top + CROP, left : left + CROP] for p in pictures]
        bands.append(np.concatenate(cut, axis=1))
    samples = (np.clip(np.concatenate(bands), 0, 1) * 255 + 0.5).astype(np.uint8)
    header, footer = 16, 14
    picture = Image.new("RGB", (samples.shape[1], samples.shape[0] + header + footer), "white")
    picture.paste(Image.fromarray(samples), (0, header))
    draw = ImageDraw.Draw(picture)
    for place, name in enumerate(["input", *methods, "truth"]):
        draw.text((place * CROP + 2, 2), name[:21], fill="black")
    draw.text((2, picture.height - footer + 1), ATTRIBUTION, fill="black")
    picture.save(output, optimize=True)
