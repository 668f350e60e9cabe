"""MIMO-UNet and MIMO-UNet+ as ONNX graphs with random weights: the published systems' cost.

The architecture follows Cho et al., "Rethinking Coarse-to-Fine Approach in Single Image
Deblurring", ICCV 2021 (arXiv 2108.05054), section 3: one encoder fed at three scales through
shallow convolutional modules and feature attention, asymmetric feature fusion, one decoder with an
output at each scale. "MIMO-UNet++" is MIMO-UNet+ averaged over four rotations: no other weights.

Examples
--------
Write both networks, with the full-scale output only, as they are served::

    python bench/mimo_unet.py --plain mimo.onnx --plus mimo_plus.onnx
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx

from onnx_graph import OnnxGraph, Planes

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 32
BLOCKS = {"MIMO-UNet": 8, "MIMO-UNet+": 20}
MULTIPLE_OF = 4


@dataclass(frozen=True)
class MimoUnet:
    """A built network and its cost (both exact; MACs of convolutions per input pixel)."""

    model: onnx.ModelProto
    parameters: int
    macs_per_px: float


def _shallow_module(g: OnnxGraph, image: Planes, width: int) -> Planes:
    """SCM: features of a reduced input image, section 3.1."""
    x = g.conv(image, width // 4, 3, relu=True)
    x = g.conv(x, width // 2, 1, relu=True)
    x = g.conv(x, width // 2, 3, relu=True)
    x = g.conv(x, width - 3, 1, relu=True)
    return g.conv(g.concatenate(image, x), width, 1)


def _feature_attention(g: OnnxGraph, x: Planes, shallow: Planes) -> Planes:
    """FAM: x + conv3x3(x * shallow), section 3.1."""
    return g.add(x, g.conv(g.multiply(x, shallow), x.channels, 3, gain=0.5))


def _fusion(g: OnnxGraph, scales: Sequence[Planes], target: Planes) -> Planes:
    """AFF: all three scales resized to the target's, section 3.3, equation 4."""
    x = g.concatenate(*(g.nearest(s, target.down) for s in scales))
    return g.conv(g.conv(x, target.channels, 1, relu=True), target.channels, 3)


def _blocks(g: OnnxGraph, x: Planes, count: int) -> Planes:
    for _ in range(count):
        x = g.residual_block(x)
    return x


def build(name: str = "MIMO-UNet", *, all_outputs: bool = False, seed: int = 0) -> MimoUnet:
    """Build a network.

    Parameters
    ----------
    name : str
        A key of `BLOCKS`.
    all_outputs : bool
        Also the outputs at 1/2 and 1/4 scale, which only training needs. The published parameter
        and MAC counts include them.
    seed : int
        Of the random weights.

    Returns
    -------
    MimoUnet
        Its input is (1, 3, rows, columns) float32 in [0, 1], rows and columns multiples of 4.
    """
    n = BLOCKS[name]
    g = OnnxGraph(seed)
    image = g.input(3)
    image2 = g.nearest(image, 2)
    image4 = g.nearest(image2, 4)

    encoded1 = _blocks(g, g.conv(image, WIDTH, 3, relu=True), n)
    x = g.conv(encoded1, 2 * WIDTH, 3, stride=2, relu=True)
    x = _feature_attention(g, x, _shallow_module(g, image2, 2 * WIDTH))
    encoded2 = _blocks(g, x, n)
    x = g.conv(encoded2, 4 * WIDTH, 3, stride=2, relu=True)
    x = _feature_attention(g, x, _shallow_module(g, image4, 4 * WIDTH))
    encoded4 = _blocks(g, x, n)

    scales = (encoded1, encoded2, encoded4)
    skip1 = _fusion(g, scales, encoded1)
    skip2 = _fusion(g, scales, encoded2)

    decoded4 = _blocks(g, encoded4, n)
    x = g.concatenate(g.conv_transposed(decoded4, 2 * WIDTH), skip2)
    decoded2 = _blocks(g, g.conv(x, 2 * WIDTH, 1, relu=True), n)
    x = g.concatenate(g.conv_transposed(decoded2, WIDTH), skip1)
    decoded1 = _blocks(g, g.conv(x, WIDTH, 1, relu=True), n)

    g.output(g.add(g.conv(decoded1, 3, 3, gain=0.05), image))
    if all_outputs:
        g.output(g.add(g.conv(decoded2, 3, 3, gain=0.05), image2), "output_half")
        g.output(g.add(g.conv(decoded4, 3, 3, gain=0.05), image4), "output_quarter")
    return MimoUnet(g.model(), g.parameters, g.macs_per_px)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plain", metavar="FILE", help="write MIMO-UNet here")
    parser.add_argument("--plus", metavar="FILE", help="write MIMO-UNet+ here")
    arguments = parser.parse_args()
    for name, path in (("MIMO-UNet", arguments.plain), ("MIMO-UNet+", arguments.plus)):
        full = build(name, all_outputs=True)
        print(
            f"{name}: {full.parameters / 1e6:.2f} M parameters, "
            f"{full.macs_per_px * 256 * 256 / 1e9:.1f} GMAC per 256x256"
        )
        if path:
            onnx.save(build(name).model, path)


if __name__ == "__main__":
    main()
