"""Kill the service with SIGKILL at random moments, over and over; no capture may suffer.

One parent feeds captures and starts a service by forking itself, so that a start costs
milliseconds. One child in five is killed at a random time after its start, the others at a random
time after they first wrote to the journal. At the end one service runs undisturbed and
every capture ever sent is reckoned up: delivered exactly once, with the bytes an undisturbed
session gives, and its report beside it.

    python tests/faults/kill9.py --kills 500 --seed 1
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

from common import capture, drop, expected_of, folder, reckon, service, verdict


def child(inbox: Path, outbox: Path, model: str, crashes: int) -> int:
    """Start a service that is going to be killed; return its process id."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = service(
                inbox, outbox, model, once=False, stable_polls=1, max_crashes=crashes
            ).run()
        finally:
            os._exit(code)
    return pid


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", default="wiener")
    parser.add_argument("--max-crashes", type=int, default=2)
    parser.add_argument("--longest", type=float, default=0.3, help="seconds until a kill")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(128, 160), metavar=("ROWS", "COLUMNS")
    )
    parser.add_argument("--feed", type=int, default=3, help="captures before a kill, at most")
    parser.add_argument("--pictures", type=int, default=12, help="different captures")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    pictures = [capture(k, *arguments.size) for k in range(arguments.pictures)]
    sent: dict[str, bytes] = {}
    died_in: Counter[str] = Counter()
    died_early = 0
    with folder("kill9") as base:
        inbox, outbox = base / "in", base / "out"
        inbox.mkdir()
        for kill in range(arguments.kills):
            for _ in range(chance.randint(1, arguments.feed)):
                name = f"c{len(sent):05d}.jpg"
                sent[name] = pictures[len(sent) % len(pictures)]
                drop(inbox, name, sent[name])
            pid = child(inbox, outbox, arguments.model, arguments.max_crashes)
            if chance.random() < 0.8:
                wait_for_work(outbox)
            time.sleep(chance.uniform(0.0, arguments.longest))
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            if not os.WIFSIGNALED(status):
                died_early += 1
            died_in[moment(outbox)] += 1
            if kill % 50 == 49:
                print(f"{kill + 1} kills, {len(sent)} captures", flush=True)
        code = service(inbox, outbox, arguments.model, max_crashes=arguments.max_crashes).run()
        made = expected_of(dict(zip(map(str, range(len(pictures))), pictures, strict=True)),
                           arguments.model)  # fmt: skip
        expected = {name: made[str(k % len(pictures))] for k, name in enumerate(sent)}
        count = reckon(outbox, sent, expected)
    print(f"kills: {arguments.kills}, services that ended by themselves: {died_early}")
    print(f"last word of the journal when killed: {dict(died_in)}")
    print(f"captures sent: {len(sent)}, last service's exit code: {code}")
    return verdict(count) or code or died_early


def wait_for_work(outbox: Path) -> None:
    """Return when the journal has grown, or after ten seconds."""
    before, end = size(outbox), time.monotonic() + 10
    while size(outbox) == before and time.monotonic() < end:
        time.sleep(0.001)


def size(outbox: Path) -> int:
    """Return the journal's size, 0 before it exists."""
    try:
        return os.stat(outbox / ".imagine-deblur/journal.jsonl").st_size
    except OSError:
        return 0


def moment(outbox: Path) -> str:
    """Return the journal's last complete state."""
    from imagine_deblur.watch.journal_lines import decode_line

    try:
        lines = (outbox / ".imagine-deblur/journal.jsonl").read_bytes().split(b"\n")
    except OSError:
        return "no journal"
    if lines[-1]:
        return "torn line"
    record = decode_line(lines[-2]) if len(lines) > 1 else None
    return "empty" if record is None else str(record["state"])


if __name__ == "__main__":
    raise SystemExit(main())
