"""What an engine is: a tile in, a tile out, and what a caller must know to feed it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.errors import EngineError

if TYPE_CHECKING:
    from imagine_deblur.engines.descriptor import ModelDescriptor

Tile: TypeAlias = NDArray[np.float32]
"""A tile: (planes, rows, columns) float32, C-contiguous."""


@dataclass(frozen=True)
class EngineSpec:
    """What the tile plan and the pipeline need to know; the fields of the core's ``EngineSpec``.

    Attributes
    ----------
    name : str
        ``"identity"``, ``"winograd"``, ``"openvino"``, ``"onnxruntime"`` or ``"callable"``.
    precision : str
        What the runtime really computes in: ``"f32"`` or ``"bf16"``; ``"int8"`` for a quantised
        network.
    input_planes, output_bands : int
    tile_rows, tile_columns : int
        The fixed tile shape in px, halo included.
    halo : int
        Context in px per side that makes tiles of a local network exact.
    local : bool
        False where an output pixel may depend on the whole tile: such tiles are blended.
    input_offset : float
        Subtracted from every input sample after scaling to [0, 1].
    """

    name: str
    precision: str
    input_planes: int
    output_bands: int
    tile_rows: int
    tile_columns: int
    halo: int = 0
    local: bool = True
    input_offset: float = 0.0

    @classmethod
    def of(
        cls, descriptor: ModelDescriptor, name: str, precision: str, tile: tuple[int, int]
    ) -> EngineSpec:
        """The spec of a described network run by the engine `name` on tiles of (rows, columns)."""
        return cls(
            name=name,
            precision="int8" if descriptor.precision == "int8" else precision,
            input_planes=len(descriptor.inputs),
            output_bands=descriptor.output_bands,
            tile_rows=tile[0],
            tile_columns=tile[1],
            halo=descriptor.halo,
            local=descriptor.local,
            input_offset=descriptor.input_offset,
        )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (self.input_planes, self.tile_rows, self.tile_columns)

    @property
    def output_shape(self) -> tuple[int, int, int]:
        return (self.output_bands, self.tile_rows, self.tile_columns)

    def check_tiles(self, input: Tile, output: Tile) -> None:
        """Refuse arrays that are not this engine's tiles.

        Raises
        ------
        EngineError
            Wrong shape, dtype or layout; says what was found and what is expected.
        """
        for role, array, shape in (
            ("input", input, self.input_shape),
            ("output", output, self.output_shape),
        ):
            if array.shape != shape or array.dtype != np.float32 or not array.flags.c_contiguous:
                raise EngineError(
                    f"{self.name}: the {role} tile is {array.dtype} {array.shape}, expected "
                    f"C-contiguous float32 {shape}",
                    engine=self.name,
                )
        if not output.flags.writeable:
            raise EngineError(f"{self.name}: the output tile is read-only", engine=self.name)


class Engine(Protocol):
    """Anything that restores one tile. Called from one thread at a time."""

    @property
    def spec(self) -> EngineSpec: ...

    @property
    def settings(self) -> dict[str, Any]:
        """What the runtime says it does, for the report: version, threads and so on."""
        ...

    def infer(self, input: Tile, output: Tile) -> None:
        """Restore `input` (planes, rows, columns) into `output` (bands, rows, columns).

        Both are C-contiguous float32 of the shapes in `spec`; they must not overlap.
        """
        ...


def native(engine: Engine) -> Any:
    """The engine as the core's pipeline takes it, an ``imagine_deblur._core.Engine``.

    Engines written in C++ are handed over as they are; every other one is called back for each
    tile, from the thread that runs the pipeline.
    """
    inside = getattr(engine, "native", None)
    if inside is not None:
        return inside
    from imagine_deblur import _core

    fields = asdict(engine.spec)
    return _core.CallableEngine(engine.infer, **fields)


class NativeEngine:
    """What engines of the core have in common: tiles go to `native` as they are.

    Attributes
    ----------
    native : an engine of `imagine_deblur._core`
    spec : EngineSpec
    """

    native: Any
    spec: EngineSpec

    @property
    def settings(self) -> dict[str, Any]:
        """Read back from the engine: threads, precision, and what else it tells."""
        return dict(self.native.settings())

    def infer(self, input: Tile, output: Tile) -> None:
        """Restore one tile in the caller's arrays, nothing copied; the lock is released."""
        self.spec.check_tiles(input, output)
        self.native.infer(input, output)
