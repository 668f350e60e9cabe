"""From a checkpoint to a self-describing ONNX file, compared with PyTorch in both runtimes."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper
from torch import nn

import imagine_deblur
from imagine_deblur.degradation.camera_description import CameraDescription
from imagine_deblur.engines.descriptor import ModelDescriptor
from imagine_deblur.engines.onnxruntime import import_onnxruntime
from imagine_deblur.engines.working_memory import working_bytes_per_px
from imagine_deblur.errors import EngineError, OptionsError
from imagine_deblur.train.captures import (
    MOTION_MAX_PX,
    NOISE_MAX,
    RADIUS_MAX_PX,
    SIGMA_MAX_PX,
)
from imagine_deblur.train.network import Conv3x3, Mixture, Network, grow
from imagine_deblur.train.onnx_graph import (
    Convolution,
    Layers,
    add_constants,
    build_model,
    differing,
    expert_constants,
    halve_weights,
)
from imagine_deblur.train.planes import plane_names
from imagine_deblur.train.trainer import AnyNetwork, load_network
from imagine_deblur.train.unet import UNet

Float32Array = NDArray[np.float32]

#: Largest difference between a runtime and PyTorch that an export accepts, image values in [0, 1].
TOLERANCE = 1e-3

LICENCE = "Apache-2.0"

OPSET = 17

#: Sides of the tiles that traced graphs are made with, and whose memory is measured, px.
TRACED, SERVED = 64, 256


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


def _psf_range(camera: CameraDescription) -> dict[str, tuple[float, float]]:
    """The blurs of the training captures, of a described camera's where it has a name."""
    if not camera.name:
        return {
            "disk_radius_px": (0.0, RADIUS_MAX_PX),
            "gaussian_sigma_px": (0.0, SIGMA_MAX_PX),
            "motion_length_px": (0.0, MOTION_MAX_PX),
        }
    return {
        "disk_radius_px": (camera.radius_px[0], camera.radius_px[1]),
        "gaussian_sigma_px": (camera.sigma_px[0], camera.sigma_px[1]),
        "motion_length_px": (camera.motion_px[0], camera.motion_px[1]),
    }


def _exposures(camera: CameraDescription) -> dict[str, Any]:
    """Noise and JPEG of the training captures, for the descriptor."""
    if not camera.name:
        return {"noise_range": [0.0, NOISE_MAX], "jpeg_quality_range": [60, 98]}
    return {
        "camera": camera.name,
        "noise_range": list(camera.noise),
        "jpeg_quality_range": list(camera.jpeg_quality),
    }


def describe(checkpoint: str | os.PathLike[str]) -> tuple[AnyNetwork, ModelDescriptor]:
    """The averaged network of a checkpoint and the descriptor that goes into its ONNX file."""
    network, config, state = load_network(checkpoint)
    spec, local = config.planes.spec, not isinstance(network, UNet)
    descriptor = ModelDescriptor(
        name=config.name,
        version=imagine_deblur.__version__,
        inputs=plane_names(spec),
        nsr=spec.nsr,
        base=spec.base,
        chroma=spec.chroma,
        # A U-shape sees farther than its tiles; they are blended.
        halo=network.spec.halo if local else 0,
        multiple_of=network.spec.multiple_of,
        local=local,
        input_offset=0.5,
        experts=network.spec.experts,
        psf_range=_psf_range(config.data.camera),
        licence=LICENCE,
        training={
            "data_sha256": state.get("training_checksum", ""),
            "steps": int(state["step"]),
            "grown_from": state.get("history", []),
            "crops": int(state["step"]) * config.optim.batch,
            "seconds": round(float(state.get("seconds", 0.0))),
            "processor_seconds": round(float(state.get("processor_seconds", 0.0))),
            "batch": config.optim.batch,
            "crop_px": config.data.crop,
            "kmac_per_pixel": round(network.spec.macs_per_pixel / 1000, 2),
            "parameters": network.spec.parameters,
            **_exposures(config.data.camera),
            "validation_psnr_db": _figures(Path(checkpoint).parent),
        },
    )
    return network, descriptor


def run_onnxruntime(path: str | os.PathLike[str], planes: Float32Array) -> Float32Array:
    """An ONNX file on one (1, P, H, W) input in ONNX Runtime's CPU provider, one thread."""
    onnxruntime = import_onnxruntime()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # it warns of the constants of a mixture, which no node reads
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


def compare(
    path: str | os.PathLike[str], network: Network | UNet, *, size: int = 96
) -> dict[str, float]:
    """Largest absolute difference between each installed runtime and PyTorch on a random input.

    Parameters
    ----------
    path : path
        ONNX file with dynamic tile, or of tile `size`.
    network : Network or UNet
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


def round_kernels(network: nn.Module, *, but: str = "") -> None:
    """Round kernels to what float16 holds, in place, as `onnx_graph.halve_weights` stores them.

    Parameters
    ----------
    network : nn.Module
    but : str
        As there.
    """
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.ndim > 1 and not (but and name.startswith(but)):
                value.copy_(value.half())


def trace(network: nn.Module, path: Path, *, planes: int, side: int, fixed: bool) -> None:
    """Write a graph as PyTorch traces it: input ``planes``, output ``image``, float32.

    Parameters
    ----------
    network : nn.Module
        From (1, planes, H, W) to (1, 3, H, W).
    path : Path
    planes, side : int
        Of the input it is traced with.
    fixed : bool
        The graph takes this size only.
    """
    free = {2: "height", 3: "width"}
    with warnings.catch_warnings():
        # The tracer says that kernel sizes and channel counts become constants: they are.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.rand(1, planes, side, side),),
            os.fspath(path),
            input_names=["planes"],
            output_names=["image"],
            dynamic_axes=None if fixed else {"planes": free, "image": free},
            opset_version=OPSET,
            dynamo=False,
        )


def _plain_experts(trunk: Network | Mixture) -> list[Network]:
    """The networks of a trunk, branches of the training parametrisation fused."""
    alone = dataclasses.replace(trunk.spec, experts=1, reparam=False)
    experts = trunk.experts if isinstance(trunk, Mixture) else [trunk]
    return [grow(expert, alone) for expert in experts]


def _with_first_expert(network: UNet) -> UNet:
    """A U-shape behind the plain network of its trunk's first expert."""
    first = _plain_experts(network.trunk)[0]
    plain = UNet(dataclasses.replace(network.spec, trunk=first.spec))
    plain.load_state_dict(network.state_dict(), strict=False)
    plain.trunk.load_state_dict(first.state_dict())
    plain.eval()
    return plain


def _of_trunk(trunk: Mixture) -> dict[str, NDArray[Any]]:
    """The other experts and the router, see `expert_constants`; named as a traced graph's."""
    named = [
        {f"trunk.{name}": value.numpy() for name, value in expert.state_dict().items()}
        for expert in _plain_experts(trunk)
    ]
    return differing(named, [value.numpy() for value in trunk.router.state_dict().values()])


def label(path: Path, descriptor: ModelDescriptor) -> None:
    """Put a descriptor into a graph's file."""
    model = onnx.load(path)
    helper.set_model_props(model, descriptor.to_metadata())
    onnx.checker.check_model(model)
    onnx.save(model, path)


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
    multiple = network.spec.multiple_of
    if tile is not None and (tile < 1 or tile % multiple):
        raise OptionsError("tile", tile, f"a positive multiple of {multiple}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".tmp")
    try:
        if not isinstance(network, UNet):
            experts = list(network.experts) if isinstance(network, Mixture) else [network]
            layers = [layers_of(expert) for expert in experts]
            more = None
            if isinstance(network, Mixture):
                state = network.router.state_dict()
                more = expert_constants(layers, [value.numpy() for value in state.values()])
            onnx.save(
                build_model(layers[0], descriptor.to_metadata(), tile=tile, more=more), scratch
            )
            differences = compare(scratch, experts[0], size=tile or 96)
        else:
            plain, side = _with_first_expert(network), tile or TRACED
            round_kernels(plain, but="trunk.")
            trace(plain, scratch, planes=network.spec.planes, side=side, fixed=tile is not None)
            halve_weights(scratch, but="trunk.")
            label(scratch, descriptor)
            differences = compare(scratch, plain, size=tile or TRACED + 32)
            measured = working_bytes_per_px(scratch, tile or SERVED)
            descriptor = dataclasses.replace(descriptor, working_bytes=measured)
            if isinstance(network.trunk, Mixture):
                add_constants(scratch, _of_trunk(network.trunk))
            label(scratch, descriptor)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    scratch.replace(path)
    return {**json.loads(descriptor.to_json()), "difference": differences}
