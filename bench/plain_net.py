"""The kind of network we ship, with random weights: space to depth, 3x3 convolutions, residual.

Inputs are the capture's three planes, the three planes of the base Wiener restoration and the
luma of two more, all minus 0.5; the output is the base restoration plus a residual, in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from onnx_graph import OnnxGraph

INPUTS = (
    "capture.r",
    "capture.g",
    "capture.b",
    "wiener.1.r",
    "wiener.1.g",
    "wiener.1.b",
    "wiener.0.y",
    "wiener.2.y",
)
BASE_PLANE = 3  # of the input: where wiener[base] starts


@dataclass(frozen=True)
class PlainNet:
    """A built network, its cost and the context it needs.

    Attributes
    ----------
    model : onnx.ModelProto
    parameters : int
    macs_per_px : float
        Multiply-accumulates per input pixel.
    halo : int
        Pixels of context per side that make tiles exact, for cores aligned to `multiple_of`.
    multiple_of : int
        Tile rows and columns must be multiples of this.
    """

    model: onnx.ModelProto
    parameters: int
    macs_per_px: float
    halo: int
    multiple_of: int


def build(
    width: int,
    convolutions: int,
    unshuffle: int = 2,
    *,
    seed: int = 0,
    metadata: dict[str, str] | None = None,
) -> PlainNet:
    """Build a network of `convolutions` 3x3 convolutions of `width` channels.

    Parameters
    ----------
    width : int
        Channels, at 1 / `unshuffle` of the input's resolution.
    convolutions : int
        At least 2: the first and the last included.
    unshuffle : int
        Space-to-depth factor.
    seed : int
        Of the random weights.
    metadata : dict of str to str, optional
        Written into the model's metadata.

    Returns
    -------
    PlainNet
    """
    g = OnnxGraph(seed)
    x = g.input(len(INPUTS))
    y = g.conv(g.unshuffle(x, unshuffle), width, 3, relu=True)
    for _ in range(convolutions - 2):
        y = g.conv(y, width, 3, relu=True)
    residual = g.shuffle(g.conv(y, 3 * unshuffle**2, 3, gain=0.05), unshuffle)
    half = g.constant(np.array(0.5, np.float32))
    base = g.op("Add", g.pick(x, BASE_PLANE, 3), half)
    g.output(g.add(base, residual))
    return PlainNet(
        g.model(metadata), g.parameters, g.macs_per_px, convolutions * unshuffle, unshuffle
    )


# Two sizes near those of the shipped networks: (width, convolutions).
SIZES = {"35k": (32, 16), "94k": (48, 19)}
