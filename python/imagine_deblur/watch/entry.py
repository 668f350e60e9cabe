"""What is known of one capture, and the states it goes through."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from imagine_deblur.watch.digests import DIGEST

SEEN, STARTED, DELIVERING, FAILED = "seen", "started", "delivering", "failed"
DONE, PASSED, QUARANTINED = "done", "passed-through", "quarantined"
VANISHED = "vanished"
KNOWN = "known"
"""A finished capture, told of once more: after a compaction, or under another inode."""

FINAL = (DONE, PASSED, QUARANTINED)
GONE = (*FINAL, VANISHED)
STATES = (SEEN, STARTED, DELIVERING, FAILED, KNOWN, *GONE)

_LARGEST = 1 << 63


@dataclass
class Entry:
    """A capture that is not finished.

    Attributes
    ----------
    key : str
        Digest of name, size, modification time and content.
    name : str
    size, mtime_ns, inode, ctime_ns : int
        Of the file when it was seen, bytes and ns.
    sha256 : str
        Empty for a file too large to be read.
    order : int
        Arrival number.
    arrived : float
        When it came, in seconds of the clock that runs from boot.
    arrived_boot : str
        The boot that `arrived` counts from.
    state : str
    crashes : int
        Attempts in a row that were started and never ended.
    boot : str
        Boot in which the last attempt started.
    output, staged, final, reason : str
        Of the delivery under way or finished.
    output_sha256 : str
    """

    key: str
    name: str = ""
    size: int = 0
    mtime_ns: int = 0
    inode: int = 0
    ctime_ns: int = 0
    sha256: str = ""
    order: int = 0
    arrived: float = 0.0
    arrived_boot: str = ""
    state: str = SEEN
    crashes: int = 0
    boot: str = ""
    output: str = ""
    staged: str = ""
    final: str = ""
    reason: str = ""
    output_sha256: str = ""

    def take(self, record: Mapping[str, Any]) -> None:
        """Take over what a record tells; one with a name tells everything."""
        if "name" in record:
            for name, default in _DEFAULTS.items():
                setattr(self, name, record.get(name, default))
        for name in record.keys() & _FIELDS:
            setattr(self, name, record[name])

    def facts(self) -> dict[str, Any]:
        """Return the fields that say anything, in their order."""
        values = {name: getattr(self, name) for name in _DEFAULTS}
        told = {n: v for n, v in values.items() if v != _DEFAULTS[n]}
        return {"key": self.key, "state": self.state, **told}


_DEFAULTS: dict[str, Any] = {
    f.name: f.default for f in fields(Entry) if f.name not in ("key", "state")
}
_FIELDS = {"state", *_DEFAULTS}
_NAMES = ("name", "output", "staged")
_KINDS: dict[str, type] = {n: type(v) for n, v in _DEFAULTS.items()}


class FileFacts(Protocol):
    """What tells files apart without reading them."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def mtime_ns(self) -> int: ...
    @property
    def inode(self) -> int: ...
    @property
    def ctime_ns(self) -> int: ...


def file_digest(file: FileFacts) -> bytes:
    """Return 16 bytes that stand for a file as it lies there."""
    text = f"{file.name}\0{file.size}\0{file.mtime_ns}\0{file.inode}\0{file.ctime_ns}"
    return hashlib.blake2b(os.fsencode(text), digest_size=DIGEST).digest()


def key_digest(key: str) -> bytes:
    """Return 16 bytes that stand for a key."""
    return hashlib.blake2b(key.encode(errors="replace"), digest_size=DIGEST).digest()


def is_name(text: str) -> bool:
    r"""Whether a text can be a file's name in a folder.

    Examples
    --------
    >>> [is_name(n) for n in ("a.jpg", "", "..", "a/b", "a\0", "\ud800", "x" * 256)]
    [True, False, False, False, False, False, False]
    """
    try:
        data = os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return 0 < len(data) < 256 and text not in (".", "..") and not {"/", "\0"} & set(text)


def boot_id() -> str:
    """Return a name for the running boot, empty where the system has none."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return ""


def clean_record(record: object) -> dict[str, Any] | None:
    """Return a record whose fields are what they should be, None for any other value."""
    if not isinstance(record, dict):
        return None
    if not isinstance(record.get("key"), str) or record.get("state") not in STATES:
        return None
    for name, kind in _KINDS.items():
        value = record.get(name)
        if name in record and not _fits(value, kind):
            return None
        if name in _NAMES and value and not is_name(str(value)):
            return None
    if not _fits(record.get("n", 0), int):
        return None
    file = record.get("file", "0" * 2 * DIGEST)
    if record["state"] == KNOWN and "file" not in record:
        return None
    if not isinstance(file, str) or len(file) != 2 * DIGEST or not file.isascii():
        return None
    try:
        bytes.fromhex(file)
    except ValueError:
        return None
    if record.pop("vanished", False):  # so the first journals told of it
        record["state"] = VANISHED
    return record


def _fits(value: object, kind: type) -> bool:
    if isinstance(value, bool):
        return False
    if kind is str:
        return isinstance(value, str)
    if not isinstance(value, int | float) or not abs(value) < _LARGEST:
        return False
    return kind is float or isinstance(value, int)
