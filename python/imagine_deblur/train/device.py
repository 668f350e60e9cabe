"""Where a network is trained, and how that machine is used best.

On an accelerator: bf16 autocast, channels-last tensors, a fused optimiser, copies that do not
wait. On a CPU: plain layout in float32 (on AVX2 a step of MIMO-UNet took 1.08 s so and 1.33 s
channels-last), channels-last in bf16 where the processor has bf16 arithmetic. ``"rehearsal"`` is
the accelerator's path on the CPU, line for line: run it before renting a machine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from imagine_deblur.errors import EngineError, OptionsError

NAMES = ("cpu", "cuda", "rehearsal")

#: A larger batch is taken while it makes crops at least so much faster.
WORTH = 1.05

#: Where a search for the batch size stops, whatever fits.
LARGEST_BATCH = 512

_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # the last one is Arm's


@dataclasses.dataclass(frozen=True)
class Device:
    """A device and the settings that suit it.

    Attributes
    ----------
    name : str
        One of `NAMES`.
    is_accelerator : bool
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise OptionsError("device", self.name, ", ".join(NAMES))
        if self.name == "cuda" and not torch.cuda.is_available():
            raise EngineError(
                "device 'cuda': PyTorch finds no GPU here; use --device cpu, or install the "
                "CUDA build of PyTorch",
                engine="torch",
            )

    @classmethod
    def chosen(cls, name: str | None) -> Device:
        """The device of that name; without one the GPU where there is one, else the CPU."""
        return cls(name or ("cuda" if torch.cuda.is_available() else "cpu"))

    @property
    def is_accelerator(self) -> bool:
        """Whether the accelerator's settings are used."""
        return self.name != "cpu"

    @property
    def handle(self) -> torch.device:
        """PyTorch's name for it."""
        return torch.device("cuda" if self.name == "cuda" else "cpu")

    def precision(self, wanted: str) -> str:
        """``"f32"`` or ``"bf16"``: `wanted`, where ``"auto"`` is bf16 wherever it is fast."""
        if wanted != "auto":
            return wanted
        return "bf16" if self.is_accelerator or _cpu_has_bf16() else "f32"

    def layout(self, precision: str) -> torch.memory_format:
        """The memory format of weights and images."""
        channels_last = self.is_accelerator or precision == "bf16"
        return torch.channels_last if channels_last else torch.contiguous_format

    def autocast(self, precision: str) -> contextlib.AbstractContextManager[Any]:
        """The context of a forward pass."""
        context: contextlib.AbstractContextManager[Any] = torch.autocast(
            self.handle.type, torch.bfloat16, enabled=precision == "bf16"
        )
        return context

    def place(self, network: nn.Module, precision: str) -> nn.Module:
        """The network on the device, in its layout."""
        placed: nn.Module = network.to(self.handle, memory_format=self.layout(precision))
        return placed

    def send(self, image: torch.Tensor, precision: str) -> torch.Tensor:
        """A (B, P, H, W) batch on the device, in its layout."""
        if self.name == "cuda":
            image = image.pin_memory()
        return image.to(
            self.handle, non_blocking=self.is_accelerator, memory_format=self.layout(precision)
        )

    def adam(
        self, parameters: Iterable[nn.Parameter], rate: float, betas: tuple[float, float]
    ) -> torch.optim.Adam:
        """Adam in one fused kernel: 24 ms instead of 58 ms for MIMO-UNet on one AVX2 core."""
        return torch.optim.Adam(parameters, lr=rate, betas=betas, fused=True)

    def clock(self) -> float:
        """Seconds that count against a budget: the process's own on a CPU, else the device's."""
        if not self.is_accelerator:
            return time.process_time()
        if self.name == "cuda":
            torch.cuda.synchronize()
        return time.monotonic()


def _cpu_has_bf16() -> bool:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    lines = (line.partition(":") for line in text.splitlines())
    flags = {f for key, _, value in lines if key.strip() in ("flags", "Features")
             for f in value.split()}  # fmt: skip
    return bool(flags & _BF16_FLAGS)


def find_batch(
    seconds_of: Callable[[int], float],
    first: int,
    largest: int = LARGEST_BATCH,
) -> int:
    """The batch that makes crops fastest: doubled while it fits and is worth it.

    Parameters
    ----------
    seconds_of : callable
        Seconds of one step with a batch of so many crops. Raises PyTorch's out-of-memory error
        where it does not fit.
    first : int
        The least batch, which has to fit.
    largest : int
        Where the search ends.

    Returns
    -------
    int
        `first` times a power of 2.

    Raises
    ------
    EngineError
        Not even `first` fits.
    """
    try:
        best, fastest = first, seconds_of(first) / first
    except torch.OutOfMemoryError as error:
        raise EngineError(
            f"a batch of {first} does not fit the device: {error}; take smaller crops",
            engine="torch",
        ) from None
    while 2 * best <= largest:
        try:
            each = seconds_of(2 * best) / (2 * best)
        except torch.OutOfMemoryError:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            break
        if each * WORTH > fastest:
            break
        best, fastest = 2 * best, each
    return best
