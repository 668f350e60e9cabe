"""Writing a file so that it is either complete or not there."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from imagine_deblur.errors import InputImageError, OptionsError, OutputExistsError

_OTHER_KINDS = (
    *(".avif", ".bmp", ".dng", ".exr", ".gif", ".heic", ".j2k", ".jp2", ".jxl", ".npy", ".npz"),
    *(".pdf", ".png", ".raw", ".tif", ".tiff", ".webp"),
)
"""Suffixes that a JPEG must not have."""

Source = str | os.PathLike[str] | bytes | IO[bytes]
Target = str | os.PathLike[str] | IO[bytes] | None


@contextmanager
def replacing(path: Path, *, overwrite: bool) -> Iterator[int]:
    """Open a temporary file beside `path` and rename it into place when the block succeeds.

    The file is flushed to the disk before it is renamed, and the folder after, so that a crash
    at any moment leaves the old file or the new one, complete. A block that raises leaves no file.

    Parameters
    ----------
    path : Path
    overwrite : bool
        Replace an existing file. Without it the name is claimed by linking, so that a file that
        appears meanwhile is not lost.

    Yields
    ------
    int
        A descriptor to write to.

    Raises
    ------
    OutputExistsError
        `path` exists and `overwrite` is false.
    OSError
        The folder is missing, unwritable or full, or `path` is a folder or a device; `filename`
        names it.
    """
    if not overwrite and os.path.lexists(path):
        raise OutputExistsError(path)
    _refuse_special(path)
    folder = path.parent
    try:
        descriptor, name = tempfile.mkstemp(
            prefix=f".{path.name[:80]}.", suffix=".part", dir=folder
        )
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    try:
        try:
            os.fchmod(descriptor, 0o666 & ~_umask())
            yield descriptor
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        publish(name, path, overwrite=overwrite)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file in place of `path`; see `replacing`."""
    with replacing(path, overwrite=True) as descriptor:
        data = text.encode("utf-8")
        at = 0
        while at < len(data):
            at += os.write(descriptor, data[at:])


def publish(finished: str | os.PathLike[str], path: Path, *, overwrite: bool) -> None:
    """Give a finished file, already flushed to the disk, its name, and flush the folder.

    Parameters
    ----------
    finished : path
        On the file system of `path`; it is gone afterwards.
    path : Path
    overwrite : bool
        As for `replacing`.

    Raises
    ------
    OutputExistsError, OSError
        As for `replacing`; `finished` is still there.
    """
    _refuse_special(path)
    if overwrite:
        os.replace(finished, path)
    else:
        _claim(os.fspath(finished), path)
    _sync_folder(path.parent)


@contextmanager
def replacing_by_name(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Like `replacing`, for libraries that write files by their names and lay others beside them.

    Parameters
    ----------
    path : Path
    overwrite : bool

    Yields
    ------
    Path
        To be written, of the same name in a folder of its own beside `path`. The folder and
        whatever else is in it goes in any case.

    Raises
    ------
    OutputExistsError, OSError
        As of `replacing`.
    """
    if not overwrite and os.path.lexists(path):
        raise OutputExistsError(path)
    _refuse_special(path)
    try:
        folder = tempfile.mkdtemp(prefix=f".{path.name[:80]}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    try:
        made = Path(folder) / path.name
        yield made
        with made.open("rb+") as file:
            os.fsync(file.fileno())
        publish(made, path, overwrite=overwrite)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _refuse_special(path: Path) -> None:
    """Refuse to replace what is no file: as root, a rename over /dev/null would succeed."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise OSError(errno.EINVAL, "not a regular file; it cannot be replaced", os.fspath(path))


def _claim(name: str, path: Path) -> None:
    """Give a finished temporary file its name, unless the name is taken."""
    try:
        os.link(name, path)
    except FileExistsError:
        raise OutputExistsError(path) from None
    except OSError:
        # A file system without hard links: the check above is all there is.
        if os.path.lexists(path):
            raise OutputExistsError(path) from None
        os.rename(name, path)
        return
    os.unlink(name)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some file systems do not sync folders
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    """Return the process's umask; read from /proc, since setting it is not thread-safe."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass
    return 0o022


def read_all(source: object) -> bytes:
    """Return the bytes of a source that is not a path.

    Raises
    ------
    InputImageError
        Neither bytes nor a file open for reading bytes.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    read = None if isinstance(source, io.TextIOBase) else getattr(source, "read", None)
    data = read() if callable(read) else None
    if not isinstance(data, bytes):
        raise InputImageError(
            f"expected a path, bytes or a binary file, got {type(source).__name__}"
        )
    return data


def choose_target(path: str | None, output: Target, *, overwrite: bool) -> Path | IO[bytes]:
    """Return where a result goes, and refuse early what would fail late.

    Parameters
    ----------
    path : str or None
        Of the source, which is never written over.
    output : path, binary file or None
        None: beside the source, ``NAME.restored.jpg``.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    OptionsError
        No output and no path, or the output is the source.
    OutputExistsError
        The output exists and `overwrite` is false.
    OSError
        The source cannot be read, or the output's folder is not there or cannot be written.
    """
    target: Path | IO[bytes]
    if output is not None:
        target = Path(output) if isinstance(output, str | os.PathLike) else output
    elif path is not None:
        target = Path(path).with_suffix(".restored.jpg")
    else:
        raise OptionsError("output", None, "a path or a binary file when the source has no path")
    if path is not None:
        check_source(path)  # named before anything that is wrong with the output
    if not isinstance(target, Path) and not callable(getattr(target, "write", None)):
        raise OptionsError("output", output, "a path or a binary file that is open for writing")
    if isinstance(target, Path) and target.exists():
        if path is not None and target.samefile(path):
            raise OptionsError("output", os.fspath(target), "a file other than the source")
        if not overwrite:
            raise OutputExistsError(target)
    if isinstance(target, Path):
        check_place(target)
    return target


def check_source(path: str | os.PathLike[str]) -> None:
    """Refuse a source that is missing, forbidden, a folder, or no file at all.

    Raises
    ------
    InputImageError
        A pipe or a device: a pipe that nobody writes to would hold the first read for ever.
    OSError
        It is not there, cannot be read, or is a folder; `filename` names it.
    """
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputImageError(
            f"{os.fspath(path)}: a pipe or a device, not a file; pipe the capture in as '-', or "
            "copy it into a file"
        )
    with open(path, "rb"):
        pass


def check_jpeg_name(target: object) -> None:
    """Refuse to hide a JPEG behind the name of another kind of file.

    Raises
    ------
    OptionsError
        The target is a path whose suffix is another kind's.
    """
    if isinstance(target, Path) and target.suffix.lower() in _OTHER_KINDS:
        raise OptionsError(
            "output", os.fspath(target), "a name that ends in .jpg: the result is a JPEG"
        )


def check_place(target: Path) -> None:
    """Refuse, before any work, a folder that takes no file.

    Raises
    ------
    OSError
        It is not there, cannot be written, or lies on a read-only file system.
    """
    folder = target.parent
    if not folder.exists():
        words = f"its folder does not exist; make it first: mkdir -p {folder}"
        raise FileNotFoundError(errno.ENOENT, words, os.fspath(target))
    if not folder.is_dir() or os.access(folder, os.W_OK):
        return
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        words = "its folder is on a read-only file system; choose another"
        raise OSError(errno.EROFS, words, os.fspath(target))
    words = "its folder cannot be written; choose another, or change its permissions"
    raise PermissionError(errno.EACCES, words, os.fspath(target))
