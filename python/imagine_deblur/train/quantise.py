"""Post-training quantisation of an exported network to int8, for OpenVINO and ONNX Runtime alike.

The convolutions between the first and the last are quantised: 8-bit weights, symmetric, one step
an output channel; 8-bit activations. First and last convolution, the sums of the residual pairs and
the sum with the base plane stay float32. The graph says so with pairs of QuantizeLinear and
DequantizeLinear. Of a mixture the graph is the first expert's; the others lie beside it, with the
same factors in their weights, and what is mixed of them once a frame becomes integer then
(`engines.mixture`). So the activations that are looked at are those of many captures' networks.

An integer convolution rounds its output with one step. So that small channels are not lost beside
large ones, each channel has a factor of its own, moved into the weights on both sides, which a ReLU
lets through (Nagel et al. 2019, "Data-free quantization", section 4.1; the exponent that shares the
inequality between activations and weights is that of Xiao et al. 2023, "SmoothQuant", equation 4).
Steps minimise the squared error of what they round, found on a grid. Calibration inputs are crops
of training groups, by the code that makes training data, from another seed.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from imagine_deblur.engines.descriptor import ModelDescriptor, describe
from imagine_deblur.engines.integer_weights import INTEGERS, STEPS, layer_constants
from imagine_deblur.engines.mixture import EXPERTS, ROUTER
from imagine_deblur.engines.onnx_file import read_graph
from imagine_deblur.errors import EngineError, OptionsError
from imagine_deblur.train.activations import Parts, Scale, activation_scales
from imagine_deblur.train.captures import DRAWS_VERSION, SceneFiles
from imagine_deblur.train.config import DataConfig
from imagine_deblur.train.onnx_graph import plain_model
from imagine_deblur.train.planes import make_group, plane_names
from imagine_deblur.train.scenes import checksum

Float32Array = NDArray[np.float32]

#: Groups of nine crops that calibrate a network by default, and their seed; training's are small.
GROUPS, SEED = 24, 8_000_008


def calibration_inputs(
    descriptor: ModelDescriptor,
    folder: str | os.PathLike[str],
    *,
    groups: int = GROUPS,
    seed: int = SEED,
) -> tuple[Float32Array, Float32Array]:
    """Inputs of a network, made from sharp scenes as in training.

    Parameters
    ----------
    descriptor : ModelDescriptor
    folder : path
        Sharp scenes; never those that the network is judged by.
    groups : int
        Nine crops each.
    seed : int

    Returns
    -------
    inputs : (9 * groups, P, n, n) float32 ndarray
    traits : (groups, TRAITS) float32 ndarray
        Of the captures they are from.

    Raises
    ------
    OptionsError
        The network takes other planes than training makes.
    """
    spec = descriptor.bank
    if spec is None or plane_names(spec) != descriptor.inputs:
        raise OptionsError("model", descriptor.name, "a network of imagine_deblur.train")
    data, scenes, planes = DataConfig(), SceneFiles(Path(folder)), len(descriptor.inputs)
    made = [make_group(k, seed, scenes, data, spec) for k in range(groups)]
    crops, traits = zip(*made, strict=True)
    return np.concatenate(crops)[:, :planes].astype(np.float32), np.stack(traits)


class _Writer:
    """The nodes and constants of the graph that is being written."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def constant(self, name: str, value: Any) -> str:
        self.constants[name] = np.asarray(value)
        return name

    def _convert(self, kind: str, source: str, target: str, step: Any, zero: Any) -> str:
        inputs = [
            source,
            self.constant(f"{target}.step", np.asarray(step, np.float32)),
            self.constant(f"{target}.zero", zero),
        ]
        axis = {} if np.ndim(step) == 0 else {"axis": 0 if source in self.constants else 1}
        self.nodes.append(helper.make_node(kind, inputs, [target], name=target, **axis))
        return target

    def quantise(self, source: str, target: str, step: Any, scale: Scale) -> str:
        zero = np.full(np.shape(step), scale.zero, np.uint8)
        return self._convert("QuantizeLinear", source, target, step, zero)

    def dequantise(self, source: str, target: str, step: Any, scale: Scale) -> str:
        zero = np.full(np.shape(step), scale.zero, np.uint8)
        return self._convert("DequantizeLinear", source, target, step, zero)

    def integers(self, name: str, constants: Mapping[str, NDArray[Any]]) -> str:
        """Integer weights or biases of `layer_constants`, and what turns them back."""
        values, steps = constants[name + INTEGERS], constants[name + STEPS]
        zero = np.zeros(steps.shape, values.dtype)
        source = self.constant(name + INTEGERS, values)
        return self._convert("DequantizeLinear", source, f"{name}.dq", steps, zero)


def quantise_model(model: onnx.ModelProto, scales: Mapping[str, Scale]) -> onnx.ModelProto:
    """Return a network with integer inner convolutions.

    Parameters
    ----------
    model : onnx.ModelProto
        Of `imagine_deblur.train.onnx_graph.build_model`, or of its kind.
    scales : mapping of str to Scale
        Of `activation_scales`.

    Raises
    ------
    EngineError
        Not such a network.
    """
    parts = Parts(model)
    factors = parts.factors(scales)
    inner = {node.name for node in parts.inner}
    hidden = set(parts.made.values())
    writer = _Writer()
    read: dict[str, str] = {}  # what integer convolutions take instead
    shared: dict[str, str] = {}  # what everything else takes instead
    dropped: set[str] = set()
    for node in model.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        replaced = [shared.get(name, name) for name in node.input]
        if node.name in inner:
            source, weight, bias = node.input
            constants = layer_constants(
                weight.removesuffix(".weight"),
                parts.weights[weight] * factors[weight],
                parts.weights[bias] * factors[bias],
                scales[source].step,
            )
            replaced = [
                read[source],
                writer.integers(weight, constants),
                writer.integers(bias, constants),
            ]
            dropped |= {weight, bias}
        del copy.input[:]
        copy.input.extend(replaced)
        writer.nodes.append(copy)
        for name in node.output:
            if name not in scales:
                continue
            scale = scales[name]
            each = scale.step * scale.factors
            # An integer convolution rounds with one step, so its channels' factors are in its
            # weights; a float tensor is divided by its factors as it is rounded.
            q = writer.quantise(name, f"{name}.q", scale.step if name in hidden else each, scale)
            if name in parts.read:
                read[name] = writer.dequantise(q, f"{name}.dq", scale.step, scale)
            else:
                shared[name] = writer.dequantise(q, f"{name}.dq", each, scale)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    kept = [w for w in graph.initializer if w.name not in dropped]
    del graph.node[:]
    del graph.initializer[:]
    graph.node.extend(writer.nodes)
    graph.initializer.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in writer.constants.items())
    onnx.checker.check_model(result)
    return result


def quantise(
    model: str | os.PathLike[str],
    path: str | os.PathLike[str],
    calibration: str | os.PathLike[str],
    *,
    groups: int = GROUPS,
) -> ModelDescriptor:
    """Write the int8 sibling of an exported network.

    Parameters
    ----------
    model : path
        The float32 ONNX file.
    path : path
        Written atomically.
    calibration : path
        Folder of sharp scenes; never those that the network is judged by.
    groups : int
        Calibration groups of nine crops.

    Returns
    -------
    ModelDescriptor
        Of the new file; `training` tells the parent's hash and the calibration's.

    Raises
    ------
    EngineError
        `model` is no network of this package, or int8 already.
    InputImageError
        No usable scene in the folder.
    """
    parent = describe(model)
    if parent.precision != "f32":
        raise EngineError(f"{parent.path}: it is {parent.precision} already", model=str(model))
    inputs, traits = calibration_inputs(parent, calibration, groups=groups)
    first = plain_model(parent)
    own = [plain_model(parent, row) for row in traits] if parent.experts > 1 else [first]
    scales = activation_scales([*zip(own, np.split(inputs, len(own)), strict=True)])
    quantised = quantise_model(first, scales)
    if parent.experts > 1:
        quantised.graph.initializer.extend(
            numpy_helper.from_array(value, name)
            for name, value in _expert_constants(parent, Parts(first).factors(scales)).items()
        )
    made = dataclasses.replace(
        parent,
        precision="int8",
        training={
            **parent.training,
            "quantised_from_sha256": parent.sha256,
            "calibration": {
                "data_sha256": checksum(calibration),
                "crops": len(inputs),
                "seed": SEED,
                "draws": DRAWS_VERSION,
            },
        },
    )
    helper.set_model_props(quantised, made.to_metadata())
    scratch = Path(path).with_name(Path(path).name + ".tmp")
    onnx.save(quantised, scratch)
    scratch.replace(path)
    return describe(path)


def _expert_constants(
    parent: ModelDescriptor, factors: Mapping[str, Float32Array]
) -> dict[str, NDArray[Any]]:
    """What the int8 file of a mixture holds beside its graph, see `engines.mixture`.

    The first expert's weights and what the others have more, times `factors` where a layer is
    integer, float16 where they are kernels; the router.
    """
    constants = read_graph(parent.path).constants
    held: dict[str, NDArray[Any]] = {name: constants[name] for name in ROUTER}
    for name, value in constants.items():
        if not name.endswith(EXPERTS):
            continue
        own = name.removesuffix(EXPERTS)
        if own in factors:
            first = constants[own].astype(np.float32) * factors[own]
            held[own] = first.astype(np.float16 if first.ndim > 1 else np.float32)
            held[name] = (value.astype(np.float32) * factors[own]).astype(np.float16)
        else:
            held[name] = value
    return held
