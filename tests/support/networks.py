"""Small networks as ONNX files, made on the fly without a training framework."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from imagine_deblur.engines import ModelDescriptor

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from onnx_graph import OnnxGraph, Planes
from plain_net import INPUTS, PlainNet, build

AFFINE_MATRIX = np.array([[0.5, 0.25, 0.0], [0.0, 1.0, -0.5], [2.0, 0.0, 0.125]], np.float32)
AFFINE_BIAS = np.array([0.25, -1.0, 3.0], np.float32)


def affine(path: Path, metadata: dict[str, str] | None = None) -> Path:
    """A 1x1 convolution of three planes with known weights: the truth is a matrix product."""
    g = OnnxGraph()
    x = g.input(3)
    weight = g.set_weight(AFFINE_MATRIX[:, :, None, None])
    g.output(g.op("Conv", x, weight, g.set_weight(AFFINE_BIAS), kernel_shape=[1, 1]))
    onnx.save(g.model(metadata), path)
    return path


def affine_truth(tile: NDArray[np.float32]) -> NDArray[np.float64]:
    """What `affine` makes of a (3, rows, columns) tile, in double precision."""
    product = np.einsum("bp,prc->brc", AFFINE_MATRIX.astype(np.float64), tile.astype(np.float64))
    return product + AFFINE_BIAS[:, None, None]


def plain_descriptor(net: PlainNet, **fields: object) -> ModelDescriptor:
    """The descriptor an exporter would write for `plain`'s network."""
    values: dict[str, object] = {
        "name": "plain",
        "version": "1",
        "inputs": INPUTS,
        "nsr": (0.1, 0.005, 0.0001),
        "base": 1,
        "halo": net.halo,
        "multiple_of": net.multiple_of,
        "local": True,
        "input_offset": 0.5,
        "psf_range": {"disk_radius_px": (1.0, 8.0)},
        "licence": "Apache-2.0",
        "training": {"steps": 0},
    }
    return ModelDescriptor(**{**values, **fields})  # type: ignore[arg-type]


def plain(path: Path, width: int, convolutions: int, unshuffle: int = 2) -> Path:
    """The kind of network we ship, with its descriptor inside the file."""
    bare = build(width, convolutions, unshuffle)
    metadata = plain_descriptor(bare).to_metadata()
    onnx.save(build(width, convolutions, unshuffle, metadata=metadata).model, path)
    return path


def noise_tile(planes: int, rows: int, columns: int, seed: int = 0) -> NDArray[np.float32]:
    """A (planes, rows, columns) tile of values in [-0.5, 0.5)."""
    return np.random.default_rng(seed).random((planes, rows, columns), np.float32) - np.float32(0.5)


def hungry(path: Path, copies: int = 4000) -> Path:
    """A network that holds thousands of copies of its tile at once: gigabytes."""
    g = OnnxGraph()
    x = g.input(3)
    many = g.op("Tile", x, g.constant(np.array([copies, 1, 1, 1], np.int64)))
    g.output(g.op("ReduceMax", many, axes=[0], keepdims=1))
    onnx.save(g.model({}), path)
    return path


def endless(path: Path) -> Path:
    """A network with a loop that takes longer than any mission."""
    make, kind = onnx.helper, onnx.TensorProto
    plane = ["b", 3, "r", "c"]
    body = make.make_graph(
        [
            make.make_node("Identity", ["go_in"], ["go_out"]),
            make.make_node("Sqrt", ["from"], ["root"]),
            make.make_node("Mul", ["root", "root"], ["to"]),
        ],
        "body",
        [
            make.make_tensor_value_info("count", kind.INT64, []),
            make.make_tensor_value_info("go_in", kind.BOOL, []),
            make.make_tensor_value_info("from", kind.FLOAT, plane),
        ],
        [
            make.make_tensor_value_info("go_out", kind.BOOL, []),
            make.make_tensor_value_info("to", kind.FLOAT, plane),
        ],
    )
    g = OnnxGraph()
    x = g.input(3)
    trips, go = g.constant(np.array(1 << 62, np.int64)), g.constant(np.array(True))
    g.output(Planes(g.loop(trips, go, x.name, body), 3))
    onnx.save(g.model({}), path)
    return path


def not_a_number(path: Path) -> Path:
    """A network that answers NaN."""
    g = OnnxGraph()
    x = g.input(3)
    weight = g.set_weight(np.full((3, 3, 1, 1), np.nan, np.float32))
    g.output(g.op("Conv", x, weight, kernel_shape=[1, 1]))
    onnx.save(g.model({}), path)
    return path
