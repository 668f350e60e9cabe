"""The two functions most users need; a `Session` does the same for many frames."""

from __future__ import annotations

from typing import Unpack

from imagine_deblur.options import OptionChanges, Options
from imagine_deblur.report import Report, warn_if_passed
from imagine_deblur.session import Session
from imagine_deblur.session_frame import Progress
from imagine_deblur.support.arrays import Frame
from imagine_deblur.support.files import Source, Target


def process(
    source: Source,
    output: Target = None,
    *,
    options: Options | None = None,
    progress: Progress | None = None,
    **changes: Unpack[OptionChanges],
) -> Report:
    """Restore one JPEG into another.

    The output is complete or not there: it is written beside its target, flushed and renamed. The
    source is never touched. EXIF, ICC, XMP, IPTC and comments come through unchanged, and a line
    of provenance is added.

    Parameters
    ----------
    source : path, bytes or binary file
    output : path, binary file or None
        None with a path: beside the source, ``NAME.restored.jpg``.
    options : Options, optional
    progress : callable, optional
        Called with the fraction done, in [0, 1].
    **changes
        Fields of `Options`, for example ``psf="disk:6.8"``, ``overwrite=True``.

    Returns
    -------
    Report
        What was done: seconds per phase, peak bytes, engine, PSF, warnings.

    Raises
    ------
    ImagineDeblurError, OSError
        See `Session.process`.
    """
    with Session(options, **changes) as session:
        return session.process(source, output, progress=progress)


def restore(
    image: Frame,
    *,
    out: Frame | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
    **changes: Unpack[OptionChanges],
) -> Frame:
    """Restore an image in memory.

    Parameters
    ----------
    image : (R, C) or (R, C, 3) uint8, uint16 or float32 ndarray, C-contiguous
        Encoded values; uint16 with a full scale of 65535, float32 in [0, 1].
    out : ndarray, optional
        Receives the result; the shape and dtype of `image`, and not overlapping it.
    options : Options, optional
    progress : callable, optional
        Called with the fraction done, in [0, 1].
    **changes
        Fields of `Options`.

    Returns
    -------
    ndarray
        The shape and dtype of `image`; float32 values are not clipped.

    Raises
    ------
    ImagineDeblurError
        See `Session.restore_with_report`.

    Warns
    -----
    PassedThroughWarning
        The capture comes back as it was; the message says why.

    Examples
    --------
    >>> import numpy as np
    >>> import imagine_deblur
    >>> flat = np.full((64, 80, 3), 90, np.uint8)
    >>> restored = imagine_deblur.restore(flat, psf="disk:3", model="wiener")
    >>> bool((restored == flat).all())
    True
    """
    with Session(options, **changes) as session:
        restored, report = session.restore_with_report(image, out=out, progress=progress)
    warn_if_passed(report, stacklevel=3)
    return restored
