"""The best restoration that is expected to meet a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from imagine_deblur import _core
from imagine_deblur.engines.model import WIENER, Model, build_engine, bundled_models, resolve_model
from imagine_deblur.options import Options

_PROBE = 128  # side of the tile that is timed, px
_OVERHEAD = 1.25  # halo and store against the bare network
_LINEAR_SECONDS_PER_PIXEL = 1.2e-7  # first guess; replaced by what the session measures
_SAFETY = 1.2

CHOICES = (("best", 8), ("best", 4), ("best", 1), ("fast", 1), ("wiener", 1))
"""Model and self-ensemble, from the best to the quickest."""


@dataclass(frozen=True)
class Choice:
    """What was chosen and how long it should take.

    Attributes
    ----------
    model : Model
    folds : int
        Of the self-ensemble.
    expected_seconds : float
        For the whole frame, on the machine as it was when probed.
    """

    model: Model
    folds: int
    expected_seconds: float


class Chooser:
    """Knows how fast the bundled networks run here; each is timed once, when first asked for.

    Parameters
    ----------
    options : Options
    workers : callable
        Returns the session's pool of threads.
    """

    def __init__(self, options: Options, workers: Callable[[], _core.WorkerPool]) -> None:
        self._options = replace(options, self_ensemble=1)
        self._workers = workers
        self._seconds_per_pixel: dict[str, float] = {}
        self.other_seconds_per_pixel = _LINEAR_SECONDS_PER_PIXEL

    def choose(self, pixels: int, deadline: float) -> Choice:
        """Return the best choice expected to finish `pixels` px within `deadline` seconds.

        The linear model is the last resort and is returned even where it will be late.
        """
        other = self.other_seconds_per_pixel * pixels * _SAFETY
        present = bundled_models()
        for name, folds in CHOICES:
            if name == "wiener":
                break
            if name not in present:
                continue
            seconds = other + self._speed(name) * pixels * folds * _OVERHEAD * _SAFETY
            if seconds <= deadline:
                return Choice(resolve_model(name, self._options.precision), folds, seconds)
        return Choice(WIENER, 1, other)

    def observe(self, pixels: int, seconds: dict[str, float]) -> None:
        """Learn from a finished frame what everything but the network costs."""
        rest = seconds["total"] - seconds["engine"]
        self.other_seconds_per_pixel = rest / pixels

    def _speed(self, name: str) -> float:
        if name not in self._seconds_per_pixel:
            model = resolve_model(name, self._options.precision)
            side = model.tile_side(_PROBE)
            engine = build_engine(model, self._options, self._workers(), side, side, 3)
            tile = np.zeros((engine.input_planes, side, side), np.float32)
            out = np.empty((engine.output_bands, side, side), np.float32)
            times = []
            for _ in range(3):  # the first one warms up
                started = time.perf_counter()
                engine.infer(tile, out)
                times.append(time.perf_counter() - started)
            self._seconds_per_pixel[name] = min(times[1:]) / (side * side)
        return self._seconds_per_pixel[name]
