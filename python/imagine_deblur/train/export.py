"""From a checkpoint to a self-describing ONNX file, compared with PyTorch in both runtimes."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

import imagine_deblur
from imagine_deblur.engines.descriptor import ModelDescriptor
from imagine_deblur.errors import EngineError, OptionsError
from imagine_deblur.train.loop import load_network
from imagine_deblur.train.network import Conv3x3, Network
from imagine_deblur.train.onnx_graph import Convolution, Layers, build_model
from imagine_deblur.train.planes import plane_names
from imagine_deblur.train.recipe import MOTION_MAX_PX, NOISE_MAX, RADIUS_MAX_PX, SIGMA_MAX_PX

Float32Array = NDArray[np.float32]

#: Largest difference between a runtime and PyTorch that an export accepts, image values in [0, 1].
TOLERANCE = 1e-3

LICENCE = "Apache-2.0"


def layers_of(network: Network) -> Layers:
    """The network's convolutions as arrays, branches of the training parametrisation fused."""

    def plain(layer: Conv3x3) -> Convolution:
        with torch.no_grad():
            kernel = layer.kernel().contiguous().cpu().numpy().astype(np.float32)
            return Convolution(kernel, layer.bias.cpu().numpy().astype(np.float32))

    return Layers(
        plain(network.head),
        tuple((plain(first), plain(second)) for first, second in network.pairs),
        plain(network.tail),
        network.spec.unshuffle,
    )


def _figures(run: Path) -> dict[str, dict[str, float]]:
    """The last validation of a run by protocol, dB; empty where none was made."""
    table = run / "validation.csv"
    if not table.exists():
        return {}
    figures: dict[str, dict[str, float]] = {}
    with table.open(newline="") as stream:
        for row in csv.DictReader(stream):
            figures[row["protocol"]] = {
                "step": int(row["step"]),
                **{key: round(float(row[key]), 3) for key in ("input", "oracle", "ours")},
            }
    return figures


def describe(checkpoint: str | os.PathLike[str]) -> tuple[Network, ModelDescriptor]:
    """The averaged network of a checkpoint and the descriptor that goes into its ONNX file."""
    network, config, state = load_network(checkpoint)
    spec = config.planes.spec
    descriptor = ModelDescriptor(
        name=config.name,
        version=imagine_deblur.__version__,
        inputs=plane_names(spec),
        nsr=spec.nsr,
        base=spec.base,
        chroma=spec.chroma,
        halo=network.spec.halo,
        multiple_of=network.spec.unshuffle,
        local=True,
        input_offset=0.5,
        psf_range={
            "disk_radius_px": (0.0, RADIUS_MAX_PX),
            "gaussian_sigma_px": (0.0, SIGMA_MAX_PX),
            "motion_length_px": (0.0, MOTION_MAX_PX),
        },
        licence=LICENCE,
        training={
            "data_sha256": state.get("training_checksum", ""),
            "steps": int(state["step"]),
            "grown_from": state.get("history", []),
            "seconds": round(float(state.get("seconds", 0.0))),
            "batch": config.optim.batch,
            "crop_px": config.data.crop,
            "kmac_per_pixel": round(network.spec.macs_per_pixel / 1000, 2),
            "parameters": network.spec.parameters,
            "exposure": config.data.exposure,
            "noise_range": [0.0, NOISE_MAX],
            "jpeg_quality_range": [70, 98],
            "validation_psnr_db": _figures(Path(checkpoint).parent),
        },
    )
    return network, descriptor


def run_onnxruntime(path: str | os.PathLike[str], planes: Float32Array) -> Float32Array:
    """An ONNX file on one (1, P, H, W) input in ONNX Runtime's CPU provider, one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        os.fspath(path), options, providers=["CPUExecutionProvider"]
    )
    image: Float32Array = session.run(["image"], {"planes": planes})[0]
    return image


def run_openvino(path: str | os.PathLike[str], planes: Float32Array) -> Float32Array:
    """An ONNX file on one (1, P, H, W) input in OpenVINO on the CPU, float32, one thread."""
    import openvino

    compiled = openvino.Core().compile_model(
        os.fspath(path),
        "CPU",
        {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1},
    )
    image: Float32Array = np.array(compiled({"planes": planes})["image"])
    return image


_RUNTIMES = {"onnxruntime": run_onnxruntime, "openvino": run_openvino}


def compare(path: str | os.PathLike[str], network: Network, *, size: int = 96) -> dict[str, float]:
    """Largest absolute difference between each installed runtime and PyTorch on a random input.

    Parameters
    ----------
    path : path
        ONNX file with dynamic tile, or of tile `size`.
    network : Network
    size : int
        Side of the input, px.

    Returns
    -------
    dict
        Runtime name to difference; runtimes that are not installed are left out.

    Raises
    ------
    EngineError
        If one differs by more than `TOLERANCE`.
    """
    rng = np.random.default_rng(0)
    planes = rng.uniform(-0.6, 0.6, (1, network.spec.planes, size, size)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(planes)).numpy()
    return differences_from(path, planes, expected)


def differences_from(
    path: str | os.PathLike[str], planes: Float32Array, expected: Float32Array
) -> dict[str, float]:
    """Largest absolute difference of each installed runtime's answer from PyTorch's `expected`.

    Raises
    ------
    EngineError
        If one differs by more than `TOLERANCE`.
    """
    differences = {}
    for name, run in _RUNTIMES.items():
        try:
            result = run(path, planes)
        except ModuleNotFoundError:
            continue
        differences[name] = float(np.abs(result - expected).max())
        if not differences[name] <= TOLERANCE:
            raise EngineError(
                f"{name} differs from PyTorch by {differences[name]:.2e}", engine=name
            )
    return differences


def export(
    checkpoint: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    tile: int | None = None,
) -> dict[str, Any]:
    """Write a checkpoint's averaged network as one ONNX file with its descriptor inside.

    Parameters
    ----------
    checkpoint : path
    path : path
        Replaced atomically, once the runtimes agree with PyTorch.
    tile : int, optional
        Fixed tile side in px, a multiple of the network's; dynamic by default.

    Returns
    -------
    dict
        The descriptor's values, with ``difference`` per runtime added.

    Raises
    ------
    OptionsError
        If `tile` is no multiple of the network's.
    EngineError
        If a runtime disagrees with PyTorch.
    """
    network, descriptor = describe(checkpoint)
    if tile is not None and (tile < 1 or tile % network.spec.unshuffle):
        raise OptionsError("tile", tile, f"a positive multiple of {network.spec.unshuffle}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".tmp")
    onnx.save(build_model(layers_of(network), descriptor.to_metadata(), tile=tile), scratch)
    try:
        differences = compare(scratch, network, size=tile or 96)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    scratch.replace(path)
    return {**json.loads(descriptor.to_json()), "difference": differences}
