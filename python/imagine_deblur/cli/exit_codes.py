"""From an exception to the exit code that tells its kind."""

from __future__ import annotations

import builtins
import errno
import os

from imagine_deblur import errors
from imagine_deblur.errors import (
    CalibrationError,
    EngineError,
    EstimationError,
    InputImageError,
    MissingExtraError,
    OptionsError,
    OutputExistsError,
    PsfError,
)

_EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (OutputExistsError, 7),
    (MemoryError, 5),
    (InputImageError, 3),
    (EngineError, 4),
    (MissingExtraError, 4),
    (EstimationError, 6),
    (CalibrationError, 6),
    (OptionsError, 2),
    (PsfError, 2),
)


_CURES = {
    errno.ENOENT: "check the path",
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the permissions",
    errno.ENOTDIR: "a part of the path is a file; check the path",
    errno.EISDIR: "it is a folder; give a file",
    errno.EEXIST: "there is one of that name already; choose another",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EROFS: "choose a folder that can be written",
    errno.ENOSPC: "free some space, or choose another folder",
    errno.EDQUOT: "free some space, or choose another folder",
    errno.EIO: "the disk or the card fails; copy what it still gives",
}
"""What to do where the system alone says what is wrong."""


def told(error: BaseException) -> str:
    """Return an exception for people: the file once, what is wrong, what to do."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error) or "out of memory"
    if not isinstance(error.filename, str | bytes | os.PathLike):  # none, or a descriptor's number
        return str(error)
    name = os.fsdecode(error.filename)
    words = error.strerror.removeprefix(f"{name}: ")
    if error.errno in _CURES and words.endswith(os.strerror(error.errno)):
        words = f"{words}; {_CURES[error.errno]}"
    return f"{name}: {words}"


def exit_code(error: BaseException) -> int:
    """Return the exit code for an exception, see the package's docstring."""
    return _code(type(error), getattr(error, "errno", None))


def exit_code_of(kind: str, number: int | None = None) -> int:
    """Return the exit code for an exception that another process had.

    Parameters
    ----------
    kind : str
        Its class's name; one that is not known is taken for a file error.
    number : int, optional
        Its ``errno``.
    """
    found = getattr(errors, kind, None) or getattr(builtins, kind, None)
    if isinstance(found, type) and issubclass(found, BaseException):
        return _code(found, number)
    return _code(OSError, number)


def _code(kind: type[BaseException], number: int | None) -> int:
    if issubclass(kind, KeyboardInterrupt):
        return 130
    for known, code in _EXIT_CODES:
        if issubclass(kind, known):
            return code
    if issubclass(kind, OSError) and number in (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM):
        return 5
    return 8
