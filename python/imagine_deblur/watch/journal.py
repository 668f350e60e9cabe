r"""The crash-safe account of every capture, in a file of bounded length.

A text file of JSON lines. Each line ends in the CRC-32 of what stands before it:
``{"n":7,"t":"...","key":"...","state":"started",...,"crc":"89abcdef"}``. A line counts only when
its checksum holds, so a line torn by a crash is as if it had never been written. Every append is
one write and one fsync.

::

    seen -> started -> delivering -> done | passed-through | quarantined
      ^        |
      |        +--> failed -> delivering -> passed-through
      +--------+         \--> quarantined
     (rolled back)            seen | started -> vanished

``started`` as the last word means that the process died on the capture. ``delivering`` is written
when the result and its report lie complete in the staging folder, before the renames that publish
them: after a crash, what is staged is still to be renamed, and what is not was renamed.

Every line repeats all that is known of its capture, so a damaged line costs the step it told of
and nothing else. Records are found inside damaged stretches too, by their own beginning. A capture
that is finished leaves memory but for two digests, and `Journal.compact` leaves it one short line,
written twice, a copy's length apart.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from imagine_deblur.errors import ImagineDeblurError
from imagine_deblur.support.checked_lines import encode_line
from imagine_deblur.watch.digests import DigestSet
from imagine_deblur.watch.entry import (
    DELIVERING,
    FINAL,
    GONE,
    KNOWN,
    STARTED,
    Entry,
    boot_id,
    file_digest,
    key_digest,
)
from imagine_deblur.watch.folders import Folder, write_all
from imagine_deblur.watch.journal_lines import read_records

NAME = "journal.jsonl"

_SHORT = 1000  # lines that are never too many
_GROWTH = 4  # lines over those that remain before the file is written anew
_COPIES = 2  # of each line after a compaction
_BATCH = 1000  # events written at once while an old journal is taken over
_KEPT_DAMAGED = 2  # damaged files that stay for people to look at


class JournalError(ImagineDeblurError, OSError):
    """The journal on disk may not say what this process believes: stop, and read it afresh."""


def known_again(entry: Entry) -> dict[str, str]:
    """Return the event that tells of a finished capture's file once more."""
    file = file_digest(entry).hex()
    return {"key": entry.key, "state": KNOWN, "name": entry.name, "file": file}


class Journal:
    """The journal file, replayed at opening.

    Parameters
    ----------
    folder : Folder
        The file is made in it when it is missing; what has its name and is no file of ours is
        moved aside.

    Attributes
    ----------
    entries : dict of str to Entry
        Captures that are not finished, by key.
    finished, files : DigestSet
        Keys and files (`file_digest`) of captures that are.
    torn, damaged : int
        Bytes cut off the end at opening; damaged stretches found elsewhere.
    lines : int
        Lines in the file.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.boot = boot_id()
        self.entries: dict[str, Entry] = {}
        self.finished, self.files = DigestSet(), DigestSet()
        self.torn = self.damaged = self.lines = 0
        self._next = self._orders = 0
        self._broken = False
        flags = os.O_RDWR | os.O_CREAT
        try:
            self._descriptor = folder.open(NAME, flags, 0o644)
        except OSError:
            if not folder.has(NAME):
                raise
            folder.move_aside(NAME)
            self._descriptor = folder.open(NAME, flags, 0o644)
        try:
            self._size = self._replay()
            os.fsync(self._descriptor)
            folder.sync()
            for at in range(0, len(self._nameless), _BATCH):
                self.append(*map(json.loads, self._nameless[at : at + _BATCH]))
            if self.damaged:
                self._keep_damaged()
                self.compact(lambda file: True, keep=1 << 62)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def in_place(self) -> bool:
        """Whether the open file is still the one that has the name."""
        try:
            there = self._folder.status(NAME)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._descriptor))

    # ---- reading ------------------------------------------------------------------------------

    def _records(self) -> Iterator[tuple[dict[str, Any] | None, int]]:
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            yield from read_records(file)

    def _replay(self) -> int:
        """Apply every record; return where the last one ends, in a newline."""
        end = bad = 0
        # Endings in the first journals' way, too short for `compact`; as text, to take no room.
        self._nameless: list[bytes] = []
        for record, at in self._records():
            if record is None:
                bad += 1
                continue
            self.damaged += bad
            bad = 0
            end = at
            self._apply(record)
            self.lines += 1
        size = os.fstat(self._descriptor).st_size
        if end and os.pread(self._descriptor, 1, end - 1) != b"\n":
            os.pwrite(self._descriptor, b"\n", end)
            self.damaged += end < size
            end += 1
        self.torn = max(0, size - end)
        if self.torn:
            os.ftruncate(self._descriptor, end)
        for key, entry in list(self.entries.items()):
            if entry.state == STARTED and entry.boot != self.boot:
                entry.crashes = max(0, entry.crashes - 1)  # the machine went down: not its fault
            if not entry.name and entry.state != DELIVERING:
                del self.entries[key]  # its beginning is lost; the inbox still has it
        return end

    def _keep_damaged(self) -> None:
        with suppress(OSError):
            names = self._folder.names()
            old = sorted(n for n in names if n.startswith("journal.damaged-"))
            for name in old[: max(0, len(old) + 1 - _KEPT_DAMAGED)]:
                self._folder.unlink(name)
            with self._folder.replacing(f"journal.damaged-{time.time_ns():020d}") as copy:
                at = 0
                while chunk := os.pread(self._descriptor, 1 << 20, at):
                    write_all(copy, chunk)
                    at += len(chunk)

    def _apply(self, record: Mapping[str, Any]) -> None:
        key = record["key"]
        self._next = max(self._next, record.get("n", 0) + 1)
        if record["state"] == KNOWN or "file" in record:
            self._finish(key, bytes.fromhex(record["file"]))
            self.entries.pop(key, None)
            return
        entry = self.entries.get(key) or Entry(key)
        entry.take(record)
        self._orders = max(self._orders, entry.order + 1)
        if entry.state in FINAL:
            self._finish(key, file_digest(entry) if entry.name else b"")
            if "name" not in record and entry.name:
                self._nameless.append(json.dumps(known_again(entry)).encode())
        if entry.state in GONE:
            self.entries.pop(key, None)
        else:
            self.entries[key] = entry

    def _finish(self, key: str, file: bytes) -> None:
        self.finished.add(key_digest(key))
        if file:
            self.files.add(file)

    def is_finished(self, key: str) -> bool:
        """Whether a capture needs nothing more."""
        return key_digest(key) in self.finished

    def next_order(self) -> int:
        """Return the arrival number after the last one."""
        return self._orders

    # ---- writing ------------------------------------------------------------------------------

    def append(self, *events: Mapping[str, Any]) -> None:
        """Write events and return when they are on the disk.

        Parameters
        ----------
        *events : mapping
            ``key``, ``state`` and fields of `Entry`; every other value is kept for human readers.

        Raises
        ------
        OSError
            Nothing was written; the journal is as it was.
        JournalError
            The disk may or may not hold the events. The process must end, and start from the file.
        """
        if self._broken:
            raise JournalError("the journal failed before; nothing more is written to it")
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        records: list[dict[str, Any]] = []
        for event in events:
            known = self.entries.get(event["key"])
            facts = {} if known is None else known.facts()
            record = {"n": self._next + len(records), "t": now, **facts, **event}
            if event["state"] == STARTED:
                record["boot"] = self.boot
            records.append(record)
        data = b"".join(map(encode_line, records))
        try:
            self._write(data)
        except OSError:
            self._cut_back()
            raise
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self._broken = True
            raise JournalError(f"{NAME}: {error}") from error
        self._size += len(data)
        self.lines += len(records)
        for record in records:
            self._apply(record)

    def _write(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            at += os.pwrite(self._descriptor, data[at:], self._size + at)

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError as error:
            self._broken = True
            raise JournalError(f"{NAME}: {error}") from error

    # ---- keeping it short ---------------------------------------------------------------------

    def worth_compacting(self, remain: int) -> bool:
        """Whether most lines are history, where `remain` finished captures are to be kept."""
        kept = len(self.entries) + min(remain, len(self.finished))
        return self.lines > max(_SHORT, _GROWTH * _COPIES * kept)

    def compact(self, present: Callable[[bytes], bool], keep: int) -> None:
        """Write the file anew, without history; an error leaves the old one in use.

        Memory does not grow with the file: it is read through once to choose, and once a copy.

        Parameters
        ----------
        present : callable
            Says of a `file_digest` whether the capture still lies in the inbox.
        keep : int
            Finished captures that are remembered although they left the inbox.
        """
        unfinished = sorted(self.entries.values(), key=lambda entry: entry.order)
        left = sum(not present(file) for _, _, file in self._endings())
        finished, files, size, lines = DigestSet(), DigestSet(), 0, 0
        with self._folder.replacing(NAME) as descriptor:
            for _ in range(_COPIES):
                skip = left - keep
                for key, name, file in self._endings():
                    if not present(file):
                        skip -= 1
                        if skip >= 0:
                            continue
                    record = {"n": self._next + lines, "key": key, "state": KNOWN, "name": name}
                    line = encode_line(record | {"file": file.hex()})
                    write_all(descriptor, line)
                    size, lines = size + len(line), lines + 1
                    finished.add(key_digest(key))
                    files.add(file)
                for entry in unfinished:
                    line = encode_line({"n": self._next + lines, **entry.facts()})
                    write_all(descriptor, line)
                    size, lines = size + len(line), lines + 1
        try:
            fresh = self._folder.open(NAME, os.O_RDWR)
        except OSError as error:
            self._broken = True  # the open file is no longer the one that has the name
            raise JournalError(f"{NAME}: {error}") from error
        os.close(self._descriptor)
        self._descriptor, self._size, self.lines = fresh, size, lines
        self._next += lines
        self.finished, self.files = finished, files

    def _endings(self) -> Iterator[tuple[str, str, bytes]]:
        """Yield (key, name, file digest) of every capture that ended, in order, each once."""
        seen = DigestSet()
        entry = Entry("")
        for record, _ in self._records():
            if record is None or record["state"] not in (*FINAL, KNOWN):
                continue
            key, name = record["key"], record.get("name", "")
            if "file" in record:
                file = bytes.fromhex(record["file"])
            elif not name:
                continue
            else:
                entry.take(record)
                file = file_digest(entry)
            mark = key_digest(key + file.hex())
            if mark not in seen:
                seen.add(mark)
                yield key, name, file
