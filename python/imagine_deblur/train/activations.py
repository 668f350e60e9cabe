"""How the activations between integer convolutions are rounded: found on calibration crops."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from imagine_deblur.engines.onnxruntime import import_onnxruntime
from imagine_deblur.errors import EngineError

Float32Array = NDArray[np.float32]

#: Exponent of the channels' magnitudes in the factors that balance them.
BALANCE = 0.75

_PLACES = 40_000  # of a tensor that its scale is chosen on
_LEAST_SHARE = 0.1  # of the largest channel's magnitude that every channel is given
_CLIPS = np.linspace(0.3, 1.0, 36)  # candidates, as shares of the largest magnitude


@dataclasses.dataclass(frozen=True)
class Scale:
    """How a tensor is rounded: ``(q - zero) * step * factor`` with q of 8 bits.

    Attributes
    ----------
    step : float
    zero : int
    factors : (channels,) float32 ndarray
    """

    step: float
    zero: int
    factors: Float32Array

    def rounded(self, values: Float32Array) -> Float32Array:
        """Return (channels, N) values as unsigned 8 bits keep them."""
        steps = np.float32(self.step) * self.factors[:, None]
        q = np.clip(np.rint(values / steps) + self.zero, 0, 255)
        return np.asarray((q - self.zero) * steps, np.float32)


def activation_scale(values: Float32Array, balance: float = BALANCE) -> Scale:
    """Return the scale of least squared error for a tensor's values.

    Tensors that are never negative use all 256 steps; others are centred on step 128.

    Parameters
    ----------
    values : (channels, N) float32 ndarray
    balance : float
        Exponent of the channels' own magnitudes in the factors: 0 leaves channels as they are, 1
        makes them equally large before rounding, and their weights equally unequal.
    """
    top = np.abs(values).max(axis=1)
    top = np.maximum(top, max(_LEAST_SHARE * float(top.max()), 1e-8))
    factors = np.asarray((top / np.exp(np.log(top).mean())) ** balance, np.float32)
    scaled = values / factors[:, None]
    levels, zero = (127.0, 128) if values.min() < 0 else (255.0, 0)
    largest = float(np.abs(scaled).max())
    scales = [Scale(largest * float(clip) / levels, zero, factors) for clip in _CLIPS]
    return min(
        scales, key=lambda s: float(np.square(s.rounded(values) - values, dtype=np.float64).mean())
    )


class Parts:
    """A plain network's graph and what quantising needs to find in it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.weights = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
        convolutions = [n for n in model.graph.node if n.op_type == "Conv"]
        self.inner = convolutions[1:-1]
        if not self.inner or any(len(n.input) != 3 for n in convolutions):
            raise EngineError(
                "quantising needs a network of at least three convolutions with biases",
                model=model.graph.name,
            )
        relus = {n.input[0]: n.output[0] for n in model.graph.node if n.op_type == "Relu"}
        self.read = list(dict.fromkeys(n.input[0] for n in self.inner))
        # What integer convolutions make: rounded behind the ReLU where one follows.
        self.made = {n.output[0]: relus.get(n.output[0], n.output[0]) for n in self.inner}

    @property
    def rounded(self) -> list[str]:
        """The tensors that become 8 bits."""
        return list(dict.fromkeys([*self.read, *self.made.values()]))

    def factors(self, scales: Mapping[str, Scale]) -> dict[str, Float32Array]:
        """What the weights and biases of the integer convolutions are multiplied by, by name."""
        found = {}
        for node in self.inner:
            source, weight, bias = node.input
            made = scales[self.made[node.output[0]]].factors
            found[weight] = scales[source].factors[None, :, None, None] / made[:, None, None, None]
            found[bias] = np.float32(1) / made
        return found


def tensors(
    model: onnx.ModelProto, names: Sequence[str], inputs: Float32Array
) -> Iterator[list[Float32Array]]:
    """Yield tensors inside a network for each input, by ONNX Runtime on one thread.

    Parameters
    ----------
    model : onnx.ModelProto
        With one input.
    names : sequence of str
        Of tensors of the graph.
    inputs : (N, P, n, n) float32 ndarray
    """
    onnxruntime = import_onnxruntime()

    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    known = {o.name for o in shown.graph.output}
    shown.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in names
        if name not in known
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        shown.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (port,) = session.get_inputs()
    for one in inputs:
        yield session.run(list(names), {port.name: one[None]})


def activation_scales(
    networks: Sequence[tuple[onnx.ModelProto, Float32Array]], *, balance: float = BALANCE
) -> dict[str, Scale]:
    """Return how the tensors between integer convolutions are rounded, by name.

    Parameters
    ----------
    networks : sequence of (onnx.ModelProto, (N, P, n, n) float32 ndarray)
        Plain networks of one graph, and calibration inputs of each.
    balance : float
        As in `activation_scale`.

    Raises
    ------
    EngineError
        Not such networks.
    """
    names = Parts(networks[0][0]).rounded
    kept: dict[str, list[Float32Array]] = {name: [] for name in names}
    rng, count = np.random.default_rng(0), sum(len(inputs) for _, inputs in networks)
    for model, inputs in networks:
        for found in tensors(model, names, inputs):
            places = found[0][0, 0].size
            chosen = rng.choice(places, min(places, max(1, _PLACES // count)), replace=False)
            for name, tensor in zip(names, found, strict=True):
                kept[name].append(tensor[0].reshape(tensor.shape[1], -1)[:, chosen])
    return {
        name: activation_scale(np.concatenate(values, axis=1), balance)
        for name, values in kept.items()
    }
