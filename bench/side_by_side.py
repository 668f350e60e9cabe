"""The published systems beside ours: every system, every protocol, every set, by one command.

    python bench/side_by_side.py measure SYSTEMS.toml DATA ROWS
    python bench/side_by_side.py tables ROWS OUT
    python bench/side_by_side.py sheet SYSTEMS.toml DATA SHEET.png

SYSTEMS.toml names what is compared (`research/side_by_side.toml`); DATA has `test/` and
`captures/payload/`. ROWS is a file of JSON lines that `measure` appends to: what stands in it for
the same network, engine and scenes is not measured again, so that it goes on where it was stopped.
`tables` prints Markdown and writes CSV files. Every system sees the same scenes and is blind; those
that take a PSF also have a row with the true one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import memory_watch
from environment import environment
from imagine_deblur import _core
from imagine_deblur.engines.model import resolve_model
from imagine_deblur.evaluation.metrics.blobs import find_blobs, rims
from imagine_deblur.evaluation.metrics.edges import edge_rise, find_edges
from imagine_deblur.evaluation.metrics.seams import seams
from imagine_deblur.evaluation.protocols import PROTOCOLS
from imagine_deblur.evaluation.run import as_dicts, as_float, data_checksum, evaluate
from imagine_deblur.options import Options
from imagine_deblur.session import Session
from side_by_side_tables import write_sheet, write_tables

#: About how many scenes of each set: all satellite ones, every third aerial, every other iss one.
SCENES = {"satellite": 7, "aerial": 28, "iss": 12}

#: Px, side of the middle of a scene that every system restores. Whole scenes take MIMO-UNet 450
#: seconds a protocol, and MIMO-UNet++ has 9.5 times its arithmetic.
CROP = 512

#: Blocks of JPEG in capture and result, and strides of the networks: tiles begin on them too.
LATTICE = 8

#: Rows of a reference, which no network makes.
REFERENCES = ("input", "oracle Wiener", "Richardson-Lucy", "best radial filter")

PART = 1024  # px, side of the central part of a real capture whose edges and clouds are measured


@dataclass(frozen=True)
class System:
    """One network as it is served.

    Attributes
    ----------
    name : str
        As its paper calls it.
    model : str
        As in `imagine-deblur process`; a file's name is relative to SYSTEMS.toml.
    engine, precision : str
    tile, overlap : int
        Px; of networks that are not local.
    """

    name: str
    model: str
    engine: str = "auto"
    precision: str = "auto"
    tile: int = 256
    overlap: int = Options().overlap

    def options(self) -> Options:
        """Options of a session on one thread."""
        tile = {} if resolve_model(self.model).local else {"tile": self._side}
        return Options(
            model=self.model,
            engine=self.engine,
            precision=self.precision,
            overlap=self.overlap,
            threads=1,
            max_ram="8GB",
            **tile,  # type: ignore[arg-type]
        )

    @property
    def _side(self) -> int:
        return self.tile * resolve_model(self.model).scale

    def command(self, capture: Path, target: Path) -> list[str]:
        """The command that restores one capture with it."""
        tile = [] if resolve_model(self.model).local else ["--tile", str(self._side)]
        return [
            *(sys.executable, "-m", "imagine_deblur", "process", str(capture), "-o", str(target)),
            *("--overwrite", "--model", self.model, "--threads", "1", "--max-ram", "8GB"),
            *("--engine", self.engine, "--precision", self.precision),
            *("--overlap", str(self.overlap), *tile),
        ]

    def borders(self, shape: Sequence[int]) -> tuple[list[int], list[int]] | None:
        """First rows and columns of the tiles of a frame that are blended; None where exact."""
        model = resolve_model(self.model)
        if model.local:
            return None
        side = model.tile_side(self._side)
        plan = _core.TilePlan(
            *shape[:2],
            tile_rows=side,
            tile_columns=side,
            overlap=self.overlap,
            multiple_of=model.multiple_of,
        )
        cores = [plan.tile(k).core for k in range(len(plan))]
        return sorted({core[0] for core in cores}), sorted({core[1] for core in cores})

    def facts(self) -> dict[str, Any]:
        """Who it is, and what the network's own file says: size, cost, training."""
        model = resolve_model(self.model)
        known = {"system": self.name, "model_sha256": model.sha256}
        known |= {"engine": self.engine, "precision": self.precision}
        if model.descriptor is None:
            return known
        training = dict(model.descriptor.training)
        before = training.get("started_from") or training.get("grown_from") or []

        def total(key: str) -> float:
            return training.get(key, 0) + sum(part.get(key, 0) for part in before)

        return known | {
            "parameters": training.get("parameters"),
            "kmac_per_pixel": training.get("kmac_per_pixel"),
            "steps": total("steps"),
            "training_seconds": total("seconds"),
            "processor_seconds": total("processor_seconds"),
            "crops": total("crops"),
        }


def read_systems(path: Path) -> list[System]:
    """Read SYSTEMS.toml; systems whose file is not there are named and left out."""
    found = []
    for entry in tomllib.loads(path.read_text())["system"]:
        model = str(entry["model"])
        if model.endswith(".onnx"):
            model = str((path.parent / model).resolve())
            if not Path(model).is_file():
                print(f"left out: {entry['name']}, no file {model}", file=sys.stderr)
                continue
        found.append(System(**{**entry, "model": model}))
    return found


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a file, the last of each kind, protocol, set and system."""
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        row = json.loads(line)
        kept[row["kind"], row.get("protocol"), row.get("scenes"), row["system"]] = row
    return list(kept.values())


def measure(parsed: argparse.Namespace) -> None:
    """Append every row that is missing."""
    systems = [s for s in read_systems(parsed.systems) if parsed.only in (None, s.name)]
    print(json.dumps({"environment": environment()}), file=sys.stderr)
    checksum = data_checksum(parsed.data / "test")
    done = {_key(row) for row in read_rows(parsed.rows)}

    def keep(rows: Iterable[Mapping[str, Any]]) -> None:
        common = {"data_checksum": checksum, "commit": environment()["commit"]}
        with parsed.rows.open("a") as stream:
            stream.writelines(json.dumps({**row, **common}) + "\n" for row in rows)

    for name in parsed.protocol or PROTOCOLS:
        for scenes in parsed.scenes or SCENES:
            limit = parsed.limit or SCENES[scenes]
            place = {"kind": "quality", "protocol": name, "scenes": scenes}
            if parsed.only is None and _key({**place, "system": "input"}) not in done:
                keep(quality(name, parsed.data / "test", scenes, limit))
            for system in systems:
                if _key({**place, **system.facts()}) not in done:
                    keep(quality(name, parsed.data / "test", scenes, limit, system))
                    print(name, scenes, system.name, file=sys.stderr, flush=True)
    captures = sorted((parsed.data / "captures" / "payload").glob("*.jpg"))
    for system in systems if captures else ():
        if not parsed.no_speed and _key({"kind": "speed", **system.facts()}) not in done:
            keep([speed(system, captures[0])])
        if _key({"kind": "captures", **system.facts()}) not in done:
            keep([real(system, captures)])
        print("captures", system.name, file=sys.stderr, flush=True)


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("kind", "protocol", "scenes", "system", "model_sha256", "engine", "precision")
    return tuple(row.get(name) for name in names)


def quality(
    name: str, scenes_dir: Path, scenes: str, limit: int, system: System | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of one protocol and set: of a system, or the input's and the linear references'."""
    chosen = replace(PROTOCOLS[name], crop_px=CROP)
    if system is None:
        rows = evaluate(chosen, scenes_dir, models=(), limit=limit, scene_sets=[scenes])
        names, facts = {reference: reference for reference in REFERENCES}, {}
    else:
        model = system.model
        names = {f"{model}, blind": system.name}
        if resolve_model(model).needs_psf:
            names |= {f"{model}, true PSF": f"{system.name}, true PSF"}
            names |= {f"{model}, effective PSF": f"{system.name}, effective PSF"}
        skip = {*REFERENCES, f"{model}, true PSF", f"{model}, effective PSF"} - {*names}
        facts = system.facts()
        rows = evaluate(
            chosen,
            scenes_dir,
            models=(model,),
            options=system.options(),
            limit=limit,
            skip=[*skip],
            scene_sets=[scenes],
        )
    for row in as_dicts(rows):
        if row["method"] in names:
            yield {**row, **facts, "kind": "quality", "system": names[row["method"]]}


def speed(system: System, capture: Path) -> dict[str, Any]:
    """What one `imagine-deblur process` takes, in a process of its own, and its seams."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "restored.jpg"
        usage = memory_watch.run(system.command(capture, target))
        frame, restored = _read(capture), _read(target)
    row = {
        **system.facts(),
        "kind": "speed",
        "frame": list(frame.shape[:2]),
        "wall_seconds": usage.seconds,
        "cpu_seconds": usage.cpu_seconds,
        "peak_mib": usage.peak_mib,
        "load": environment()["load"],
    }
    borders = system.borders(frame.shape)
    if borders is not None:
        report = seams(as_float(restored) - as_float(frame), *borders, period=LATTICE)
        row |= {"seam_significance": report.significance, "seam_relative": report.relative}
    return row


def real(system: System, captures: Sequence[Path]) -> dict[str, Any]:
    """Edge rise and rims over the middle of real captures, before and after."""
    figures: list[tuple[float, ...]] = []
    with Session(system.options()) as session:
        for path in captures:
            frame = _read(path)
            top, left = ((length - PART) // 2 for length in frame.shape[:2])
            part = np.ascontiguousarray(frame[max(top, 0) :, max(left, 0) :][:PART, :PART])
            restored = session.restore(part)
            edges, blobs = find_edges(part), find_blobs(part)
            rises = edge_rise(part, edges), edge_rise(restored, edges)
            rimmed = rims(part, blobs), rims(restored, blobs)
            figures.append(
                (*rises, *(r * len(blobs) if blobs else 0.0 for r in rimmed), len(blobs))
            )
    columns = np.array(figures)
    edges_found = columns[~np.isnan(columns[:, 0])]
    clouds = columns[:, 4].sum()
    return {
        **system.facts(),
        "kind": "captures",
        "images": len(captures),
        "edge_rise_before_px": float(edges_found[:, 0].mean()) if len(edges_found) else None,
        "edge_rise_px": float(edges_found[:, 1].mean()) if len(edges_found) else None,
        "clouds": int(clouds),
        "rimmed_before": float(columns[:, 2].sum() / clouds) if clouds else None,
        "rimmed": float(columns[:, 3].sum() / clouds) if clouds else None,
    }


def _read(path: Path) -> NDArray[np.uint8]:
    reader = _core.JpegReader(str(path))
    return reader.read_rows(reader.info["rows"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure rows, or print and draw what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("measure")
    command.add_argument("systems", type=Path)
    command.add_argument("data", type=Path, help="folder with test/ and captures/payload/")
    command.add_argument("rows", type=Path)
    command.add_argument("--only", metavar="NAME", help="one system, no references")
    command.add_argument("--protocol", action="append", metavar="NAME", help="default: all")
    command.add_argument("--scenes", action="append", choices=tuple(SCENES), help="default: all")
    command.add_argument("--limit", type=int, help="scenes a set, about; default: as above")
    command.add_argument("--no-speed", action="store_true", help="on a machine that is busy")
    command.set_defaults(run=measure)
    command = commands.add_parser("tables")
    command.add_argument("rows", type=Path)
    command.add_argument("output", type=Path, help="folder of the CSV files")
    command.set_defaults(run=lambda p: print(write_tables(read_rows(p.rows), p.output)))
    command = commands.add_parser("sheet")
    command.add_argument("systems", type=Path)
    command.add_argument("data", type=Path)
    command.add_argument("output", type=Path)
    command.set_defaults(
        run=lambda p: write_sheet(
            {s.name: s.options() for s in read_systems(p.systems)}, p.data / "test", p.output
        )
    )
    parsed = parser.parse_args(arguments)
    parsed.run(parsed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
