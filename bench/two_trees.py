"""Two trees, A B A B: seconds of warm frames and the peak of a cold command.

    python bench/two_trees.py OLD/.venv/bin/python NEW/.venv/bin/python CAPTURE
    python bench/two_trees.py OLD/.venv/bin/python NEW/.venv/bin/python CAPTURE \
        --size 11648x8704 --frames 0 --turns 2 --threads 2

Each turn starts both interpreters one after the other; ratios are taken within a turn, so that a
machine that slows down meanwhile slows both. Printed are medians over the turns. Larger frames are
made of mirrored copies of the capture.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WARM = """
import json, sys, time
from imagine_deblur import Session
path, model, threads, frames = json.loads(sys.argv[1])
rows = []
with Session(psf="disk:3", model=model, threads=threads, overwrite=True) as session:
    for _ in range(frames + 1):
        cpu = time.process_time()
        report = session.process(path, "restored.jpg")
        rows.append({**report.seconds, "processor": time.process_time() - cpu})
rows = rows[min(frames, 1):]
print(json.dumps({name: min(row[name] for row in rows) for name in rows[0]}))
"""

COLD = """
import json, sys
from imagine_deblur import Session
path, model, psf = json.loads(sys.argv[1])
with Session(psf=psf, model=model, overwrite=True) as session:
    print(json.dumps(session.process(path, "restored.jpg").peak_bytes))
"""


def ask(python: str, script: str, *arguments: object) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [python, "-c", script, json.dumps(arguments)],
            capture_output=True,
            text=True,
            check=True,
            cwd=folder,
        )
    return json.loads(done.stdout.splitlines()[-1])


def mosaic(capture: Path, columns: int, rows: int, target: Path) -> None:
    """Write a frame of another size, of mirrored copies of a capture."""
    with Image.open(capture) as opened:
        part = np.asarray(opened.convert("RGB"))
    pair = np.concatenate([part, part[:, ::-1]], axis=1)
    four = np.concatenate([pair, pair[::-1]])
    times = -(-rows // four.shape[0]), -(-columns // four.shape[1]), 1
    frame = Image.fromarray(np.tile(four, times)[:rows, :columns])
    frame.save(target, quality=90, subsampling=2)


def main() -> None:
    """Print the tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("capture", type=Path)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--frames", type=int, default=3, help="warm ones; 0: the first counts")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--size", help="COLUMNSxROWS of a frame made of the capture")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = parsed.capture.resolve()
        if parsed.size:
            columns, rows = (int(length) for length in parsed.size.split("x"))
            path = Path(folder) / "mosaic.jpg"
            mosaic(parsed.capture, columns, rows, path)
        compare(parsed, str(path))


def compare(parsed: argparse.Namespace, path: str) -> None:
    pythons = [str(Path(python).absolute()) for python in (parsed.old, parsed.new)]
    print("| threads | | before, s | after, s | after / before |\n|---|---|---|---|---|")
    for threads in parsed.threads:
        turns = [
            [ask(python, WARM, path, parsed.model, threads, parsed.frames) for python in pythons]
            for _ in range(parsed.turns)
        ]
        for name, parts in (
            ("linear stage and reblur check", ("linear", "review")),
            ("whole frame", ("total",)),
            ("whole frame, processor", ("processor",)),
        ):
            pairs = [tuple(sum(one[p] for p in parts) for one in turn) for turn in turns]
            old, new = (statistics.median(pair[k] for pair in pairs) for k in (0, 1))
            ratio = statistics.median(b / a for a, b in pairs)
            print(f"| {threads} | {name} | {old:.3f} | {new:.3f} | {ratio:.2f} |", flush=True)
    print("\n| cold, peak of the process, MB | before | after |\n|---|---|---|")
    for name, model, psf in (
        (f"blind, {parsed.model}", parsed.model, None),
        (f"PSF given, {parsed.model}", parsed.model, "disk:3"),
        ("blind, wiener", "wiener", None),
    ):
        old, new = (ask(python, COLD, path, model, psf) for python in pythons)
        print(f"| {name} | {old / 1e6:.0f} | {new / 1e6:.0f} |", flush=True)


if __name__ == "__main__":
    main()
