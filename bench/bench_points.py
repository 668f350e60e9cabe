"""Points in small bright blobs: how many that a restoration shows are true, how many it finds.

The scenes of a split under `camera` and `camera-low`, with the protocols' seeds and disks of 3 to
4.5 px. What counts is in `imagine_deblur.evaluation.metrics.blobs`. Blobs are found on the
capture, and counts are summed over the scenes of a set.

    python bench/bench_points.py --data DATA/val
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from environment import environment
from imagine_deblur import PSF, Session
from imagine_deblur.evaluation.metrics.blobs import Points, find_blobs, points
from imagine_deblur.evaluation.protocols import SCENE_SETS, load_scene, protocol

_RADII_PX = (3.0, 4.5)  # narrower disks merge no points, wider ones leave too little of them
_SIGMA_PX = 0.5
_COLUMNS = ("protocol", "scenes", "method", "shown", "true", "precision", "real", "found", "recall")


def _draw(rng: np.random.Generator) -> tuple[PSF, dict[str, Any]]:
    radius = float(rng.uniform(*_RADII_PX))
    return PSF.defocus(radius, _SIGMA_PX), {"radius_px": radius, "sigma_px": _SIGMA_PX}


def measure(name: str, scene_set: str, data: Path, models: list[str]) -> dict[str, Points]:
    """Return the counts of the capture and of each restoration over a set of scenes."""
    chosen = replace(protocol(name), draw=_draw)
    total: dict[str, Points] = {}
    for scene in chosen.scenes(data):
        if scene.scene_set != scene_set:
            continue
        case = chosen.make(load_scene(scene.path), scene.index)
        blobs = find_blobs(case.degraded)
        shown = {"capture": case.degraded}
        for model in models:
            for kind, psf in (("true PSF", case.psf), ("blind", None)):
                with Session(psf=psf, model=model, threads=1) as session:
                    shown[f"{model}, {kind}"] = session.restore(case.degraded)
        for method, image in shown.items():
            found = points(image, case.sharp, blobs)
            total[method] = total.get(method, Points(0, 0, 0, 0)) + found
    return total


def main() -> None:
    """Print one row of CSV a protocol, set and method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a split: DATA/val or DATA/test")
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--scenes", action="append", choices=SCENE_SETS, default=[])
    parsed = parser.parse_args()
    print(json.dumps(environment()), file=sys.stderr)
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(_COLUMNS)
    for name in ("camera", "camera-low"):
        for scene_set in parsed.scenes or SCENE_SETS:
            counts = measure(name, scene_set, parsed.data, parsed.model or ["fast"])
            for method, one in counts.items():
                precision, recall = f"{one.precision:.3f}", f"{one.recall:.3f}"
                row = (one.shown, one.true, precision, one.real, one.found, recall)
                table.writerow((name, scene_set, method, *row))
                sys.stdout.flush()


if __name__ == "__main__":
    main()
