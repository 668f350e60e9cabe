"""Putting results into the outbox, complete and exactly once.

A result and its report are made in the staging folder. When both are complete the journal says
``delivering``; then a mark is laid beside them, the report gets its name in the outbox, then the
picture. A report in the outbox therefore means that its picture was published or is still staged,
and the reports are a second witness beside the journal: `Delivery.witness`. The mark stays until
the journal says that the capture is finished. A mark without its picture means that the picture was
published, even if downstream has taken it away since; neither of them, that somebody emptied the
staging folder, or that the journal's last line on it was damaged, which the journal knows.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from imagine_deblur.errors import ImagineDeblurError
from imagine_deblur.watch.entry import (
    DELIVERING,
    QUARANTINED,
    SEEN,
    Entry,
)
from imagine_deblur.watch.folders import Folder, write_all
from imagine_deblur.watch.inbox import wanted
from imagine_deblur.watch.journal import Journal
from imagine_deblur.watch.reports import (
    as_delivering,
    meagre_report,
    names_for,
    read_json,
    read_report,
    with_tag,
    write_json,
)

_CHUNK = 1 << 20
_PART = re.compile(r"\..+\.[a-z0-9_]{8}\.part")  # as `Folder.replacing` names them
_STAGED = re.compile(r"([0-9a-f]{32})\.(jpg|json|mark\.jpg)")
STAGING = ".staging"


class UnreadableError(ImagineDeblurError):
    """A capture's own bytes cannot be read to the end."""


class Delivery:
    """The outbox, its staging folder and the quarantine.

    Parameters
    ----------
    outbox : Folder
    quarantine : Path
        Made when it is first needed.
    journal : Journal
    """

    def __init__(self, outbox: Folder, quarantine: Path, journal: Journal) -> None:
        self.outbox, self._quarantine_path = outbox, quarantine
        self._quarantine: Folder | None = None
        self._journal = journal
        self.staging = Folder.below(outbox, STAGING)
        self._unpublished: set[str] = set()  # keys that this process knows it has yet to rename

    def close(self) -> None:
        """Give the descriptors back."""
        self.staging.close()
        if self._quarantine is not None:
            self._quarantine.close()

    def check_folders(self) -> bool:
        """Make what was removed again; return whether anything had to be."""
        changed = self.outbox.renew()
        return self.staging.renew() or changed

    # ---- after a crash --------------------------------------------------------------------------

    def clear(self, state: Folder) -> None:
        """Remove what crashed attempts left, and take up deliveries the journal has forgotten."""
        for entry in list(self._journal.entries.values()):
            if entry.state != DELIVERING and (event := self.witness(entry)) is not None:
                self._journal.append(event)
        for folder in (self.outbox, self.staging, state):
            _clear_parts(folder)
        if self._quarantine_path.is_dir():
            _clear_parts(self.quarantine())
        staged = {m[0]: m[1] for name in self.staging.names() if (m := _STAGED.fullmatch(name))}
        for key in sorted(set(staged.values())):
            known = self._journal.entries.get(key)
            if known is None and not self._journal.is_finished(key):
                self._adopt(key, f"{key}.jpg" in staged)
                if f"{key}.jpg" not in staged:
                    self.staging.unlink(_mark(key))
            elif known is None or known.state != DELIVERING:
                for name in (f"{key}.json", f"{key}.jpg", _mark(key)):
                    self.staging.unlink(name)

    def _adopt(self, key: str, has_picture: bool) -> None:
        """Take up a delivery that only the staging folder, and maybe a report, tell of."""
        report = read_report(self.staging, f"{key}.json")
        if report is None and has_picture:
            report = self._report_without_picture(key)
        if report is None or report["key"] != key or not has_picture:
            return  # its capture is still in the inbox, where `witness` speaks for it
        self._journal.append(as_delivering(report))

    def _report_without_picture(self, key: str) -> dict[str, Any] | None:
        for name in self.outbox.names():
            if name.endswith(".json") and not self.outbox.has(name.removesuffix(".json")):
                report = read_report(self.outbox, name)
                if report is not None and report["key"] == key:
                    return report
        return None

    def witness(self, entry: Entry) -> dict[str, Any] | None:
        """Return the journal's event for a capture that reports tell of, None for a new one.

        The journal may have lost a line, or be gone. A report with the capture's key in the
        outbox says that its picture was published, or that it lies staged.
        """
        staged = self.staging.has(f"{entry.key}.jpg")
        for folder, names in (
            (self.staging, [f"{entry.key}.json"]),
            (self.outbox, [f"{name}.json" for name in names_for(entry)]),
        ):
            for name in names:
                report = read_report(folder, name)
                if report is None or report["key"] != entry.key:
                    continue
                if staged:
                    if self._digest(self.staging, f"{entry.key}.jpg") == report["output_sha256"]:
                        return as_delivering(report)
                elif folder is self.outbox:
                    return {"key": entry.key, "state": report["outcome"]}
        return self._isolated(entry)

    def _isolated(self, entry: Entry) -> dict[str, Any] | None:
        if not self._quarantine_path.is_dir():
            return None
        facts = read_json(self.quarantine(), f"{with_tag(entry.name, entry.key)}.reason.json")
        if facts is None or facts.get("key") != entry.key or facts.get("final") is not True:
            return None
        return {"key": entry.key, "state": QUARANTINED}

    # ---- delivering -----------------------------------------------------------------------------

    def staged(self, entry: Entry) -> str:
        """Return the name in the staging folder under which a capture's result is made."""
        return f"{entry.key}.jpg"

    def unstage(self, entry: Entry) -> None:
        """Throw away what was staged; a read-only disk, where nothing can be, is no error."""
        for name in (f"{entry.key}.json", f"{entry.key}.jpg"):
            with suppress(OSError):
                self.staging.unlink(name)

    def stage_copy(self, entry: Entry, descriptor: int) -> None:
        """Stage a capture's own bytes."""
        _copy(descriptor, self.staging, self.staged(entry))

    def pending(self, most: int) -> int:
        """Return how many results lie in the outbox, counting no further than `most`."""
        count = 0
        with self.outbox.scan() as entries:
            for found in entries:
                count += wanted(found.name)
                if count >= most:
                    break
        return count

    def deliver(
        self, entry: Entry, facts: Mapping[str, Any], *, final: str, reason: str = ""
    ) -> None:
        """Publish a staged file with its report beside it.

        On an error the delivery is either not begun, or can be taken up by `resume`.

        Raises
        ------
        OSError
            The outbox or the journal cannot be written.
        """
        name = self._free_name(entry)
        report = {
            "capture": entry.name,
            "key": entry.key,
            "capture_sha256": entry.sha256,
            "output": name,
            "output_sha256": self._digest(self.staging, self.staged(entry)),
            "outcome": final,
            "reason": reason or None,
            **facts,
        }
        write_json(self.staging, f"{entry.key}.json", report)
        self._unpublished.add(entry.key)
        self._journal.append(as_delivering(report))
        self.resume(self._journal.entries[entry.key])

    def resume(self, entry: Entry) -> None:
        """Finish a delivery the journal says was begun.

        Without a staged result it was renamed before a crash, if its mark or the result itself is
        there. Else somebody removed it, and the capture is made again.

        Raises
        ------
        OSError
            As `deliver`.
        """
        if self.staging.has(entry.staged):
            if self.outbox.has(entry.output):  # someone else's file took the name meanwhile
                self._rename_delivery(entry)
            self.staging.write(_mark(entry.key), b"", durable=False)
            with suppress(FileNotFoundError):  # the report went out before
                self.staging.rename(f"{entry.key}.json", self.outbox, f"{entry.output}.json")
            self.staging.rename(entry.staged, self.outbox, entry.output)
        elif entry.key in self._unpublished or not self._was_published(entry):
            self._start_over(entry)
            return
        self._unpublished.discard(entry.key)
        self.outbox.sync()
        self.staging.sync()
        self._journal.append({"key": entry.key, "state": entry.final, "crashes": 0, "staged": ""})
        self.staging.unlink(_mark(entry.key))

    def _was_published(self, entry: Entry) -> bool:
        """Whether a result that is staged no more got its name in the outbox."""
        if self._journal.torn or self._journal.damaged:  # it may have said so
            return True
        if self.staging.has(_mark(entry.key)):
            return True
        try:
            return self._digest(self.outbox, entry.output) == entry.output_sha256
        except OSError:
            return False

    def _start_over(self, entry: Entry) -> None:
        report = read_report(self.outbox, f"{entry.output}.json")
        if report is not None and report["key"] == entry.key:
            self.outbox.unlink(f"{entry.output}.json")
        why = "its staged result was removed"
        self._journal.append({"key": entry.key, "state": SEEN, "crashes": 0, "why": why})
        self._unpublished.discard(entry.key)

    def _rename_delivery(self, entry: Entry) -> None:
        old = f"{entry.output}.json"
        report = read_report(self.staging, f"{entry.key}.json")
        published = report is None
        if published:
            report = read_report(self.outbox, old)
        if report is None or report["key"] != entry.key:
            report = meagre_report(entry)
            published = False
        name = self._free_name(entry, but=entry.output)
        write_json(self.staging, f"{entry.key}.json", report | {"output": name})
        self._journal.append({"key": entry.key, "state": DELIVERING, "output": name})
        if published:
            self.outbox.unlink(old)

    def isolate(self, entry: Entry, descriptor: int | None, reason: str, *, final: bool) -> str:
        """Put a copy of a capture and the reason into the quarantine; return the copy's name.

        Repeating it changes nothing, so a crash in between does no harm.

        Parameters
        ----------
        entry : Entry
        descriptor : int or None
            None: the capture stays where it is, and only the reason is written.
        reason : str
        final : bool
            Nothing else is delivered for it.
        """
        name = with_tag(entry.name, entry.key)
        facts = {
            "capture": entry.name,
            "key": entry.key,
            "capture_sha256": entry.sha256,
            "reason": reason,
            "final": final,
        }
        folder = self.quarantine()
        if descriptor is not None:
            _copy(descriptor, folder, name)
        write_json(folder, f"{name}.reason.json", facts)
        return name

    def quarantine(self) -> Folder:
        """Return the quarantine, made where it is missing."""
        if self._quarantine is None:
            self._quarantine = Folder.at(self._quarantine_path)
        self._quarantine.renew()
        return self._quarantine

    def probe(self, state: Folder) -> None:
        """Write, flush and remove a small file.

        Raises
        ------
        OSError
            The outbox or the journal's folder does not take files now.
        """
        for folder in (self.staging, state):
            folder.write(".probe", b"probe")
            folder.unlink(".probe")

    def _free_name(self, entry: Entry, but: str = "") -> str:
        """Return a name in the outbox that no other capture has.

        Raises
        ------
        OSError
            Every name is taken.
        """
        for name in names_for(entry):
            if name != but and not self.outbox.has(name) and self._report_is_free(name, entry):
                return name
        raise OSError(errno.EEXIST, "the outbox has files of every name for it", entry.name)

    def _report_is_free(self, name: str, entry: Entry) -> bool:
        if not self.outbox.has(f"{name}.json"):
            return True
        report = read_report(self.outbox, f"{name}.json")
        return report is not None and report["key"] == entry.key

    @staticmethod
    def _digest(folder: Folder, name: str) -> str:
        with open(folder.open(name), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def _mark(key: str) -> str:
    """Name in the staging folder; whoever removes the pictures there removes the marks too."""
    return f"{key}.mark.jpg"


def _clear_parts(folder: Folder) -> None:
    with suppress(OSError):
        for name in filter(_PART.fullmatch, folder.names()):
            with suppress(OSError):
                folder.unlink(name)


def _copy(descriptor: int, folder: Folder, name: str) -> None:
    with folder.replacing(name) as target:
        at = 0
        while chunk := _read_at(descriptor, at):
            at += len(chunk)
            write_all(target, chunk)


def _read_at(descriptor: int, at: int) -> bytes:
    try:
        return os.pread(descriptor, _CHUNK, at)
    except OSError as error:
        raise UnreadableError(f"its bytes cannot be read from {at} on: {error}") from None
