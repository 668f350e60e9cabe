"""Fill the disk, forbid writing, take the inbox away; nothing may be lost.

The outbox lies on a small tmpfs (mounted here, which takes root or a user namespace), or with
``--outbox-on`` on a small file system of yours. Rounds:

full        the disk is filled to the last few kB while the service works, then freed
tight       a disk that holds only a few results; a reader takes them one after the other
read-only   the file system is remounted read-only while the service works, then writable again
vanished    the inbox is moved away and back while the service works

    python tests/faults/disk_full.py --rounds 5
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from common import capture, drop, expected_of, folder, reckon, service, verdict

LOG = logging.getLogger("imagine_deblur.watch")


def remount(path: Path, how: str) -> None:
    """Change a mount."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(path)], check=True)


class Round:
    """A service at work on its own file systems."""

    def __init__(self, base: Path, size: str, **settings: object) -> None:
        self.base, self.inbox, self.disk = base, base / "in", base / "disk"
        self.outbox = self.disk / "out"
        self.inbox.mkdir()
        self.disk.mkdir()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(self.disk)], check=True
        )
        self.log: list[str] = []
        self.handler = logging.Handler()
        self.handler.emit = lambda record: self.log.append(record.getMessage())  # type: ignore[method-assign]
        LOG.addHandler(self.handler)
        self.service = service(self.inbox, self.outbox, once=False, stable_polls=1, **settings)
        self.code: list[int] = []
        self.thread = threading.Thread(target=self.serve)

    def serve(self) -> None:
        self.code.append(self.service.run())

    def finish(self, captures: dict[str, bytes], expected: dict[str, bytes]) -> Counter[str]:
        """Wait until everything is delivered, stop, and reckon."""
        wait(lambda: len(list(self.outbox.glob("c*.jpg"))) >= len(captures))
        self.service.stop()
        self.thread.join()
        LOG.removeHandler(self.handler)
        count = reckon(self.outbox, captures, expected)
        count["held"] += any("holding" in line for line in self.log)
        count["bad exit"] += self.code != [0]
        return count

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", str(self.disk)], check=False)


def wait(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait for something that must happen."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return
        time.sleep(0.01)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                pass


def full(base: Path, captures: dict[str, bytes], expected: dict[str, bytes]) -> Counter[str]:
    round_ = Round(base, "2m")
    try:
        round_.thread.start()
        wait(round_.outbox.exists)
        names = list(captures)
        for k, name in enumerate(names):
            if k == len(names) // 3:
                fill(round_.disk / "filler")
            drop(round_.inbox, name, captures[name])
            time.sleep(0.02)
        wait(lambda: any("holding" in line for line in round_.log))
        time.sleep(0.3)
        os.unlink(round_.disk / "filler")
        return round_.finish(captures, expected)
    finally:
        round_.unmount()


def tight(base: Path, captures: dict[str, bytes], expected: dict[str, bytes]) -> Counter[str]:
    round_ = Round(base, "400k", min_free="150kB")
    taken = base / "taken"
    taken.mkdir()
    try:
        for name, data in captures.items():
            drop(round_.inbox, name, data)
        round_.thread.start()
        wait(lambda: any("holding" in line for line in round_.log))

        def take() -> bool:
            for path in round_.outbox.glob("c*.jpg"):
                for part in (path.with_name(f"{path.name}.json"), path):
                    (taken / part.name).write_bytes(part.read_bytes())
                    os.unlink(part)
            return len(list(taken.glob("*.jpg"))) == len(captures)

        wait(take)
        round_.service.stop()
        round_.thread.join()
        (taken / ".staging").mkdir()
        count = reckon(taken, captures, expected)
        count["litter"] += len(os.listdir(round_.outbox / ".staging"))
        count["held"] += any("holding" in line for line in round_.log)
        count["bad exit"] += round_.code != [0]
        return count
    finally:
        round_.unmount()


def read_only(base: Path, captures: dict[str, bytes], expected: dict[str, bytes]) -> Counter[str]:
    round_ = Round(base, "8m")
    try:
        round_.thread.start()
        wait(round_.outbox.exists)
        names = list(captures)
        refused = False
        for k, name in enumerate(names):
            if k == len(names) // 2:
                # A file system with a file open for writing (the journal) stays writable; mount
                # the outbox read-only over itself instead.
                out = str(round_.outbox)
                subprocess.run(["mount", "--bind", out, out], check=True)
                subprocess.run(["mount", "-o", "remount,ro,bind", out], check=True)
                refused = True
            drop(round_.inbox, name, captures[name])
            time.sleep(0.02)
        wait(lambda: any("holding" in line for line in round_.log))
        time.sleep(0.3)
        assert refused
        subprocess.run(["mount", "-o", "remount,rw,bind", str(round_.outbox)], check=True)
        count = round_.finish(captures, expected)
        subprocess.run(["umount", "-l", str(round_.outbox)], check=True)
        return count
    finally:
        round_.unmount()


def vanished(base: Path, captures: dict[str, bytes], expected: dict[str, bytes]) -> Counter[str]:
    round_ = Round(base, "8m")
    away = base / "away"
    try:
        names = list(captures)
        for name in names[: len(names) // 2]:
            drop(round_.inbox, name, captures[name])
        round_.thread.start()
        wait(lambda: bool(list(round_.outbox.glob("c*.jpg"))))
        os.rename(round_.inbox, away)
        wait(lambda: any("holding" in line for line in round_.log))
        os.rename(away, round_.inbox)
        for name in names[len(names) // 2 :]:
            drop(round_.inbox, name, captures[name])
        return round_.finish(captures, expected)
    finally:
        round_.unmount()


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--captures", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    captures = {f"c{k:03d}.jpg": capture(k, 96, 128) for k in range(arguments.captures)}
    expected = expected_of(captures)
    failed = 0
    for play in (full, tight, read_only, vanished):
        total: Counter[str] = Counter()
        for _ in range(arguments.rounds):
            with folder("disk") as base:
                total += play(base, captures, expected)
        print(f"{play.__name__}, {arguments.rounds} rounds: ", end="", flush=True)
        failed += verdict(total) + total["bad exit"] + (total["held"] != arguments.rounds)
        failed += total["quarantined"] + total["passed-through"]  # the captures are innocent
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
