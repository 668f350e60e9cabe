"""Trained weights in exported files: what a training starts from, or goes on with elsewhere.

An exported file holds the kernels as float16, everything else as it was trained. Optimisers and
discriminators are not in it: they start afresh.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import nn

from imagine_deblur.engines.descriptor import describe
from imagine_deblur.errors import OptionsError
from imagine_deblur.train.onnx_graph import HALVED

#: How the names of a network's weights begin in the graph of its restorer.
_ROOT = "network."

#: What comes before the name of a weight that the graph does not use: the name alone may be that of
#: a value which the tracer computed from it.
_UNUSED = "unused."


@dataclasses.dataclass(frozen=True)
class Exported:
    """What a file says of a published network.

    Attributes
    ----------
    name : str
        Of the configuration.
    network : dict of str to tensor
        Weights by the names in PyTorch's state, float32.
    training : mapping
        Of its descriptor: steps, hours, data.
    """

    name: str
    network: dict[str, torch.Tensor]
    training: Mapping[str, Any]

    def run(self) -> dict[str, Any]:
        """Its training, as an entry of the history of a later one."""
        kept = ("steps", "crops", "seconds", "processor_seconds")
        return {"name": self.name, **{key: self.training[key] for key in kept}}

    @property
    def history(self) -> list[dict[str, Any]]:
        """The trainings before its own."""
        return [dict(entry) for entry in self.training["started_from"]]


def read_exported(path: str | os.PathLike[str], option: str) -> Exported:
    """Read the weights of a published network from the file that was exported of it.

    Raises
    ------
    OptionsError
        The file, which `option` names, is not there or not one of a published system.
    EngineError
        It is no readable network.
    """
    if not Path(path).is_file():
        raise OptionsError(option, os.fspath(path), "an exported file")
    descriptor = describe(path)
    if "system" not in descriptor.training:
        raise OptionsError(option, os.fspath(path), "the export of a published system")
    found = {}
    for constant in onnx.load(os.fspath(path)).graph.initializer:
        name = constant.name.removesuffix(HALVED).removeprefix(_UNUSED)
        if name.startswith(_ROOT):
            while name.startswith(_ROOT):  # the average over rotations wraps the network
                name = name.removeprefix(_ROOT)
            value = torch.from_numpy(numpy_helper.to_array(constant).copy())
            found[name] = value.float() if value.is_floating_point() else value
    return Exported(descriptor.name, found, descriptor.training)


def keep_all_weights(path: str | os.PathLike[str], network: nn.Module) -> None:
    """Add to a graph the weights that it does not use.

    These are outputs at smaller scales, which only the loss looks at, and what tracing computed in
    advance. No node reads them, so runtimes leave them out.

    Parameters
    ----------
    path : path
        Changed.
    network : nn.Module
        The restorer that was traced.
    """
    model = onnx.load(os.fspath(path))
    held = {constant.name.removesuffix(HALVED) for constant in model.graph.initializer}
    model.graph.initializer.extend(
        numpy_helper.from_array(value.numpy(), _UNUSED + name)
        for name, value in network.state_dict().items()
        if name not in held
    )
    onnx.save(model, os.fspath(path))
