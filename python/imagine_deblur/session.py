"""Many frames with one warmed-up engine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

from imagine_deblur.capture.analysis import named_blur
from imagine_deblur.capture.jpeg_file import JpegFile
from imagine_deblur.capture.result import Analysis, Capture
from imagine_deblur.options import OptionChanges, Options
from imagine_deblur.planning import Region
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF
from imagine_deblur.report import Report, warn_if_passed
from imagine_deblur.session_account import plan_of
from imagine_deblur.session_frame import Progress
from imagine_deblur.session_parts import Parts
from imagine_deblur.session_run import process_file, restore_frame
from imagine_deblur.session_thread import on_frame_thread
from imagine_deblur.support.arrays import Frame, as_samples, check_frame, check_out, check_region
from imagine_deblur.support.files import Source, Target, check_jpeg_name, choose_target
from imagine_deblur.support.sharing import Turns


class Session:
    """Restores frame after frame with the same options.

    Engine, worker threads, buffer pool and the last PSF's transfer function are made at the first
    frame and kept. One frame at a time: threads that share a session take turns. After a fork the
    child makes its own threads and engine at its first frame. Pickled, a session is its options.

    Parameters
    ----------
    options : Options, optional
    **changes
        Fields of `Options` to set.

    Attributes
    ----------
    options : Options
    parts : Parts
        What is kept warm: threads, engine, linear stage, buffer pool.
    given : Analysis or None
        The PSF that the options name.

    Examples
    --------
    >>> with Session(psf="disk:6.8", model="wiener") as session:  # doctest: +SKIP
    ...     for path in captures:
    ...         session.process(path)
    """

    def __init__(self, options: Options | None = None, **changes: Unpack[OptionChanges]) -> None:
        self.options = replace(options or Options(), **changes)
        self.given: Analysis | None = None
        if self.options.psf is not None:
            self.given = named_blur(self.options.psf)
        self.parts = Parts(self.options)
        self._turns = Turns(self.parts.abandon)

    def __reduce__(self) -> tuple[type[Self], tuple[Options]]:
        return type(self), (self.options,)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give threads, memory and the engine back; the session can be used again."""
        with self._turns.one():
            self.parts.close()

    @on_frame_thread
    def process(
        self, source: Source, output: Target = None, *, progress: Progress | None = None
    ) -> Report:
        """Restore a JPEG into a JPEG.

        Parameters
        ----------
        source : path, bytes or binary file
        output : path, binary file or None
            None with a path: beside the source, ``NAME.restored.jpg``.
        progress : callable, optional
            Called with the fraction done, in [0, 1], between tiles; an exception it raises stops
            the frame and nothing is written.

        Returns
        -------
        Report

        Raises
        ------
        InputImageError, TruncatedJpegError
            The source cannot be used.
        OutputExistsError
        EstimationError
            Blind, with ``without_information="error"``, and the capture does not tell its blur.
        MemoryBudgetError, EngineError, PsfError, OSError
            See `imagine_deblur.errors`.
        """
        with self._turns.one():
            return process_file(self.parts, self.given, source, output, progress)

    def restore(
        self, image: Frame, *, out: Frame | None = None, progress: Progress | None = None
    ) -> Frame:
        """See `restore_with_report`; warns where the capture comes back as it was.

        Warns
        -----
        PassedThroughWarning
            With the reason.
        """
        restored, report = self.restore_with_report(image, out=out, progress=progress)
        warn_if_passed(report, stacklevel=3)
        return restored

    @on_frame_thread
    def restore_with_report(
        self,
        image: Frame,
        *,
        out: Frame | None = None,
        psf: PSF | PsfField | None = None,
        analysis: Analysis | None = None,
        region: Region | None = None,
        progress: Progress | None = None,
    ) -> tuple[Frame, Report]:
        """Restore an array.

        Parameters
        ----------
        image : (R, C) or (R, C, 3) uint8, uint16 or float32 ndarray, C-contiguous
            Encoded values; uint16 with a full scale of 65535, float32 in [0, 1]. 16 bits are
            restored in float32, which takes two such arrays beside `max_ram`.
        out : ndarray, optional
            Receives the result; the shape and dtype of `image`, and not overlapping it.
        psf : PSF, optional
            Of this frame; None takes the session's, or estimates it.
        analysis : Analysis, optional
            What `analyse` found. Nothing is looked for in this frame then, so that the parts of one
            scene are restored alike.
        region : (slice, slice), optional
            Rows and columns that are wanted; the rest is context. What comes back is what the
            whole would hold there, for the network's work on the region alone.
        progress : callable, optional
            As for `process`.

        Returns
        -------
        restored : ndarray
            `out`, or a new array of the shape and dtype of `image` or its region. float32 values
            are not clipped.
        report : Report

        Raises
        ------
        InputImageError
            Another type, shape, layout or range; the message names the conversion.
        OptionsError
            `out` cannot receive the result; a region that is empty or leaves the image.
        SessionBusyError
            Called from this session's own progress callback.
        """
        frame = check_frame(image, max_pixels=self.options.max_pixels)
        if region is not None:
            check_region(region, frame)
        if out is not None:
            check_out(out, frame if region is None else frame[region])

        def found(capture: Capture) -> Analysis:
            if analysis is not None:
                return analysis
            return self.parts.analyse(capture, self._given(psf))

        with self._turns.one():
            return restore_frame(self.parts, frame, out, found, progress, region)

    @on_frame_thread
    def analyse(self, images: Sequence[Frame], *, psf: PSF | PsfField | None = None) -> Analysis:
        """Look once at what the parts of a scene, or the frames of one instrument, share.

        Parameters
        ----------
        images : sequence of (R, C) or (R, C, 3) uint8, uint16 or float32 ndarray
            Parts that are typical of all.
        psf : PSF, optional
            None takes the session's, or estimates it.

        Returns
        -------
        Analysis
            For `restore_with_report`.

        Raises
        ------
        EstimationError
            As for `process`.
        """
        frames = [check_frame(image, max_pixels=self.options.max_pixels) for image in images]
        capture = Capture(lambda: [as_samples(frame) for frame in frames])
        return self.parts.analyse(capture, self._given(psf))

    def _given(self, psf: PSF | PsfField | None) -> Analysis | None:
        return self.given if psf is None else Analysis(psf, "given")

    @on_frame_thread
    def plan(self, source: str | os.PathLike[str], output: Target = None) -> dict[str, Any]:
        """Say what `process` would do with a file, and write nothing.

        Returns
        -------
        dict
            Plain JSON values: the frame, the blur, the model, tiles, strips' memory.

        Raises
        ------
        ImagineDeblurError, OSError
            What `process` would raise before it writes.
        """
        path = os.fspath(source)
        target = choose_target(path, output, overwrite=self.options.overwrite)
        check_jpeg_name(target)
        file = JpegFile(path, self.options)
        with self._turns.one():
            found = self.parts.analyse(file.capture, self.given)
            run = self.parts.prepare(file.shape, found, float32=False)
            return {
                "source": path,
                "output": os.fspath(target) if isinstance(target, Path) else None,
                **plan_of(self.parts, run, found, file.shape),
            }
