"""Damage the journal between two lives of the service; nothing is lost or doubled.

Six captures go through a service that ends by itself, or is killed at a random append. Then the
journal's bytes are damaged, and another service finishes. In half of the trials downstream has
taken results away with their reports before, so that the journal is the only witness.

Promised are: any damage while the reports are there, and one flipped bit after they were taken
away. The other rows tell what more costs.

    python tests/faults/journal_flips.py --trials 300
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path

from common import capture, drop, folder, service

KINDS = ("flip", "three flips", "cut", "zeros", "removed")
CAPTURES = 6
APPENDS = 4 * CAPTURES  # of an undisturbed service, about


def live(inbox: Path, outbox: Path, dies_at: int = 0) -> int:
    """Run a service in a child, killed before a journal append; return its code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            # Whatever journal the service uses is a module's name there.
            from imagine_deblur.watch import service as module

            real, left = module.Journal.append, [dies_at]

            def append(self: object, *events: object) -> None:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                real(self, *events)  # type: ignore[arg-type]

            module.Journal.append = append  # type: ignore[assignment,method-assign]
            code = service(inbox, outbox, "identity").run()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def damage(state: Path, kind: str, chance: random.Random) -> None:
    """Do one thing to the journal's files, each byte with the same chance."""
    if kind == "removed":
        shutil.rmtree(state)
        return
    files = {path: bytearray(path.read_bytes()) for path in sorted(state.glob("journal.*"))}
    for _ in range(3 if kind == "three flips" else 1):
        at = chance.randrange(max(1, sum(map(len, files.values()))))
        for path, data in files.items():
            if at < len(data):
                if kind == "cut":
                    del data[at:]
                elif kind == "zeros":  # a block that never reached the disk
                    block = slice(at - at % 512, at - at % 512 + 512)
                    data[block] = bytes(len(data[block]))
                else:
                    data[at] ^= 1 << chance.randrange(8)
                path.write_bytes(data)
                break
            at -= len(data)


def trial(base: Path, pictures: list[bytes], kind: str, chance: random.Random) -> Counter[str]:
    """One mission with one damage; return what came out."""
    inbox, outbox = base / "in", base / "out"
    inbox.mkdir()
    names = [f"c{k}.jpg" for k in range(CAPTURES)]
    for name, data in zip(names, pictures, strict=True):
        drop(inbox, name, data)
    live(inbox, outbox, chance.choice([0, chance.randrange(1, APPENDS)]))
    out: Counter[str] = Counter()
    taken = kind.endswith("away")
    if taken:
        for path in list(outbox.glob("*.jpg")):
            out[path.name] += 1
            path.unlink()
            Path(f"{path}.json").unlink()
    state = outbox / ".imagine-deblur"
    if state.exists():
        damage(state, kind.partition(",")[0], chance)
    codes = [live(inbox, outbox) for _ in range(2)]
    out.update(path.name for path in outbox.glob("*.jpg"))
    count: Counter[str] = Counter(trials=1, lost=sum(not out[name] for name in names))
    count["twice"] = sum(n - 1 for n in out.values()) + len(set(out) - set(names))
    count["did not start"] = sum(code != 0 for code in codes)
    return count


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to work; default: the system's own")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    pictures = [capture(k, 48, 64) for k in range(CAPTURES)]
    kinds = [f"{kind}, reports there" for kind in KINDS]
    kinds += [f"{kind}, reports taken away" for kind in KINDS[:-1]]
    table = {kind: Counter[str]() for kind in kinds}
    for k in range(arguments.trials):
        kind = kinds[k % len(kinds)]
        with folder("flips", inside=arguments.folder) as base:
            table[kind].update(trial(base, pictures, kind, chance))
    bad = 0
    for kind, count in table.items():
        print(f"{kind}: {dict(count)}", flush=True)
        if kind.endswith("there") or kind.startswith("flip"):
            bad += count["lost"] + count["twice"] + count["did not start"]
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
