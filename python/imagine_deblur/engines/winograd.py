"""The core's own engine for networks of `imagine_deblur.train`, with no runtime beside it.

These networks are 3x3 convolutions and little else, and the core computes them by Winograd's method
with a quarter of the multiplications (``csrc/engine/winograd.h``). Every other network needs a
runtime.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.engines.descriptor import ModelDescriptor
from imagine_deblur.engines.mixture import mixed_constants
from imagine_deblur.engines.onnx_file import Node, OnnxGraph, read_graph
from imagine_deblur.engines.settings import EngineSettings
from imagine_deblur.engines.spec import EngineSpec, NativeEngine
from imagine_deblur.errors import EngineError, OptionsError

Array = NDArray[np.float32]

_PADDED = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}


@dataclass(frozen=True)
class PlainNetwork:
    """The weights of a network of `imagine_deblur.train`.

    Attributes
    ----------
    layers : list of ((outputs, inputs, 3, 3), (outputs,)) float32 ndarray
        Head, the two of each pair, tail.
    unshuffle : int
    base_plane : int
        First of the input planes that the residual is added to.
    base_offset : float
        Added with them.
    """

    layers: list[tuple[Array, Array]]
    unshuffle: int
    base_plane: int
    base_offset: float


class _OtherNetwork(Exception):
    """The graph is not one that this engine computes."""


class _Reader:
    """Walks a graph node by node, each where it has to be."""

    def __init__(self, graph: OnnxGraph) -> None:
        self._nodes: Iterator[Node] = iter(graph.nodes)
        self._ahead: Node | None = next(self._nodes, None)
        self._constants = graph.constants

    def is_next(self, kind: str) -> bool:
        return self._ahead is not None and self._ahead.kind == kind

    def take(self, kind: str, *inputs: str, **attributes: Any) -> Node:
        """The next node, of this kind, its first inputs and all its attributes as given."""
        node = self._ahead
        if (
            node is None
            or node.kind != kind
            or node.inputs[: len(inputs)] != inputs
            or node.attributes != attributes
            or len(node.outputs) != 1
        ):
            raise _OtherNetwork
        self._ahead = next(self._nodes, None)
        return node

    def sum(self, *inputs: str) -> str:
        node = self.take("Add")
        if sorted(node.inputs) != sorted(inputs):
            raise _OtherNetwork
        return node.outputs[0]

    def constant(self, name: str) -> NDArray[np.generic]:
        if name not in self._constants:
            raise _OtherNetwork
        return self._constants[name]

    def convolution(self, source: str) -> tuple[str, tuple[Array, Array]]:
        node = self.take("Conv", source, **_PADDED)
        if len(node.inputs) != 3:
            raise _OtherNetwork
        weight, bias = (self.constant(name) for name in node.inputs[1:])
        if weight.dtype != np.float32 or weight.ndim != 4 or bias.dtype != np.float32:
            raise _OtherNetwork
        return node.outputs[0], (np.array(weight, np.float32), np.array(bias, np.float32))


def read_plain_network(descriptor: ModelDescriptor) -> PlainNetwork | None:
    """Return the weights of a network that this engine computes, None of any other.

    Raises
    ------
    EngineError
        The file is damaged.
    OSError
        The file cannot be read.
    """
    local = descriptor.local and descriptor.precision == "f32" and descriptor.scales == (1,)
    if not local or descriptor.path.suffix == ".xml":
        return None
    try:
        graph = read_graph(descriptor.path)
        if descriptor.shares:
            mixed = mixed_constants(graph, descriptor)
            graph = replace(graph, constants={**graph.constants, **mixed})
        return _plain_network(graph, descriptor)
    except _OtherNetwork:
        return None


def _plain_network(graph: OnnxGraph, descriptor: ModelDescriptor) -> PlainNetwork:
    reader = _Reader(graph)
    unshuffle = descriptor.multiple_of
    source = graph.nodes[0].inputs[0] if graph.nodes and graph.nodes[0].inputs else ""
    x = source
    if unshuffle > 1:
        x = reader.take("SpaceToDepth", x, blocksize=unshuffle).outputs[0]
    x, head = reader.convolution(x)
    layers = [head]
    x = reader.take("Relu", x).outputs[0]
    while True:
        y, first = reader.convolution(x)
        layers.append(first)
        if not reader.is_next("Relu"):
            break
        y = reader.take("Relu", y).outputs[0]
        y, second = reader.convolution(y)
        layers.append(second)
        x = reader.sum(x, y)
    if unshuffle > 1:
        y = reader.take("DepthToSpace", y, blocksize=unshuffle, mode="CRD").outputs[0]
    part = reader.take("Slice", source)
    if len(part.inputs) != 4:
        raise _OtherNetwork
    start, end, axis = (reader.constant(name).ravel().tolist() for name in part.inputs[1:])
    if axis != [1] or len(start) != 1 or end != [start[0] + descriptor.output_bands]:
        raise _OtherNetwork
    base = reader.take("Add", part.outputs[0])
    offset = reader.constant(base.inputs[1])
    if offset.size != 1:
        raise _OtherNetwork
    reader.sum(y, base.outputs[0])
    return PlainNetwork(layers, unshuffle, int(start[0]), float(offset.ravel()[0]))


class WinogradEngine(NativeEngine):
    """A network of `imagine_deblur.train` computed by the core.

    Parameters
    ----------
    descriptor : ModelDescriptor
    tile : (int, int)
        Rows and columns of the tile in px, halo included.
    settings : EngineSettings
        ``precision`` f32 or auto.

    Raises
    ------
    EngineError
        Another kind of network.
    OptionsError
        Another precision.

    Attributes
    ----------
    native : imagine_deblur._core.PlainNetworkEngine
    """

    def __init__(
        self, descriptor: ModelDescriptor, tile: tuple[int, int], settings: EngineSettings
    ) -> None:
        if settings.precision not in ("f32", "auto"):
            raise OptionsError("precision", settings.precision, "f32 or auto with engine winograd")
        network = read_plain_network(descriptor)
        if network is None:
            raise EngineError(
                f"{descriptor.path}: not a float32 network of imagine_deblur.train; it needs "
                "onnxruntime or openvino",
                engine="winograd",
                model=str(descriptor.path),
            )
        from imagine_deblur import _core

        self.spec = EngineSpec.of(descriptor, "winograd", "f32", tile)
        fields = asdict(self.spec)
        del fields["name"], fields["precision"]
        self.native = _core.PlainNetworkEngine(
            network.layers,
            unshuffle=network.unshuffle,
            base_plane=network.base_plane,
            base_offset=network.base_offset,
            workers=settings.workers or _core.WorkerPool(settings.threads),
            **fields,
        )
