"""Flip bits in the journal between two services, cut it, remove it; nothing is lost or doubled.

A service is stopped in the middle of its captures. The journal is then damaged, and another
service finishes. In half of the trials results are taken away with their reports before, so that
the journal is the only witness; there only single flips are made.

    python tests/faults/journal_flips.py --flips 300
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
from collections import Counter
from pathlib import Path

from common import capture, drop, folder, service


def damage(path: Path, kind: str, chance: random.Random) -> None:
    """Do one thing to the journal."""
    data = bytearray(path.read_bytes())
    if kind == "flip":
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
    elif kind == "cut":
        os.truncate(path, chance.randrange(len(data)))
    else:
        shutil.rmtree(path.parent)


def trial(base: Path, pictures: list[bytes], chance: random.Random) -> tuple[str, Counter[str]]:
    """One mission with one damage; return its kind and what came out."""
    inbox, outbox = base / "in", base / "out"
    inbox.mkdir()
    names = [f"c{k}.jpg" for k in range(6)]
    first, rest = names[:4], names[4:]
    for name, data in zip(first, pictures, strict=False):
        drop(inbox, name, data)
    assert service(inbox, outbox, "identity").run() == 0
    out: Counter[str] = Counter()
    taken = chance.random() < 0.5
    if taken:
        for path in list(outbox.glob("*.jpg")):
            out[path.name] += 1
            path.unlink()
            Path(f"{path}.json").unlink()
    for name, data in zip(rest, pictures[4:], strict=False):
        drop(inbox, name, data)
    assert service(inbox, outbox, "identity", max_pending=1 if taken else 5).run() == 5
    kind = "flip" if taken else chance.choice(["flip", "cut", "removed"])
    damage(outbox / ".imagine-deblur/journal.jsonl", kind, chance)
    assert service(inbox, outbox, "identity").run() == 0
    out.update(path.name for path in outbox.glob("*.jpg"))
    count: Counter[str] = Counter({"lost": sum(not out[name] for name in names)})
    count["twice"] = sum(n - 1 for n in out.values()) + len(set(out) - set(names))
    return f"{kind}, {'reports taken away' if taken else 'reports there'}", count


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    pictures = [capture(k, 48, 64) for k in range(6)]
    table: dict[str, Counter[str]] = {}
    for _ in range(arguments.flips):
        with folder("flips") as base:
            kind, count = trial(base, pictures, chance)
        table.setdefault(kind, Counter()).update(count)
        table[kind]["trials"] += 1
    for kind, count in sorted(table.items()):
        print(f"{kind}: {dict(count)}")
    return int(any(count["lost"] or count["twice"] for count in table.values()))


if __name__ == "__main__":
    raise SystemExit(main())
