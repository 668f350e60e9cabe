"""What every training has in common: networks on a device, a step, and a checkpoint of it all."""

from __future__ import annotations

import abc
import os
from pathlib import Path
from typing import Any, ClassVar

import torch

from imagine_deblur.errors import EngineError, OptionsError
from imagine_deblur.train.device import Device


class Learner(abc.ABC):
    """State of a training, one optimiser step at a time.

    Weights start from the seed, a batch follows from the seed and the step, and nothing else is
    random; a checkpoint holds everything a step changes. So a run that was interrupted and resumed
    ends with the same bits as one that was not, on the same machine and thread count.

    Parameters
    ----------
    device : Device
    precision : str
        ``"f32"``, ``"bf16"`` or ``"auto"``, see `Device.precision`.
    """

    #: What the checkpoints of a kind of learner call themselves.
    FORMAT: ClassVar[str]

    def __init__(self, device: Device, precision: str) -> None:
        self.device = device
        self.precision = device.precision(precision)
        self.step = 0

    @abc.abstractmethod
    def train_step(
        self, inputs: torch.Tensor, target: torch.Tensor, traits: torch.Tensor | None = None
    ) -> dict[str, float]:
        """One optimiser step on a batch; returns the loss, its parts and the learning rate.

        `traits` tell a network that adapts to its capture what that is like.
        """

    @abc.abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything a step changes, beside the step's number: tensors and plain values."""

    @abc.abstractmethod
    def take(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave; `step` is set already."""

    def save(self, path: str | os.PathLike[str], **extra: Any) -> None:
        """Write a checkpoint atomically; `extra` are plain values to keep with it."""
        write_checkpoint(
            path, {"format": self.FORMAT, "version": 1, "step": self.step, **self.state(), **extra}
        )

    def resume(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint's content."""
        self.step = int(state["step"])
        self.take(state)

    def require_finite(self, parts: dict[str, float]) -> None:
        """Raise an EngineError where a part of the loss is not finite."""
        if not all(abs(value) < float("inf") for value in parts.values()):  # NaN fails too
            raise EngineError(
                f"step {self.step}: the loss is not finite ({parts}); lower the learning rate or "
                "set the precision to f32",
                engine="torch",
            )


def write_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a checkpoint so that there is the old one or the new one, whatever happens."""
    path = Path(path)
    scratch = path.with_suffix(".tmp")
    with scratch.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(path)


def read_checkpoint(path: str | os.PathLike[str], expected: str) -> dict[str, Any]:
    """A checkpoint's content (tensors and plain values only).

    Raises
    ------
    OptionsError
        If the file is no checkpoint of the format `expected`.
    """
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or state.get("format") != expected:
        raise OptionsError("checkpoint", os.fspath(path), f"a checkpoint of format {expected}")
    return state
