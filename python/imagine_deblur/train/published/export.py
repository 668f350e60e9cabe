"""From a checkpoint to a self-describing ONNX file, compared with PyTorch in both runtimes."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

import imagine_deblur
from imagine_deblur.engines.descriptor import ModelDescriptor
from imagine_deblur.engines.working_memory import working_bytes_per_px
from imagine_deblur.errors import OptionsError
from imagine_deblur.train.export import (
    LICENCE,
    SERVED,
    TRACED,
    differences_from,
    label,
    round_kernels,
    trace,
)
from imagine_deblur.train.onnx_graph import halve_weights
from imagine_deblur.train.published.config import PublishedConfig
from imagine_deblur.train.published.counts import macs, parameters
from imagine_deblur.train.published.exported import keep_all_weights
from imagine_deblur.train.published.systems import Restorer, make_network
from imagine_deblur.train.published.trainer import load_network


def describe(
    restorer: Restorer,
    config: PublishedConfig,
    state: dict[str, Any],
    run: Path,
    *,
    scale: int,
    rotations: bool,
) -> ModelDescriptor:
    """The descriptor of a published network: three planes in [0, 1], not local.

    `run` is the folder of its training; `scale` and `rotations` are those of `export`.
    """
    last = config.phases[-1]
    return ModelDescriptor(
        name=config.name,
        version=imagine_deblur.__version__,
        # A graph of fixed sides says so itself; its tiles may begin anywhere.
        multiple_of=1 if config.system == "autoencoder" else config.multiple_of,
        local=False,
        scales=(scale,),
        licence=LICENCE,
        training={
            "system": config.system,
            "rotations": rotations,
            "data_sha256": state["training_checksum"],
            "steps": int(state["step"]),
            "of_steps": config.steps,
            "started_from": state["history"],
            "crops": config.crops(int(state["step"])),
            "seconds": round(float(state["seconds"])),
            "processor_seconds": round(float(state["processor_seconds"])),
            "phases": [phase.name for phase in config.phases],
            "batch": last.batch,
            "crop_px": last.crop,
            "degradation": last.degradation,
            "trained_at_scale": last.reduction,
            "parameters": parameters(restorer),
            "kmac_per_pixel": round(_kmac_per_pixel(config, rotations) / scale**2, 2),
            "validation": _figures(run),
        },
    )


def _kmac_per_pixel(config: PublishedConfig, rotations: bool) -> float:
    """Of the network's input."""
    side = config.multiple_of if config.system == "autoencoder" else TRACED
    passes = 4 if rotations else 1
    return passes * macs(lambda: make_network(config), side, side) / side**2 / 1000


def _figures(run: Path) -> dict[str, dict[str, float]]:
    """The last validation of a run by protocol; empty where none was made."""
    table = run / "validation.csv"
    if not table.exists():
        return {}
    figures: dict[str, dict[str, float]] = {}
    with table.open(newline="") as stream:
        for row in csv.DictReader(stream):
            name = row.pop("protocol")
            figures[name] = {
                key: round(float(value), 4)
                for key, value in row.items()
                if value != "nan" and not key.endswith("seconds")
            }
    return figures


def compare(path: str | os.PathLike[str], restorer: Restorer, *, side: int) -> dict[str, float]:
    """Largest absolute difference between each installed runtime and PyTorch on a random tile.

    Raises
    ------
    EngineError
        If one differs by more than the tolerance of `imagine_deblur.train.export`.
    """
    tile = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    with torch.inference_mode():
        expected = restorer(torch.from_numpy(tile)).numpy()
    return differences_from(path, tile, expected)


def export(
    checkpoint: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    scale: int | None = None,
    rotations: bool | None = None,
) -> dict[str, Any]:
    """Write a checkpoint's network as one ONNX file with its descriptor inside.

    Parameters
    ----------
    checkpoint : path
    path : path
        Replaced atomically, once the runtimes agree with PyTorch.
    scale : int, optional
        Factor by which captures are reduced before the network and enlarged after it: 1 is native,
        4 the published way. By default what the last phase was trained for.
    rotations : bool, optional
        Average over four rotations ("++"); by default as configured.

    Returns
    -------
    dict
        The descriptor's values, with ``difference`` per runtime added.

    Raises
    ------
    OptionsError
        The checkpoint is a VGG16, or the scale does not fit the network.
    EngineError
        If a runtime disagrees with PyTorch.
    """
    network, config, state = load_network(checkpoint)
    if config.system == "vgg16":
        raise OptionsError("checkpoint", os.fspath(checkpoint), "a network that restores images")
    scale = config.scale if scale is None else scale
    if scale < 1 or (config.system == "autoencoder" and scale > 1):
        raise OptionsError("scale", scale, "1 or more; 1 for the autoencoder")
    rotations = config.network.rotations if rotations is None else rotations
    restorer = Restorer(network, rotations=rotations).eval()
    round_kernels(restorer)
    fixed = config.system == "autoencoder"
    side = config.multiple_of if fixed else TRACED
    run = Path(checkpoint).parent
    descriptor = describe(restorer, config, state, run, scale=scale, rotations=rotations)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".tmp")
    try:
        trace(restorer, scratch, planes=3, side=side, fixed=fixed)
        halve_weights(scratch)
        keep_all_weights(scratch, restorer)
        label(scratch, descriptor)
        # Another size than the traced one: nothing of that size may be left in the graph.
        differences = compare(scratch, restorer, side=side if fixed else side + 32)
        measured = working_bytes_per_px(scratch, side if fixed else SERVED)
        descriptor = dataclasses.replace(descriptor, working_bytes=measured)
        label(scratch, descriptor)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    scratch.replace(path)
    return {**json.loads(descriptor.to_json()), "difference": differences}
