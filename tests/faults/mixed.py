"""A mission's worth of trouble at once, for hours; every capture must be accounted for.

One parent feeds captures, good and bad, and runs the service as a forked child. Between and during
its lives, drawn at random: SIGKILL, SIGTERM, a flipped bit in the journal, a journal cut short,
the state folder gone, a record damaged on its way up (with SIGHUP or a new start), a full disk (as
a floor that cannot be met), the staging folder removed, bursts of captures. The log goes to a pipe
that nobody reads. What was sent is written down, so that a run can be taken up again.

    python tests/faults/mixed.py --hours 4 --folder /data/mixed
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

from common import RADIUS, TILE, capture, drop, reckon
from imagine_deblur.options import Options
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.record import save_record
from imagine_deblur.session import Session
from imagine_deblur.watch import Service, WatchSettings

BAD = {"bad": b"no picture \xff\xd9", "cut": b"", "empty": b""}


class Mission:
    """Folders, what was sent, and the service's lives."""

    def __init__(self, base: Path, seed: int) -> None:
        self.inbox, self.outbox = base / "in", base / "out"
        self.record, self.notes = base / "lens.json", base / "mission.json"
        self.inbox.mkdir(parents=True, exist_ok=True)
        self.pictures = [capture(k, 96, 128) for k in range(12)]
        kept = json.loads(self.notes.read_text()) if self.notes.exists() else {}
        self.sent: dict[str, str] = kept.get("sent", {})
        self.faults: Counter[str] = Counter(kept.get("faults", {}))
        self.seconds = float(kept.get("seconds", 0.0))
        self.chance = random.Random(seed + len(self.sent))
        self.good_record()
        self.pid = 0

    @property
    def journal(self) -> Path:
        return self.outbox / ".imagine-deblur/journal.jsonl"

    def good_record(self) -> None:
        save_record(self.record, PSF.defocus(RADIUS), provenance={"from": "mission"})

    def data(self, kind: str) -> bytes:
        """The bytes of a kind of capture."""
        if kind == "cut":
            return self.pictures[0][:900] + b"\xff\xd9"
        return BAD[kind] if kind in BAD else self.pictures[int(kind)]

    def feed(self, count: int) -> None:
        for _ in range(count):
            kind = self.chance.choice(
                [*BAD] if self.chance.random() < 0.1 else [*map(str, range(12))]
            )
            name = f"c{len(self.sent):06d}.jpg"
            drop(self.inbox, name, self.data(kind))
            self.sent[name] = kind

    def options(self) -> Options:
        return Options(psf=str(self.record), model="wiener", threads=1, tile=TILE)

    def service(self, **settings: object) -> Service:
        quick: dict[str, object] = {
            "poll": 0.01, "patience": 0.05, "min_free": 0, "stable_polls": 1,
            "keep_records": 50, "max_crashes": 3,
        }  # fmt: skip
        return Service(self.inbox, self.outbox, WatchSettings(**(quick | settings)), self.options())  # type: ignore[arg-type]

    def start(self, **settings: object) -> None:
        """Fork a service whose log nobody reads."""
        self.pid = os.fork()
        if self.pid == 0:
            read, write = os.pipe()
            os.dup2(write, 2)
            if self.chance.random() < 0.5:
                os.close(read)
            code = 1
            try:
                code = self.service(**settings).run()
            finally:
                os._exit(code)

    def end(self, number: int) -> None:
        """Send the service a signal and wait until it is gone."""
        os.kill(self.pid, number)
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code not in (0, -signal.SIGKILL, -signal.SIGTERM):  # -15: before it handled signals
            self.faults[f"the service ended with {code}"] += 1

    def trouble(self) -> None:
        """One fault, while the service works."""
        kind = self.chance.choice(
            ["kill", "kill", "stop", "flip", "cut journal", "no state", "bad uplink", "full disk",
             "no staging", "burst"]
        )  # fmt: skip
        self.faults[kind] += 1
        time.sleep(self.chance.uniform(0.0, 1.0))
        if kind == "burst":
            self.feed(60)
        elif kind == "bad uplink":
            self.record.write_bytes(os.urandom(200))
            os.kill(self.pid, signal.SIGHUP)
            time.sleep(self.chance.uniform(0.0, 1.0))
            self.end(signal.SIGKILL)
            self.start()
            time.sleep(0.5)
            self.good_record()
            os.kill(self.pid, signal.SIGHUP)
        elif kind == "no staging":
            shutil.rmtree(self.outbox / ".staging", ignore_errors=True)
        elif kind == "full disk":
            self.end(signal.SIGTERM)
            self.start(min_free="900000GB")
            time.sleep(self.chance.uniform(0.2, 1.0))
            self.end(signal.SIGTERM)
            self.start()
        else:
            self.end(signal.SIGTERM if kind == "stop" else signal.SIGKILL)
            self.damage(kind)
            self.start()

    def damage(self, kind: str) -> None:
        if kind == "no state":
            shutil.rmtree(self.journal.parent, ignore_errors=True)
        elif self.journal.exists() and (size := self.journal.stat().st_size):
            if kind == "cut journal":
                os.truncate(self.journal, self.chance.randrange(size))
            elif kind == "flip":
                with open(self.journal, "r+b") as file:
                    at = self.chance.randrange(size)
                    file.seek(at)
                    byte = file.read(1)[0] ^ 1 << self.chance.randrange(8)
                    file.seek(at)
                    file.write(bytes([byte]))

    def keep(self, seconds: float) -> None:
        """Write down how far the mission is."""
        notes = {"sent": self.sent, "faults": self.faults, "seconds": self.seconds + seconds}
        part = self.notes.with_suffix(".part")
        part.write_text(json.dumps(notes))
        os.replace(part, self.notes)

    def account(self) -> int:
        """Let one service finish undisturbed, and reckon everything up."""
        self.good_record()
        code = self.service(once=True).run()
        made = {}
        with Session(self.options()) as session:
            for k, data in enumerate(self.pictures):
                restored = io.BytesIO()
                session.process(data, restored)
                made[str(k)] = restored.getvalue()
        sent = {name: self.data(kind) for name, kind in self.sent.items()}
        wanted = {name: made.get(kind, b"") for name, kind in self.sent.items()}
        count = reckon(self.outbox, sent, wanted)
        print(f"{self.seconds / 3600:.2f} h, {len(self.sent)} captures, last exit code {code}")
        print("faults:", json.dumps(self.faults))
        print("outcomes:", json.dumps(count))
        # Bytes may differ where the blur was estimated, after the last good record went with the
        # state folder and before the next came up; every report says which PSF was used.
        return int(bool(code or count["lost"] or count["twice"] or count["no report"]))


def main() -> int:
    """Run the mission, or go on with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=4.0, help="in all, earlier runs included")
    parser.add_argument("--folder", type=Path, required=True, help="kept between runs")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    mission = Mission(arguments.folder, arguments.seed)
    began = time.monotonic()
    mission.start()
    while mission.seconds + time.monotonic() - began < 3600 * arguments.hours:
        if len(os.listdir(mission.inbox)) - len(list(mission.outbox.glob("c*.jpg"))) < 150:
            mission.feed(mission.chance.randrange(1, 9))
        mission.trouble()
        mission.keep(time.monotonic() - began)
    mission.end(signal.SIGTERM)
    mission.seconds += time.monotonic() - began
    return mission.account()


if __name__ == "__main__":
    raise SystemExit(main())
