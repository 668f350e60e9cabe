"""How long a neighbour's work takes to finish, with and without the watch service beside it.

A tenant wakes every `--period` seconds, computes for about `--work` seconds on a core it shares
with the service, and notes how late it was done, waiting for the core included. Phases with and
without the service alternate, so that other load falls on both. The service restores frames
without a break, with a niceness and a scheduling class of its own.

    python tests/faults/tenants.py --core 1 --rounds 3 --seconds 8
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from common import capture, drop, folder

POLITE = {
    "normal": [],
    "--nice 19": ["--nice", "19"],
    "--nice 19 --scheduling batch": ["--nice", "19", "--scheduling", "batch"],
    "--scheduling idle": ["--scheduling", "idle"],
}


def spin(seconds: float) -> int:
    """Return how many turns of a loop take so long on an idle core."""
    turns, step = 0, 2000
    start = time.process_time()
    while time.process_time() - start < 0.2:
        burn(step)
        turns += step
    return int(turns * seconds / (time.process_time() - start))


def burn(turns: int) -> float:
    """Compute."""
    value = 0.5
    for _ in range(turns):
        value = value * 1.0001 % 1.0
    return value


def tenant(seconds: float, period: float, turns: int) -> list[float]:
    """Work periodically; return how long after each wake-up time the work was done, in ms."""
    latencies = []
    due = time.monotonic() + period
    end = due + seconds
    while due < end:
        time.sleep(max(0.0, due - time.monotonic()))
        burn(turns)
        done = time.monotonic()
        latencies.append(1000 * (done - due))
        due += period * max(1, int((done - due) / period) + 1)
    return latencies


class Neighbour:
    """The service, fed so that it never rests."""

    def __init__(self, base: Path, flags: list[str], model: str, data: bytes) -> None:
        self.inbox, self.outbox, self.data = base / "in", base / "out", data
        self.inbox.mkdir()
        self.sent = 0
        self.feed()
        command = [sys.executable, "-m", "imagine_deblur", "watch", str(self.inbox)]
        command += [str(self.outbox), "--psf", "disk:2.5", "--model", model, "--threads", "1"]
        self.process = subprocess.Popen(
            [*command, "--poll", "0.01", "--patience", "0", "--stable-polls", "1", *flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while self.done() < 2:
            if self.process.poll() is not None:
                raise SystemExit(f"the service ended with {self.process.returncode}")
            time.sleep(0.05)

    def feed(self) -> None:
        while self.sent < self.done() + 200:
            drop(self.inbox, f"c{self.sent}.jpg", self.data)
            self.sent += 1

    def done(self) -> int:
        return len(list(self.outbox.glob("*.jpg")))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each phase")
    parser.add_argument("--period", type=float, default=0.05)
    parser.add_argument("--work", type=float, default=0.005, help="s of work a period")
    parser.add_argument("--model", default="wiener")
    parser.add_argument("--niceness", type=int, default=0, help="of the tenant itself")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {arguments.core})
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    data = capture(1, 384, 512)
    turns = spin(arguments.work)
    alone: list[float] = []
    beside: dict[str, list[float]] = {name: [] for name in POLITE}
    frames = dict.fromkeys(POLITE, 0)
    for _ in range(arguments.rounds):
        for name, flags in POLITE.items():
            alone += tenant(arguments.seconds, arguments.period, turns)
            with folder("tenants") as base:
                neighbour = Neighbour(base, flags, arguments.model, data)
                before = neighbour.done()
                beside[name] += tenant(arguments.seconds, arguments.period, turns)
                frames[name] += neighbour.done() - before
                neighbour.stop()
    print("| beside the tenant | wake-ups | p50, ms | p90 | p99 | worst | frames restored |")
    print("|---|---|---|---|---|---|---|")
    for name, found in [("nothing of ours", alone), *beside.items()]:
        p50, p90, p99, worst = np.percentile(found, [50, 90, 99, 100])
        count = frames.get(name, "")
        print(
            f"| {name} | {len(found)} | {p50:.1f} | {p90:.1f} | {p99:.1f} | {worst:.0f} | {count} |"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
