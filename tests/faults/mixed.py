"""A mission's worth of trouble at once, for hours; every capture must be accounted for.

One parent feeds captures, good and bad, and runs the service as a forked child, which it starts
again whenever it has ended, as a supervisor does. Meanwhile, drawn at random: SIGKILL, SIGTERM, a
process stopped for a while, flipped bits in the journal and in whatever else the state folder
holds, a journal cut short, the state folder gone, a record damaged on its way up, a full disk, the
staging folder removed, bursts, captures whose decoding ends the process. The log goes to a pipe
that nobody reads, a closed one, or a full device.

The outbox lies on a small tmpfs where one can be mounted. With ``--after remove`` a reader takes
every result away once its capture has left the inbox; with ``keep`` results stay, and the operator
clears the oldest captures from the inbox. SIGTERM ends the campaign early, reckoned up like a
whole one. ``--rate`` and ``--calm`` leave a shared machine room: fewer captures, fewer troubles.

    python tests/faults/mixed.py --hours 4 --folder /data/mixed --after remove --rate 3 --calm 12
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from common import RADIUS, TILE, capture, drop
from imagine_deblur.errors import ImagineDeblurError
from imagine_deblur.options import Options
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.record import save_record
from imagine_deblur.session import Session
from imagine_deblur.watch import Service, WatchSettings
from imagine_deblur.watch.log import LineHandler
from imagine_deblur.watch.session import SelfCheckingSession

PICTURES = 12
NOISE = (0.003, 0.01, 0.03)  # networks adapt to it
POISON = b"this capture ends the process"
BAD = ("no picture", "cut", "empty", "poison")
MOST_WAITING, MOST_IN_INBOX = 150, 1500  # captures
DISK = {"remove": "48m", "keep": "512m"}
TROUBLES = (
    "kill", "kill", "stop", "pause", "flip", "flip while alive", "cut journal", "no state",
    "no state while alive", "bad uplink", "full disk", "no staging", "overload",
)  # fmt: skip
ENDINGS = (0, 8, -signal.SIGKILL, -signal.SIGTERM)  # 8: journal or disk; -15: before it handled it


class Mission:
    """Folders, what was sent, and the service's lives."""

    def __init__(self, base: Path, arguments: argparse.Namespace) -> None:
        self.after, self.calm, self.model = arguments.after, arguments.calm, arguments.model
        self.step = max(0.2, 4.5 / arguments.rate)  # s; each feeds 4.5 captures in the mean
        self.inbox, self.disk, self.record = base / "in", base / "disk", base / "lens.json"
        self.outbox = self.disk / "out"
        self.inbox.mkdir(parents=True)
        self.disk.mkdir()
        pictures = [capture(k, 96, 128, NOISE[k % 3]) for k in range(PICTURES)]
        self.data = {str(k): data for k, data in enumerate(pictures)}
        self.data |= {"no picture": b"no picture \xff\xd9", "cut": pictures[0][:900] + b"\xff\xd9"}
        comment = b"\xff\xfe" + (len(POISON) + 2).to_bytes(2, "big") + POISON
        self.data |= {"empty": b"", "poison": pictures[0][:2] + comment + pictures[0][2:]}
        self.chance = random.Random(arguments.seed)
        self.sent: dict[str, str] = {}
        self.out: Counter[str] = Counter()  # results by capture
        self.count: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.endings: Counter[int] = Counter()
        self.stop = False
        self.pid = 0
        self.good_record()
        self.wanted = {
            source: made_of(self.data, Options(psf=psf, model=self.model, threads=1, tile=TILE))
            for source, psf in (("record", str(self.record)), ("none", None))
        }

    # ---- captures in, results out -------------------------------------------------------------

    def good_record(self) -> None:
        save_record(self.record, PSF.defocus(RADIUS), provenance={"from": "mission"})

    def feed(self, count: int) -> None:
        for _ in range(count):
            kind = str(self.chance.randrange(PICTURES))
            if self.chance.random() < 0.06:
                kind = self.chance.choices(BAD, (3, 3, 3, 1))[0]
            name = f"c{len(self.sent):06d}.jpg"
            drop(self.inbox, name, self.data[kind])
            self.sent[name] = kind

    def take(self, *, all_of_them: bool = False) -> None:
        """Reckon up results whose capture has left the inbox, and take them away."""
        with suppress(OSError):
            names = [n for n in os.listdir(self.outbox) if n.endswith(".jpg")]
            there = set(os.listdir(self.inbox))
            for name in names:
                path = self.outbox / name
                try:
                    report = json.loads(Path(f"{path}.json").read_bytes())
                except (OSError, ValueError):
                    self.count["no report"] += 1
                    path.unlink()
                    continue
                source = report["capture"]
                if all_of_them or not {source, f".removing-{source}"} & there:
                    self.reckon(report, path.read_bytes())
                    path.unlink()
                    Path(f"{path}.json").unlink()

    def reckon(self, report: dict[str, Any], data: bytes) -> None:
        """Count one result and hold its bytes against what they must be."""
        name, outcome = report["capture"], report["outcome"]
        kind = self.sent[name]
        self.out[name] += 1
        if outcome == "done":
            source = report["report"]["psf_source"]
            self.count[f"restored, blur: {source}"] += 1
            wanted = self.wanted["record" if source == "record" else "none"].get(kind)
        else:
            self.count[f"{outcome}, {kind if kind in BAD else 'good'}"] += 1
            wanted = self.data[kind]
        self.count["wrong bytes"] += data != wanted
        if kind == "poison":
            isolated = self.outbox / "quarantine" / f"{name[:-4]}-{report['key'][:8]}.jpg"
            good = isolated.exists() and isolated.read_bytes() == data
            self.count["poison not isolated"] += not good or outcome != "quarantined"
            for path in (isolated, Path(f"{isolated}.reason.json")):
                path.unlink(missing_ok=True)

    def clear_inbox(self) -> None:
        """Remove the oldest captures that were delivered, as an operator does."""
        names = sorted(os.listdir(self.inbox))
        for name in names[: max(0, len(names) - MOST_IN_INBOX)]:
            if (self.outbox / name).exists() and (self.outbox / f"{name}.json").exists():
                (self.inbox / name).unlink()

    # ---- the service's lives ------------------------------------------------------------------

    def service(self, **settings: Any) -> Service:
        quick: dict[str, Any] = {
            "poll": 0.05, "patience": 0.05, "min_free": 0, "stable_polls": 1,
            "keep_records": 50, "max_crashes": 3, "after": self.after,
        }  # fmt: skip
        options = Options(psf=str(self.record), model=self.model, threads=1, tile=TILE)
        return Service(self.inbox, self.outbox, WatchSettings(**(quick | settings)), options)

    def start(self, **settings: Any) -> None:
        """Fork a service whose log goes nowhere."""
        log = self.chance.choice(("unread", "closed", "full"))
        self.faults[f"log {log}"] += 1
        self.pid = os.fork()
        if self.pid:
            return
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        code = 1
        try:
            read, write = os.pipe()
            os.dup2(os.open("/dev/full", os.O_WRONLY) if log == "full" else write, 2)
            if log == "closed":
                os.close(read)
            os.close(write)
            logging.getLogger("imagine_deblur").addHandler(LineHandler())
            with deadly_poison():
                code = self.service(**settings).run()
        except (ImagineDeblurError, OSError):
            code = 8
        finally:
            os._exit(code)

    def ended(self, *, wait: bool = False) -> bool:
        """Whether the service has ended; its code is counted."""
        if self.pid:
            pid, status = os.waitpid(self.pid, 0 if wait else os.WNOHANG)
            if pid:
                self.endings[os.waitstatus_to_exitcode(status)] += 1
                self.pid = 0
        return not self.pid

    def end(self, number: int) -> None:
        """Send the service a signal and wait until it is gone."""
        if not self.ended():
            os.kill(self.pid, number)
            self.ended(wait=True)

    def go_on(self, seconds: float) -> None:
        """Let it work, feed it, take results; start it again when it has ended."""
        until = time.monotonic() + seconds
        while True:
            if self.ended():
                self.start()
            if self.after == "remove":
                self.take()
            else:
                self.clear_inbox()
            if len(self.sent) - len(self.delivered()) < MOST_WAITING:
                self.feed(self.chance.randrange(1, 9))
            if time.monotonic() >= until:
                return
            time.sleep(min(self.step, max(0.0, until - time.monotonic())))

    def delivered(self) -> set[str]:
        with suppress(OSError):
            return {*self.out} | {n for n in os.listdir(self.outbox) if n.endswith(".jpg")}
        return {*self.out}

    # ---- trouble ------------------------------------------------------------------------------

    def trouble(self) -> None:
        """One fault, some time into the service's work, with captures on their way."""
        kind = self.chance.choice(TROUBLES)
        self.faults[kind] += 1
        self.go_on(self.chance.expovariate(1 / self.calm))
        time.sleep(self.chance.uniform(0.0, 0.4))  # into the work on what was just fed
        pause = self.chance.uniform(0.0, 2.0)
        if kind == "overload":
            if len(self.sent) - len(self.delivered()) < MOST_WAITING:
                self.feed(500)
        elif kind == "pause":
            if not self.ended():
                os.kill(self.pid, signal.SIGSTOP)
                time.sleep(pause)
                os.kill(self.pid, signal.SIGCONT)
                return
            self.start()
        elif kind == "bad uplink":
            self.record.write_bytes(self.chance.randbytes(200))
            self.hang_up()
            self.go_on(pause)
            if self.chance.random() < 0.5:
                self.end(signal.SIGKILL)
                self.start()
                self.go_on(pause)
            self.good_record()
            self.hang_up()
        elif kind == "no staging":
            shutil.rmtree(self.outbox / ".staging", ignore_errors=True)
        elif kind == "full disk":
            with full(self.disk):
                time.sleep(pause)
                if self.chance.random() < 0.3:
                    self.end(signal.SIGKILL)
                    self.start()
                    time.sleep(pause)
        elif kind.endswith("alive"):
            self.damage(kind)
        else:
            self.end(signal.SIGTERM if kind == "stop" else signal.SIGKILL)
            self.damage(kind)
            self.start()

    def hang_up(self) -> None:
        if not self.ended():
            os.kill(self.pid, signal.SIGHUP)
        else:
            self.start()

    def damage(self, kind: str) -> None:
        state = self.outbox / ".imagine-deblur"
        with suppress(OSError, ValueError):  # gone, or empty just now
            if kind.startswith("no state"):
                shutil.rmtree(state)
            elif kind == "cut journal":
                journal = state / "journal.jsonl"
                os.truncate(journal, self.chance.randrange(journal.stat().st_size + 1))
            elif kind.startswith("flip"):
                files = [p for p in sorted(state.rglob("*")) if p.is_file() and p.stat().st_size]
                path = self.chance.choice([state / "journal.jsonl", *files])
                with open(path, "r+b") as file:
                    at = self.chance.randrange(path.stat().st_size)
                    byte = os.pread(file.fileno(), 1, at)[0] ^ 1 << self.chance.randrange(8)
                    os.pwrite(file.fileno(), bytes([byte]), at)

    # ---- the end ------------------------------------------------------------------------------

    def account(self, seconds: float) -> int:
        """Let the service finish undisturbed, and reckon everything up."""
        self.good_record()
        self.end(signal.SIGTERM)
        while len(self.delivered()) < len(self.sent):
            self.start(once=True)
            self.ended(wait=True)
            self.take(all_of_them=True)
            if time.monotonic() > self.last_call:
                break
        self.take(all_of_them=True)
        self.count["lost"] = sum(not self.out[name] for name in self.sent)
        self.count["twice"] = sum(n > 1 for n in self.out.values())
        with suppress(OSError):
            self.count["litter"] = len(list(self.outbox.rglob("*.part")))
            self.count["litter"] += len(os.listdir(self.outbox / ".staging"))
        print(f"{seconds / 3600:.2f} h, {len(self.sent)} captures, --after {self.after}")
        print("troubles:", json.dumps(dict(sorted(self.faults.items()))))
        print("endings of the service:", json.dumps(dict(sorted(self.endings.items()))))
        print("accounted for:", json.dumps(dict(sorted(self.count.items()))))
        bad = ("lost", "twice", "wrong bytes", "no report", "litter", "poison not isolated")
        strange = sum(n for code, n in self.endings.items() if code not in ENDINGS)
        return int(bool(strange or any(self.count[fault] for fault in bad)))

    last_call = float("inf")


def made_of(captures: dict[str, bytes], options: Options) -> dict[str, bytes]:
    """Return what an undisturbed session makes of those that can be restored."""
    made = {}
    with Session(options) as session:
        for kind, data in captures.items():
            restored = io.BytesIO()
            with suppress(ImagineDeblurError):
                session.process(data, restored)
                made[kind] = restored.getvalue()
    return made


@contextmanager
def deadly_poison() -> Iterator[None]:
    """Let the process die on captures that carry the comment."""
    restore = SelfCheckingSession.restore

    def deadly(self: SelfCheckingSession, source: str, output: Path, **settings: Any) -> Any:
        if POISON in Path(source).read_bytes():
            os.kill(os.getpid(), signal.SIGKILL)
        return restore(self, source, output, **settings)

    SelfCheckingSession.restore = deadly  # type: ignore[method-assign]
    yield


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Leave nothing free on the small file system; without one, do nothing."""
    ballast = disk / "ballast"
    if os.path.ismount(disk):
        with suppress(OSError), open(ballast, "wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
    try:
        yield
    finally:
        ballast.unlink(missing_ok=True)


def main() -> int:
    """Run the mission."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--folder", type=Path, required=True, help="made for the mission")
    parser.add_argument("--after", choices=DISK, default="remove")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", default="wiener")
    parser.add_argument("--rate", type=float, default=22.5, help="captures a second, at most")
    parser.add_argument("--calm", type=float, default=1.4, help="mean seconds between troubles")
    arguments = parser.parse_args()
    mission = Mission(arguments.folder, arguments)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK[arguments.after]}", "tmpfs"]
    mounted = not subprocess.run([*mount, str(mission.disk)], check=False, stderr=-3).returncode
    if not mounted:
        print("no tmpfs can be mounted here: the disk does not fill up")

    def ask(number: int, frame: object) -> None:
        mission.stop = True

    signal.signal(signal.SIGTERM, ask)
    began = told = time.monotonic()
    mission.start()
    try:
        while not mission.stop and time.monotonic() - began < 3600 * arguments.hours:
            mission.trouble()
            if time.monotonic() - told > 60:
                told = time.monotonic()
                done = f"{len(mission.delivered())} of {len(mission.sent)} captures out"
                print(f"{(told - began) / 60:.0f} min: {done}, {mission.faults.total()} troubles",
                      flush=True)  # fmt: skip
        mission.last_call = time.monotonic() + 600
        return mission.account(time.monotonic() - began)
    finally:
        mission.end(signal.SIGKILL)
        if mounted:
            subprocess.run(["umount", "-l", str(mission.disk)], check=False)


if __name__ == "__main__":
    raise SystemExit(main())
