"""The published systems beside ours: one table from rows that are measured one system at a time.

    python bench/side_by_side.py quality DATA/test ROWS --references
    python bench/side_by_side.py quality DATA/test ROWS --system "MIMO-UNet=mimo-unet.onnx"
    python bench/side_by_side.py speed CAPTURE.jpg ROWS --system "ours fast=fast"
    python bench/side_by_side.py table ROWS
    python bench/side_by_side.py sheet DATA/test SHEET.png --system "MIMO-UNet=mimo-unet.onnx"

ROWS is a file of JSON lines that the first two append to and `table` joins; of several rows for the
same thing the last counts. A system is NAME=MODEL, the model as in `imagine-deblur process`. Every
system sees the same scenes and is blind; those that take a PSF also have a row with the true one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import memory_watch
from environment import environment
from imagine_deblur import _core
from imagine_deblur.engines.model import resolve_model
from imagine_deblur.evaluation.metrics.seams import seams
from imagine_deblur.evaluation.protocols import PROTOCOLS, load_scene, protocol
from imagine_deblur.evaluation.run import ModelMethod, as_dicts, as_float, data_checksum, evaluate
from imagine_deblur.options import Options

ATTRIBUTION = "Contains modified Copernicus Sentinel data"

#: Scenes of a picture sheet: Sentinel-2 only, which may be shown with `ATTRIBUTION`.
SHEET_SCENES = ("s2_city_river.png", "s2_dolomites.png", "s2_farm_valley_pre.png")

CROP = 128  # px, of the sheet

#: Blocks of JPEG in capture and result, and strides of the networks: tiles begin on them too.
LATTICE = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure rows, or print the table of those that were."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run in (("quality", quality), ("speed", speed)):
        command = commands.add_parser(name)
        command.add_argument("source", type=Path, help="a split's folder, or one capture")
        command.add_argument("rows", type=Path)
        command.add_argument("--system", action="append", default=[], metavar="NAME=MODEL")
        command.add_argument("--engine", default="onnxruntime")
        command.set_defaults(run=run)
        command.add_argument("--precision", default="f32")
        if name == "quality":
            command.add_argument("--references", action="store_true", help="input and linear rows")
            command.add_argument("--protocol", action="append", metavar="NAME", help="default: all")
            command.add_argument("--limit", type=int, default=3, help="scenes per protocol, about")
            command.add_argument(
                "--satellite-limit", type=int, default=4, help="where all are large"
            )
        else:
            command.add_argument("--tile", type=int, default=256)
            command.add_argument("--overlap", type=int, default=Options().overlap)
            command.add_argument(
                "--rows-of", type=int, metavar="N", help="cut the capture to N rows"
            )
    table = commands.add_parser("table")
    table.add_argument("rows", type=Path)
    table.set_defaults(run=print_table)
    sheet = commands.add_parser("sheet")
    sheet.add_argument("source", type=Path)
    sheet.add_argument("output", type=Path)
    sheet.add_argument("--system", action="append", default=[], metavar="NAME=MODEL")
    sheet.add_argument("--engine", default="onnxruntime")
    sheet.set_defaults(run=write_sheet)
    parsed = parser.parse_args(arguments)
    parsed.run(parsed)
    return 0


def _systems(parsed: argparse.Namespace) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in parsed.system)


def _append(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("a") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


def about(model: str) -> dict[str, Any]:
    """What a network's own file says: size, cost, training."""
    descriptor = resolve_model(model).descriptor
    if descriptor is None:
        return {}
    training = dict(descriptor.training)
    before = training.get("started_from") or training.get("grown_from") or []

    def total(key: str) -> float:
        return training.get(key, 0) + sum(part.get(key, 0) for part in before)

    return {
        "parameters": training.get("parameters"),
        "kmac_per_pixel": training.get("kmac_per_pixel"),
        "steps": total("steps"),
        "training_seconds": total("seconds"),
        "processor_seconds": total("processor_seconds"),
        "crops": total("crops"),
    }


def quality(parsed: argparse.Namespace) -> None:
    """Append the rows of the protocols."""
    options = Options(engine=parsed.engine, precision=parsed.precision, threads=1, max_ram="8GB")
    checksum = data_checksum(parsed.source)
    for name in parsed.protocol or PROTOCOLS:
        limit = parsed.satellite_limit if protocol(name).satellite_only else parsed.limit
        if parsed.references:
            found = as_dicts(evaluate(name, parsed.source, models=(), options=options, limit=limit))
            _append(parsed.rows, (_row(row, row["method"], checksum, {}) for row in found))
        for system, model in _systems(parsed).items():
            takes_psf = resolve_model(model).needs_psf
            skip = ["oracle Wiener", "Richardson-Lucy"]
            if not takes_psf:
                skip.append(f"{model}, true PSF")
            rows = evaluate(
                name, parsed.source, models=(model,), options=options, limit=limit, skip=skip
            )
            names = {f"{model}, blind": system, f"{model}, true PSF": f"{system}, true PSF"}
            _append(
                parsed.rows,
                (
                    _row(row, names[row["method"]], checksum, about(model))
                    for row in as_dicts(rows)
                    if row["method"] in names
                ),
            )
            print(name, system, file=sys.stderr, flush=True)


def _row(
    row: Mapping[str, Any], system: str, checksum: str, facts: Mapping[str, Any]
) -> dict[str, Any]:
    return {**row, **facts, "kind": "quality", "system": system, "data_checksum": checksum}


def speed(parsed: argparse.Namespace) -> None:
    """Append what one `imagine-deblur process` takes, in a process of its own, and its seams."""
    with tempfile.TemporaryDirectory() as folder:
        capture = parsed.source
        if parsed.rows_of:
            reader = _core.JpegReader(str(capture))
            part = reader.read_rows(parsed.rows_of)
            capture = Path(folder) / "part.jpg"
            capture.write_bytes(_core.encode_jpeg(part, quality=95, subsampling="4:2:0"))
        frame = _read(capture)
        for system, model in _systems(parsed).items():
            target = Path(folder) / "restored.jpg"
            resolved = resolve_model(model)
            tile = [] if resolved.local else ["--tile", str(parsed.tile * resolved.scale)]
            command = [sys.executable, "-m", "imagine_deblur", "process", str(capture)]
            command += ["-o", str(target), "--overwrite", "--model", model, "--threads", "1"]
            command += ["--engine", parsed.engine, "--precision", parsed.precision]
            command += ["--max-ram", "8GB", "--overlap", str(parsed.overlap), *tile]
            usage = memory_watch.run(command)
            row = {
                "kind": "speed",
                "system": system,
                "frame": list(frame.shape[:2]),
                "wall_seconds": usage.seconds,
                "cpu_seconds": usage.cpu_seconds,
                "peak_mib": usage.peak_mib,
                "seam_significance": None,
                "load": environment()["load"],
            }
            if not resolved.local:
                side = resolved.tile_side(parsed.tile * resolved.scale)
                rows, columns = borders(frame.shape, side, resolved.multiple_of, parsed.overlap)
                change = as_float(_read(target)) - as_float(frame)
                report = seams(change, rows, columns, period=LATTICE)
                row["seam_significance"] = report.significance
                row["seam_relative"] = report.relative
            _append(parsed.rows, [row])
            print(json.dumps(row), file=sys.stderr, flush=True)


def _read(path: Path) -> NDArray[np.uint8]:
    reader = _core.JpegReader(str(path))
    return reader.read_rows(reader.info["rows"])


def borders(
    shape: Sequence[int], side: int, multiple_of: int, overlap: int
) -> tuple[list[int], list[int]]:
    """First rows and columns of the tiles of a frame that is blended as `process` does it."""
    plan = _core.TilePlan(
        shape[0],
        shape[1],
        tile_rows=side,
        tile_columns=side,
        overlap=overlap,
        multiple_of=multiple_of,
    )
    cores = [plan.tile(k).core for k in range(len(plan))]
    return sorted({core[0] for core in cores}), sorted({core[1] for core in cores})


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a file, the last of each system, kind and protocol."""
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        kept[row["kind"], row.get("protocol"), row["system"]] = row
    return list(kept.values())


def print_table(parsed: argparse.Namespace) -> None:
    """Print the joined tables."""
    print("\n\n".join(tables(read_rows(parsed.rows))))


def tables(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Quality by protocol, then cost, as Markdown."""
    measured = [row for row in rows if row["kind"] == "quality"]
    names = list(dict.fromkeys(row["protocol"] for row in measured))
    systems = list(dict.fromkeys(row["system"] for row in rows))
    by = {(row["system"], row["protocol"]): row for row in measured}
    counts = {name: max(r["images"] for r in measured if r["protocol"] == name) for name in names}
    gains = [
        "| system | " + " | ".join(f"{name} ({counts[name]})" for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for system in systems:
        cells = [_cell(by.get((system, name)), counts[name]) for name in names]
        if any(cells):
            gains.append(f"| {system} | " + " | ".join(cells) + " |")
    costs = [
        "| system | parameters | kMAC/px | steps | crops | processor hours | s CPU | peak MB | "
        "ringing | seams |",
        "|---" * 10 + "|",
    ]
    for system in systems:
        speeds = [r for r in rows if r["kind"] == "speed" and r["system"] == system]
        facts = next((r for r in measured if r["system"] == system and r.get("parameters")), None)
        if facts is None and not speeds:
            continue
        ring = by.get((system, "imagine"), {}).get("ringing")
        costs.append(_cost(system, facts or {}, speeds[-1] if speeds else {}, ring))
    return ["\n".join(gains), "\n".join(costs)]


def _cell(row: Mapping[str, Any] | None, count: int) -> str:
    if row is None or row["images"] != count:
        return ""
    if row["system"] == "input":
        return f"{row['psnr']:.2f} / {row['ssim']:.3f}"
    return f"{row['gain']:+.2f} / {row['ssim']:.3f}"


def _cost(system: str, facts: Mapping[str, Any], run: Mapping[str, Any], ring: float | None) -> str:
    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    hours = facts.get("processor_seconds") or facts.get("training_seconds")
    seam = run.get("seam_significance")
    cells = [
        number(facts.get("parameters"), ",d"),
        number(facts.get("kmac_per_pixel"), ",.1f"),
        number(facts.get("steps"), ",d"),
        number(facts.get("crops") or None, ",d"),
        number(None if hours is None else hours / 3600, ".2f"),
        number(run.get("cpu_seconds"), ".1f"),
        number(run.get("peak_mib"), ".0f"),
        number(None if ring is None else 1e4 * ring, ".1f"),
        number(seam, "+.1f"),
    ]
    return f"| {system} | " + " | ".join(cells) + " |"


def write_sheet(parsed: argparse.Namespace) -> None:
    """Write a PNG with crops of Sentinel-2 scenes under `imagine`, one column a system."""
    from PIL import Image, ImageDraw

    chosen = protocol("imagine")
    options = Options(engine=parsed.engine, threads=1, max_ram="8GB")
    systems = {
        name: ModelMethod(model, known=None, options=options)
        for name, model in _systems(parsed).items()
    }
    paths = chosen.images(parsed.source)
    bands = []
    for index, path in enumerate(paths):
        if path.name not in SHEET_SCENES:
            continue
        case = chosen.make(load_scene(path), index)
        pictures = [as_float(case.degraded), *(run(case) for run in systems.values()), case.sharp]
        top, left = ((length - CROP) // 2 for length in case.sharp.shape[:2])
        cut = [p[top : top + CROP, left : left + CROP] for p in pictures]
        bands.append(np.concatenate(cut, axis=1))
    samples = (np.clip(np.concatenate(bands), 0, 1) * 255 + 0.5).astype(np.uint8)
    header, footer = 16, 14
    picture = Image.new("RGB", (samples.shape[1], samples.shape[0] + header + footer), "white")
    picture.paste(Image.fromarray(samples), (0, header))
    draw = ImageDraw.Draw(picture)
    for place, name in enumerate(["input", *systems, "truth"]):
        draw.text((place * CROP + 2, 2), name[:21], fill="black")
    draw.text((2, picture.height - footer + 1), ATTRIBUTION, fill="black")
    picture.save(parsed.output, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
