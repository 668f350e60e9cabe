"""From an exception to the exit code that tells its kind."""

from __future__ import annotations

import errno

from imagine_deblur.errors import (
    CalibrationError,
    EngineError,
    EstimationError,
    InputImageError,
    OptionsError,
    OutputExistsError,
    PsfError,
)

_EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (OutputExistsError, 7),
    (MemoryError, 5),
    (InputImageError, 3),
    (EngineError, 4),
    (EstimationError, 6),
    (CalibrationError, 6),
    (OptionsError, 2),
    (PsfError, 2),
)


def exit_code(error: BaseException) -> int:
    """Return the exit code for an exception, see the package's docstring."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    for kind, code in _EXIT_CODES:
        if isinstance(error, kind):
            return code
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM):
        return 5
    return 8
