"""Restore real captures, which have no truth, and report what can be said without one.

Per capture: the blur used, the blocks that the reblur check replaced, and NIQE and BRISQUE before
and after over the central part of the frame. These two also fall when noise and
rings are added, so they are reported, never a gate: look at the pictures that are written beside.

    python bench/bench_captures.py DIR -o OUT [--psf RECORD]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from environment import print_environment
from imagine_deblur import Session, _core
from imagine_deblur.evaluation.metrics.brisque import brisque
from imagine_deblur.evaluation.metrics.niqe_eo import niqe_eo

ROWS, COLUMNS = 768, 1024  # of the part that is measured


def central_part(path: Path) -> NDArray[np.float32]:
    """Decode a JPEG and return its central part in [0, 1]."""
    reader = _core.JpegReader(str(path))
    image = reader.read_rows(reader.info["rows"])
    top, left = max(0, (image.shape[0] - ROWS) // 2), max(0, (image.shape[1] - COLUMNS) // 2)
    part = image[top : top + ROWS, left : left + COLUMNS]
    return np.ascontiguousarray(part, np.float32) / np.float32(255)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captures", type=Path, help="folder of JPEG captures")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--psf", help="PSF record or preset; default: estimated from each capture")
    parser.add_argument("--model", default="auto")
    parsed = parser.parse_args()
    parsed.output.mkdir(parents=True, exist_ok=True)
    print_environment()
    print("| capture | blur used | blocks replaced | NIQE | after | BRISQUE | after |")
    print("|---|---|---|---|---|---|---|")
    scores = []
    with Session(psf=parsed.psf, model=parsed.model, overwrite=True) as session:
        for path in sorted(parsed.captures.glob("*.jpg")):
            target = parsed.output / path.name
            report = session.process(path, target)
            before, after = central_part(path), central_part(target)
            row = (niqe_eo(before), niqe_eo(after), brisque(before), brisque(after))
            scores.append(row)
            blur = ", ".join(
                f"{c['kind']} {next(v for k, v in c.items() if k.endswith('_px')):.2f}"
                for c in (report.psf or {}).get("components", ())
                if c["kind"] != "sampled"
            )
            print(
                f"| {path.name} | {blur or 'sampled or none'} | {report.replaced_blocks} "
                f"| {row[0]:.1f} | {row[1]:.1f} | {row[2]:.1f} | {row[3]:.1f} |",
                flush=True,
            )
    mean = np.mean(scores, axis=0)
    print(
        f"\nmean NIQE {mean[0]:.2f} -> {mean[1]:.2f} ({100 * (mean[1] / mean[0] - 1):+.1f} %), "
        f"BRISQUE {mean[2]:.2f} -> {mean[3]:.2f} ({100 * (mean[3] / mean[2] - 1):+.1f} %)"
    )


if __name__ == "__main__":
    main()
