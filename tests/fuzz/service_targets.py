"""What is fuzzed of the watch service's own files and of networks' descriptors.

Whatever lies in the journal, beside a result, in the quarantine or in the last good configuration,
the service starts, and what it then writes can be read.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from expecting import expect

KEY = "0123456789abcdef" * 2


def try_journal(data: bytes) -> None:
    """Open bytes as a journal, go on with it, and open it again."""
    from imagine_deblur.watch.folders import Folder
    from imagine_deblur.watch.journal import NAME, Journal

    shutil.rmtree("state", ignore_errors=True)
    folder = Folder.at(Path("state"))
    try:
        (folder.path / NAME).write_bytes(data)
        journal = Journal(folder)
        if "new" not in journal.entries and not journal.is_finished("new"):
            journal.append({"key": "new", "state": "seen", "name": "n.jpg", "order": 3})
            expect(journal.entries["new"].name == "n.jpg", "an event is applied")
        known = dict(journal.entries)
        journal.compact(lambda file: True, 1 << 62)
        expect(journal.entries == known, "compaction keeps what is unfinished")
        finished = len(journal.finished)
        journal.close()
        again = Journal(folder)
        expect(again.entries == known, "the journal comes back as it was")
        expect(len(again.finished) == finished, "the finished ones, too")
        expect(again.torn == again.damaged == 0, "and nothing of it is damaged")
        again.close()
    finally:
        folder.close()


def try_report(data: bytes) -> None:
    """Take bytes as the reports that tell of a capture where the journal does not."""
    from imagine_deblur.watch.delivery import Delivery
    from imagine_deblur.watch.entry import Entry
    from imagine_deblur.watch.folders import Folder
    from imagine_deblur.watch.journal import Journal

    for name in ("out", "precious"):
        shutil.rmtree(name, ignore_errors=True)
    Path("precious").mkdir()
    Path("precious/file").write_text("precious")
    outbox = Folder.at(Path("out"))
    state = Folder.below(outbox, ".imagine-deblur")
    entry = Entry(KEY, "a.jpg", sha256="0" * 64)
    try:
        for name in (
            f".staging/{KEY}.json",
            "a.jpg.json",
            f"quarantine/a-{KEY[:8]}.jpg.reason.json",
        ):
            path = outbox.path / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        (outbox.path / f".staging/{KEY}.jpg").write_bytes(b"picture")
        journal = Journal(state)
        journal.append({**entry.facts(), "state": "seen"})
        delivery = Delivery(outbox, outbox.path / "quarantine", journal)
        event = delivery.witness(entry)
        if event is not None:
            journal.append(event)
        delivery.clear(state)
        for known in list(journal.entries.values()):
            if known.state == "delivering":
                with contextlib.suppress(OSError):
                    delivery.resume(known)
        expect(os.listdir("precious") == ["file"], "nothing outside is touched")
        delivery.close()
        journal.close()
    finally:
        state.close()
        outbox.close()


def try_descriptor(data: bytes) -> None:
    """Read bytes as the descriptor inside a network's file."""
    from imagine_deblur.engines.descriptor import ModelDescriptor
    from imagine_deblur.errors import EngineError

    text = data.decode("utf-8", "replace")
    with contextlib.suppress(EngineError):
        found = ModelDescriptor.from_json(text, model="net.onnx")
        expect(0 <= found.halo < 1 << 16, "the halo is a margin of a tile")
        expect(found.multiple_of > 0, "tiles have a size")


def try_configuration(data: bytes) -> None:
    """Read bytes as the last configuration that worked, with the right digest as well."""
    import hashlib

    from imagine_deblur.watch.configuration import ATTEMPTS, FOLDER, NAME, Attempts, last_good
    from imagine_deblur.watch.folders import Folder

    shutil.rmtree("state", ignore_errors=True)
    folder = Folder.at(Path("state") / FOLDER)
    try:
        (folder.path / NAME).write_bytes(data)
        last_good(Path("state"))
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            checked = json.loads(data)
            body = json.dumps(checked["document"])
            checked["sha256"] = hashlib.sha256(body.encode()).hexdigest()
            (folder.path / NAME).write_text(json.dumps(checked))
        last_good(Path("state"))
        (folder.path / ATTEMPTS).write_bytes(data)
        Attempts(folder, "boot").forget()
        expect((folder.path / ATTEMPTS).stat().st_size < 100, "attempts are forgotten")
    finally:
        folder.close()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "journal": try_journal,
    "report": try_report,
    "descriptor": try_descriptor,
    "configuration": try_configuration,
}


def seeds(target: str) -> list[bytes]:
    """Return sound inputs of a target."""
    if target == "journal":
        return _journals()
    if target == "descriptor":
        document = {
            "format": "imagine-deblur-model", "format_version": 1, "name": "n", "version": "1",
            "inputs": ["capture.r", "wiener.0.r"], "nsr": [0.1], "halo": 16, "multiple_of": 2,
            "local": True, "scales": [1], "psf_range": {"disk_radius_px": [1.0, 8.0]},
            "input_offset": 0.5, "licence": "Apache-2.0", "training": {"steps": 0},
        }  # fmt: skip
        return [json.dumps(document).encode()]
    if target == "configuration":
        return [_configuration()]
    report = {
        "capture": "a.jpg", "key": KEY, "capture_sha256": "0" * 64, "output": "a.jpg",
        "output_sha256": "8f1e4a1b1c", "outcome": "done", "reason": None, "final": True,
    }  # fmt: skip
    import hashlib

    staged = report | {"output_sha256": hashlib.sha256(b"picture").hexdigest()}
    return [json.dumps(document).encode() for document in (report, staged)]


def _journals() -> list[bytes]:
    from imagine_deblur.watch.folders import Folder
    from imagine_deblur.watch.journal import NAME, Journal

    shutil.rmtree("seed", ignore_errors=True)
    folder = Folder.at(Path("seed"))
    journal = Journal(folder)
    found = []
    for k in range(3):
        key = f"{k:032x}"
        facts = {"name": f"{k}.jpg", "order": k, "size": 9, "sha256": "0" * 64}
        journal.append({"key": key, "state": "seen", **facts})
        for state in ("started", "delivering", "done")[: k + 1]:
            journal.append({"key": key, "state": state, "output": f"{k}.jpg", "final": "done"})
        found.append((folder.path / NAME).read_bytes())
    journal.compact(lambda file: True, 9)
    found.append((folder.path / NAME).read_bytes())
    journal.close()
    folder.close()
    return found


def _configuration() -> bytes:
    from imagine_deblur.options import Options
    from imagine_deblur.watch.configuration import FOLDER, NAME, LastGood
    from imagine_deblur.watch.folders import Folder
    from imagine_deblur.watch.settings import WatchSettings

    shutil.rmtree("seed", ignore_errors=True)
    state = Folder.at(Path("seed"))
    kept = LastGood(state)
    kept.keep(Options(psf="disk:3", model="wiener"), WatchSettings())
    kept.close()
    state.close()
    return (Path("seed") / FOLDER / NAME).read_bytes()
