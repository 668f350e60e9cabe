"""What cutting into tiles costs: the plan, gathering and storing, without any network.

The identity engine makes the answer known: in halo mode the frame must come back to the last bit.
One axis varies at a time around tiles of 512 px, no overlap, halo 16: tile side, halo, overlap
(blend mode). One JSON line a case: the share of pixels computed twice, seconds, MP/s.

Examples
--------
::

    python bench/bench_tiling.py --repeats 5
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass, replace

import numpy as np

import scenes
from environment import print_environment
from imagine_deblur import _core
from imagine_deblur.support.process_memory import status_bytes


@dataclass(frozen=True)
class Case:
    """One cut; all lengths in px."""

    tile: int = 512
    halo: int = 16
    overlap: int = 0


def cases() -> list[Case]:
    """Return the centre and one axis at a time, each point once."""
    centre = Case()
    found = [replace(centre, tile=tile) for tile in (1024, 512, 384, 256, 128)]
    found += [replace(centre, halo=halo) for halo in (0, 32, 64)]
    found += [replace(centre, halo=0, overlap=overlap) for overlap in (16, 32, 64)]
    return found


def measure(frame: np.ndarray, case: Case, threads: int, repeats: int) -> dict[str, object]:
    """Run one cut and check that the frame comes back."""
    rows, columns, bands = frame.shape
    plan = _core.TilePlan(
        rows, columns, tile_rows=case.tile, tile_columns=case.tile, overlap=case.overlap,
        halo=case.halo, may_shrink=True,
    )  # fmt: skip
    engine = _core.IdentityEngine(
        input_planes=bands, output_bands=bands, tile_rows=plan.tile_rows,
        tile_columns=plan.tile_columns, halo=case.halo, local=case.overlap == 0,
    )  # fmt: skip
    whole = _core.FramePlan(
        plan, bands=bands, output_bands=bands, inputs=list(range(bands)),
        strip_height=plan.grid_rows,
    )  # fmt: skip
    pool, workers = _core.BufferPool(whole.pool_bytes), _core.WorkerPool(threads)
    out = np.empty_like(frame)
    seconds, reports = [], []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        reports.append(_core.run_array(frame, out, engine, None, pool, workers, whole))
        seconds.append(time.perf_counter() - start)
    difference = int(np.abs(out.astype(np.int16) - frame).max())
    if difference:
        raise SystemExit(f"{case}: the frame came back changed by up to {difference}")
    wall = statistics.median(seconds[1:])
    work = [r["gather_seconds"] + r["store_seconds"] for r in reports[1:]]
    computed = len(plan) * plan.tile_rows * plan.tile_columns
    return {
        "bench": "tiling", **asdict(case), "threads": threads, "tiles": len(plan),
        "tile_shape": [plan.tile_rows, plan.tile_columns],
        "computed_over_frame": round(computed / (rows * columns), 4),
        "gather_and_store_s": round(statistics.median(work), 4), "whole_s": round(wall, 4),
        "mp_per_s": round(rows * columns / 1e6 / wall, 1),
        "peak_mib": round(status_bytes("VmHWM") / 2**20, 1), "largest_difference": difference,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1536)
    parser.add_argument("--columns", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print_environment()
    frame = scenes.frame(arguments.rows, arguments.columns)
    for case in cases():
        print(json.dumps(measure(frame, case, arguments.threads, arguments.repeats)), flush=True)


if __name__ == "__main__":
    main()
