"""Make every file call of the service fail in turn; nothing may be lost, doubled or half-written.

A dry run counts how often the service writes, flushes, renames, opens and so on while it restores
a few captures. Then, for each of those calls in turn, a service runs in a forked child in which
exactly that call fails (by replacing the function in `os`), and after it an undisturbed one. Both
together must deliver every capture once, with the right bytes. ``--persistent`` makes every later
call of that kind fail too, as a disk does that has gone bad.

    python tests/faults/failing_calls.py
    python tests/faults/failing_calls.py --persistent --errors EIO
"""

from __future__ import annotations

import argparse
import builtins
import errno
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import FAULTS, capture, drop, expected_of, folder, reckon, service, verdict

CALLS = (
    "write",
    "pwrite",
    "fsync",
    "rename",
    "replace",
    "unlink",
    "link",
    "ftruncate",
    "fchmod",
    "close",
    "open",
    "mkdir",
    "listdir",
    "scandir",
    "pread",
    "statvfs",
)


class Faults:
    """Counts calls and fails one of them, or all from one on."""

    def __init__(self, call: str, at: int, code: int, persistent: bool) -> None:
        self.call, self.at, self.code, self.persistent = call, at, code, persistent
        self.counts: Counter[str] = Counter()

    def install(self) -> None:
        """Replace the functions of `os`, and the module's own in `tempfile`."""
        for name in CALLS:
            setattr(os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            self.counts[name] += 1
            hit = self.counts[name] - 1
            if name == self.call and (hit == self.at or (self.persistent and hit > self.at)):
                if name == "close":
                    real(*arguments, **more)  # a failing close has closed
                raise OSError(self.code, os.strerror(self.code))
            return real(*arguments, **more)

        return call


def in_child(
    inbox: Path, outbox: Path, faults: Faults | None, tally: Path | None, model: str
) -> int:
    """Run a service to its end in a forked child; return its exit code, -1 for an exception."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            if faults is not None:
                faults.install()
            try:
                code = service(inbox, outbox, model, stable_polls=1).run()
            except Exception:
                code = 254
            if tally is not None and faults is not None:
                with builtins.open(tally, "w") as file:
                    file.write("\n".join(f"{n} {c}" for n, c in faults.counts.items()))
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def trial(
    faults: Faults | None,
    captures: dict[str, bytes],
    expected: dict[str, bytes],
    tally: Path | None = None,
) -> tuple[int, int, Counter[str]]:
    """Run one disturbed and one undisturbed service; return their codes and the reckoning."""
    with folder("failing") as base:
        inbox, outbox = base / "in", base / "out"
        inbox.mkdir()
        for name, data in captures.items():
            drop(inbox, name, data)
        first = in_child(inbox, outbox, faults, tally, "wiener")
        second = in_child(inbox, outbox, None, None, "wiener")
        return first, second, reckon(outbox, captures, expected)


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captures", type=int, default=2)
    parser.add_argument("--errors", nargs="+", default=["EIO", "ENOSPC"])
    parser.add_argument("--persistent", action="store_true")
    parser.add_argument("--calls", nargs="+", default=list(CALLS), help="only these functions")
    parser.add_argument("--every", type=int, default=1, help="only every so many calls of each")
    arguments = parser.parse_args()
    captures = {f"c{k}.jpg": capture(k, 64, 80) for k in range(arguments.captures)}
    captures["bad.jpg"] = b"no picture \xff\xd9"
    expected = expected_of({n: d for n, d in captures.items() if n != "bad.jpg"})
    with tempfile.TemporaryDirectory() as scratch:
        tally = Path(scratch) / "tally"
        trial(Faults("", -1, 0, False), captures, expected, tally)
        counts = {n: int(c) for n, c in (line.split() for line in tally.read_text().splitlines())}
    print("calls of an undisturbed run:", counts)
    total: Counter[str] = Counter()
    codes: Counter[int] = Counter()
    trials = 0
    for name in arguments.errors:
        for call, count in counts.items():
            if call not in arguments.calls:
                continue
            for at in range(0, count, arguments.every):
                faults = Faults(call, at, getattr(errno, name), arguments.persistent)
                first, second, result = trial(faults, captures, expected)
                trials += 1
                codes[first] += 1
                total += result
                if second or any(result[fault] for fault in FAULTS):
                    print(f"{name} at {call} {at}: {first}, then {second}, {dict(result)}")
                    total["second service failed"] += bool(second)
            print(f"{name} {call}: {count} done", flush=True)
    print(f"failed calls: {trials}, exit codes of the disturbed services: {dict(codes)}")
    return verdict(total) or int(total["second service failed"])


if __name__ == "__main__":
    raise SystemExit(main())
