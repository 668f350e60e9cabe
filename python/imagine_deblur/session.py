"""Many frames with one warmed-up engine."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import numpy as np

from imagine_deblur import _core
from imagine_deblur.capture.analysis import named_blur
from imagine_deblur.capture.jpeg_file import JpegFile
from imagine_deblur.capture.result import Analysis, Capture
from imagine_deblur.coding import write_frame
from imagine_deblur.errors import InputImageError, OptionsError
from imagine_deblur.options import OptionChanges, Options
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF
from imagine_deblur.report import Report
from imagine_deblur.session_account import facts, plan_of, report_of
from imagine_deblur.session_parts import Frame, Parts, Progress
from imagine_deblur.support.files import Source, Target, choose_target, read_all, replacing


class Session:
    """Restores frame after frame with the same options.

    Engine, worker threads, buffer pool and the last PSF's transfer function are made at the first
    frame and kept. One frame at a time; use one session a thread.

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
        self.parts.close()

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
        started = time.perf_counter()
        path = os.fspath(source) if isinstance(source, str | os.PathLike) else None
        data: str | bytes = path if path is not None else read_all(source)
        target = choose_target(path, output, overwrite=self.options.overwrite)
        file = JpegFile(data, self.options)
        found = self.parts.analyse(file.capture, self.given)
        file.forget_samples()
        estimated = time.perf_counter()
        run = self.parts.prepare(file.shape, found, float32=False)
        said = facts(run, found)

        def encode(descriptor: int) -> tuple[dict[str, Any], bytes | None]:
            return write_frame(run, file, self.options, said, progress, descriptor)

        if isinstance(target, Path):
            with replacing(target, overwrite=self.options.overwrite) as descriptor:
                native, _ = encode(descriptor)
        else:
            native, encoded = encode(-1)
            assert encoded is not None
            target.write(encoded)
        return report_of(
            self.parts,
            run,
            replace(found, warnings=(*found.warnings, *file.warnings())),
            file.shape,
            native,
            source=path,
            output=os.fspath(target) if isinstance(target, Path) else None,
            times=(started, estimated),
        )

    def restore(
        self, image: Frame, *, out: Frame | None = None, progress: Progress | None = None
    ) -> Frame:
        """See `restore_with_report`."""
        return self.restore_with_report(image, out=out, progress=progress)[0]

    def restore_with_report(
        self,
        image: Frame,
        *,
        out: Frame | None = None,
        psf: PSF | PsfField | None = None,
        analysis: Analysis | None = None,
        progress: Progress | None = None,
    ) -> tuple[Frame, Report]:
        """Restore an array.

        Parameters
        ----------
        image : (R, C) or (R, C, 3) uint8 or float32 ndarray, C-contiguous
            Encoded values; float32 in [0, 1].
        out : ndarray, optional
            Receives the result; the shape and dtype of `image`, and not overlapping it.
        psf : PSF, optional
            Of this frame; None takes the session's, or estimates it.
        analysis : Analysis, optional
            What `analyse` found. Nothing is looked for in this frame then, so that the parts of one
            scene are restored alike.
        progress : callable, optional
            As for `process`.

        Returns
        -------
        restored : ndarray
            `out`, or a new array of the shape and dtype of `image`. float32 values are not clipped.
        report : Report

        Raises
        ------
        InputImageError
            Another dtype, shape or layout; the message names the conversion.
        """
        started = time.perf_counter()
        if not isinstance(image, np.ndarray):
            raise InputImageError(f"expected an ndarray, got {type(image).__name__}")
        shape = _core.frame_shape(image)
        result = np.empty_like(image, order="C") if out is None else out
        if out is not None and np.may_share_memory(image, out):
            raise OptionsError("out", "an array", "memory that does not overlap the image")
        found = self.analyse([image], psf=psf) if analysis is None else analysis
        estimated = time.perf_counter()
        run = self.parts.prepare(shape, found, float32=image.dtype == np.float32)
        native = run.array(image, result, progress)
        report = report_of(
            self.parts,
            run,
            found,
            shape,
            native,
            source=None,
            output=None,
            times=(started, estimated),
        )
        return result, report

    def analyse(self, images: Sequence[Frame], *, psf: PSF | PsfField | None = None) -> Analysis:
        """Look once at what the parts of a scene, or the frames of one instrument, share.

        Parameters
        ----------
        images : sequence of (R, C) or (R, C, 3) uint8 or float32 ndarray
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
        given = self.given if psf is None else Analysis(psf, "given")
        return self.parts.analyse(Capture(lambda: images), given)

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
        file = JpegFile(path, self.options)
        found = self.parts.analyse(file.capture, self.given)
        run = self.parts.prepare(file.shape, found, float32=False)
        return {
            "source": path,
            "output": os.fspath(target) if isinstance(target, Path) else None,
            **plan_of(self.parts, run, found, file.shape),
        }
