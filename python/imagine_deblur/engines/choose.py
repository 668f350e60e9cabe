"""Choose a runtime for a network and open it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from imagine_deblur.engines.descriptor import ModelDescriptor
from imagine_deblur.engines.identity import IdentityEngine
from imagine_deblur.engines.onnxruntime import CURE as _ORT_CURE
from imagine_deblur.engines.onnxruntime import OrtEngine, find_onnxruntime
from imagine_deblur.engines.openvino import CURE as _OPENVINO_CURE
from imagine_deblur.engines.openvino import OpenVinoEngine, find_openvino
from imagine_deblur.engines.settings import EngineSettings
from imagine_deblur.engines.spec import Engine
from imagine_deblur.engines.winograd import WinogradEngine, read_plain_network
from imagine_deblur.errors import EngineError, OptionsError
from imagine_deblur.options import ENGINES as _OPTIONS

ENGINES = (*_OPTIONS, "identity")

_log = logging.getLogger("imagine_deblur.engines")


def select(engine: str = "auto") -> str:
    """Name the runtime that ``engine`` stands for on this machine.

    Parameters
    ----------
    engine : {"auto", "winograd", "openvino", "onnxruntime", "identity"}
        ``"auto"``: OpenVINO where it is found, else ONNX Runtime; for a network that the core does
        not compute itself.

    Returns
    -------
    str
        ``"winograd"``, ``"openvino"``, ``"onnxruntime"`` or ``"identity"``.

    Raises
    ------
    OptionsError
        No such engine.
    EngineError
        The runtime, or with ``"auto"`` any runtime, is missing; the message names the extra.
    """
    if engine not in ENGINES:
        raise OptionsError("engine", engine, ", ".join(ENGINES))
    if engine in ("identity", "winograd"):
        return engine
    if engine == "auto":
        return _first_found()
    if engine == "openvino" and find_openvino() is None:
        raise EngineError(
            f"OpenVINO is not installed; install it with: {_OPENVINO_CURE}", engine=engine
        )
    if engine == "onnxruntime" and not find_onnxruntime():
        raise EngineError(
            f"ONNX Runtime is not installed; install it with: {_ORT_CURE}", engine=engine
        )
    return engine


def _first_found() -> str:
    try:
        if find_openvino() is not None:
            return "openvino"
    except EngineError as error:
        _log.warning("OpenVINO is not used: %s", error)
    if find_onnxruntime():
        return "onnxruntime"
    raise EngineError(
        f"no runtime is installed; install one with: {_ORT_CURE}, or {_OPENVINO_CURE}",
        engine="auto",
    )


def open_engine(
    descriptor: ModelDescriptor,
    tile: tuple[int, int],
    *,
    engine: str = "auto",
    settings: EngineSettings | None = None,
) -> Engine:
    """Open a network on a runtime.

    Parameters
    ----------
    descriptor : ModelDescriptor
        What `describe` returned.
    tile : (int, int)
        Rows and columns of the tile in px, halo included, multiples of `descriptor.multiple_of`.
    engine : {"auto", "winograd", "openvino", "onnxruntime", "identity"}
        ``"auto"`` takes the core's own engine where the network is of this package and f32 is
        allowed, else OpenVINO; it goes on to ONNX Runtime, with a warning in the log, where
        OpenVINO is found but cannot run (its library needs a newer system, say). ``"identity"``
        ignores the network and hands on the planes its residual is added to: the linear
        restoration.
    settings : EngineSettings, optional

    Returns
    -------
    Engine

    Raises
    ------
    EngineError
        No runtime, or it refuses the network.
    OptionsError
        An option outside its range, a tile that is not a multiple.
    """
    settings = settings or EngineSettings()
    m = descriptor.multiple_of
    if min(tile) < 1 or tile[0] % m or tile[1] % m:
        raise OptionsError("tile", tile, f"rows and columns that are multiples of {m}")
    if (
        engine == "auto"
        and settings.precision in ("f32", "auto")
        and read_plain_network(descriptor)
    ):
        return WinogradEngine(descriptor, tile, settings)
    chosen = select(engine)
    if chosen == "identity":
        return _identity(descriptor, tile)
    openers: dict[str, Callable[..., Any]] = {
        "winograd": WinogradEngine,
        "openvino": OpenVinoEngine,
        "onnxruntime": OrtEngine,
    }
    try:
        opened: Engine = openers[chosen](descriptor, tile, settings)
    except EngineError as error:
        if engine != "auto" or chosen != "openvino" or not find_onnxruntime():
            raise
        _log.warning("OpenVINO is not used: %s", error)
        opened = OrtEngine(descriptor, tile, settings)
    return opened


def _identity(descriptor: ModelDescriptor, tile: tuple[int, int]) -> IdentityEngine:
    return IdentityEngine(
        tile,
        input_planes=len(descriptor.inputs),
        output_bands=descriptor.output_bands,
        first_plane=descriptor.base_plane,
        input_offset=descriptor.input_offset,
    )
