"""Networks whose kernels are mixed once a frame, from the experts inside their file.

The graph in such a file is its first expert's, a plain network that any runtime runs. Beside its
weights lie constants that no node reads: ``NAME.experts``, float16, what the other experts' `NAME`
has more than the first one's, and the router, a small network that sees what is known of the
capture (`capture.ring_gain.RingGains.traits`) and gives each expert a share. `mixed_constants` adds
them up; what an engine then runs is one plain network again. In an int8 file the sums become
integers again, with steps of their own.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.engines.integer_weights import integers_of
from imagine_deblur.engines.onnx_file import OnnxGraph, read_graph
from imagine_deblur.errors import EngineError

if TYPE_CHECKING:
    from imagine_deblur.engines.descriptor import ModelDescriptor

Float32Array = NDArray[np.float32]

EXPERTS = ".experts"
"""What is added to a weight's name for the constant that holds the other experts' differences."""

ROUTER = ("router.0.weight", "router.0.bias", "router.1.weight", "router.1.bias")

STEPS = 16
"""Shares are whole multiples of a sixteenth: frames that are alike then share their engine, and a
sixteenth of a share moves no picture visibly."""


@lru_cache(maxsize=4)
def _router(path: Path, sha256: str) -> tuple[Float32Array, ...]:
    constants = read_graph(path).constants
    try:
        return tuple(np.asarray(constants[name], np.float32) for name in ROUTER)
    except KeyError as error:
        raise EngineError(f"{path}: its router lacks {error}", model=str(path)) from None


def shares_for(descriptor: ModelDescriptor, traits: Float32Array) -> tuple[float, ...]:
    """Give each expert of a network its share for a capture.

    Parameters
    ----------
    descriptor : ModelDescriptor
        With more than one expert.
    traits : (T,) float32 ndarray
        `RingGains.traits`; zeros where nothing is known of the capture.

    Returns
    -------
    tuple of float
        Multiples of 1 / `STEPS` that add up to 1.

    Raises
    ------
    EngineError
        The file's router is missing, or of other sizes.
    """
    first, first_bias, second, second_bias = _router(descriptor.path, descriptor.sha256)
    if first.shape[1] != traits.size or second.shape[0] != descriptor.experts:
        raise EngineError(
            f"{descriptor.path}: its router is for other captures; export the network again",
            model=str(descriptor.path),
        )
    scores = second @ np.maximum(first @ traits + first_bias, 0) + second_bias
    shares = np.exp(scores - scores.max())
    shares *= STEPS / shares.sum()
    whole = np.floor(shares).astype(int)
    for k in np.argsort(whole - shares)[: STEPS - int(whole.sum())]:
        whole[k] += 1
    return tuple(float(n) / STEPS for n in whole)


def mixed_constants(graph: OnnxGraph, descriptor: ModelDescriptor) -> dict[str, NDArray[Any]]:
    """Return the weights of the plain network that some shares of the experts make.

    Parameters
    ----------
    graph : OnnxGraph
        Of the descriptor's file.
    descriptor : ModelDescriptor
        With shares, one an expert.

    Raises
    ------
    EngineError
        The experts are not those of the graph.
    """
    others = np.array(descriptor.shares[1:], np.float32)
    mixed: dict[str, Float32Array] = {}
    for name, value in graph.constants.items():
        if not name.endswith(EXPERTS):
            continue
        own = name.removesuffix(EXPERTS)
        first = graph.constants.get(own)
        if first is None or value.shape != (len(others), *first.shape):
            raise _damaged(descriptor, name)
        added = np.tensordot(others, value.astype(np.float32), 1)
        mixed[own] = np.asarray(first.astype(np.float32) + added, np.float32)
    try:
        return integers_of(mixed, graph.constants)
    except (KeyError, ValueError) as error:
        raise _damaged(descriptor, str(error)) from None


def _damaged(descriptor: ModelDescriptor, what: str) -> EngineError:
    path = str(descriptor.path)
    message = f"{path}: its experts are not those of its graph ({what}); export the network again"
    return EngineError(message, model=path)


def mixed_file(descriptor: ModelDescriptor) -> bytes:
    """Return a network's file with the weights of its plain network for `descriptor.shares`."""
    content = bytearray(descriptor.path.read_bytes())
    graph = read_graph(descriptor.path)
    for name, value in mixed_constants(graph, descriptor).items():
        raw = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()
        start = graph.offsets[name]
        content[start : start + len(raw)] = raw
    return bytes(content)
