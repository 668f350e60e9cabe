"""A warm session on one capture: seconds a frame by engine, precision and threads.

The settings take turns, frame by frame, so that what else the machine does strikes all of them
alike; medians over the rounds. The PSF is given. Every setting's picture is compared with the
first one's.

    python bench/bench_warm.py CAPTURE.jpg --settings winograd:f32:2 openvino:bf16:2

``--peer NETWORK.onnx`` then runs another network once on the whole frame, in tiles of 256, between
frames of each setting, and prints how many times faster these are.

    python bench/bench_warm.py CAPTURE.jpg --peer mimo-unet-plus.onnx --peer-setting openvino:f32:2
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from environment import print_environment
from imagine_deblur import Session, _core
from imagine_deblur.report import Report

SETTINGS = [
    "winograd:f32:2",
    "openvino:f32:2",
    "openvino:bf16:2",
    "openvino:int8:2",
    "winograd:f32:1",
]
PHASES = ("engine", "linear", "review")


def decoded(path: Path) -> np.ndarray:
    """A JPEG's samples as int16."""
    reader = _core.JpegReader(str(path))
    return reader.read_rows(reader.info["rows"]).astype(np.int16)


def against_peer(parsed: argparse.Namespace, sessions: dict[str, Session]) -> None:
    """Print the peer's seconds and ratios; before and after it, a frame of each setting."""
    engine, precision, threads = parsed.peer_setting.split(":")
    peer = Session(
        model=parsed.peer, engine=engine, precision=precision, threads=int(threads),
        tile=256, reblur_check=False, max_ram="4GB", overwrite=True,
    )  # fmt: skip
    ours: dict[str, list[float]] = {name: [] for name in sessions}
    with tempfile.TemporaryDirectory() as folder, peer:
        target = Path(folder) / "out.jpg"

        def all_of_ours() -> None:
            for name, session in sessions.items():
                ours[name].append(session.process(parsed.capture, target).seconds["total"])

        all_of_ours()
        theirs = peer.process(parsed.capture, target).seconds["total"]
        all_of_ours()
    print(f"\n{parsed.peer.name}, {parsed.peer_setting}, its engine made first: {theirs:.1f} s")
    for name, seconds in ours.items():
        times = ", ".join(f"{theirs / one:.1f}" for one in seconds)
        print(f"{name} is {times} times faster (before, after)")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("capture", type=Path)
    parser.add_argument("--settings", nargs="+", default=SETTINGS, metavar="ENGINE:PRECISION:N")
    parser.add_argument("--model", default="fast")
    parser.add_argument("--psf", default="disk:4")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peer", type=Path, metavar="NETWORK.onnx")
    parser.add_argument("--peer-setting", default="openvino:f32:2", metavar="ENGINE:PRECISION:N")
    parsed = parser.parse_args()
    print_environment()
    sessions = {}
    for name in parsed.settings:
        engine, precision, threads = name.split(":")
        sessions[name] = Session(
            model=parsed.model, psf=parsed.psf, engine=engine, precision=precision,
            threads=int(threads), max_ram="2GB", overwrite=True,
        )  # fmt: skip
    reports: dict[str, list[Report]] = {name: [] for name in sessions}
    with tempfile.TemporaryDirectory() as folder:
        for round_number in range(parsed.rounds + 1):
            for name, session in sessions.items():
                report = session.process(parsed.capture, Path(folder) / f"{name}.jpg")
                if round_number:  # the first frame warms up
                    reports[name].append(report)
        first = decoded(Path(folder) / f"{parsed.settings[0]}.jpg")
        print(
            "| engine, precision, threads | seconds | MP/s | network | linear | guard | differs |"
        )
        print("|---|---|---|---|---|---|---|")
        for name, listed in reports.items():
            total = median(r.seconds["total"] for r in listed)
            parts = " | ".join(f"{median(r.seconds[p] for r in listed):.2f}" for p in PHASES)
            largest = int(np.abs(decoded(Path(folder) / f"{name}.jpg") - first).max())
            pixels = listed[0].rows * listed[0].columns
            print(
                f"| {name.replace(':', ', ')} | {total:.2f} | {pixels / total / 1e6:.2f} | {parts} "
                f"| {largest} |"
            )
    if parsed.peer is not None:
        against_peer(parsed, sessions)


if __name__ == "__main__":
    main()
