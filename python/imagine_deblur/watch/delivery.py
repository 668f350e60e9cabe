"""Putting results into the outbox, complete and exactly once."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from imagine_deblur.support.files import replacing
from imagine_deblur.watch.inbox import wanted
from imagine_deblur.watch.journal import DELIVERING, Entry, Journal, sync_folder

_CHUNK = 1 << 20
_PART = re.compile(r"\..+\.[a-z0-9_]{8}\.part")  # as `files.replacing` names them
_LONGEST_NAME = 200  # bytes, so that suffixes of ours still fit


class Delivery:
    """The outbox, its staging folder and the quarantine.

    Parameters
    ----------
    outbox, quarantine : Path
        The quarantine is made when it is first needed.
    journal : Journal
    """

    def __init__(self, outbox: Path, quarantine: Path, journal: Journal) -> None:
        self.outbox, self.quarantine = outbox, quarantine
        self._journal = journal
        self.staging = outbox / ".staging"
        self.staging.mkdir(exist_ok=True)

    def clear_staging(self) -> None:
        """Remove what crashed attempts left behind, and temporary files of ours beside results."""
        state = self._journal.path.parent
        for folder in (self.outbox, self.quarantine, state, state / "good"):
            with suppress(OSError):
                for name in filter(_PART.fullmatch, os.listdir(folder)):
                    with suppress(OSError):
                        os.unlink(folder / name)
        needed = {e.staged for e in self._journal.entries.values() if e.state == DELIVERING}
        for name in os.listdir(self.staging):
            if name not in needed:
                with suppress(OSError):
                    os.unlink(self.staging / name)

    def staged(self, entry: Entry) -> Path:
        """Return where the result of a capture is made."""
        return self.staging / f"{entry.key}.jpg"

    def stage_copy(self, entry: Entry, descriptor: int) -> Path:
        """Stage a capture's own bytes."""
        path = self.staged(entry)
        _copy(descriptor, path)
        return path

    def pending(self) -> int:
        """Return how many results lie in the outbox."""
        return sum(wanted(name) for name in os.listdir(self.outbox))

    def deliver(
        self, entry: Entry, staged: Path, facts: Mapping[str, Any], *, final: str, reason: str = ""
    ) -> None:
        """Publish a staged file with its report beside it.

        The report is complete before the picture appears. On an error the delivery is either not
        begun, or can be taken up by `resume`.

        Raises
        ------
        OSError
            The outbox or the journal cannot be written.
        """
        name = self._free_name(entry)
        digest = _digest(staged)
        report = {
            "capture": entry.name,
            "key": entry.key,
            "capture_sha256": entry.sha256,
            "output": name,
            "output_sha256": digest,
            "outcome": final,
            "reason": reason or None,
            **facts,
        }
        _write_json(self.outbox / f"{name}.json", report)
        event = {"key": entry.key, "state": DELIVERING, "output": name, "staged": staged.name}
        more = {"final": final, "reason": reason, "output_sha256": digest, "crashes": 0}
        self._journal.append(event | more)
        self.resume(entry)

    def resume(self, entry: Entry) -> None:
        """Finish a delivery the journal says was begun.

        Raises
        ------
        OSError
            As `deliver`.
        """
        staged, target = self.staging / entry.staged, self.outbox / entry.output
        if staged.exists():
            if os.path.lexists(target):  # someone else's file took the name meanwhile
                entry_name = self._free_name(entry)
                report = json.loads((self.outbox / f"{entry.output}.json").read_bytes())
                _write_json(self.outbox / f"{entry_name}.json", report | {"output": entry_name})
                self._journal.append({"key": entry.key, "state": DELIVERING, "output": entry_name})
                target = self.outbox / entry_name
            os.rename(staged, target)
        sync_folder(self.outbox)
        sync_folder(self.staging)
        self._journal.append({"key": entry.key, "state": entry.final, "crashes": 0, "staged": ""})

    def isolate(self, entry: Entry, descriptor: int, reason: str) -> str:
        """Put a copy of a capture and the reason into the quarantine; return the copy's name.

        Repeating it changes nothing, so a crash in between does no harm.
        """
        self.quarantine.mkdir(parents=True, exist_ok=True)
        name = _with_tag(entry.name, entry.key)
        _copy(descriptor, self.quarantine / name)
        facts = {
            "capture": entry.name,
            "key": entry.key,
            "capture_sha256": entry.sha256,
            "reason": reason,
        }
        _write_json(self.quarantine / f"{name}.reason.json", facts)
        return name

    def probe(self) -> None:
        """Write, flush and remove a small file.

        Raises
        ------
        OSError
            The outbox or the journal's folder does not take files now.
        """
        for folder in (self.staging, self._journal.path.parent):
            path = folder / ".probe"
            with replacing(path, overwrite=True) as descriptor:
                os.write(descriptor, b"probe")
            os.unlink(path)

    def _free_name(self, entry: Entry) -> str:
        """Return a name in the outbox that no other capture has.

        Raises
        ------
        OSError
            Every name is taken.
        """
        plain = entry.name
        if len(os.fsencode(plain)) > _LONGEST_NAME:
            plain = _with_tag(entry.name, entry.key)
        tagged = _with_tag(entry.name, entry.key)
        for name in (plain, tagged, _with_tag(entry.name, entry.key, digits=32)):
            if not os.path.lexists(self.outbox / name) and self._report_is_ours(name, entry):
                return name
        raise OSError(errno.EEXIST, "the outbox has files of every name for it", entry.name)

    def _report_is_ours(self, name: str, entry: Entry) -> bool:
        try:
            report = json.loads((self.outbox / f"{name}.json").read_bytes())
        except FileNotFoundError:
            return True
        except ValueError:
            return False
        return isinstance(report, dict) and report.get("key") == entry.key


def _with_tag(name: str, key: str, digits: int = 8) -> str:
    stem, dot, suffix = name.rpartition(".")
    short = os.fsdecode(os.fsencode(stem)[: _LONGEST_NAME - 48])
    return f"{short}-{key[:digits]}{dot}{suffix}"


def _copy(descriptor: int, path: Path) -> None:
    with replacing(path, overwrite=True) as target:
        at = 0
        while chunk := os.pread(descriptor, _CHUNK, at):
            at += len(chunk)
            _write_all(target, chunk)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    with replacing(path, overwrite=True) as descriptor:
        _write_all(descriptor, json.dumps(value, indent=1).encode() + b"\n")


def _write_all(descriptor: int, data: bytes) -> None:
    at = 0
    while at < len(data):
        at += os.write(descriptor, data[at:])


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
