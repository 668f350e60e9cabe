"""The systems by name: their networks and losses, and whole images through them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from imagine_deblur.engines.scaled import area_reduce, bicubic_enlarge
from imagine_deblur.train.published import mgstnet, mimo_unet
from imagine_deblur.train.published.autoencoder import Autoencoder
from imagine_deblur.train.published.config import LossConfig, PublishedConfig
from imagine_deblur.train.published.perceptual import SceneVgg

Float32Array = NDArray[np.float32]

#: Blend margin where an image is restored in tiles of fixed size, a share of their side.
OVERLAP = 0.25


def make_network(config: PublishedConfig, *, classes: int = 0) -> nn.Module:
    """The network a configuration describes, with random weights; `classes` is for the VGG16."""
    net = config.network
    match config.system:
        case "mimo-unet":
            return mimo_unet.MimoUnet(net.width, net.blocks)
        case "mgstnet":
            return mgstnet.Mgstnet(
                net.stages, net.widths, net.blocks, net.kernel_width, net.kernel_size, net.reduction
            )
        case "autoencoder":
            return Autoencoder(net.width, net.code, net.side)
        case _:
            return SceneVgg(classes, net.width)


def reconstruction_loss(
    system: str,
    answer: object,
    captured: torch.Tensor,
    target: torch.Tensor,
    weights: LossConfig,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of a system's own paper, without adversarial and perceptual parts.

    Parameters
    ----------
    system : str
    answer
        What the network returned.
    captured : (B, 3, H, W) float32 tensor
    target : (B, 3, H, W) float32 tensor, or (B,) int64 classes for the VGG16
    weights : LossConfig

    Returns
    -------
    loss : scalar tensor
    image : (B, 3, H, W) float32 tensor
        The restored image; the logits for the VGG16.
    """
    image = mimo_unet.first_output(answer).float()
    if system == "vgg16":
        return functional.cross_entropy(image, target), image
    if system == "autoencoder":
        return functional.mse_loss(image, target), image
    if system == "mgstnet":
        assert isinstance(answer, tuple)
        images, kernels = answer
        loss = mgstnet.charbonnier_loss(images, target)
        return loss + mgstnet.KERNEL_WEIGHT * mgstnet.kernel_loss(kernels, target, captured), image
    assert isinstance(answer, Sequence)
    scales = [part.float() for part in answer]
    loss = weights.content * mimo_unet.content_loss(scales, target)
    if weights.frequency:
        loss = loss + weights.frequency * mimo_unet.frequency_loss(scales, target)
    return loss, image


class Restorer(nn.Module):
    """A network as it is served: one image in, the restored image out, float32."""

    def __init__(self, network: nn.Module, *, rotations: bool = False) -> None:
        super().__init__()
        self.network = mimo_unet.RotationAverage(network) if rotations else network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(1, 3, H, W) in [0, 1] to the same shape, not clipped."""
        return mimo_unet.first_output(self.network(image))


def restore_image(
    restorer: nn.Module, image: Float32Array, *, multiple_of: int, fixed: bool, scale: int = 1
) -> Float32Array:
    """Restore a whole image, for validation.

    Parameters
    ----------
    restorer : Restorer
        On any device.
    image : (R, C, 3) float32 ndarray in [0, 1]
    multiple_of : int
        Of the network's input sides; borders are mirrored up to it.
    fixed : bool
        The network takes squares of `multiple_of` only; they overlap and are blended, and `scale`
        is 1.
    scale : int
        By which the image is reduced before and enlarged after.

    Returns
    -------
    (R, C, 3) float32 ndarray
        Not clipped.
    """
    rows, columns = image.shape[:2]
    unit = multiple_of * scale
    if fixed:
        tall, wide = max(rows, unit), max(columns, unit)
    else:
        tall, wide = rows + -rows % unit, columns + -columns % unit
    planes = np.moveaxis(image, -1, 0)
    planes = np.pad(planes, ((0, 0), (0, tall - rows), (0, wide - columns)), mode="symmetric")
    planes = np.ascontiguousarray(planes)
    if fixed:
        restored = _in_tiles(restorer, planes, unit)
    else:
        restored = bicubic_enlarge(_whole(restorer, area_reduce(planes, scale)), scale)
    return np.ascontiguousarray(np.moveaxis(restored[:, :rows, :columns], 0, -1))


def _whole(restorer: nn.Module, planes: Float32Array) -> Float32Array:
    device = next(restorer.parameters()).device
    with torch.inference_mode():
        answer = restorer(torch.from_numpy(np.ascontiguousarray(planes))[None].to(device))
    result: Float32Array = answer[0].float().cpu().numpy()
    return result


def _in_tiles(restorer: nn.Module, planes: Float32Array, side: int) -> Float32Array:
    """Overlapping squares with windows that rise linearly over the overlap."""
    overlap = int(OVERLAP * side)
    ramp = np.minimum(np.arange(side) + 1, overlap).astype(np.float32)
    line = np.minimum(ramp, ramp[::-1])
    window = np.outer(line, line)
    total = np.zeros_like(planes)
    weight = np.zeros(planes.shape[1:], np.float32)
    for top in _starts(planes.shape[1], side, overlap):
        for left in _starts(planes.shape[2], side, overlap):
            place = (slice(top, top + side), slice(left, left + side))
            total[:, *place] += window * _whole(restorer, planes[:, *place])
            weight[place] += window
    return total / weight


def _starts(length: int, side: int, overlap: int) -> list[int]:
    return [*range(0, length - side, side - overlap), length - side]
