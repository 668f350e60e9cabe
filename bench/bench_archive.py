"""What a batch costs beside the restorations themselves, and what more workers bring.

``overhead``: many small captures, one after another in a loop over one warm session, then as a
batch with one process, with two, and on a Dask cluster of two workers of this machine. The
difference to the loop is what a batch costs: starting workers, giving out items, flushing files,
hashing, the manifest. ``scaling``: larger captures with one worker and with two, alternately.
One JSON line a case, after a line that says where it ran.

Examples
--------
::

    python bench/bench_archive.py overhead --items 10000
    python bench/bench_archive.py scaling --items 12 --rounds 4
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from environment import print_environment
from imagine_deblur import Options, Session, _core
from imagine_deblur.archive import restore_archive
from imagine_deblur.archive.inputs import find_items
from imagine_deblur.support.scene import synthetic_scene

#: Decoding and coding alone, so that what is left is the batch's own.
OPTIONS = Options(model="identity", threads=1)


def captures(folder: Path, count: int, side: int) -> None:
    """Write captures; ten different ones, over and over."""
    folder.mkdir()
    scenes = (synthetic_scene(side, side, seed=seed) for seed in range(10))
    kinds = [_core.encode_jpeg((scene * 255).astype(np.uint8)) for scene in scenes]
    for number in range(count):
        (folder / f"c{number:06d}.jpg").write_bytes(kinds[number % len(kinds)])


@contextlib.contextmanager
def cluster(workers: int) -> Iterator[str]:
    """A Dask cluster of this machine, as its users start one."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1"
    ) as started:
        yield started.scheduler_address


def cpu() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock, and of CPU, which other programs on the machine change little."""

    wall: float
    cpu: float

    def each(self, items: int) -> dict[str, float]:
        """Milliseconds an item."""
        return {
            "ms_per_item": round(self.wall / items * 1e3, 3),
            "cpu_ms_per_item": round(self.cpu / items * 1e3, 3),
        }


def timed(work: Callable[[], Any]) -> Cost:
    """What a call took."""
    wall, used = time.perf_counter(), cpu()
    work()
    return Cost(time.perf_counter() - wall, cpu() - used)


def loop(folder: Path, out: Path) -> Cost:
    """What is taken by the restorations alone, files flushed and renamed as always."""
    out.mkdir()

    def run() -> None:
        with Session(OPTIONS) as session:
            for path in sorted(folder.iterdir()):
                session.process(path, out / path.name)

    return timed(run)


def batch(folder: Path, out: Path, **who: Any) -> Cost:
    """What a batch takes, starting its processes included."""
    items = find_items([str(folder)]).items
    model = who.pop("model", OPTIONS.model)
    options = Options(psf=None if model == "identity" else "disk:3", model=model)
    return timed(lambda: restore_archive(items, out, options=options, **who))


def overhead(arguments: argparse.Namespace) -> None:
    """Many small items."""
    count = arguments.items
    with tempfile.TemporaryDirectory(dir=arguments.folder) as base:
        folder = Path(base) / "in"
        captures(folder, count, 64)
        alone = loop(folder, Path(base) / "loop")
        print(json.dumps({"case": "loop", "items": count, **alone.each(count)}), flush=True)
        for name, who in (("processes", 1), ("processes", 2), ("dask", 1), ("dask", 2)):
            out = Path(base) / f"{name}{who}"
            cost = timed(lambda name=name, who=who, out=out: through(name, who, folder, out))
            again = batch(folder, out, workers=1)
            own = {
                "overhead_cpu_ms_per_item": round((cost.cpu - alone.cpu) / count * 1e3, 3),
                "skipped_ms_per_item": round(again.wall / count * 1e3, 3),
                "manifest_bytes_per_item": (out / "manifest.jsonl").stat().st_size // count,
            }
            case = {"case": name, "workers": who, "items": count}
            print(json.dumps({**case, **cost.each(count), **own}), flush=True)


def through(name: str, workers: int, folder: Path, out: Path) -> None:
    """Restore a folder by processes, or by a Dask cluster that is started for it."""
    if name == "processes":
        batch(folder, out, workers=workers)
        return
    with cluster(workers) as address:
        batch(folder, out, scheduler=address)


def scaling(arguments: argparse.Namespace) -> None:
    """One worker and two, alternately."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as base:
        folder = Path(base) / "in"
        captures(folder, arguments.items, arguments.side)
        ratios = []
        for number in range(arguments.rounds):
            one, two = (
                batch(folder, Path(base) / f"{n}_{number}", workers=n, model=arguments.model)
                for n in (1, 2)
            )
            ratios.append(one.wall / two.wall)
            print(
                json.dumps(
                    {"case": "scaling", "items": arguments.items, "side": arguments.side,
                     "one_s": round(one.wall, 2), "two_s": round(two.wall, 2),
                     "ratio": round(ratios[-1], 3), "one_cpu_s": round(one.cpu, 2),
                     "two_cpu_s": round(two.cpu, 2)}
                ),
                flush=True,
            )  # fmt: skip
        print(json.dumps({"case": "scaling", "median_ratio": round(statistics.median(ratios), 3)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["overhead", "scaling"])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=1448, help="of the captures of 'scaling', px")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--model", default="auto", help="of 'scaling'")
    parser.add_argument("--folder", help="where the files lie; default: the temporary folder")
    arguments = parser.parse_args()
    print_environment()
    {"overhead": overhead, "scaling": scaling}[arguments.what](arguments)


if __name__ == "__main__":
    main()
