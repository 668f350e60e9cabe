"""The network as an ONNX graph, from plain arrays: no torch here, so tests can make tiny networks.

Nodes: SpaceToDepth, Conv, Relu, Add, DepthToSpace, Slice; opset 17. Input ``planes`` (1, P,
height, width) float32, output ``image`` (1, 3, height, width) float32, the same size; the
convolutions pad with zeros, so what lies within `halo` pixels of a tile's border is not to be kept.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from imagine_deblur.capture.ring_gain import TRAITS
from imagine_deblur.engines.descriptor import CAPTURE, ModelDescriptor
from imagine_deblur.engines.mixture import EXPERTS, ROUTER, mixed_file, shares_for
from imagine_deblur.restoration.wiener import WienerSpec

Float32Array = NDArray[np.float32]

OPSET = 17

RGB = 3

#: How the names of kernels end that are stored as float16.
HALVED = ".half"


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A 3x3 convolution: `weight` (outputs, inputs, 3, 3) and `bias` (outputs,), float32."""

    weight: Float32Array
    bias: Float32Array


@dataclasses.dataclass(frozen=True)
class Layers:
    """The convolutions of a network and its space-to-depth factor; see
    `imagine_deblur.train.network`.
    """

    head: Convolution
    pairs: tuple[tuple[Convolution, Convolution], ...]
    tail: Convolution
    unshuffle: int

    @property
    def planes(self) -> int:
        """Input planes."""
        return int(self.head.weight.shape[1]) // self.unshuffle**2

    @property
    def halo(self) -> int:
        """Reach in pixels beyond a core aligned to `unshuffle`."""
        return (2 + 2 * len(self.pairs)) * self.unshuffle


def random_layers(
    *, planes: int = 8, width: int = 4, pairs: int = 1, unshuffle: int = 2, seed: int = 0
) -> Layers:
    """Small random weights, for tests: a network that changes its base plane a little."""
    rng = np.random.default_rng(seed)
    cell = unshuffle**2

    def convolution(inputs: int, outputs: int, scale: float = 1.0) -> Convolution:
        spread = scale / np.sqrt(9.0 * inputs)
        weight = (spread * rng.standard_normal((outputs, inputs, 3, 3))).astype(np.float32)
        return Convolution(weight, (0.1 * spread * rng.standard_normal(outputs)).astype(np.float32))

    return Layers(
        convolution(planes * cell, width),
        tuple((convolution(width, width), convolution(width, width)) for _ in range(pairs)),
        convolution(width, RGB * cell, 0.2),
        unshuffle,
    )


class _Graph:
    """Collects nodes and weights."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def convolution(self, x: str, name: str, layer: Convolution) -> str:
        weight = self.constant(f"{name}.weight", np.ascontiguousarray(layer.weight))
        bias = self.constant(f"{name}.bias", layer.bias)
        return self.node("Conv", (x, weight, bias), name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])


def _block_order(weight: Float32Array, planes: int, cell: int) -> Float32Array:
    """Head weights for ONNX's SpaceToDepth, which puts the place in the block before the plane."""
    outputs = weight.shape[0]
    split = weight.reshape(outputs, planes, cell, 3, 3)
    return split.transpose(0, 2, 1, 3, 4).reshape(outputs, planes * cell, 3, 3)


def build_model(
    layers: Layers,
    metadata: Mapping[str, str],
    *,
    tile: int | None = None,
    more: Mapping[str, NDArray[Any]] | None = None,
) -> onnx.ModelProto:
    """The ONNX model of a network.

    Parameters
    ----------
    layers : Layers
    metadata : mapping
        Goes into ``metadata_props``; `ModelDescriptor.to_metadata` makes it.
    tile : int, optional
        Fixed height and width, a multiple of `layers.unshuffle`; by default both are dynamic, with
        the symbolic names ``height`` and ``width``.
    more : mapping, optional
        Constants that no node reads: the other experts of a mixture, see `expert_constants`.

    Returns
    -------
    onnx.ModelProto
        Checked.
    """
    graph = _Graph()
    cell = layers.unshuffle**2
    x = "planes"
    if layers.unshuffle > 1:
        x = graph.node("SpaceToDepth", (x,), "cells", blocksize=layers.unshuffle)
    head = Convolution(_block_order(layers.head.weight, layers.planes, cell), layers.head.bias)
    x = graph.node("Relu", (graph.convolution(x, "head", head),), "head.relu")
    for number, (first, second) in enumerate(layers.pairs):
        name = f"pair{number}"
        hidden = graph.node("Relu", (graph.convolution(x, f"{name}.a", first),), f"{name}.a.relu")
        x = graph.node("Add", (x, graph.convolution(hidden, f"{name}.b", second)), f"{name}.sum")
    x = graph.convolution(x, "tail", layers.tail)
    if layers.unshuffle > 1:
        x = graph.node("DepthToSpace", (x,), "residual", blocksize=layers.unshuffle, mode="CRD")
    bounds = (
        graph.constant("base.start", np.array([RGB], np.int64)),
        graph.constant("base.end", np.array([2 * RGB], np.int64)),
        graph.constant("base.axis", np.array([1], np.int64)),
    )
    base = graph.node("Slice", ("planes", *bounds), "base")
    half = graph.constant("half", np.array(0.5, np.float32))
    x = graph.node("Add", (x, graph.node("Add", (base, half), "base.image")), "image")
    for name, value in (more or {}).items():
        graph.constant(name, value)
    height, width = (tile, tile) if tile else ("height", "width")
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "imagine_deblur",
            [
                helper.make_tensor_value_info(
                    "planes", TensorProto.FLOAT, [1, layers.planes, height, width]
                )
            ],
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, RGB, height, width])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="imagine_deblur.train",
        ir_version=8,
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    return model


def expert_constants(
    experts: Sequence[Layers], router: Sequence[NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """What a file with several experts holds beside the first one's graph (`engines.mixture`).

    Parameters
    ----------
    experts : sequence of Layers
        Of one shape.
    router : sequence of ndarray
        Weight and bias of the router's two layers.
    """
    return differing([_named(layers) for layers in experts], router)


def differing(
    named: Sequence[Mapping[str, Float32Array]], router: Sequence[NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """`expert_constants` of experts whose weights and biases are given by name."""
    first = named[0]
    result: dict[str, NDArray[Any]] = {
        name + EXPERTS: np.stack([other[name] - value for other in named[1:]]).astype(np.float16)
        for name, value in first.items()
    }
    return result | dict(
        zip(ROUTER, (np.asarray(part, np.float32) for part in router), strict=True)
    )


def add_constants(path: str | os.PathLike[str], more: Mapping[str, NDArray[Any]]) -> None:
    """Put constants that no node reads into a graph's file."""
    model = onnx.load(os.fspath(path))
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in more.items()
    )
    onnx.save(model, os.fspath(path))


def halve_weights(path: str | os.PathLike[str], *, but: str | None = None) -> None:
    """Store a graph's kernels as float16, and widen them where it is opened.

    Runtimes do that once, when they open it: it costs a frame nothing. Biases stay as they are.

    Parameters
    ----------
    path : path
    but : str, optional
        How the names of those begin that stay float32, since an engine rewrites them
        (`engines.mixture.mixed_file`).
    """
    model = onnx.load(os.fspath(path))
    graph = model.graph
    widened = []
    for constant in graph.initializer:
        name, value = constant.name, numpy_helper.to_array(constant)
        if value.dtype != np.float32 or value.ndim < 2 or (but and name.startswith(but)):
            continue
        constant.CopyFrom(numpy_helper.from_array(value.astype(np.float16), f"{name}{HALVED}"))
        widened.append(helper.make_node("Cast", [f"{name}{HALVED}"], [name], to=TensorProto.FLOAT))
    nodes = [*widened, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, os.fspath(path))


def _named(layers: Layers) -> dict[str, Float32Array]:
    """Weights and biases by their names in the graph."""
    head = Convolution(
        _block_order(layers.head.weight, layers.planes, layers.unshuffle**2), layers.head.bias
    )
    parts = {"head": head, "tail": layers.tail}
    for number, (a, b) in enumerate(layers.pairs):
        parts |= {f"pair{number}.a": a, f"pair{number}.b": b}
    arrays = {f"{name}.weight": part.weight for name, part in parts.items()}
    return arrays | {f"{name}.bias": part.bias for name, part in parts.items()}


def plain_model(parent: ModelDescriptor, traits: Float32Array | None = None) -> onnx.ModelProto:
    """The plain network in a file: of a mixture, the first expert's or the one for a capture.

    Parameters
    ----------
    parent : ModelDescriptor
    traits : (TRAITS,) float32 ndarray, optional
        Of the capture.
    """
    if parent.experts == 1 or traits is None:
        model = onnx.load(os.fspath(parent.path))
    else:
        mixed = dataclasses.replace(parent, shares=shares_for(parent, traits))
        model = onnx.load_from_string(mixed_file(mixed))
    used = {name for node in model.graph.node for name in node.input}
    kept = [constant for constant in model.graph.initializer if constant.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


def tiny_network(
    path: str,
    *,
    nsr: tuple[float, ...] = (1e-1, 1e-2, 1e-3),
    base: int = 1,
    width: int = 4,
    pairs: int = 1,
    unshuffle: int = 2,
    tile: int | None = None,
    seed: int = 0,
    experts: int = 1,
) -> ModelDescriptor:
    """Write a small random network with a complete descriptor; returns the descriptor.

    For tests of engines and pipelines: made without torch, a few kilobytes, deterministic.
    """
    planes = 6 + len(nsr) - 1
    several = [
        random_layers(planes=planes, width=width, pairs=pairs, unshuffle=unshuffle, seed=seed + k)
        for k in range(experts)
    ]
    layers, more = several[0], None
    if experts > 1:
        rng = np.random.default_rng(seed)
        shapes = ((4, TRAITS), (4,), (experts, 4), (experts,))
        more = expert_constants(several, [rng.standard_normal(shape) for shape in shapes])
    descriptor = ModelDescriptor(
        name="tiny",
        inputs=(*CAPTURE, *WienerSpec(nsr, base).plane_names),
        nsr=nsr,
        base=base,
        halo=layers.halo,
        multiple_of=unshuffle,
        local=True,
        input_offset=0.5,
        experts=experts,
    )
    onnx.save(build_model(layers, descriptor.to_metadata(), tile=tile, more=more), path)
    return descriptor
