"""Fresh weights scaled to the data they will see.

Blurred scenes of low contrast are a large constant and little else; with the usual random weights
the features are that constant too, and hundreds of steps pass before the differences count. So the
first filters get a spatial sum of 0, and each convolution in turn is scaled and shifted so that its
answer has mean 0 and variance 1 (data-dependent initialisation, Kraehenbuehl et al. 2016), the last
one of a residual block a standard deviation of 0.1. The network still hands the capture on.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from imagine_deblur.train.published.mgstnet import AttentionBlock, Mgstnet
from imagine_deblur.train.published.mimo_unet import MimoUnet, ResidualBlock

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def scale_to_data(network: nn.Module, images: torch.Tensor) -> None:
    """Scale the fresh weights of a MIMO-UNet or of MGSTNet's image modules; others stay.

    Parameters
    ----------
    network : nn.Module
        Changed in place.
    images : (B, 3, H, W) float32 tensor in [0, 1]
        Captures as in training.
    """
    entries, outputs, layers = _parts(network)
    if not layers:
        return
    blocks = (b for b in network.modules() if isinstance(b, ResidualBlock | AttentionBlock))
    ends = {block.second for block in blocks}

    def rescale(layer: nn.Module, inputs: object, answer: torch.Tensor) -> torch.Tensor:
        assert isinstance(layer, _CONVOLUTIONS)
        assert layer.bias is not None
        mean, deviation = answer.mean(dim=(0, 2, 3)), answer.std(dim=(0, 2, 3)) + 1e-6
        factor = (0.1 if layer in ends else 1.0) / deviation
        shape = (-1, 1, 1, 1) if isinstance(layer, nn.Conv2d) else (1, -1, 1, 1)
        layer.weight *= factor.view(shape)
        layer.bias.sub_(mean).mul_(factor)
        return (answer - mean.view(1, -1, 1, 1)) * factor.view(1, -1, 1, 1)

    handles = [layer.register_forward_hook(rescale) for layer in layers]
    try:
        with torch.no_grad():
            for entry in entries:
                entry.weight -= entry.weight.mean(dim=(2, 3), keepdim=True)
            for output in outputs:
                output.weight.zero_()
                output.bias.zero_()
            network(images)
    finally:
        for handle in handles:
            handle.remove()


def _parts(network: nn.Module) -> tuple[list[nn.Module], list[nn.Module], list[nn.Module]]:
    """The convolutions that see an image, those that end in one, and those to scale."""
    if isinstance(network, MimoUnet):
        first = [network.head[0], network.shallow2.body[0][0], network.shallow4.body[0][0]]
        last: list[nn.Module] = [network.out1, network.out2, network.out4]
        return first, last, [layer for layer in _convolutions(network) if layer not in last]
    if isinstance(network, Mgstnet):
        modules = [stage.image_proximal for stage in network.stages]
        last = [module.tail for module in modules]
        gates = {
            gate
            for block in network.modules()
            if isinstance(block, AttentionBlock)
            for gate in (block.squeeze, block.excite)
        }
        scaled = [layer for module in modules for layer in _convolutions(module)]
        scaled = [layer for layer in scaled if layer not in last and layer not in gates]
        return [module.head for module in modules], last, scaled
    return [], [], []


def _convolutions(network: nn.Module) -> Iterator[nn.Module]:
    return (layer for layer in network.modules() if isinstance(layer, _CONVOLUTIONS))
