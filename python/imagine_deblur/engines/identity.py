"""Engines without a runtime: the identity, and any Python callable."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from imagine_deblur.engines.spec import EngineSpec, Tile
from imagine_deblur.errors import EngineError


class IdentityEngine:
    """Hands planes of its input through.

    Over the capture's planes it makes the pipeline a copy; over the Wiener planes it is the linear
    restoration alone.

    Parameters
    ----------
    tile : (int, int)
        Rows and columns in px.
    input_planes, output_bands : int
    first_plane : int
        Output band b is input plane ``first_plane + b``.
    halo : int
        Context asked for, px per side; the result does not depend on it.
    local : bool
        False: let the pipeline blend.
    input_offset : float
        Added back to every sample.
    """

    def __init__(
        self,
        tile: tuple[int, int],
        *,
        input_planes: int = 3,
        output_bands: int = 3,
        first_plane: int = 0,
        halo: int = 0,
        local: bool = True,
        input_offset: float = 0.0,
    ) -> None:
        if not 0 <= first_plane <= input_planes - output_bands:
            raise EngineError(
                f"identity: bands {first_plane} to {first_plane + output_bands - 1} are not among "
                f"{input_planes} input planes",
                engine="identity",
            )
        self.spec = EngineSpec(
            "identity", "f32", input_planes, output_bands, *tile, halo, local, input_offset
        )
        self._bands = slice(first_plane, first_plane + output_bands)

    @cached_property
    def native(self) -> Any:
        """The core's identity engine."""
        from imagine_deblur import _core

        s = self.spec
        return _core.IdentityEngine(
            input_planes=s.input_planes,
            output_bands=s.output_bands,
            first_plane=self._bands.start,
            tile_rows=s.tile_rows,
            tile_columns=s.tile_columns,
            halo=s.halo,
            local=s.local,
            input_offset=s.input_offset,
        )

    @property
    def settings(self) -> dict[str, Any]:
        return {"precision": "f32", "threads": 1}

    def infer(self, input: Tile, output: Tile) -> None:
        """Copy the chosen planes, with the offset added back."""
        self.spec.check_tiles(input, output)
        np.add(input[self._bands], np.float32(self.spec.input_offset), out=output)


class CallableEngine:
    """Any Python callable as an engine.

    Parameters
    ----------
    function : callable
        Takes a (planes, rows, columns) float32 array, valid and read-only during the call, and
        returns (bands, rows, columns). Called from one thread at a time.
    spec : EngineSpec
    """

    def __init__(self, function: Callable[[Tile], ArrayLike], spec: EngineSpec) -> None:
        self._function = function
        self.spec = spec

    @property
    def settings(self) -> dict[str, Any]:
        name = getattr(self._function, "__qualname__", type(self._function).__name__)
        return {"precision": self.spec.precision, "function": name}

    def infer(self, input: Tile, output: Tile) -> None:
        """Call the function and copy its result into `output`.

        Raises
        ------
        EngineError
            The result is not numbers of the shape in `spec`. What the function itself raises
            passes through unchanged.
        """
        self.spec.check_tiles(input, output)
        view = input.view()
        view.flags.writeable = False
        result = np.asarray(self._function(view))
        if result.shape != output.shape or result.dtype.kind not in "fiu":
            raise EngineError(
                f"{self.spec.name}: the function returned {result.dtype} {result.shape}, expected "
                f"numbers of shape {output.shape}",
                engine=self.spec.name,
            )
        np.copyto(output, result, casting="same_kind" if result.dtype.kind == "f" else "unsafe")
