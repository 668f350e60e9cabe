"""Hundreds of thousands of captures through the real command; what it takes must stay flat.

The command runs with the identity model on frames of 16x16 px, in a memory group of 300,000,000
bytes where one can be made. A feeder keeps its inbox filled, a reader takes result and report away
and counts every name. Ten times the service is stopped and started again, and timed. The processor
time of a capture and of a start tells what the wall clock of a shared machine cannot.

    python tests/faults/soak.py --captures 300000 --folder /dev/shm
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from common import capture, drop, folder

LIMIT = 300_000_000
BACKLOG = 400  # captures in the inbox at a time
STATE = ".imagine-deblur"


def memory_group() -> Path | None:
    """Make a memory group with the limit, None where that is not permitted (cgroup v1 only)."""
    group = Path(f"/sys/fs/cgroup/memory/imagine-deblur-soak-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT))
    except OSError:
        return None
    return group


class Command:
    """The watch command in its group."""

    def __init__(self, inbox: Path, outbox: Path, keep: int, group: Path | None) -> None:
        self.outbox, self.group = outbox, group
        self.command = [sys.executable, "-m", "imagine_deblur", "watch", str(inbox), str(outbox)]
        self.command += ["--model", "identity", "--threads", "1", "--tile", "64", "--poll", "0.01"]
        self.command += ["--stable-polls", "1", "--after", "remove", "--min-free", "0"]
        self.command += ["--keep-records", str(keep), "--golden-every", "100000"]

    def start(self) -> float:
        """Start it; return the seconds until it takes up captures."""
        began = time.monotonic()
        beat = self.outbox / STATE / "heartbeat.json"
        beat.unlink(missing_ok=True)

        def join() -> None:
            if self.group is not None:
                (self.group / "cgroup.procs").write_text(str(os.getpid()))

        environment = dict(os.environ, OPENBLAS_NUM_THREADS="1", MALLOC_ARENA_MAX="2")
        self.process = subprocess.Popen(
            self.command, stderr=subprocess.DEVNULL, preexec_fn=join, env=environment
        )
        while not any(self.outbox.glob("*.jpg")):
            if self.process.poll() is not None:
                raise SystemExit(f"the service ended with {self.process.returncode}")
            time.sleep(0.005)
        return time.monotonic() - began

    def stop(self) -> None:
        """Stop it politely."""
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(60):
            raise SystemExit(f"the service ended with {self.process.returncode}")

    def processor(self) -> float:
        """Seconds of processor time so far."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> float:
        """Megabytes resident now."""
        text = Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def group_most(self) -> float:
        """Megabytes the group had at most, 0 without one."""
        if self.group is None:
            return 0.0
        return int((self.group / "memory.max_usage_in_bytes").read_text()) / 1e6


class Mission:
    """Captures on their way in and out, each counted."""

    def __init__(self, inbox: Path, outbox: Path, total: int) -> None:
        self.inbox, self.outbox, self.total = inbox, outbox, total
        self.data = capture(1, 16, 16)
        self.sent = self.taken = 0
        self.out = bytearray(total)  # how often each capture came out

    def feed(self, until: int) -> None:
        """Put captures in, as many as there is room for."""
        while self.sent < min(until, self.total, self.taken + BACKLOG):
            drop(self.inbox, f"c{self.sent:07d}.jpg", self.data)
            self.sent += 1

    def take(self) -> None:
        """Take results and reports away."""
        for entry in os.scandir(self.outbox):
            if entry.name.endswith(".jpg"):
                self.out[int(entry.name[1:8])] += 1
                os.unlink(entry.path)
                with suppress(FileNotFoundError):
                    os.unlink(f"{entry.path}.json")
                self.taken += 1

    def lost(self) -> int:
        """Captures that did not come out although later ones did."""
        return sum(n == 0 for n in self.out[: self.taken])

    def twice(self) -> int:
        """Captures that came out more than once."""
        return sum(n > 1 for n in self.out)


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captures", type=int, default=3000)
    parser.add_argument("--keep-records", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--folder", type=Path, help="where to work; default: the system's own")
    arguments = parser.parse_args()
    group = memory_group()
    rows: list[tuple[float, ...]] = []
    print("captures | start, s | its processor, s | captures/s | processor a capture, ms | "
          "resident, MB | group's most, MB | state folder, kB | lost | twice")  # fmt: skip
    with folder("soak", inside=arguments.folder) as base:
        inbox, outbox = base / "in", base / "out"
        inbox.mkdir()
        outbox.mkdir()
        mission = Mission(inbox, outbox, arguments.captures)
        command = Command(inbox, outbox, arguments.keep_records, group)
        step = max(1, arguments.captures // 10)
        end = time.monotonic() + arguments.seconds
        while mission.taken < arguments.captures and time.monotonic() < end:
            goal = min(arguments.captures, mission.taken + step)
            mission.feed(goal)
            seconds = command.start()
            busy = command.processor()
            began, before = time.monotonic(), mission.taken
            while mission.taken < goal and time.monotonic() < end:
                mission.take()
                mission.feed(goal)
                time.sleep(0.02)
            done = mission.taken - before
            rate = done / (time.monotonic() - began)
            each = 1e3 * (command.processor() - busy) / done
            kept = sum(p.stat().st_size for p in (outbox / STATE).rglob("*") if p.is_file()) / 1e3
            rows.append((seconds, busy, rate, each, command.resident(), command.group_most(), kept))
            figures = " | ".join(f"{value:.4g}" for value in rows[-1])
            print(f"{mission.taken} | {figures} | {mission.lost()} | {mission.twice()}", flush=True)
            command.stop()
            mission.take()
    if group is not None:
        with suppress(OSError):
            group.rmdir()
    lost, twice = mission.lost(), mission.twice()
    print(f"{mission.taken} captures: {lost} lost, {twice} twice")
    growth = rows[-1][4] - rows[0][4]
    slower = rows[-1][1] > 2 * rows[0][1] + 1 or rows[-1][3] > 1.5 * rows[0][3] + 1
    return int(bool(lost or twice or growth > 8 or slower))


if __name__ == "__main__":
    raise SystemExit(main())
