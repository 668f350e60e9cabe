"""Many frames with one warmed-up engine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from imagine_deblur import _core
from imagine_deblur._version import VERSION
from imagine_deblur.capture.blur import Blur, given_blur, passed_if_small, tempered
from imagine_deblur.capture.noise import capture_nsr, mean_power
from imagine_deblur.capture.noise_class import is_clean
from imagine_deblur.capture.nsr import choose_level
from imagine_deblur.engines.deadline import Chooser
from imagine_deblur.engines.model import IDENTITY, Model, build_engine, resolve_model
from imagine_deblur.errors import (
    EstimationError,
    InputImageError,
    MemoryBudgetError,
    OptionsError,
    OutputExistsError,
)
from imagine_deblur.options import Options
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF
from imagine_deblur.report import Report, peak_resident_bytes
from imagine_deblur.restoration.reblur_check import Guard
from imagine_deblur.restoration.stage import WienerStage
from imagine_deblur.restoration.wiener import WienerSpec
from imagine_deblur.support.files import replacing
from imagine_deblur.support.process_memory import (
    host_bytes,
    plan_pool,
    resident_bytes,
    return_free_memory,
)
from imagine_deblur.support.provenance import comment, xmp

Source = str | os.PathLike[str] | bytes | IO[bytes]
Target = str | os.PathLike[str] | IO[bytes] | None
Progress = Callable[[float], object]
Frame = NDArray[np.uint8] | NDArray[np.float32]

_ESTIMATION_PIXELS = 8_000_000  # rows of larger frames are taken evenly for the blind estimate
_ESTIMATION_ROWS = 512
_SHORTER_TILES = (384, 256, 192, 128)  # tried in turn where strips of longer ones do not fit
# Probability that a blur is of another kind than the estimate's, from which it is left: shaken
# training scenes harmed by undoing a round blur all had 0.15 and more, of 373 round ones none 0.02.
_OTHER = 0.12
_DOUBTFUL = 0.25  # confidence below which a blind estimate is reported as such
_DECODER_SHARE = 4  # of max_ram that libjpeg may use for a progressive frame's coefficients


@dataclass(frozen=True)
class _Run:
    """The parts one frame runs through."""

    model: Model
    ensemble: int
    spec: WienerSpec | None
    engine: _core.Engine
    stage: WienerStage | None
    pool: _core.BufferPool
    workers: _core.WorkerPool
    options: _core.PipelineOptions


class Session:
    """Restores frame after frame with the same options.

    Engine, worker threads, buffer pool and the last PSF's transfer function are made at the first
    frame and kept. One frame at a time; use one session a thread.

    Parameters
    ----------
    options : Options, optional
    **changes
        Fields of `Options` to set.

    Examples
    --------
    >>> with Session(psf="disk:6.8", model="wiener") as session:  # doctest: +SKIP
    ...     for path in captures:
    ...         session.process(path)
    """

    def __init__(self, options: Options | None = None, **changes: Any) -> None:
        self.options = replace(options or Options(), **changes)
        self.check_spectra = False  # see `SpectrumPlan`; costs a few per cent of the linear stage
        self._host_bytes = host_bytes()
        self._threads = self.options.threads or int(_core.topology()["usable_threads"])
        self._given = None if self.options.psf is None else given_blur(self.options.psf)
        self._model: Model = resolve_model(self.options.model, self.options.precision)
        anytime = self.options.deadline is not None and self.options.model == "auto"
        self._chooser = Chooser(self.options, self._threads) if anytime else None
        self._workers: _core.WorkerPool | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._engine: tuple[tuple[object, ...], _core.Engine] | None = None
        self._stage: tuple[tuple[object, ...], WienerStage] | None = None
        self._pool: _core.BufferPool | None = None
        self._base_bytes = 0  # resident with the engine loaded, before its first tile
        self._sides: dict[tuple[object, ...], int] = {}  # tile side that fitted, by frame and model

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
        if self._executor is not None:
            self._executor.shutdown()
        self._workers = self._executor = self._engine = self._stage = self._pool = None

    # ---- frames -------------------------------------------------------------------------------

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
            The source cannot be used; the message names it and the cure.
        OutputExistsError
            The output exists and ``overwrite`` is off.
        EstimationError
            Blind, with ``without_information="error"``, and the capture does not tell its blur.
        MemoryBudgetError, EngineError, PsfError, OSError
            See `imagine_deblur.errors`.
        """
        started = time.perf_counter()
        path = os.fspath(source) if isinstance(source, str | os.PathLike) else None
        data: str | bytes = path if path is not None else _read_all(source)
        target = _target(path, output)
        if isinstance(target, Path):
            _check_target(path, target, overwrite=self.options.overwrite)
        if path is not None:
            _check_readable(path)

        blur, estimate_seconds = self._blur_of_jpeg(data)
        reader = self._open(data)
        info = reader.info
        shape = (info["rows"], info["columns"], info["bands"])
        run = self._prepare(shape, blur, float32=False)
        facts = self._facts(run, blur)
        output_options: dict[str, Any] = {
            "quality": self.options.quality,
            "subsampling": self._subsampling(info["subsampling"]),
            "progressive": self.options.progressive,
            "max_memory_bytes": self.options.ram_bytes // _DECODER_SHARE,
            "xmp": xmp(facts),
            "comment": comment(facts),
        }

        def encode(descriptor: int) -> tuple[dict[str, Any], bytes | None]:
            return _core.run_jpeg(
                reader,
                _core.JpegOutput(descriptor=descriptor, **output_options),
                run.engine,
                run.stage,
                run.pool,
                run.workers,
                run.options,
                _keep_going(progress),
            )

        if isinstance(target, Path):
            with replacing(target, overwrite=self.options.overwrite) as descriptor:
                native, _ = encode(descriptor)
        else:
            native, encoded = encode(-1)
            assert encoded is not None
            target.write(encoded)
        warnings = list(blur.warnings)
        if reader.salvage is not None:
            line, message = reader.salvage
            warnings.append(f"salvaged: damaged from scanline {line}: {message}")
        if info["icc_dropped"]:
            warnings.append("the CMYK profile was dropped: the output is RGB")
        return self._report(
            run,
            blur,
            shape,
            native,
            source=path,
            output=os.fspath(target) if isinstance(target, Path) else None,
            warnings=tuple(warnings),
            estimate_seconds=estimate_seconds,
            total_seconds=time.perf_counter() - started,
        )

    def restore(
        self, image: Frame, *, out: Frame | None = None, progress: Progress | None = None
    ) -> Frame:
        """Restore an array; see `restore_with_report`."""
        return self.restore_with_report(image, out=out, progress=progress)[0]

    def restore_with_report(
        self,
        image: Frame,
        *,
        out: Frame | None = None,
        psf: PSF | PsfField | None = None,
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
        blur, estimate_seconds = self._blur_of_array(image, psf)
        run = self._prepare(shape, blur, float32=image.dtype == np.float32)
        native = _core.run_array(
            image,
            result,
            run.engine,
            run.stage,
            run.pool,
            run.workers,
            run.options,
            _keep_going(progress),
        )
        report = self._report(
            run,
            blur,
            shape,
            native,
            source=None,
            output=None,
            warnings=blur.warnings,
            estimate_seconds=estimate_seconds,
            total_seconds=time.perf_counter() - started,
        )
        return result, report

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
        target = _target(path, output)
        if isinstance(target, Path):
            _check_target(path, target, overwrite=self.options.overwrite)
        _check_readable(path)
        blur, _ = self._blur_of_jpeg(path)
        info = self._open(path).info
        run = self._prepare((info["rows"], info["columns"], info["bands"]), blur, float32=False)
        return {
            "source": path,
            "output": os.fspath(target) if isinstance(target, Path) else None,
            "rows": info["rows"],
            "columns": info["columns"],
            "bands": info["bands"],
            "threads": self._threads,
            "tile": [run.engine.tile_rows, run.engine.tile_columns],
            "pool_bytes": run.pool.capacity,
            "warnings": list(blur.warnings),
            **self._facts(run, blur),
        }

    # ---- the blur -----------------------------------------------------------------------------

    def _open(self, data: str | bytes) -> _core.JpegReader:
        return _core.JpegReader(
            data,
            salvage=self.options.salvage,
            max_pixels=self.options.max_pixels,
            max_memory_bytes=self.options.ram_bytes // _DECODER_SHARE,
        )

    def _blur_of_jpeg(self, data: str | bytes) -> tuple[Blur, float]:
        if not self._model.needs_psf:
            return self._given or Blur(None, "none"), 0.0
        started = time.perf_counter()
        reader = self._open(data)
        tables = reader.info["quantisation"]
        blur = self._blur_of(_rows_for_estimation(reader), tables[0] if tables else None)
        return blur, time.perf_counter() - started

    def _blur_of_array(self, image: Frame, psf: PSF | PsfField | None) -> tuple[Blur, float]:
        given = self._given if psf is None else Blur(psf, "given")
        if not self._model.needs_psf:
            return given or Blur(None, "none"), 0.0
        started = time.perf_counter()
        return self._blur_of([image], None, given), time.perf_counter() - started

    def _blur_of(
        self,
        images: Sequence[Frame],
        table: NDArray[np.uint16] | None,
        given: Blur | None = None,
    ) -> Blur:
        blur = given or self._given or self._estimate(images, table)
        coded = True if table is not None else None
        blur = passed_if_small(blur, images, coded=coded)
        psf = blur.psf
        if blur.sharp or psf is None:
            return blur
        if self._model.clean is not None or blur.source == "estimated":  # it matters to nobody else
            blur = replace(blur, clean=is_clean(images, psf, coded=coded))
        nsr = level = self.options.nsr
        if nsr is None:
            power = mean_power(images)
            nsr, level = capture_nsr(power, psf), choose_level(power, psf)
        return tempered(replace(blur, nsr=nsr, level=level))

    def _estimate(self, images: Sequence[Frame], table: NDArray[np.uint16] | None) -> Blur:
        from imagine_deblur.psf.estimation import estimate_psf

        try:
            estimate = estimate_psf(images, quantisation=table)
        except EstimationError as error:
            if self.options.without_information == "error":
                raise
            return Blur(None, "none", warnings=(f"passed through unrestored: {error}",))
        confidence = float(estimate.confidence)
        warnings: tuple[str, ...] = ()
        if estimate.family == "shake" or estimate.other_probability > _OTHER:
            warning = "the blur is neither defocus nor linear motion: it was not undone"
            return Blur(PSF(()), "estimated", confidence=confidence, warnings=(warning,))
        if confidence < _DOUBTFUL:
            warnings = (
                f"the estimated blur is doubtful (confidence {confidence:.2f}): estimate it from "
                "several captures and give the record",
            )
        return Blur(estimate.psf, "estimated", confidence=confidence, warnings=warnings)

    # ---- the parts of a run -------------------------------------------------------------------

    def _prepare(self, shape: tuple[int, int, int], blur: Blur, *, float32: bool) -> _Run:
        model, ensemble = self._model, self.options.ensemble
        if self._chooser is not None and self.options.deadline is not None:
            choice = self._chooser.choose(shape[0] * shape[1], self.options.deadline)
            model, ensemble = choice.model, choice.ensemble
        model = model.for_capture(clean=blur.clean)
        if model.needs_psf and (blur.psf is None or blur.sharp):
            model = IDENTITY
        threads = self._threads
        if self._workers is None:
            processors = _core.topology()["processors"] if self.options.pin else []
            self._workers = _core.WorkerPool(
                threads,
                pin=self.options.pin,
                processors=processors,
                nice=self.options.nice,
                scheduling=self.options.scheduling,
            )
            if threads > 1:
                self._executor = ThreadPoolExecutor(
                    threads,
                    thread_name_prefix="imagine-deblur-fft",
                    initializer=_core.make_this_thread_polite,
                    initargs=(self.options.nice, self.options.scheduling),
                )
        spec = model.wiener_spec(blur.level, guarded=self.options.guard)
        stage = self._stage_for(blur.psf, spec, model)
        engine, options, wanted = self._fit(model, ensemble, stage, spec, shape, float32)
        if self._pool is None or self._pool.capacity < wanted:
            self._pool = None
            folder = "" if self.options.temp_dir is None else os.fspath(self.options.temp_dir)
            self._pool = _core.BufferPool(wanted, folder=folder)
        return _Run(model, ensemble, spec, engine, stage, self._pool, self._workers, options)

    def _fit(
        self,
        model: Model,
        ensemble: int,
        stage: WienerStage | None,
        spec: WienerSpec | None,
        shape: tuple[int, int, int],
        float32: bool,
    ) -> tuple[_core.Engine, _core.PipelineOptions, int]:
        """Return engine, options and pool bytes with the longest tiles whose strips fit.

        Tiles of a local network change the picture's memory, not the picture. Others keep the
        side that was asked for.
        """
        overlap = 0 if model.local else self.options.overlap
        options = _core.PipelineOptions(
            inputs=model.input_indices(shape[2], spec),
            overlap=overlap,
            multiple_of=model.multiple_of,
            drop_scratch=True,
        )
        margin = 0 if stage is None else stage.margin_rows()
        key = (model.name, model.sha256, ensemble, spec, margin, shape, float32)
        asked = self.options.tile
        sides = [asked, *(s for s in _SHORTER_TILES if s < asked and model.local)]
        sides = sides[sides.index(self._sides.get(key, asked)) :]
        for side in sides:
            plan = _core.TilePlan(
                shape[0],
                shape[1],
                tile_rows=model.tile_side(side),
                tile_columns=model.tile_side(side),
                overlap=overlap,
                halo=model.halo,
                multiple_of=model.multiple_of,
                may_shrink=model.fixed_side is None,
            )
            engine = self._engine_for(model, ensemble, plan.tile_rows, plan.tile_columns, shape[2])
            shortest = plan.tile_rows + 2 * margin
            try:
                wanted = plan_pool(
                    whole=_core.pipeline_bytes(
                        *shape, float32, engine, stage, options, plan.grid_rows
                    ),
                    least=_core.pipeline_bytes(*shape, float32, engine, stage, options, 1),
                    max_ram=self.options.ram_bytes,
                    host=self._host_bytes,
                    base=self._base_bytes,
                    engine_bytes=model.working_bytes(plan.tile_rows, plan.tile_columns),
                    scratch=0 if stage is None else stage.scratch_bytes(*shape),
                    kept=0 if stage is None else stage.kept_bytes(*shape),
                    kept_least=0
                    if stage is None
                    else stage.kept_bytes(min(shortest, shape[0]), *shape[1:]),
                )
            except MemoryBudgetError:
                if side == sides[-1]:
                    raise
                continue
            self._sides[key] = side
            return engine, options, wanted
        raise AssertionError("no tile side was tried")

    def _stage_for(
        self, psf: PSF | PsfField | None, spec: WienerSpec | None, model: Model
    ) -> WienerStage | None:
        if psf is None or spec is None:
            return None
        key = (psf, spec)
        if self._stage is None or self._stage[0] != key:
            stage = WienerStage(psf, spec, executor=self._executor, checked=self.check_spectra)
            self._stage = (key, stage)
        stage = self._stage[1]
        # The linear model cannot invent; only networks are reviewed.
        stage.guard = Guard() if self.options.guard and model.is_network else None
        return stage

    def _engine_for(
        self, model: Model, ensemble: int, rows: int, columns: int, bands: int
    ) -> _core.Engine:
        key = (model, ensemble, rows, columns, 0 if model.is_network else bands)
        if self._engine is None or self._engine[0] != key:
            self._engine = None  # the old engine's memory goes before the new one comes
            options = replace(self.options, ensemble=ensemble)
            engine = build_engine(model, options, self._threads, rows, columns, bands)
            self._engine = (key, engine)
            return_free_memory()
            pool = 0 if self._pool is None else max(0, self._pool.statistics()["resident"])
            self._base_bytes = max(0, resident_bytes() - pool)
        return self._engine[1]

    def _subsampling(self, found: str) -> str:
        wanted = self.options.subsampling
        if wanted != "keep":
            return wanted
        return found if found in ("4:4:4", "4:2:2", "4:2:0") else "4:2:0"

    def _facts(self, run: _Run, blur: Blur) -> dict[str, Any]:
        return {
            "version": VERSION,
            "model": run.model.name,
            "model_sha256": run.model.sha256,
            "engine": run.engine.name,
            "precision": run.engine.precision,
            "ensemble": run.ensemble,
            "psf": None if blur.psf is None else blur.psf.to_dict(),
            "psf_id": None if blur.psf is None else blur.psf.id,
            "psf_source": blur.source,
            "nsr": None if run.spec is None else list(run.spec.nsr),
        }

    def _report(
        self,
        run: _Run,
        blur: Blur,
        shape: tuple[int, int, int],
        native: dict[str, Any],
        *,
        source: str | None,
        output: str | None,
        warnings: tuple[str, ...],
        estimate_seconds: float,
        total_seconds: float,
    ) -> Report:
        phases = ("read", "linear", "gather", "engine", "store", "review", "write")
        seconds = {"estimate": estimate_seconds}
        seconds |= {phase: native[f"{phase}_seconds"] for phase in phases}
        seconds["total"] = total_seconds
        if self._chooser is not None:
            self._chooser.observe(shape[0] * shape[1], seconds)
        guard = None if run.stage is None else run.stage.guard
        return Report(
            source=source,
            output=output,
            rows=shape[0],
            columns=shape[1],
            bands=shape[2],
            restored=run.model is not IDENTITY,
            model=run.model.name,
            model_sha256=run.model.sha256,
            engine=run.engine.name,
            precision=run.engine.precision,
            ensemble=run.ensemble,
            psf=None if blur.psf is None else {"id": blur.psf.id, **blur.psf.to_dict()},
            psf_source=blur.source,
            psf_confidence=blur.confidence,
            nsr=() if run.spec is None else run.spec.nsr,
            seconds=seconds,
            peak_bytes=peak_resident_bytes(),
            pool=run.pool.statistics(),
            tiles=native["tiles"],
            tile_rows=native["tile_rows"],
            tile_columns=native["tile_columns"],
            strips=native["strips"],
            margin_rows=native["margin_rows"],
            guard_replaced=native["replaced_blocks"],
            guard_mask=None if guard is None else guard.frame_mask(shape[0], shape[1]),
            threads=self._threads,
            warnings=warnings,
            version=VERSION,
        )


def _keep_going(progress: Progress | None) -> Callable[[float], bool] | None:
    if progress is None:
        return None

    def keep_going(fraction: float) -> bool:
        progress(fraction)
        return True

    return keep_going


def _read_all(source: object) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    read = getattr(source, "read", None)
    data = read() if callable(read) else None
    if not isinstance(data, bytes):
        raise InputImageError(
            f"expected a path, bytes or a binary file, got {type(source).__name__}"
        )
    return data


def _target(path: str | None, output: Target) -> Path | IO[bytes]:
    if output is None:
        if path is None:
            raise OptionsError(
                "output", None, "a path or a binary file when the source has no path"
            )
        return Path(path).with_suffix(".restored.jpg")
    if isinstance(output, str | os.PathLike):
        return Path(output)
    return output


def _check_target(path: str | None, target: Path, *, overwrite: bool) -> None:
    """Refuse early what would fail late, and never write over the source."""
    if target.exists():
        if path is not None and Path(path).exists() and target.samefile(path):
            raise OptionsError("output", os.fspath(target), "a file other than the source")
        if not overwrite:
            raise OutputExistsError(target)


def _check_readable(path: str) -> None:
    with open(path, "rb"):
        pass


def _rows_for_estimation(reader: _core.JpegReader) -> list[NDArray[np.uint8]]:
    """Decode a frame, or evenly spaced runs of rows of one that is large."""
    rows, columns = reader.info["rows"], reader.info["columns"]
    if rows * columns <= _ESTIMATION_PIXELS:
        return [reader.read_rows(rows)]
    runs = max(1, _ESTIMATION_PIXELS // (columns * _ESTIMATION_ROWS))
    step = max(_ESTIMATION_ROWS, rows // runs)
    kept: list[NDArray[np.uint8]] = []
    for top in range(0, rows - _ESTIMATION_ROWS + 1, step)[:runs]:
        kept.append(reader.read_rows(_ESTIMATION_ROWS))
        for _ in range(top + _ESTIMATION_ROWS, min(top + step, rows), 64):
            reader.read_rows(64)
    return kept
