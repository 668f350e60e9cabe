"""Networks the benchmarks serve: the shape of the shipped `fast` network, and MIMO-UNet+."""

from __future__ import annotations

from pathlib import Path

import onnx

import mimo_unet
import plain_net
from imagine_deblur.engines import ModelDescriptor

FAST_SHAPE = (48, 8)
"""Width and convolutions of the shipped `fast` network: 36 kMAC/px, a halo of 16 px."""


def write_fast_shaped(path: Path) -> float:
    """Write a network of the shape of `fast` with random weights; return its MACs per pixel."""
    net = plain_net.build(*FAST_SHAPE)
    descriptor = ModelDescriptor(
        name="bench",
        version="1",
        inputs=plain_net.INPUTS,
        nsr=(0.1, 0.01, 0.001),
        base=1,
        halo=net.halo,
        multiple_of=net.multiple_of,
        local=True,
        input_offset=0.5,
        psf_range={"disk_radius_px": (1.0, 8.0)},
        licence="Apache-2.0",
        training={"steps": 0},
    )
    onnx.save(plain_net.build(*FAST_SHAPE, metadata=descriptor.to_metadata()).model, path)
    return net.macs_per_px


def write_mimo_plus(path: Path) -> float:
    """Write MIMO-UNet+ with random weights; return its MACs per pixel."""
    built = mimo_unet.build("MIMO-UNet+")
    descriptor = ModelDescriptor(
        name="MIMO-UNet+", version="1", multiple_of=mimo_unet.MULTIPLE_OF, licence="random weights"
    )
    onnx.helper.set_model_props(built.model, descriptor.to_metadata())
    onnx.save(built.model, path)
    return built.macs_per_px
