"""Finding captures that are complete, whoever writes them and however."""

from __future__ import annotations

import hashlib
import heapq
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from imagine_deblur.watch.entry import file_digest
from imagine_deblur.watch.folders import Folder

SUFFIXES = (".jpg", ".jpeg", ".jpe")
UNFINISHED = (".part", ".tmp", ".partial", ".filepart", ".crdownload")

_CHUNK = 1 << 20
_TAIL = 64  # bytes at the end searched for the end-of-image marker; some cameras pad
_RETRY_FIRST, _RETRY_LONGEST = 0.5, 60.0  # s until a file that cannot be read is tried again
_ASIDE = ".removing-"


class Found(NamedTuple):
    """A file in the inbox.

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
class Look:
    """What one look at the inbox found.

    Attributes
    ----------
    fresh : list of Found
        Complete captures that nobody knows yet, the earliest modified first; not all of them.
    waiting : int
        Captures that are not finished, complete or not.
    unsettled : int
        Those of them that are neither in `fresh` nor known, nor unreadable.
    unreadable : int
    no_files : list of str
        Names of captures that are links, folders or pipes, and are left alone; not all of them.
    finished : list of Found
        Captures that are finished and still there; not all of them.
    present : bytearray
        Digests of all files that are finished (`file_digest`), one after the other.
    """

    fresh: list[Found] = field(default_factory=list)
    waiting: int = 0
    unsettled: int = 0
    unreadable: int = 0
    no_files: list[str] = field(default_factory=list)
    finished: list[Found] = field(default_factory=list)
    present: bytearray = field(default_factory=bytearray)


@dataclass
class _Growth:
    """A file that is being written, as far as one can see."""

    found: Found
    looks: int
    since: float
    ends: bool | None = None  # whether the file ends as a JPEG does; None: not looked at yet


class Inbox:
    """Watches a folder by looking at it again and again.

    A file is complete when `stable_polls` looks in a row found the same size and time, and it ends
    as a JPEG does or `patience` seconds have passed. Clocks play no part: times are compared for
    equality only, and waiting is measured on the monotonic clock.

    A look takes time in proportion to the files that lie there, and memory for a few of them.

    Parameters
    ----------
    folder : Folder
    stable_polls : int
    patience : float
        Seconds.
    window : int
        Captures that are considered at a time, and finished ones that a look returns.
    """

    def __init__(
        self, folder: Folder, *, stable_polls: int, patience: float, window: int = 64
    ) -> None:
        self.folder = folder
        self._stable_polls, self._patience, self._window = stable_polls, patience, window
        self._growing: dict[str, _Growth] = {}
        self._refused: dict[bytes, tuple[float, float]] = {}  # file: when to try again, and delay

    def look(
        self,
        finished: Callable[[bytes], bool] = lambda file: False,
        taken: Callable[[bytes], bool] = lambda file: False,
        tick: Callable[[], object] = lambda: None,
    ) -> Look:
        """Look once.

        Parameters
        ----------
        finished, taken : callable
            Say of a `file_digest` whether the capture is finished, or in the queue.
        tick : callable
            Called now and then; what it raises ends the look.

        Raises
        ------
        OSError
            The folder cannot be read.
        """
        now = time.monotonic()
        result = Look()
        refused: dict[bytes, tuple[float, float]] = {}

        def candidates() -> Iterator[Found]:
            for count, found in enumerate(self._files(result.no_files)):
                if count % 256 == 0:
                    tick()
                file = file_digest(found)
                if finished(file):
                    result.present += file
                    if len(result.finished) < self._window:
                        result.finished.append(found)
                    continue
                result.waiting += 1
                if taken(file):
                    continue
                result.unsettled += 1
                if (retry := self._refused.get(file)) is not None:
                    refused[file] = retry
                    if now < retry[0]:
                        result.unsettled -= 1
                        result.unreadable += 1
                        continue
                yield found

        oldest = heapq.nsmallest(self._window, candidates(), key=lambda f: (f.mtime_ns, f.name))
        growing: dict[str, _Growth] = {}
        for found in oldest:
            growth = self._growing.get(found.name)
            if growth is None or growth.found != found:
                growth = _Growth(found, 0, now)
            growth.looks += 1
            growing[found.name] = growth
            if self._complete(growth, now):
                result.fresh.append(found)
                result.unsettled -= 1
        self._growing, self._refused = growing, refused
        return result

    def _files(self, no_files: list[str]) -> Iterator[Found]:
        with self.folder.scan() as entries:
            for entry in entries:
                if not wanted(entry.name):
                    continue
                with suppress(OSError):  # gone between the listing and the look
                    if entry.is_file(follow_symlinks=False):
                        yield Found.of(entry.name, entry.stat(follow_symlinks=False))
                    elif len(no_files) < self._window:
                        no_files.append(entry.name)

    def _complete(self, growth: _Growth, now: float) -> bool:
        if growth.looks < self._stable_polls:
            return False
        if growth.ends is None:
            growth.ends = self._ends_as_jpeg(growth.found)
        return growth.ends or now - growth.since >= self._patience

    def _ends_as_jpeg(self, found: Found) -> bool:
        """Whether a file ends in an end-of-image marker, padding aside."""
        try:
            with self.opened(found) as descriptor:
                start = max(0, found.size - _TAIL)
                return b"\xff\xd9" in os.pread(descriptor, _TAIL, start)
        except OSError:
            return False

    def refuse(self, found: Found) -> None:
        """Leave a file that cannot be read alone for a while, longer each time."""
        file = file_digest(found)
        delay = self._refused.get(file, (0.0, _RETRY_FIRST / 2))[1]
        delay = min(2 * delay, _RETRY_LONGEST)
        self._refused[file] = (time.monotonic() + delay, delay)

    @contextmanager
    def opened(self, expected: Found) -> Iterator[int]:
        """Open a capture and hold it, so that it stays readable even when its name goes.

        Raises
        ------
        FileNotFoundError
            It is gone, or another file has taken its name.
        """
        descriptor = self.folder.open(expected.name)
        try:
            if not same_file(descriptor, expected):
                raise FileNotFoundError(f"{expected.name}: another file has taken its place")
            yield descriptor
        finally:
            os.close(descriptor)

    # ---- taking finished captures away ----------------------------------------------------------

    def remove(self, found: Found) -> bool:
        """Remove a file unless another has taken its name; return whether it is gone.

        The name is first moved aside, then looked at: between a look and a removal the camera may
        use the name again.
        """
        aside = f"{_ASIDE}{found.name}"
        try:
            if Found.of(found.name, self.folder.status(found.name)) != found:
                return False
            self.folder.rename(found.name, self.folder, aside)
        except FileNotFoundError:
            return False
        there = self.folder.status(aside)
        if (there.st_ino, there.st_size, there.st_mtime_ns) == found[3:4] + found[1:3]:
            self.folder.unlink(aside)
            return True
        self._put_back(aside)
        return False

    def put_back_what_was_moved(self) -> None:
        """Undo removals that a crash cut short."""
        for name in self.folder.names():
            if name.startswith(_ASIDE):
                with suppress(OSError):
                    self._put_back(name)

    def _put_back(self, aside: str) -> None:
        name = aside.removeprefix(_ASIDE)
        stem, dot, suffix = name.rpartition(".")
        for wish in (name, f"{stem}-{os.urandom(4).hex()}{dot}{suffix}"):
            try:
                self.folder.link(aside, wish)
            except FileExistsError:
                continue
            except OSError:  # a file system without hard links
                if self.folder.has(wish):
                    continue
                self.folder.rename(aside, self.folder, wish)
                return
            self.folder.unlink(aside)
            return


def wanted(name: str) -> bool:
    """Whether a name is a capture's.

    Examples
    --------
    >>> [wanted(n) for n in ("a.jpg", "A.JPEG", ".a.jpg", "a.jpg.part", "a.tif")]
    [True, True, False, False, False]
    """
    lower = name.lower()
    return lower.endswith(SUFFIXES) and not lower.startswith(".") and not lower.endswith(UNFINISHED)


def same_file(descriptor: int, expected: Found) -> bool:
    """Whether an open file is still what it was when it was found."""
    now = os.fstat(descriptor)
    return (now.st_ino, now.st_size, now.st_mtime_ns) == (
        expected.inode,
        expected.size,
        expected.mtime_ns,
    )


def sha256_of(descriptor: int, tick: Callable[[], object] = lambda: None) -> str:
    """Return the digest of an open file's content; its position is not used.

    Parameters
    ----------
    descriptor : int
    tick : callable
        Called after every megabyte; what it raises ends the reading.
    """
    digest, at = hashlib.sha256(), 0
    while chunk := os.pread(descriptor, _CHUNK, at):
        digest.update(chunk)
        at += len(chunk)
        tick()
    return digest.hexdigest()


def key_of(found: Found, sha256: str) -> str:
    """Return the identity of a capture: name, size, modification time and content."""
    text = f"{found.name}\0{found.size}\0{found.mtime_ns}\0{sha256}"
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:32]
