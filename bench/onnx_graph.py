"""Write convolutional networks as ONNX graphs with random weights, counting what they cost.

For tests and benchmarks: no training framework is needed, and speed does not depend on what the
weights are. Weights are drawn so that activations neither vanish nor explode (a graph full of
denormal numbers would be slow for a reason of its own).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Planes:
    """A tensor of the graph: its name, its channels, and by how much it is scaled down."""

    name: str
    channels: int
    down: int = 1


class OnnxGraph:
    """A graph under construction.

    Attributes
    ----------
    parameters : int
        Weights and biases so far.
    macs_per_px : float
        Multiply-accumulates per pixel of the input so far; convolutions only, as papers count.
    """

    def __init__(self, seed: int = 0) -> None:
        self.parameters = 0
        self.macs_per_px = 0.0
        self._rng = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, channels: int, name: str = "input") -> Planes:
        """The input, float32 of shape (1, channels, rows, columns), rows and columns free."""
        shape = [1, channels, "rows", "columns"]
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return Planes(name, channels)

    def output(self, x: Planes, name: str = "output") -> None:
        """Make `x` an output of the model."""
        self._nodes.append(helper.make_node("Identity", [x.name], [name]))
        shape = [1, x.channels, f"{name}_rows", f"{name}_columns"]
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def constant(self, value: np.ndarray) -> str:
        """Name of a constant that is not counted as a parameter."""
        name = f"constant{len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(value, name))
        return name

    def op(
        self,
        kind: str,
        x: Planes,
        *others: str,
        channels: int | None = None,
        down: int | None = None,
        **attributes: object,
    ) -> Planes:
        """One ONNX operator on `x` (and more inputs by name), named after its place."""
        out = Planes(
            f"t{len(self._nodes)}",
            x.channels if channels is None else channels,
            x.down if down is None else down,
        )
        self._nodes.append(helper.make_node(kind, [x.name, *others], [out.name], **attributes))
        return out

    def loop(self, trips: str, condition: str, first: str, body: onnx.GraphProto) -> str:
        """Repeat a graph on one tensor; return the name of what comes out."""
        out = f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node("Loop", [trips, condition, first], [out], body=body))
        return out

    def conv(
        self,
        x: Planes,
        channels: int,
        size: int,
        *,
        stride: int = 1,
        relu: bool = False,
        gain: float = 1.0,
    ) -> Planes:
        """Convolution with bias, zero padding of size // 2, then ReLU where asked for."""
        weight = self._weights((channels, x.channels, size, size), x.channels * size * size, gain)
        y = self.op(
            "Conv",
            x,
            weight,
            self._bias(channels),
            channels=channels,
            down=x.down * stride,
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[size // 2] * 4,
        )
        self.macs_per_px += channels * x.channels * size * size / y.down**2
        return self.op("Relu", y) if relu else y

    def conv_transposed(self, x: Planes, channels: int, *, relu: bool = True) -> Planes:
        """Transposed 4x4 convolution of stride 2: twice the rows and columns."""
        weight = self._weights((x.channels, channels, 4, 4), x.channels * 4, 1.0)
        y = self.op(
            "ConvTranspose",
            x,
            weight,
            self._bias(channels),
            channels=channels,
            down=x.down // 2,
            kernel_shape=[4, 4],
            strides=[2, 2],
            pads=[1] * 4,
        )
        self.macs_per_px += channels * x.channels * 16 / x.down**2
        return self.op("Relu", y) if relu else y

    def residual_block(self, x: Planes) -> Planes:
        """Conv-ReLU-conv plus identity, 3x3."""
        return self.add(
            self.conv(self.conv(x, x.channels, 3, relu=True), x.channels, 3, gain=0.2), x
        )

    def add(self, a: Planes, b: Planes) -> Planes:
        return self.op("Add", a, b.name)

    def multiply(self, a: Planes, b: Planes) -> Planes:
        return self.op("Mul", a, b.name)

    def concatenate(self, *parts: Planes) -> Planes:
        first, *rest = parts
        return self.op(
            "Concat",
            first,
            *(p.name for p in rest),
            channels=sum(p.channels for p in parts),
            axis=1,
        )

    def pick(self, x: Planes, first: int, count: int) -> Planes:
        """Planes [first, first + count)."""
        bounds = [self.constant(np.array([v], np.int64)) for v in (first, first + count, 1)]
        return self.op("Slice", x, *bounds, channels=count)

    def unshuffle(self, x: Planes, factor: int) -> Planes:
        """Space to depth."""
        return self.op(
            "SpaceToDepth",
            x,
            channels=x.channels * factor**2,
            down=x.down * factor,
            blocksize=factor,
        )

    def shuffle(self, x: Planes, factor: int) -> Planes:
        """Depth to space, the inverse of `unshuffle`."""
        return self.op(
            "DepthToSpace",
            x,
            channels=x.channels // factor**2,
            down=x.down // factor,
            blocksize=factor,
        )

    def nearest(self, x: Planes, down: int) -> Planes:
        """Resize to 1 / `down` of the input's size by the nearest sample."""
        if down == x.down:
            return x
        factor = x.down / down
        scales = self.constant(np.array([1, 1, factor, factor], np.float32))
        return self.op(
            "Resize",
            x,
            "",
            scales,
            down=down,
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )

    def model(self, metadata: Mapping[str, str] | None = None) -> onnx.ModelProto:
        """The finished model, checked by ONNX."""
        graph = helper.make_graph(
            self._nodes, "network", self._inputs, self._outputs, self._initializers
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="imagine_deblur"
        )
        model.ir_version = 8
        if metadata:
            helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model)
        return model

    def set_weight(self, value: np.ndarray) -> str:
        """Name of a parameter with a chosen value, counted."""
        self.parameters += int(value.size)
        return self.constant(value.astype(np.float32))

    def _weights(self, shape: Sequence[int], fan_in: int, gain: float) -> str:
        scale = gain * np.sqrt(2.0 / fan_in)
        return self.set_weight(self._rng.standard_normal(shape, np.float32) * scale)

    def _bias(self, channels: int) -> str:
        return self.set_weight(self._rng.standard_normal(channels) * 0.01)
