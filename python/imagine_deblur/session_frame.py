"""One planned frame and the parts that it runs through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur import _core
from imagine_deblur.engines.model import Model
from imagine_deblur.restoration.stage import WienerStage
from imagine_deblur.restoration.wiener import WienerSpec
from imagine_deblur.session_thread import FrameThread
from imagine_deblur.support.arrays import Samples

Progress = Callable[[float], object]


@dataclass(frozen=True)
class Run:
    """What one frame runs through.

    Attributes
    ----------
    model : Model
    folds : int
        Of the self-ensemble.
    spec : WienerSpec or None
        The planes of the linear stage.
    engine, stage, pool, workers, plan
        As `imagine_deblur._core.run_jpeg` takes them.
    thread : FrameThread
        Where it runs.
    """

    model: Model
    folds: int
    spec: WienerSpec | None
    engine: _core.Engine
    stage: WienerStage | None
    pool: _core.BufferPool
    workers: _core.WorkerPool
    plan: _core.FramePlan
    thread: FrameThread

    def jpeg(
        self,
        reader: _core.JpegReader,
        output: _core.JpegOutput,
        progress: Progress | None,
        decoded: Callable[[], NDArray[np.uint8]] | None = None,
    ) -> tuple[dict[str, Any], bytes | None]:
        """Restore what a reader reads; return the core's account, and the bytes without a file.

        `decoded` gives the frame where it was read before; it is let go once it was copied.
        """
        with self.thread.pinned(self.engine.name):
            return _core.run_jpeg(reader, output, *self._parts(progress), decoded)

    def array(
        self,
        image: Samples,
        out: Samples,
        progress: Progress | None,
        first: tuple[int, int] | None = None,
    ) -> dict[str, Any]:
        """Restore an array into another; return the core's account.

        `out` shows the frame from `first` (row, column) on; None: the whole.
        """
        with self.thread.pinned(self.engine.name):
            return _core.run_array(image, out, *self._parts(progress), first)

    def _parts(
        self, progress: Progress | None
    ) -> tuple[
        _core.Engine,
        WienerStage | None,
        _core.BufferPool,
        _core.WorkerPool,
        _core.FramePlan,
        Callable[[float], bool] | None,
    ]:
        """What either run takes between its ends and its last argument."""
        going = None if progress is None and not self.thread.polite else self._keep_going(progress)
        return self.engine, self.stage, self.pool, self.workers, self.plan, going

    def _keep_going(self, progress: Progress | None) -> Callable[[float], bool]:
        def keep_going(fraction: float) -> bool:
            if progress is not None:
                progress(fraction)
            return not self.thread.stopped

        return keep_going
