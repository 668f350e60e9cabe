r"""The crash-safe account of every capture.

A text file of JSON lines that only grows. Each line ends in the CRC-32 of what stands before it:
``{"n":7,"t":"...","key":"...","state":"started",...,"crc":"89abcdef"}``. A line counts only when it
is complete and its checksum holds, so a line torn by a crash is as if it had never been written.
Every append is one write and one fsync.

::

    seen -> started -> delivering -> done | passed-through | quarantined
      ^        |
      |        +--> failed -> delivering -> passed-through
      +--------+         \--> quarantined
     (rolled back)

``started`` as the last word means that the process died on the capture. ``delivering`` is written
when the result lies complete in the staging folder, before the rename that publishes it: after a
crash, a staged file means that the rename is still to be done, no staged file that it was done.
"""

from __future__ import annotations

import json
import os
import re
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from imagine_deblur.errors import ImagineDeblurError
from imagine_deblur.support.files import replacing

SEEN, STARTED, DELIVERING, FAILED = "seen", "started", "delivering", "failed"
DONE, PASSED, QUARANTINED = "done", "passed-through", "quarantined"
FINAL = (DONE, PASSED, QUARANTINED)

_LINE = re.compile(rb'(\{.*),"crc":"([0-9a-f]{8})"\}', re.DOTALL)


class JournalError(ImagineDeblurError, OSError):
    """The journal on disk may not say what this process believes: stop, and read it afresh."""


@dataclass
class Entry:
    """What the journal knows of one capture.

    Attributes
    ----------
    key : str
        Digest of name, size, modification time and content.
    name : str
    size, mtime_ns, inode, ctime_ns : int
        Of the file when it was seen, bytes and ns.
    sha256 : str
    order : int
        Arrival number.
    state : str
    crashes : int
        Attempts in a row that were started and never ended.
    boot : str
        Boot in which the last attempt started.
    output, staged, final, reason : str
        Of the delivery under way or finished.
    vanished : bool
        The file was gone when its turn came; it is taken up again should it come back.
    """

    key: str
    name: str = ""
    size: int = 0
    mtime_ns: int = 0
    inode: int = 0
    ctime_ns: int = 0
    sha256: str = ""
    order: int = 0
    state: str = SEEN
    crashes: int = 0
    boot: str = ""
    output: str = ""
    staged: str = ""
    final: str = ""
    reason: str = ""
    vanished: bool = False

    @property
    def finished(self) -> bool:
        """Whether nothing remains to be done."""
        return self.state in FINAL or (self.state == FAILED and self.vanished)


_FIELDS = {field.name for field in fields(Entry)}


def encode_line(record: Mapping[str, Any]) -> bytes:
    """Return the journal line of a record, checksum and newline included.

    Examples
    --------
    >>> decode_line(encode_line({"key": "k", "state": "seen"})[:-1])
    {'key': 'k', 'state': 'seen'}
    """
    body = json.dumps(record, separators=(",", ":"), ensure_ascii=True)[:-1].encode()
    return body + b',"crc":"%08x"}\n' % zlib.crc32(body)


def decode_line(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line without its newline, None where it is damaged."""
    match = _LINE.fullmatch(line)
    if match is None or zlib.crc32(match[1]) != int(match[2], 16):
        return None
    try:
        record = json.loads(match[1] + b"}")
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("key"), str) else None


def boot_id() -> str:
    """Return a name for the running boot, empty where the system has none."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return ""


class Journal:
    """The journal file, replayed at opening.

    Parameters
    ----------
    path : Path
        Created when it is missing.

    Attributes
    ----------
    entries : dict of str to Entry
        By key.
    torn, damaged : int
        Bytes cut off the end at opening; damaged lines found elsewhere.
    lines : int
        Lines in the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        self.torn = self.damaged = self.lines = 0
        self._next = self._orders = 0
        self._boot = boot_id()
        self._broken = False
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._size = self._replay()
            if os.fstat(self._descriptor).st_size != self._size:
                os.ftruncate(self._descriptor, self._size)
            os.fsync(self._descriptor)
            sync_folder(path.parent)
        except BaseException:
            self.close()
            raise
        if self.damaged:
            self._keep_damaged()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _replay(self) -> int:
        with open(self._descriptor, "rb", closefd=False) as file:
            data = file.read()
        end = bad = at = 0
        while (newline := data.find(b"\n", at)) >= 0:
            record = decode_line(data[at:newline])
            at = newline + 1
            if record is None:
                bad += 1
                continue
            self.damaged += bad
            bad = 0
            end = at
            self._apply(record)
            self.lines += 1
        self.torn = len(data) - end
        for entry in self.entries.values():
            if entry.state == STARTED and entry.boot != self._boot:
                entry.crashes -= 1  # the machine went down, which is not the capture's fault
        return end

    def _keep_damaged(self) -> None:
        with suppress(OSError):
            copy = self.path.with_suffix(f".damaged-{int(time.time())}")
            copy.write_bytes(self.path.read_bytes())

    def _apply(self, record: Mapping[str, Any]) -> None:
        entry = self.entries.get(record["key"])
        if entry is None:
            entry = self.entries[record["key"]] = Entry(record["key"])
        for name in record.keys() & _FIELDS:
            setattr(entry, name, record[name])
        self._next = max(self._next, int(record.get("n", 0)) + 1)
        self._orders = max(self._orders, entry.order + 1)

    def next_order(self) -> int:
        """Return the arrival number after the last one."""
        return self._orders

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
            record = {"n": self._next + len(records), "t": now, **event}
            if event["state"] == STARTED:
                record["boot"] = self._boot
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
            raise JournalError(f"{self.path}: {error}") from error
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
            raise JournalError(f"{self.path}: {error}") from error

    # ---- keeping it short ---------------------------------------------------------------------

    def worth_compacting(self) -> bool:
        """Whether most lines are history."""
        return self.lines > 1000 and self.lines > 4 * len(self.entries)

    def compact(self, keep: Callable[[Entry], bool]) -> None:
        """Rewrite the file with one line a capture; an error leaves the old file in use.

        Parameters
        ----------
        keep : callable
            Says of a finished entry whether it is still remembered; others are always kept.
        """
        kept = [e for e in self.entries.values() if not e.finished or keep(e)]
        kept.sort(key=lambda e: e.order)
        data = b"".join(
            encode_line({"n": self._next + i, **asdict(entry)}) for i, entry in enumerate(kept)
        )
        with replacing(self.path, overwrite=True) as descriptor:
            at = 0
            while at < len(data):
                at += os.write(descriptor, data[at:])
        try:
            fresh = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            self._broken = True  # the open file is no longer the one that has the name
            raise JournalError(f"{self.path}: {error}") from error
        os.close(self._descriptor)
        self._descriptor, self._size = fresh, len(data)
        self._next += len(kept)
        self.lines = len(kept)
        self.entries = {entry.key: entry for entry in kept}


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk.

    Raises
    ------
    OSError
        The disk failed; file systems that cannot sync folders are no error.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        import errno

        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
