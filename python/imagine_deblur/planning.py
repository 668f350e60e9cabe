"""Tiles, strips and bytes of a frame, decided before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass

from imagine_deblur import _core
from imagine_deblur.errors import MemoryBudgetError
from imagine_deblur.restoration.stage import WienerStage

_HEADROOM = 8 << 20  # the next attempt may begin with a little more resident memory
_SLACK = 4 << 20  # for small allocations between here and the peak

# Resident bytes, measured with numpy 2 and Python 3.11 on x86-64 when the engine was open: 45 MB
# with the linear model alone, with room here for what a blind estimate leaves behind; bundled
# networks on tiles of 192 and 544 px: winograd 51 MB, whose features take memory with the first
# tile, onnxruntime 78 to 80, openvino 100 to 106. (Bytes of the runtime, and for each byte of the
# network's file and each px of a tile.)
_INTERPRETER = 56_000_000
_RUNTIMES = {
    "winograd": (1_000_000, 9, 0),
    "onnxruntime": (33_000_000, 2, 0),
    "openvino": (54_000_000, 3, 0),
}

SHORTER_TILES = (384, 256, 192, 128)
"""Tile sides tried in turn, px, where strips of longer ones do not fit the memory."""


@dataclass(frozen=True)
class Budget:
    """What a frame may take.

    Attributes
    ----------
    max_ram : int
        Bytes the process may take, less `host`.
    host : int
        Bytes it held before the session began.
    base : int
        Bytes with the engine loaded and without the pool, by `base_bytes`, and `host`.
    """

    max_ram: int
    host: int
    base: int


def base_bytes(engine: str, weights: int, tile_pixels: int) -> int:
    """Return what interpreter, runtime and network take, by a table and never by measuring.

    A measured figure depends on the frames before; strips, and with them the last bits of some
    pixels, would too.

    Parameters
    ----------
    engine : str
        Its name.
    weights : int
        Bytes of the network's file, 0 without one.
    tile_pixels : int
        Of a tile, halo included.
    """
    fixed, per_weight, per_pixel = next(
        (costs for name, costs in _RUNTIMES.items() if name in engine), (0, 0, 0)
    )
    return _INTERPRETER + fixed + per_weight * weights + per_pixel * tile_pixels


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


def pool_bytes(
    shape: tuple[int, int, int],
    *,
    float32: bool,
    engine: _core.Engine,
    engine_bytes: int,
    stage: WienerStage | None,
    options: _core.PipelineOptions,
    plan: _core.TilePlan,
    budget: Budget,
    known: dict[tuple[object, ...], int],
) -> int:
    """Return the bytes of the buffer pool for a frame in strips of whole rows of tiles.

    Parameters
    ----------
    shape : (int, int, int)
        Rows, columns and bands.
    float32 : bool
        The samples are float32, not uint8.
    engine, engine_bytes
        Who computes the tiles, and the bytes it needs beside the pool while they run.
    stage : WienerStage or None
    options : PipelineOptions
    plan : TilePlan
    budget : Budget
    known : dict
        What whole frames need, so that a warm frame asks nobody; added to.

    Raises
    ------
    MemoryBudgetError
        Not even strips of one row of tiles fit; `wanted` is the `max_ram` that would do, or the
        memory cgroup's limit is too low.

    Returns
    -------
    int
        Those of the frame in one strip where they fit, else what is left.
    """
    limit = _core.memory_limits()["cgroup_limit_bytes"]
    allowed = budget.max_ram + budget.host
    allowed = allowed if limit is None else min(allowed, limit)
    base = budget.base + _SLACK
    spec = (engine.input_planes, engine.output_bands, engine.halo, engine.local)
    tiling = (plan.tile_rows, plan.tile_columns, plan.overlap_rows, plan.overlap_columns)
    key = (shape, float32, spec, tiling, None if stage is None else stage.sizes_key)
    if key not in known:
        rows = plan.grid_rows
        known[key] = _core.pipeline_bytes(*shape, float32, engine, stage, options, rows)
    whole = known[key]
    scratch = kept = 0
    if stage is not None:
        # The tiles' buffers lie where the scratch was, and so do the engine's features.
        samples = (engine.input_planes + engine.output_bands) * plan.tile_rows * plan.tile_columns
        scratch = max(0, stage.scratch_bytes(*shape) - 4 * samples)
        kept = stage.kept_bytes(*shape)
    if base + whole + kept + max(0, engine_bytes - scratch) <= allowed:
        return whole
    least = _core.pipeline_bytes(*shape, float32, engine, stage, options, 1)
    kept_least = 0
    if stage is not None:
        shortest = min(plan.tile_rows + 2 * stage.margin_rows(), shape[0])
        kept_least = stage.kept_bytes(shortest, *shape[1:])
    # Of a pool that is shared out to short strips, transforms take the largest part.
    room = int((allowed - base - engine_bytes) / (1.0 + kept_least / least))
    if room >= least:
        return min(room, whole)
    base -= budget.host
    wanted = base + engine_bytes + least + kept_least + _HEADROOM
    raise MemoryBudgetError(
        f"this frame needs {_mib(wanted)} MiB even in the shortest strips (interpreter and "
        f"runtime {_mib(base)}, engine {_mib(engine_bytes)}, linear stage {_mib(kept_least)}, "
        f"buffer pool {_mib(least)}, headroom {_mib(_HEADROOM)}); "
        f"{_mib(allowed - budget.host)} MiB are allowed: raise max_ram (--max-ram) or the "
        "memory cgroup's limit",
        wanted=wanted,
        allowed=allowed - budget.host,
    )


def _mib(count: int) -> int:
    return -(-count // (1 << 20))
