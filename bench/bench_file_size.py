"""What coding a restoration costs: dB of its gain eaten, and kB, by quality and by tables.

    python bench/bench_file_size.py DATA/val --csv docs/results/file_size.csv

Scenes are degraded as the protocols do, with JPEG, restored blind, and coded: with the standard
tables of several qualities, with the capture's own tables, and with those finer by a factor. The
table tells for each protocol what the file takes beside the capture's, the gain over the capture
that is left, and how much of it the coder ate. `coding.FINER` was chosen on it.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from environment import print_environment
from imagine_deblur import _core
from imagine_deblur.evaluation.metrics.fidelity import psnr
from imagine_deblur.evaluation.protocols import central_crop, load_scene, protocol
from imagine_deblur.session import Session

QUALITIES = (98, 95, 92, 90, 85, 80, 75)
FACTORS = (1.0, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
SIDE = 768


def decoded(coded: bytes) -> NDArray[np.float32]:
    """Return the samples of a JPEG in [0, 1]."""
    reader = _core.JpegReader(coded)
    rows = reader.read_rows(reader.info["rows"])
    return np.asarray(rows, np.float32) / np.float32(255)


def tables(coded: bytes) -> list[NDArray[np.uint16]]:
    """Return luma's and chroma's table of a JPEG."""
    return [np.asarray(table) for table in _core.JpegReader(coded).info["quantisation"][:2]]


def scaled(found: list[NDArray[np.uint16]], factor: float) -> list[NDArray[np.uint16]]:
    """Return tables with every step multiplied, at least 1."""
    return [np.clip(np.rint(t * factor), 1, 255).astype(np.uint16) for t in found]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--protocol", action="append", help="default: four with JPEG")
    parser.add_argument("--every", type=int, default=1, help="take one scene in so many")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--csv", type=Path, help="also write the table here")
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    with Session(model=options.model, threads=1) as session:
        for name in options.protocol or ["defocus75", "defocus+", "imagine90", "motion"]:
            rows += measured(session, name, options.data, options.every)
    print_environment()
    print("| protocol | coded as | kB | of the capture's | gain dB | eaten dB |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")
    if options.csv:
        out = io.StringIO()
        writer = csv.DictWriter(out, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        options.csv.write_text(out.getvalue(), "utf-8")


def measured(session: Session, name: str, data: Path, every: int) -> list[dict[str, object]]:
    """Return the rows of one protocol."""
    chosen = protocol(name)
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for scene in chosen.scenes(data)[::every]:
        case = chosen.make(central_crop(load_scene(scene.path), SIDE), scene.index)
        quality = case.params["jpeg_quality"]
        capture = _core.encode_jpeg(case.degraded, quality=quality)
        restored, report = session.restore_with_report(case.degraded)
        if not report.restored:
            continue
        before = psnr(np.asarray(case.degraded, np.float32) / 255, case.sharp)
        whole = psnr(np.asarray(restored, np.float32) / 255, case.sharp) - before
        image = np.ascontiguousarray(restored, dtype=np.uint8)
        ways = {f"quality {q}": _core.encode_jpeg(image, quality=q) for q in QUALITIES}
        own = tables(capture)
        ways |= {
            f"own tables x {f}": _core.encode_jpeg(image, quantisation=scaled(own, f))
            for f in FACTORS
        }
        for way, coded in ways.items():
            gain = psnr(decoded(coded), case.sharp) - before
            entry = (len(coded) / 1e3, len(coded) / len(capture), gain, whole - gain)
            found.setdefault(way, []).append(entry)
    rows: list[dict[str, object]] = []
    for way, values in found.items():
        size, ratio, gain, eaten = np.mean(values, axis=0)
        rows.append({"protocol": name, "coded_as": way, "kb": f"{size:.1f}",
                     "of_the_capture": f"{ratio:.2f}", "gain_db": f"{gain:.3f}",
                     "eaten_db": f"{eaten:.3f}"})  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
