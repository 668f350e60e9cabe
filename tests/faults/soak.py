"""A thousand frames through one service; memory and descriptors must stay flat.

python tests/faults/soak.py --frames 1000
"""

from __future__ import annotations

import argparse
import threading
import time

from common import capture, drop, expected_of, folder, reckon, service, verdict
from imagine_deblur.watch.metrics import open_files, resident_bytes


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--model", default="wiener")
    arguments = parser.parse_args()
    pictures = [capture(k, 128 - 16 * (k % 3), 160) for k in range(12)]
    made = expected_of({str(k): data for k, data in enumerate(pictures)}, arguments.model)
    captures = {f"c{k:05d}.jpg": pictures[k % 12] for k in range(arguments.frames)}
    expected = {name: made[str(k % 12)] for k, name in enumerate(captures)}
    rows: list[tuple[int, float, int, int]] = []
    with folder("soak") as base:
        inbox, outbox = base / "in", base / "out"
        inbox.mkdir()
        worker = service(inbox, outbox, arguments.model, once=False, stable_polls=1)
        thread = threading.Thread(target=worker.run)
        thread.start()
        started = time.monotonic()
        step = max(1, arguments.frames // 10)
        names = list(captures)
        for first in range(0, len(names), step):
            for name in names[first : first + step]:
                drop(inbox, name, captures[name])
            wanted = min(first + step, len(names))
            while not enough(worker, wanted):
                time.sleep(0.02)
            megabytes = resident_bytes() / 1e6
            rows.append((wanted, megabytes, open_files(), threading.active_count()))
            print(f"{wanted} frames: {megabytes:.1f} MB resident, {rows[-1][2]} descriptors, "
                  f"{rows[-1][3]} threads", flush=True)  # fmt: skip
        seconds = time.monotonic() - started
        worker.stop()
        thread.join()
        count = reckon(outbox, captures, expected)
    growth = rows[-1][1] - rows[1][1]
    print(f"{arguments.frames} frames in {seconds:.0f} s; from frame {rows[1][0]} on memory "
          f"grew by {growth:.1f} MB, descriptors by {rows[-1][2] - rows[1][2]}")  # fmt: skip
    return verdict(count) or int(growth > 8 or rows[-1][2] > rows[1][2] + 1)


def enough(worker: object, wanted: int) -> bool:
    """Whether a service that may still be starting has brought so many captures to their end."""
    telemetry = getattr(worker, "telemetry", None)
    return telemetry is not None and sum(telemetry.outcomes.values()) >= wanted


if __name__ == "__main__":
    raise SystemExit(main())
