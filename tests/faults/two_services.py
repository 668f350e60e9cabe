"""Start services in pairs on one inbox, and on one outbox; exactly one may work, always.

Both processes of a pair start at the same moment. The loser must end with code 9, the winner must
deliver; after a kill of the winner the next one must get the lock at once.

    python tests/faults/two_services.py --pairs 50
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections import Counter
from pathlib import Path

from common import capture, drop, expected_of, folder, reckon, service, verdict
from imagine_deblur.watch.folders import InboxBusyError


def start(inbox: Path, outbox: Path, state: Path, at: float) -> int:
    """Fork a service that starts at a moment of the monotonic clock."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            while time.monotonic() < at:
                pass
            try:
                code = service(inbox, outbox, once=False, stable_polls=1, state=state).run()
            except InboxBusyError:
                code = 9
        finally:
            os._exit(code)
    return pid


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=50)
    arguments = parser.parse_args()
    pictures = [capture(k, 96, 128) for k in range(6)]
    made = expected_of({str(k): data for k, data in enumerate(pictures)})
    sent: dict[str, bytes] = {}
    winners: Counter[str] = Counter()
    with folder("two") as base:
        inbox, outbox, state = base / "in", base / "out", base / "state"
        inbox.mkdir()
        for _ in range(arguments.pairs):
            at = time.monotonic() + 0.05
            pids = [start(inbox, outbox, state, at) for _ in range(2)]
            name = f"c{len(sent):04d}.jpg"
            sent[name] = pictures[len(sent) % 6]
            drop(inbox, name, sent[name])
            loser, status = os.wait()
            winners["second service refused"] += os.waitstatus_to_exitcode(status) == 9
            winner = pids[1 - pids.index(loser)]
            end = time.monotonic() + 60
            while not (outbox / name).exists() and time.monotonic() < end:
                time.sleep(0.005)
            os.kill(winner, signal.SIGKILL)
            winners["winner worked until it was killed"] += os.WIFSIGNALED(os.waitpid(winner, 0)[1])
        code = service(inbox, outbox, state=state).run()
        expected = {name: made[str(k % 6)] for k, name in enumerate(sent)}
        count = reckon(outbox, sent, expected)
    print(f"pairs: {arguments.pairs}, {dict(winners)}, last service's exit code {code}")
    bad = any(number != arguments.pairs for number in winners.values()) or len(winners) != 2
    return verdict(count) or int(bad) or code


if __name__ == "__main__":
    raise SystemExit(main())
