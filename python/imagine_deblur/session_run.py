"""One frame through a session's parts: run it, look at what came out, pass through what lies."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture import policy
from imagine_deblur.capture.blur_error import SIDE, error_map
from imagine_deblur.capture.jpeg_file import JpegFile
from imagine_deblur.capture.result import Analysis, Capture
from imagine_deblur.coding import write_frame
from imagine_deblur.engines.model import IDENTITY
from imagine_deblur.errors import EstimationError
from imagine_deblur.planning import Region
from imagine_deblur.report import Report
from imagine_deblur.session_account import blocks_of, facts, report_of
from imagine_deblur.session_frame import Progress, Run
from imagine_deblur.session_parts import Parts
from imagine_deblur.support.arrays import Frame, as_samples, deliver
from imagine_deblur.support.files import (
    Source,
    Target,
    check_jpeg_name,
    choose_target,
    read_all,
    replacing,
)


@dataclass(frozen=True)
class _Outcome:
    """What a frame ran through, what was known of it, the core's account."""

    run: Run
    found: Analysis
    native: dict[str, Any]
    encoded: bytes | None = None


def process_file(
    parts: Parts,
    given: Analysis | None,
    source: Source,
    output: Target,
    progress: Progress | None,
) -> Report:
    """Restore a JPEG into a JPEG, see `Session.process`."""
    started, options = time.perf_counter(), parts.options
    path = os.fspath(source) if isinstance(source, str | os.PathLike) else None
    data: str | bytes = path if path is not None else read_all(source)
    target = choose_target(path, output, overwrite=options.overwrite)
    check_jpeg_name(target)
    file = JpegFile(data, options)
    found = parts.analyse(file.capture, given)
    estimated = time.perf_counter()
    if isinstance(target, Path):
        with replacing(target, overwrite=options.overwrite) as descriptor:
            done = _run_file(parts, file, found, descriptor, progress)
    else:
        done = _run_file(parts, file, found, -1, progress)
        assert done.encoded is not None
        target.write(done.encoded)
    return report_of(
        parts,
        done.run,
        replace(done.found, warnings=(*done.found.warnings, *file.warnings())),
        file.shape,
        done.native,
        source=path,
        output=os.fspath(target) if isinstance(target, Path) else None,
        times=(started, estimated),
        error_map=_errors_of(parts, done, lambda: file.strips(SIDE)),
    )


def _run_file(
    parts: Parts, file: JpegFile, found: Analysis, descriptor: int, progress: Progress | None
) -> _Outcome:
    def once(found: Analysis, progress: Progress | None) -> _Outcome:
        run = parts.prepare(file.shape, found, float32=False)
        said = facts(run, found)
        native, encoded = write_frame(run, file, parts.options, said, progress, descriptor)
        return _Outcome(run, found, native, encoded)

    done = once(found, progress)
    doubted = _doubted(parts, done, file.shape, None)
    if doubted is None:
        return done
    if descriptor >= 0:  # what was written is not worth keeping
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
    file.rewind()
    return once(doubted, None)


def restore_frame(
    parts: Parts,
    frame: Frame,
    out: Frame | None,
    analyse: Callable[[Capture], Analysis],
    progress: Progress | None,
    region: Region | None = None,
) -> tuple[Frame, Report]:
    """Restore an array that was checked, see `Session.restore_with_report`."""
    started = time.perf_counter()
    samples = as_samples(frame)
    shape = (frame.shape[0], frame.shape[1], 1 if frame.ndim == 2 else 3)
    shown = samples if region is None else samples[region]
    first = None if region is None else (region[0].start, region[1].start)
    direct = samples is frame  # else 16 bits, restored as float32
    receives = np.empty(shown.shape, shown.dtype) if out is None or not direct else out
    found = analyse(Capture(lambda: [samples]))
    estimated = time.perf_counter()

    def once(found: Analysis, progress: Progress | None) -> _Outcome:
        float32 = samples.dtype == np.float32
        run = parts.prepare(shape, found, float32=float32, region=region)
        return _Outcome(run, found, run.array(samples, receives, progress, first))  # type: ignore[arg-type]

    done = once(found, progress)
    if (doubted := _doubted(parts, done, shape, region)) is not None:
        done = once(doubted, None)
    result: Frame = receives
    if not direct:
        result = np.empty(shown.shape, frame.dtype) if out is None else out
        deliver(receives, result)  # type: ignore[arg-type]
    times = (started, estimated)
    strips = (shown[top : top + SIDE] for top in range(0, shown.shape[0], SIDE))
    return result, report_of(
        parts,
        done.run,
        done.found,
        shape,
        done.native,
        source=None,
        output=None,
        times=times,
        error_map=_errors_of(parts, done, lambda: strips),
        region=region,
    )


def _errors_of(
    parts: Parts, done: _Outcome, strips: Callable[[], Iterable[NDArray[np.generic]]]
) -> NDArray[np.float64] | None:
    """The map of errors to expect, where it was asked for and something was undone."""
    if not parts.options.error_map or done.run.model is IDENTITY:
        return None
    return error_map(strips(), done.found)


def _doubted(
    parts: Parts, done: _Outcome, shape: tuple[int, int, int], region: Region | None
) -> Analysis | None:
    """What is to be believed of a frame whose restoration the reblur check did not; else None.

    Raises
    ------
    EstimationError
        It is not to be believed, with ``without_information="error"``.
    """
    check = None if done.run.stage is None else done.run.stage.reblur_check
    if check is None or not parts.passes_wild:
        return None
    doubted = policy.passed_if_refuted(done.found, blocks_of(check, shape, region))
    if doubted.passed is None:
        return None
    if parts.options.without_information == "error":
        raise EstimationError(doubted.passed, reason="wild")
    if parts.before_passing is not None:
        parts.before_passing()
    return doubted
