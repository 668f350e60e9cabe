"""What a network costs: parameters, and multiply-accumulates as papers count them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

_COUNTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def parameters(network: nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in network.parameters())


def macs(make: Callable[[], nn.Module], rows: int, columns: int, planes: int = 3) -> int:
    """Multiply-accumulates of the convolutions and dense layers of one pass.

    Parameters
    ----------
    make : callable
        Makes the network; called under the "meta" device, so nothing is allocated or computed.
    rows, columns, planes : int
        Of the (1, planes, rows, columns) input.
    """
    total = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Linear):
            total += layer.weight.numel() * output.shape[:-1].numel()
        elif isinstance(layer, nn.ConvTranspose2d):
            total += layer.weight.numel() * inputs[0].shape[-2:].numel() * inputs[0].shape[0]
        elif isinstance(layer, nn.Conv2d):
            total += layer.weight.numel() * output.shape[-2:].numel() * output.shape[0]

    with torch.device("meta"):
        network = make().eval()
        for layer in network.modules():
            if isinstance(layer, _COUNTED):
                layer.register_forward_hook(count)
        with torch.no_grad():
            network(torch.empty(1, planes, rows, columns))
    return total
