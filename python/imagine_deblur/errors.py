"""The exception family and when to raise which.

==========================  ==================  ====================================================
exception                   also a              raised when
==========================  ==================  ====================================================
`InputImageError`           `ValueError`        the image file or array cannot be used as it is
`TruncatedJpegError`        `InputImageError`   the JPEG ends or breaks before its last scanline
`OptionsError`              `ValueError`        an option has a value outside its range
`EngineError`               `RuntimeError`      a runtime is missing, or a model cannot be run by it
`MemoryBudgetError`         `MemoryError`       the budget or the disk is too small for the frame
`PsfError`                  `ValueError`        a PSF or a PSF record cannot be used
`EstimationError`           `RuntimeError`      the image tells too little about its blur
`CalibrationError`          `RuntimeError`      a calibration against a reference did not succeed
`IntegrityError`            `RuntimeError`      memory or a file that results depend on is damaged
`SessionBusyError`          `RuntimeError`      a session is asked for a frame in the middle of one
`CancelledError`            `RuntimeError`      the caller's callback stopped the run
`OutputExistsError`         `FileExistsError`   the output exists and overwriting was not asked for
`MissingExtraError`         `ImportError`       an optional package is not installed
==========================  ==================  ====================================================

Missing and unwritable files stay `OSError` with `errno` and `filename`. `PassedThroughWarning` is
the category of the warning that `restore` gives when it hands the capture back as it is.
"""

from __future__ import annotations

import errno as _errno
import os


class ImagineDeblurError(Exception):
    """Base of everything this package raises on purpose."""


class InputImageError(ImagineDeblurError, ValueError):
    """The image cannot be used: not a JPEG, over the limits, an unsupported layout.

    Attributes
    ----------
    path : str or None
        The file, None for arrays and byte strings.
    scanline : int or None
        First scanline (0 at the top) that could not be read, None where it does not apply.
    """

    def __init__(
        self, message: str, *, path: str | None = None, scanline: int | None = None
    ) -> None:
        super().__init__(message)
        self.path = path
        self.scanline = scanline


class TruncatedJpegError(InputImageError):
    """The JPEG ends or is corrupt before its last scanline; `salvage=True` keeps what is there."""


class OptionsError(ImagineDeblurError, ValueError):
    """An option has a value outside its range.

    Attributes
    ----------
    field : str
    value : object
    allowed : str
        The allowed values in words.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field}={value!r} is not allowed; allowed: {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed

    @classmethod
    def from_core(cls, field: str, message: str) -> OptionsError:
        """An options error found by the native core, which words the whole message itself."""
        error = cls(field, None, "")
        error.args = (message,)
        return error


class EngineError(ImagineDeblurError, RuntimeError):
    """A runtime is missing or refuses a model.

    Attributes
    ----------
    engine : str or None
    model : str or None
    """

    def __init__(
        self, message: str, *, engine: str | None = None, model: str | None = None
    ) -> None:
        super().__init__(message)
        self.engine = engine
        self.model = model


class MemoryBudgetError(ImagineDeblurError, MemoryError):
    """The frame needs more memory, or more disk for the buffer pool, than it may take.

    Attributes
    ----------
    wanted : int or None
        Bytes needed.
    allowed : int or None
        Bytes available.
    """

    def __init__(
        self, message: str, *, wanted: int | None = None, allowed: int | None = None
    ) -> None:
        super().__init__(message)
        self.wanted = wanted
        self.allowed = allowed


class PsfError(ImagineDeblurError, ValueError):
    """A PSF, or the record that should hold one, cannot be used."""


class EstimationError(ImagineDeblurError, RuntimeError):
    """The image carries too little information about its blur.

    Attributes
    ----------
    reason : str
        One word: ``"flat"``, ``"dark"``, ``"saturated"``, ``"cloud"``, ``"small"``,
        ``"inconsistent"``, or ``"wild"`` where no scene is like what undoing the blur would give.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class CalibrationError(ImagineDeblurError, RuntimeError):
    """A calibration against a reference did not succeed.

    Attributes
    ----------
    residual : float or None
        The residual that was too large, in the unit the message names.
    """

    def __init__(self, message: str, *, residual: float | None = None) -> None:
        super().__init__(message)
        self.residual = residual


class IntegrityError(ImagineDeblurError, RuntimeError):
    """Weights, PSF, a spectrum or results are damaged and no good copy is at hand."""


class CancelledError(ImagineDeblurError, RuntimeError):
    """The run was stopped by its keep-going callback before the frame was finished."""


class SessionBusyError(ImagineDeblurError, RuntimeError):
    """A session is asked for a frame by the thread that is in the middle of one."""


class PassedThroughWarning(UserWarning):
    """`restore` handed the capture back as it is; the message says why."""


class OutputExistsError(ImagineDeblurError, FileExistsError):
    """The output exists; ask for overwriting to replace it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        FileExistsError.__init__(
            self,
            _errno.EEXIST,
            "the output exists; pass overwrite=True (--overwrite) to replace it",
            os.fspath(path),
        )


class MissingExtraError(ImagineDeblurError, ImportError):
    """An optional package is not installed; the message names the command that installs it.

    Attributes
    ----------
    name : str or None
        The module that could not be imported.
    """
