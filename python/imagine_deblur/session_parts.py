"""The parts a session keeps warm from frame to frame: threads, engine, linear stage, pool."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from imagine_deblur import _core
from imagine_deblur.capture.analysis import analyse
from imagine_deblur.capture.result import Analysis, Capture
from imagine_deblur.capture.ring_gain import RingGains
from imagine_deblur.engines.deadline import Chooser
from imagine_deblur.engines.model import IDENTITY, WIENER, Model, build_engine, resolve_model
from imagine_deblur.options import Options
from imagine_deblur.planning import (
    SHORTER_TILES,
    Budget,
    EngineMemory,
    FrameJob,
    Region,
    base_bytes,
    check_group,
    plan_frame,
)
from imagine_deblur.restoration.reblur_check import ReblurCheck
from imagine_deblur.restoration.stage import WienerStage
from imagine_deblur.restoration.wiener import WienerSpec
from imagine_deblur.session_frame import Run
from imagine_deblur.session_thread import FrameThread
from imagine_deblur.support.process_memory import host_bytes, return_free_memory
from imagine_deblur.support.sharing import keep_for_ever

_PAGE = 1 << 16  # of the largest processors; a pool is rounded up to its own
_PLANS_KEPT = 64


class Parts:
    """Makes what a frame needs, and keeps it for the next one.

    Parameters
    ----------
    options : Options

    Attributes
    ----------
    threads : int
        Threads that compute.
    thread : FrameThread
        Where frames run.
    model : Model
        The one that was asked for; a capture's analysis may choose its sibling.
    chooser : Chooser or None
        Chooses the model by the deadline.
    reblur_check : ReblurCheck
        Limits of the check; every frame gets a fresh one like it.
    least_gap : int
        Of a frame's extension, px; long where windows are to see a scene's border as the whole.
    passes_wild : bool
        Pass captures through whose restoration cannot be believed, see `Options.reblur_check`.
        Self-tests turn it off: their pictures are no captures.
    before_passing : callable or None
        Called first, while what restored the refuted frame is still there.
    check_spectra : bool
        See `restoration.stage.WienerStage`; costs a few per cent of the linear stage.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.reblur_check = ReblurCheck()
        self.check_spectra, self.least_gap = False, 0
        self.passes_wild = True
        self.before_passing: Callable[[], object] | None = None
        self._host = host_bytes()
        self.threads = options.threads or int(_core.topology()["usable_threads"])
        self.model: Model = resolve_model(options.model, options.precision)
        by_deadline = options.deadline is not None and options.model == "auto"
        self.chooser = Chooser(options, self._threads) if by_deadline else None
        self.thread = FrameThread(options)
        self._workers: _core.WorkerPool | None = None
        self._engine: tuple[tuple[object, ...], _core.Engine] | None = None
        self._stage: tuple[tuple[object, ...], RingGains | None, WienerStage] | None = None
        self._pool: _core.BufferPool | None = None
        # So that warm frames ask nobody.
        self._plans: dict[tuple[object, ...], _core.FramePlan] = {}
        self._memory: dict[tuple[object, ...], EngineMemory] = {}  # of engines that were open

    def close(self) -> None:
        """Give threads, memory and the engine back."""
        self.thread.close()
        self._workers = self._engine = self._stage = self._pool = None

    def abandon(self) -> None:
        """Forget threads, engine and pool without ending them: in a forked child.

        Their threads live in the parent only, and to end them would be to wait for them for ever.
        """
        inherited = (self._workers, self._engine, self._stage, self._pool)
        if any(part is not None for part in inherited):
            keep_for_ever(inherited)
        self.thread.abandon()
        self._workers = self._engine = self._stage = self._pool = None

    @property
    def engine(self) -> tuple[tuple[object, ...], _core.Engine] | None:
        """The engine in use behind the key it was made for, None before the first frame."""
        return self._engine

    @property
    def stage(self) -> WienerStage | None:
        """The linear stage in use, None before the first frame that needs one."""
        return None if self._stage is None else self._stage[2]

    def analyse(self, capture: Capture, given: Analysis | None) -> Analysis:
        """Look at a capture as far as the model needs it.

        Parameters
        ----------
        capture : Capture
        given : Analysis or None
            With the PSF where that is known.

        Raises
        ------
        EstimationError
            The capture does not tell its blur, with ``without_information="error"``.
        """
        check_group()
        if not self.model.needs_psf:
            return given or Analysis()
        return analyse(
            capture,
            given,
            nsr=self.options.nsr,
            trained=self.model.psf_range,
            checked=self.options.reblur_check and self.passes_wild,
            adapts=self.model.adapts,
            raise_unknown=self.options.without_information == "error",
        )

    def prepare(
        self,
        shape: tuple[int, int, int],
        found: Analysis,
        *,
        float32: bool,
        region: Region | None = None,
    ) -> Run:
        """Return the parts for a frame.

        Parameters
        ----------
        shape : (int, int, int)
            Rows, columns, bands.
        found : Analysis
            Of the capture.
        float32 : bool
            The samples are float32, not uint8.
        region : Region, optional
            What is wanted of it.

        Raises
        ------
        MemoryBudgetError, EngineError, OptionsError
        """
        model, folds = self.model, self.options.self_ensemble
        if self.chooser is not None and self.options.deadline is not None:
            choice = self.chooser.choose(shape[0] * shape[1], self.options.deadline)
            model, folds = choice.model, choice.folds
        model = model.for_capture(found.gains)
        if found.passed is not None or (model.needs_psf and found.psf is None):
            model = IDENTITY
        elif found.untrained and model.is_network:
            model = WIENER
        workers = self._threads()
        spec = model.wiener_spec(found.filter_nsr, checked=self.options.reblur_check)
        stage = self._stage_for(found, spec, model)
        job = FrameJob(shape, model, spec, stage, float32, region, self.options.overlap)
        plan = self._plan(job, folds)
        engine = self.engine_for(
            model, folds, plan.tiles.tile_rows, plan.tiles.tile_columns, shape[2]
        )
        if (
            self._pool is None
            or not plan.pool_bytes <= self._pool.capacity < plan.pool_bytes + _PAGE
        ):
            self._pool = None
            folder = "" if self.options.temp_dir is None else os.fspath(self.options.temp_dir)
            self._pool = _core.BufferPool(plan.pool_bytes, folder=folder)
        return Run(model, folds, spec, engine, stage, self._pool, workers, plan, self.thread)

    @staticmethod
    def _gains_of(model: Model, found: Analysis) -> RingGains | None:
        """The learned gains, where the model's planes take them and they know such blurs."""
        return found.gains if model.adapts and not found.untrained else None

    def reach_px(self, found: Analysis) -> int:
        """Return how far from a pixel the frame matters to its restoration, px.

        Parameters
        ----------
        found : Analysis
            Of the frame, with its PSF.
        """
        model = self.model
        spec = model.wiener_spec(found.filter_nsr, checked=self.options.reblur_check)
        stage = self._stage_for(found, spec, model)
        if stage is None:
            return model.halo
        reviewed = 0 if stage.reblur_check is None else stage.field.support_px()
        return model.halo + stage.margin_rows() + reviewed

    def _threads(self) -> _core.WorkerPool:
        if self._workers is None:
            # Niceness and scheduling class come from the frame's thread, which starts them.
            pin = self.options.pin
            processors = _core.topology()["processors"] if pin else []
            self._workers = _core.WorkerPool(self.threads, pin=pin, processors=processors)
        return self._workers

    def _plan(self, job: FrameJob, folds: int) -> _core.FramePlan:
        """Return the plan of a frame, the one of frames like it before."""
        key = (*job.key, folds)
        plan = self._plans.get(key)
        # How far the filters reach is looked for where a frame is cut.
        if plan is not None and (
            plan.strips * plan.groups == 1 or plan.margin_rows == job.margin_rows
        ):
            return plan
        model, asked = job.model, self.options.tile
        opened = (model.name, model.sha256, folds)
        if opened not in self._memory:
            tiles = job.tiles(asked)
            self.engine_for(model, folds, tiles.tile_rows, tiles.tile_columns, job.shape[2])
        sides = [asked, *(s for s in SHORTER_TILES if s < asked and model.local)]
        budget = Budget(self.options.ram_bytes, self._host)
        plan = plan_frame(job, sides, self._memory[opened], budget)
        if len(self._plans) >= _PLANS_KEPT:
            self._plans.clear()
        self._plans[key] = plan
        return plan

    def _stage_for(
        self, found: Analysis, spec: WienerSpec | None, model: Model
    ) -> WienerStage | None:
        if found.psf is None or spec is None:
            return None
        gains = self._gains_of(model, found)
        key = (found.psf, spec, self.least_gap)
        # The gains are kept beside the stage made from them: an address alone may name others.
        if self._stage is None or self._stage[0] != key or self._stage[1] is not gains:
            stage = WienerStage(
                found.psf,
                spec,
                workers=self._workers,
                checked=self.check_spectra,
                gains=None if gains is None else gains.filters(spec.factors),
                least_gap=self.least_gap,
            )
            self._stage = (key, gains, stage)
        stage = self._stage[2]
        # The linear model cannot invent; only networks are reviewed, where the blur is known.
        reviewed = self.options.reblur_check and model.is_network and not found.unknown
        check = replace(self.reblur_check) if reviewed else None
        if check is not None and gains is not None and not gains.directed:
            check.information = 0.0  # learned gains do not raise what the capture does not hold
        stage.reblur_check = check
        return stage

    def engine_for(
        self, model: Model, folds: int, rows: int, columns: int, bands: int
    ) -> _core.Engine:
        """Return the engine for tiles of one shape, the one in use where it fits.

        Parameters
        ----------
        model : Model
        folds : int
            Of the self-ensemble.
        rows, columns : int
            Of the tile, px, halo included.
        bands : int
            Of the frame; matters to models without a network.
        """
        key = (model, folds, rows, columns, 0 if model.is_network else bands)
        if self._engine is None or self._engine[0] != key:
            self._engine = None  # the old engine's memory goes before the new one comes
            options = replace(self.options, self_ensemble=folds)
            self._engine = (
                key,
                build_engine(model, options, self._threads(), rows, columns, bands),
            )
            return_free_memory()
            self._memory[model.name, model.sha256, folds] = self._memory_of(model, rows, columns)
        return self._engine[1]

    def _memory_of(self, model: Model, rows: int, columns: int) -> EngineMemory:
        """What the open engine takes."""
        assert self._engine is not None
        engine = self._engine[1]
        weights = 0 if model.descriptor is None else model.descriptor.path.stat().st_size
        base = self._host + base_bytes(engine.name, weights)
        working = engine.working_bytes or model.working_bytes(rows, columns)
        return EngineMemory(base, working / (rows * columns), engine.working_bytes > 0)

    def reopen_engine(self) -> _core.Engine:
        """Open the engine in use afresh, from its file.

        Raises
        ------
        AssertionError
            No frame has run yet.
        """
        assert self._engine is not None, "no engine is open before the first frame"
        model, folds, rows, columns, bands = self._engine[0]
        self._engine = None
        return self.engine_for(model, folds, rows, columns, bands)  # type: ignore[arg-type]
