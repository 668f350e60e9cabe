"""Integer weights of a quantised convolution: made when a network is quantised, and once a frame
where its experts are mixed.

The constants of a layer ``NAME`` in a quantised file are ``NAME.weight.q`` (int8) and its steps
``NAME.weight.dq.step``, one an output channel, ``NAME.bias.q`` (int32) and its steps
``NAME.bias.dq.step``: those of the weights times the one of the layer's input.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]

INTEGERS, STEPS = ".q", ".dq.step"
"""What is added to the name of a weight for its integers, and for their steps."""

_CLIPS = np.linspace(0.3, 1.0, 36)  # candidates, as shares of the largest magnitude


def quantised_weights(weight: Float32Array) -> tuple[NDArray[np.int8], Float32Array]:
    """Return a kernel as int8 with a step for each output channel.

    Parameters
    ----------
    weight : (outputs, inputs, 3, 3) float32 ndarray

    Returns
    -------
    values : (outputs, inputs, 3, 3) int8 ndarray in [-127, 127]
    steps : (outputs,) float32 ndarray
        Each of least squared error among `_CLIPS` of the channel's largest magnitude.
    """
    flat = weight.reshape(len(weight), -1)
    top = np.maximum(np.abs(flat).max(axis=1), 1e-12)
    best = np.full(len(flat), np.inf)
    steps = (top / 127).astype(np.float32)
    for clip in _CLIPS:
        candidate = (top * clip / 127).astype(np.float32)
        q = np.clip(np.rint(flat / candidate[:, None]), -127, 127)
        error = np.square(q * candidate[:, None] - flat).sum(axis=1)
        steps = np.where(error < best, candidate, steps)
        best = np.minimum(error, best)
    values = np.clip(np.rint(flat / steps[:, None]), -127, 127).astype(np.int8)
    return values.reshape(weight.shape), steps


def layer_constants(
    layer: str, weight: Float32Array, bias: Float32Array, input_step: float
) -> dict[str, NDArray[Any]]:
    """Return the constants of a layer, by their names.

    Parameters
    ----------
    layer : str
    weight : (outputs, inputs, 3, 3) float32 ndarray
    bias : (outputs,) float32 ndarray
    input_step : float
        Of the 8-bit activations that it reads.
    """
    values, steps = quantised_weights(weight)
    units = np.asarray(input_step * steps, np.float32)
    return {
        f"{layer}.weight{INTEGERS}": values,
        f"{layer}.weight{STEPS}": steps,
        f"{layer}.bias{INTEGERS}": np.rint(bias / units.astype(np.float64)).astype(np.int32),
        f"{layer}.bias{STEPS}": units,
    }


def integers_of(
    mixed: Mapping[str, Float32Array], constants: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Return mixed weights as a file holds them: those of its integer layers as integers.

    Parameters
    ----------
    mixed : mapping of str to ndarray
        Weights and biases by name, with the factors of the channels where a layer is quantised.
    constants : mapping of str to ndarray
        Of the file.
    """
    result: dict[str, NDArray[Any]] = {}
    for name, value in mixed.items():
        layer, _, part = name.rpartition(".")
        if name + INTEGERS not in constants:
            result[name] = value
        elif part == "weight":
            input_steps = constants[f"{layer}.bias{STEPS}"] / constants[f"{layer}.weight{STEPS}"]
            result |= layer_constants(layer, value, mixed[f"{layer}.bias"], float(input_steps[0]))
    return result
