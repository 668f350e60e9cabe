"""Finding captures that are complete, whoever writes them and however."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from imagine_deblur.errors import ImagineDeblurError

SUFFIXES = (".jpg", ".jpeg", ".jpe")
UNFINISHED = (".part", ".tmp", ".partial", ".filepart", ".crdownload")

_CHUNK = 1 << 20
_TAIL = 64  # bytes at the end searched for the end-of-image marker; some cameras pad


class InboxBusyError(ImagineDeblurError, RuntimeError):
    """Another service works on this folder.

    Attributes
    ----------
    folder : Path
    pid : int or None
        Of the other service, where the system says.
    """

    def __init__(self, folder: Path, pid: int | None) -> None:
        who = "another service" if pid is None else f"the service with process id {pid}"
        super().__init__(f"{folder}: {who} works on this folder; stop it first, or name another")
        self.folder, self.pid = folder, pid


class FolderLock:
    """An exclusive lock on a folder, given back when the process ends, however it ends.

    Parameters
    ----------
    folder : Path
        Nothing is written to it.

    Raises
    ------
    InboxBusyError
        Another process holds it.
    OSError
        The folder is missing or unreadable.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _holder(os.fstat(self._descriptor))
            self.release()
            raise InboxBusyError(folder, pid) from None
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def still_there(self) -> bool:
        """Whether the folder that is locked is the one that has the name."""
        return os.path.samestat(os.stat(self.folder), os.fstat(self._descriptor))


def _holder(status: os.stat_result) -> int | None:
    """Process id of who holds a flock on a file."""
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with suppress(OSError, ValueError), open("/proc/locks", encoding="ascii") as locks:
        for line in locks:
            words = line.split()
            if "FLOCK" in words and device in words:
                return int(words[words.index(device) - 1])
    return None


@dataclass(frozen=True)
class Found:
    """A complete file in the inbox.

    Attributes
    ----------
    name : str
    size, mtime_ns, inode, ctime_ns : int
        Bytes and ns.
    """

    name: str
    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int

    @classmethod
    def of(cls, name: str, status: os.stat_result) -> Found:
        """Return the file with this status."""
        return cls(name, status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)


@dataclass
class _Look:
    found: Found
    polls: int
    since: float
    ends: bool | None = None  # whether the file ends as a JPEG does; None: not looked at yet


class Inbox:
    """Watches a folder by looking at it again and again.

    A file is complete when `stable_polls` looks in a row found the same size and time, and it ends
    as a JPEG does or `patience` seconds have passed. Clocks play no part: times are compared for
    equality only, and waiting is measured on the monotonic clock.

    Parameters
    ----------
    folder : Path
    stable_polls : int
    patience : float
        Seconds.
    """

    def __init__(self, folder: Path, *, stable_polls: int, patience: float) -> None:
        self.folder = folder
        self._stable_polls, self._patience = stable_polls, patience
        self._looks: dict[str, _Look] = {}
        self.unsettled = 0
        """Files that were not complete at the last look."""

    def look(self) -> list[Found]:
        """Look once.

        Returns
        -------
        list of Found
            Every complete file, the earliest modified first.

        Raises
        ------
        OSError
            The folder cannot be read.
        """
        now = time.monotonic()
        looks: dict[str, _Look] = {}
        complete: list[Found] = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if not wanted(entry.name):
                    continue
                try:
                    if not entry.is_file(follow_symlinks=False):
                        continue
                    found = Found.of(entry.name, entry.stat(follow_symlinks=False))
                except OSError:
                    continue  # gone between the listing and the look
                if found.size == 0:
                    continue  # its writer has only just begun, or never will
                look = self._looks.get(entry.name)
                if look is None or look.found != found:
                    look = _Look(found, 0, now)
                look.polls += 1
                looks[entry.name] = look
                if self._complete(look, now):
                    complete.append(found)
        self._looks = looks
        self.unsettled = len(looks) - len(complete)
        complete.sort(key=lambda f: (f.mtime_ns, f.name))
        return complete

    def _complete(self, look: _Look, now: float) -> bool:
        if look.polls < self._stable_polls:
            return False
        if look.ends is None:
            look.ends = ends_as_jpeg(self.folder / look.found.name)
        return look.ends or now - look.since >= self._patience


def wanted(name: str) -> bool:
    """Whether a name is a capture's.

    Examples
    --------
    >>> [wanted(n) for n in ("a.jpg", "A.JPEG", ".a.jpg", "a.jpg.part", "a.tif")]
    [True, True, False, False, False]
    """
    lower = name.lower()
    return lower.endswith(SUFFIXES) and not lower.startswith(".") and not lower.endswith(UNFINISHED)


def ends_as_jpeg(path: Path) -> bool:
    """Whether a file ends in an end-of-image marker, padding aside."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return b"\xff\xd9" in file.read(_TAIL)
    except OSError:
        return False


@contextmanager
def opened(folder: Path, expected: Found | None, name: str) -> Iterator[int]:
    """Open a capture and hold it, so that it stays readable even when its name goes.

    Raises
    ------
    FileNotFoundError
        It is gone, or another file has taken its name (`expected` tells them apart).
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(folder / name, flags)
    try:
        if expected is not None and not same_file(descriptor, expected):
            raise FileNotFoundError(f"{folder / name}: another file has taken its place")
        yield descriptor
    finally:
        os.close(descriptor)


def same_file(descriptor: int, expected: Found) -> bool:
    """Whether an open file is still what it was when it was found."""
    now = os.fstat(descriptor)
    return (now.st_ino, now.st_size, now.st_mtime_ns) == (
        expected.inode,
        expected.size,
        expected.mtime_ns,
    )


def sha256_of(descriptor: int) -> str:
    """Return the digest of an open file's content; its position is not used."""
    digest, at = hashlib.sha256(), 0
    while chunk := os.pread(descriptor, _CHUNK, at):
        digest.update(chunk)
        at += len(chunk)
    return digest.hexdigest()


def key_of(found: Found, sha256: str) -> str:
    """Return the identity of a capture: name, size, modification time and content."""
    text = f"{found.name}\0{found.size}\0{found.mtime_ns}\0{sha256}"
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:32]
