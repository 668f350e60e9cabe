"""Reading the JSON documents that hold PSFs."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from imagine_deblur.errors import PsfError

MAX_BYTES = 8 << 20
"""Size of the largest record; a 255x255 kernel with 17 digits a sample takes 1.5 MB."""


def read_document(path: str | os.PathLike[str]) -> object:
    """Return the JSON value a file holds.

    Raises
    ------
    PsfError
        Larger than 8 MiB, no regular file, or not JSON; NaN and infinities are not.
    OSError
        The file cannot be read.
    """
    source = Path(path)
    # A named pipe that nobody writes to would hold an ordinary open for ever.
    descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise PsfError(f"{source}: not a regular file; copy the record into one")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_BYTES:
        raise PsfError(f"{source}: larger than the {MAX_BYTES} bytes a PSF record may have")
    try:
        value: object = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PsfError(
            f"{source}: not a JSON document, so no PSF record ({error}): make one with "
            "`imagine-deblur psf estimate` or `psf calibrate`"
        ) from error
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
