"""Tiles, strips and bytes of a frame, decided once before anything is allocated.

What comes out is one plain value, `imagine_deblur._core.FramePlan`, which the core follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from imagine_deblur import _core
from imagine_deblur.engines.model import Model
from imagine_deblur.errors import MemoryBudgetError
from imagine_deblur.restoration.pieces import BLOCK
from imagine_deblur.restoration.stage import WienerStage
from imagine_deblur.restoration.wiener import FIXED16_ONE, WienerSpec

_HEADROOM = 8 << 20  # the next attempt may begin with a little more resident memory
# What is neither of the pool nor of the tables below, measured while planes are made, cold: 2 MB at
# 2,048 px of width, 4 at 4,056, 8 at 11,648, 7 at 20,000, 25 at 65,500. Decoder and encoder with
# their rows take 85 to 150 bytes a column; the rest is the heap's, in and between what is used.
_SLACK = 3 << 20
_COLUMN_BYTES = 450

# Resident bytes, measured with numpy 2 and Python 3.11 on x86-64 when the engine was open and the
# capture had been looked at: 52 MB with the linear model alone, 48 where the PSF was given; 57 and
# 64 with the networks `fast` (1.2 MB of weights) and `best` (5.0) on winograd, whose features take
# memory with the first tile. onnxruntime adds 33 MB and openvino 54. (Bytes of the runtime, and
# for each byte of the network's file.)
_INTERPRETER = 54_000_000
_RUNTIMES = {
    "winograd": (2_000_000, 3),
    "onnxruntime": (33_000_000, 2),
    "openvino": (54_000_000, 3),
}

SHORTER_TILES = (384, 256, 192, 128)
"""Tile sides tried in turn, px, where strips of longer ones do not fit the memory."""

_AIM_SHARE, _AIM_BYTES = 2 / 3, 200_000_000
"""What plans keep to where it costs little: so much of `max_ram`, or so many bytes if that is more.
It is 200 MB of the default 300 MB, so that a service leaves room to others; the rest is for frames
that want it."""

_WORTH = 1.35
"""What the aim may cost, as a factor of the time that all of `max_ram` would take. It costs 100 MP
1.29, blind and with `fast`, and they are to stay within 200 MB."""

_LINEAR_COST = 0.12
"""Time of the linear stage and its check for a pixel, the tiles of the smallest network being 1:
0.75 of 6.3 s of processor time for 12 MP in three strips."""

_LEAST_GROUP = 1024
"""Columns of a frame whose planes are made at a time, px: at least so many."""

Region = tuple[slice, slice]
"""Rows and columns of a frame, px, both bounded."""


@dataclass(frozen=True)
class Budget:
    """What a frame may take.

    Attributes
    ----------
    max_ram : int
        Bytes the process may take, less `host`.
    host : int
        Bytes it held before the session began.
    """

    max_ram: int
    host: int = 0

    @property
    def allowed(self) -> int:
        """Bytes of the whole process that may not be passed, the memory cgroup's limit included."""
        limit = _core.memory_limits()["cgroup_limit_bytes"]
        allowed = self.max_ram + self.host
        return allowed if limit is None else min(allowed, limit)

    @property
    def aim(self) -> int:
        """Bytes of the whole process that a plan keeps to where that costs little."""
        aim = max(int(_AIM_SHARE * self.max_ram), _AIM_BYTES) + self.host
        return min(aim, self.allowed)


@dataclass(frozen=True)
class EngineMemory:
    """What an open engine takes.

    Attributes
    ----------
    base : int
        Bytes of the process with the engine open, before its first tile; see `base_bytes`.
    per_px : float
        Bytes for each pixel of a tile while it runs.
    rests : bool
        It gives these back between strips.
    """

    base: int
    per_px: float = 0.0
    rests: bool = True


@dataclass(frozen=True)
class FrameJob:
    """A frame before it is planned.

    Attributes
    ----------
    shape : (int, int, int)
        Rows, columns and bands.
    model : Model
    spec : WienerSpec or None
    stage : WienerStage or None
        Has the frame's PSF.
    float32 : bool
        The samples are float32, not uint8.
    region : Region or None
        What is wanted of it; None: all.
    overlap : int
        Of tiles that blend, px.
    """

    shape: tuple[int, int, int]
    model: Model
    spec: WienerSpec | None = None
    stage: WienerStage | None = None
    float32: bool = False
    region: Region | None = None
    overlap: int = 0

    @property
    def key(self) -> tuple[object, ...]:
        """What a plan depends on beside the budget, where the frame is not cut."""
        region = None if self.region is None else tuple((s.start, s.stop) for s in self.region)
        sizes = None if self.stage is None else (*self.stage.sizes_key, self._grown)
        model = self.model.name, self.model.sha256
        return self.shape, *model, self.spec, sizes, self.float32, region, self.overlap

    @property
    def margin_rows(self) -> int:
        """Rows of context that a strip needs."""
        return 0 if self.stage is None else self.stage.margin_rows()

    @property
    def _reviewed(self) -> bool:
        return self.stage is not None and self.stage.reblur_check is not None

    @property
    def _grown(self) -> int:
        """How far around a region the check looks, px: the blocks beside it decide on it too."""
        if self.stage is None or not self._reviewed:
            return 0
        return self.stage.field.support_px() + BLOCK

    def tiles(self, side: int) -> _core.TilePlan:
        """Return the tiles of a side, over the region where only that is wanted."""
        rows, columns, model = *self.shape[:2], self.model
        part = None
        if self.region is not None and model.local:
            grown, unit = self._grown, model.multiple_of
            first = [max(s.start - grown, 0) // unit * unit for s in self.region]
            last = [
                min(s.stop + grown, size)
                for s, size in zip(self.region, (rows, columns), strict=True)
            ]
            part = (first[0], first[1], last[0], last[1])
        return _core.TilePlan(
            rows,
            columns,
            tile_rows=model.tile_side(side),
            tile_columns=model.tile_side(side),
            overlap=0 if model.local else self.overlap,
            halo=model.halo,
            multiple_of=model.multiple_of,
            may_shrink=model.fixed_side is None,
            region=part,
        )

    def plan(self, tiles: _core.TilePlan, height: int, width: int) -> _core.FramePlan:
        """Return the plan for strips and groups of so many rows and columns of tiles."""
        _, columns, bands = self.shape
        model, spec, stage = self.model, self.spec, self.stage
        made = spec if stage is not None else None
        constants = [] if made is None or not made.level else [self._level(made.level_value)]
        cut = height < tiles.grid_rows or width < tiles.grid_columns
        plan = _core.FramePlan(
            tiles,
            bands=bands,
            float32=self.float32,
            output_bands=model.output_bands(bands),
            inputs=model.input_indices(bands, made),
            linear_planes=0 if made is None else made.filtered_count(bands),
            constants=constants,
            strip_height=height,
            group_width=width,
            margin_rows=self.margin_rows if cut else 0,
            require_numbers=model.is_network and not self._reviewed,
        )
        if stage is None:
            return plan
        return plan.with_scratch(stage.scratch_bytes(plan.window_rows, columns, plan.group_columns))

    def _level(self, value: float) -> float:
        """A constant plane's value as the planes of uint8 frames would hold it."""
        return value if self.float32 else float(np.rint(value * FIXED16_ONE) / FIXED16_ONE)

    def plans(self, side: int) -> Iterator[_core.FramePlan]:
        """Return every way to cut the frame into strips and groups of tiles of a side."""
        tiles = self.tiles(side)
        core = self.shape[1] / tiles.grid_columns
        widths = [tiles.grid_columns]
        if self.stage is not None and self.model.local:
            widths = [w for w in _shares(tiles.grid_columns) if w * core >= _LEAST_GROUP] or widths
        for height in _shares(tiles.grid_rows):
            for width in widths:
                yield self.plan(tiles, height, width)

    def seconds(self, plan: _core.FramePlan) -> float:
        """Return about how long a plan takes, in units of the tiles of a frame without halos."""
        pixels = self.shape[0] * self.shape[1]
        tiles = len(plan.tiles) * plan.tiles.tile_rows * plan.tiles.tile_columns / pixels
        if self.stage is None:
            return tiles
        width = self.stage.read_columns(self.shape[1], plan.group_columns)
        linear = plan.strips * plan.window_rows * plan.groups * width / pixels
        return (tiles if self.model.is_network else 0.0) + _LINEAR_COST * linear

    def bytes(self, plan: _core.FramePlan, engine: EngineMemory) -> int:
        """Return the most that the process holds at a time."""
        tile = int(engine.per_px * plan.tiles.tile_rows * plan.tiles.tile_columns)
        held = 0 if engine.rests or plan.strips * plan.groups == 1 else tile
        phases = (
            plan.linear_phase_bytes + held,
            plan.tile_phase_bytes + tile,
            plan.review_phase_bytes + held,
        )
        beside = _SLACK + _COLUMN_BYTES * self.shape[1] + self._kept_bytes(plan)
        return engine.base + beside + max(phases)

    def _kept_bytes(self, plan: _core.FramePlan) -> int:
        if self.stage is None:
            return 0
        return self.stage.kept_bytes(plan.window_rows, self.shape[1], plan.group_columns)


def _shares(count: int) -> list[int]:
    """Sizes of equal shares of so many things, from all to one."""
    return sorted({-(-count // n) for n in range(1, count + 1)}, reverse=True)


def base_bytes(engine: str, weights: int) -> int:
    """Return what interpreter, runtime and network take, by a table and never by measuring.

    A measured figure depends on the frames before; strips, and with them the last bits of some
    pixels, would too.

    Parameters
    ----------
    engine : str
        Its name.
    weights : int
        Bytes of the network's file, 0 without one.
    """
    fixed, per_weight = next((costs for name, costs in _RUNTIMES.items() if name in engine), (0, 0))
    return _INTERPRETER + fixed + per_weight * weights


def check_group() -> None:
    """Refuse a memory cgroup that does not even hold the interpreter, before a frame is decoded.

    Raises
    ------
    MemoryBudgetError
        The process would be killed while it looks at the capture.
    """
    limit = _core.memory_limits()["cgroup_limit_bytes"]
    if limit is not None and limit < _INTERPRETER:
        raise MemoryBudgetError(
            f"the memory cgroup allows {_mib(limit)} MiB, and the interpreter with this package "
            f"takes {_mib(_INTERPRETER)} MiB before the first frame: raise the cgroup's limit",
            wanted=_INTERPRETER,
            allowed=limit,
        )


def plan_frame(
    frame: FrameJob, sides: Sequence[int], engine: EngineMemory, budget: Budget
) -> _core.FramePlan:
    """Decide how a frame runs.

    Parameters
    ----------
    frame : FrameJob
    sides : sequence of int
        Sides of tiles, px, the one asked for first.
    engine : EngineMemory
    budget : Budget

    Returns
    -------
    FramePlan
        The whole frame at once where that fits the aim; else the quickest way to cut it that does,
        if it is not much slower than the quickest within the budget; else that one.

    Raises
    ------
    MemoryBudgetError
        Not even the smallest pieces fit; `wanted` is the `max_ram` that would do, or the memory
        cgroup's limit is too low.
    """
    allowed, aim = budget.allowed, budget.aim
    tiles = frame.tiles(sides[0])
    whole = frame.plan(tiles, tiles.grid_rows, tiles.grid_columns)
    if frame.bytes(whole, engine) <= aim:
        return whole
    found = [
        (frame.seconds(plan), frame.bytes(plan, engine), number, plan)
        for number, plan in enumerate(plan for side in sides for plan in frame.plans(side))
    ]
    fits = min((way for way in found if way[1] <= allowed), default=None)
    if fits is None:
        raise _refused(frame, min(found, key=lambda way: way[1])[3], engine, budget)
    small = min((way for way in found if way[1] <= aim), default=fits)
    return small[3] if small[0] <= _WORTH * fits[0] else fits[3]


def _refused(
    frame: FrameJob, least: _core.FramePlan, engine: EngineMemory, budget: Budget
) -> MemoryBudgetError:
    needed = frame.bytes(least, engine) - budget.host
    base = engine.base - budget.host
    wanted = needed + _HEADROOM
    allowed = budget.allowed - budget.host
    tile = int(engine.per_px * least.tiles.tile_rows * least.tiles.tile_columns)
    return MemoryBudgetError(
        f"this frame needs {_mib(wanted)} MiB even in the smallest pieces (interpreter and "
        f"runtime {_mib(base)}, engine up to {_mib(tile)}, buffers up to "
        f"{_mib(needed - base - _SLACK)} with it, headroom {_mib(_HEADROOM + _SLACK)}); "
        f"{_mib(allowed)} MiB are allowed: raise max_ram (--max-ram) or the memory cgroup's limit",
        wanted=wanted,
        allowed=allowed,
    )


def _mib(count: int) -> int:
    return -(-count // (1 << 20))
