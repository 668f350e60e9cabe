"""Folders held open, so that what is done in them is done there and nowhere else.

A path is resolved once, when a folder is opened. Every later name is looked up below the open
descriptor and never through a symbolic link, so that a link planted in an outbox, or a folder
exchanged for another, cannot lead a write or a removal to a foreign place.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from imagine_deblur.errors import ImagineDeblurError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP)  # file systems that cannot flush a folder
_LONGEST_PART = 80  # bytes of a name that a temporary file beside it repeats


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


class Folder:
    """A folder by its descriptor; names below it are taken as they are and links refused.

    Made by `at` or `below`. Errors of the file system carry the whole path.

    Attributes
    ----------
    path : Path
        Where it was found; for messages, and to see whether it is still there.
    """

    def __init__(self, path: Path, descriptor: int, *, private: bool) -> None:
        self.path, self._descriptor, self._private = path, descriptor, private
        self._parent: Folder | None = None
        self._locked = False

    @classmethod
    def at(cls, path: Path, *, make: bool = True, private: bool = False) -> Folder:
        """Open a folder the user named; links on the way to it are the user's own.

        Parameters
        ----------
        path : Path
        make : bool
            Make it, and its parents, where it is missing.
        private : bool
            Refuse it where it belongs to another user.

        Raises
        ------
        OSError
            Missing, no folder, unreadable, or another user's.
        """
        if make:
            with suppress(FileExistsError):
                path.mkdir(parents=True)
        return cls(path, _open_folder(os.fspath(path), None, path, private), private=private)

    @classmethod
    def below(cls, parent: Folder, name: str) -> Folder:
        """Open a folder of our own below another; a link or another's folder is moved aside.

        Raises
        ------
        OSError
            It cannot be made, or what has its name cannot be moved.
        """
        path = parent.path / name
        folder = cls(path, _ours_below(parent, name, path), private=True)
        folder._parent = parent
        return folder

    def close(self) -> None:
        """Give the descriptor, and with it the lock, back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def via(self, name: str) -> Path:
        """Return a path that leads through the descriptor, for libraries that want a path."""
        return Path(f"/proc/self/fd/{self._descriptor}/{name}")

    # ---- the folder itself ----------------------------------------------------------------------

    def in_place(self) -> bool:
        """Whether the open folder is still the one that has the name."""
        try:
            return os.path.samestat(self._look(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def _look(self) -> os.stat_result:
        if self._parent is None:
            return os.stat(self.path)
        return os.lstat(f"/proc/self/fd/{self._parent._descriptor}/{self.path.name}")

    def renew(self, *, make: bool = True) -> bool:
        """Open the folder again where another has its name, or none; return whether it changed.

        Raises
        ------
        OSError
            As `at` and `below`.
        InboxBusyError
            It was locked, and another service has the new one.
        """
        if self.in_place():
            return False
        if self._parent is not None:
            descriptor = _ours_below(self._parent, self.path.name, self.path)
        else:
            if make:
                with suppress(FileExistsError):
                    self.path.mkdir(parents=True)
            descriptor = _open_folder(os.fspath(self.path), None, self.path, self._private)
        self.close()
        self._descriptor = descriptor
        if self._locked:
            self.lock()
        return True

    def lock(self) -> None:
        """Take an exclusive lock that ends with the process, however it ends.

        Raises
        ------
        InboxBusyError
            Another process holds it.
        """
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InboxBusyError(self.path, _holder(os.fstat(self._descriptor))) from None
        self._locked = True

    def sync(self) -> None:
        """Bring the folder's names to the disk.

        Raises
        ------
        OSError
            The disk failed; file systems that cannot flush folders are no error.
        """
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise OSError(error.errno, error.strerror, os.fspath(self.path)) from None

    def free_bytes(self) -> int:
        """Return what may still be written to its file system."""
        room = os.statvfs(self._descriptor)
        return room.f_bavail * room.f_frsize

    def is_same(self, other: Folder) -> bool:
        """Whether two are one folder, whatever their paths."""
        return os.path.samestat(os.fstat(self._descriptor), os.fstat(other._descriptor))

    # ---- names in it ----------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Return every name in it."""
        with self._named(""):
            return os.listdir(self._descriptor)

    @contextmanager
    def scan(self) -> Iterator[Iterator[os.DirEntry[str]]]:
        """Go through its entries without keeping them."""
        with self._named(""):
            entries = os.scandir(self._descriptor)
        with entries:
            yield entries

    def status(self, name: str) -> os.stat_result:
        """Return what a name is, itself and not what a link leads to."""
        with self._named(name):
            return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)

    def has(self, name: str) -> bool:
        """Whether anything at all has this name."""
        try:
            self.status(name)
        except FileNotFoundError:
            return False
        return True

    def open(self, name: str, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
        """Open a regular file; a pipe does not block and a link is refused.

        Raises
        ------
        OSError
            Missing, not a regular file, or refused by the system.
        """
        with self._named(name):
            descriptor = os.open(
                name, flags | _NO_LINK | os.O_NONBLOCK, mode, dir_fd=self._descriptor
            )
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise OSError(errno.EINVAL, "not a regular file")
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor

    def read(self, name: str, most: int) -> bytes:
        """Return a file's content.

        Raises
        ------
        OSError
            As `open`, or longer than `most` bytes (``EFBIG``).
        """
        descriptor = self.open(name)
        with open(descriptor, "rb") as file, self._named(name):
            # No more at once than it is long: asked for `most`, Python would take that from memory.
            data = file.read(min(most, os.fstat(descriptor).st_size))
            if file.read(1) and len(data) >= most:
                raise OSError(errno.EFBIG, f"longer than {most} bytes")
            return data

    @contextmanager
    def replacing(self, name: str, *, durable: bool = True) -> Iterator[int]:
        """Write a file that is complete or not there.

        Parameters
        ----------
        name : str
        durable : bool
            Flush the file before it gets its name, and the folder after.

        Yields
        ------
        int
            A descriptor to write to.
        """
        stem = os.fsdecode(os.fsencode(name)[:_LONGEST_PART])
        part = f".{stem}.{os.urandom(4).hex()}.part"
        with self._named(name):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK
            descriptor = os.open(part, flags, 0o666, dir_fd=self._descriptor)
            try:
                try:
                    yield descriptor
                    if durable:
                        os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                os.replace(part, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
            except BaseException:
                with suppress(OSError):
                    os.unlink(part, dir_fd=self._descriptor)
                raise
        if durable:
            self.sync()

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Write a whole file; see `replacing`."""
        with self.replacing(name, durable=durable) as descriptor:
            write_all(descriptor, data)

    def rename(self, name: str, folder: Folder, new_name: str) -> None:
        """Give a file another folder and name; what had that name is gone."""
        with folder._named(new_name):
            os.rename(name, new_name, src_dir_fd=self._descriptor, dst_dir_fd=folder._descriptor)

    def link(self, name: str, new_name: str) -> None:
        """Give a file a second name that nothing has.

        Raises
        ------
        FileExistsError
            Something has it.
        """
        with self._named(new_name):
            os.link(
                name,
                new_name,
                src_dir_fd=self._descriptor,
                dst_dir_fd=self._descriptor,
                follow_symlinks=False,
            )

    def unlink(self, name: str) -> None:
        """Remove a name; none is no error."""
        with self._named(name), suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)

    def move_aside(self, name: str) -> str:
        """Rename what is not ours so that it is out of the way; return its new name."""
        aside = f"{name}.foreign-{os.urandom(4).hex()}"
        self.rename(name, self, aside)
        return aside

    @contextmanager
    def _named(self, name: str) -> Iterator[None]:
        """Let errors of the system carry the whole path."""
        try:
            yield
        except OSError as error:
            if isinstance(error, ImagineDeblurError):
                raise
            path = os.fspath(self.path / name)
            raise OSError(error.errno, error.strerror or str(error), path) from None


def read_file(path: Path, most: int) -> bytes:
    """Return the content of a file the user named; links are followed, pipes do not block.

    Raises
    ------
    OSError
        Missing, not a regular file, or longer than `most` bytes.
    """
    real = Path(os.path.realpath(path))  # Path.resolve has an error of its own for a link to itself
    folder = Folder.at(real.parent, make=False)
    try:
        return folder.read(real.name, most)
    finally:
        folder.close()


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write every byte, in as many calls as it takes."""
    at = 0
    while at < len(data):
        at += os.write(descriptor, data[at:])


def _open_folder(name: str, parent: int | None, path: Path, private: bool) -> int:
    flags = _FOLDER if parent is None else _FOLDER | os.O_NOFOLLOW
    try:
        descriptor = os.open(name, flags, dir_fd=parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    owner = os.fstat(descriptor).st_uid
    if private and owner != os.geteuid():
        os.close(descriptor)
        raise PermissionError(
            errno.EPERM,
            f"the folder belongs to user {owner}, the service runs as {os.geteuid()}: give it to "
            "that user (chown), or name another",
            os.fspath(path),
        )
    return descriptor


def _ours_below(parent: Folder, name: str, path: Path) -> int:
    for attempt in range(2):
        with suppress(FileExistsError), parent._named(name):
            os.mkdir(name, 0o755, dir_fd=parent._descriptor)
        try:
            return _open_folder(name, parent._descriptor, path, True)
        except OSError as error:
            if attempt or error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EPERM):
                raise
            parent.move_aside(name)
    raise AssertionError("unreachable")


def _holder(status: os.stat_result) -> int | None:
    """Process id of who holds a flock on a file."""
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with suppress(OSError, ValueError), open("/proc/locks", encoding="ascii") as locks:
        for line in locks:
            words: list[Any] = line.split()
            if "FLOCK" in words and device in words:
                return int(words[words.index(device) - 1])
    return None
