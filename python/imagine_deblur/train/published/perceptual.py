"""A VGG16 trained on scene classes, and the perceptual loss on its features.

IMAGIN-e's perceptual loss uses a VGG16 "pre-trained on Sentinel-2 images", which is not published.
Ours is trained here, supervised, on the classes that the aerial scenes of the training folder bear
in their file names (``aerial_<class>_<number>``). The convolutions are VGG16's (Simonyan &
Zisserman 2015, configuration D), each followed by batch normalisation; instead of three dense
layers for 224x224 inputs a global average and one dense layer give the class, which leaves the
features as they are and takes crops of any size.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.nn import functional

from imagine_deblur.errors import InputImageError, OptionsError
from imagine_deblur.train.scenes import list_images

#: Convolutions per block of configuration D; widths are 1, 2, 4, 8 and 8 times the first.
BLOCKS = (2, 2, 3, 3, 3)

_CLASS = re.compile(r"aerial_([a-z]+)_")


class SceneVgg(nn.Module):
    """VGG16's convolutions with a global average and a dense layer for the classes.

    Parameters
    ----------
    classes : int
    width : int
        Channels of the first block: 64 in VGG16.
    """

    def __init__(self, classes: int, width: int = 64) -> None:
        super().__init__()
        blocks = []
        inputs = 3
        for number, count in enumerate(BLOCKS):
            outputs = width * min(2**number, 8)
            layers: list[nn.Module] = []
            for _ in range(count):
                layers += [
                    nn.Conv2d(inputs, outputs, 3, 1, 1),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(),
                ]
                inputs = outputs
            blocks.append(nn.Sequential(*layers))
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(inputs, classes)

    def features(self, image: torch.Tensor, last: int = len(BLOCKS)) -> list[torch.Tensor]:
        """(B, 3, H, W) in [0, 1] to the features behind each of the first `last` blocks."""
        x = (image - 0.5) * 4.0
        found = []
        for number, block in enumerate(self.blocks[:last]):
            if number:
                x = functional.max_pool2d(x, 2)
            x = block(x)
            found.append(x)
        return found

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) in [0, 1], sides of 16 and more, to (B, classes) logits."""
        logits: torch.Tensor = self.head(self.features(image)[-1].mean(dim=(-2, -1)))
        return logits


class PerceptualLoss(nn.Module):
    """Mean squared difference of a frozen VGG's features (Johnson et al. 2016, equation 2).

    Parameters
    ----------
    vgg : SceneVgg
    blocks : tuple of int
        Blocks, counted from 1, whose last activations are compared: (3,) is relu3_3.
    """

    def __init__(self, vgg: SceneVgg, blocks: tuple[int, ...] = (3,)) -> None:
        super().__init__()
        if not blocks or not all(1 <= b <= len(BLOCKS) for b in blocks):
            raise OptionsError("perceptual.blocks", blocks, f"numbers from 1 to {len(BLOCKS)}")
        self.vgg = vgg.eval().requires_grad_(False)
        self.blocks = blocks

    def train(self, mode: bool = True) -> PerceptualLoss:
        """The statistics stay frozen whatever is asked for."""
        super().train(False)
        return self

    def forward(self, restored: torch.Tensor, sharp: torch.Tensor) -> torch.Tensor:
        """Two (B, 3, H, W) images to a scalar."""
        last = max(self.blocks)
        ours, theirs = self.vgg.features(restored, last), self.vgg.features(sharp, last)
        terms = [
            functional.mse_loss(ours[b - 1].float(), theirs[b - 1].float()) for b in self.blocks
        ]
        return torch.stack(terms).sum()


class LabelledScenes:
    """The aerial scenes of a folder with the class in their names.

    Parameters
    ----------
    folder : path
    smallest : int
        Scenes with a side below it are left out, px.
    classes : tuple of str, optional
        Those to number the labels by; other scenes are left out. By default all that are found.

    Attributes
    ----------
    classes : tuple of str
        Sorted.
    images : list of (R, C, 3) uint8 ndarray
    labels : list of int

    Raises
    ------
    InputImageError
        If fewer than two classes are found.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        smallest: int,
        classes: tuple[str, ...] | None = None,
    ) -> None:
        named: list[tuple[str, Path]] = []
        for path in list_images(folder):
            match = _CLASS.match(path.name)
            if match and (classes is None or match[1] in classes):
                named.append((match[1], path))
        self.classes = classes or tuple(sorted({name for name, _ in named}))
        if len(self.classes) < 2:
            raise InputImageError(
                "no scene classes: files named aerial_<class>_<number> are needed",
                path=str(folder),
            )
        self.images: list[NDArray[np.uint8]] = []
        self.labels: list[int] = []
        for name, path in named:
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            if min(pixels.shape[:2]) >= smallest:
                self.images.append(pixels)
                self.labels.append(self.classes.index(name))
        if not self.images:
            raise InputImageError(
                f"no labelled scene of at least {smallest} px a side", path=str(folder)
            )

    def batch(
        self, seed: int, step: int, count: int, crop: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Random crops, turned and flipped, of brightness and contrast changed a little.

        Returns
        -------
        images : (count, 3, crop, crop) float32 tensor in [0, 1]
        labels : (count,) int64 tensor
        """
        rng = np.random.default_rng((seed, 5, step))
        images = np.empty((count, 3, crop, crop), np.float32)
        labels = np.empty(count, np.int64)
        for place in range(count):
            index = int(rng.integers(len(self.images)))
            pixels = self.images[index]
            top = int(rng.integers(pixels.shape[0] - crop + 1))
            left = int(rng.integers(pixels.shape[1] - crop + 1))
            piece = pixels[top : top + crop, left : left + crop].astype(np.float32) / 255.0
            piece = np.rot90(piece[:, :: -1 if rng.random() < 0.5 else 1], int(rng.integers(4)))
            piece = (piece - 0.5) * rng.uniform(0.7, 1.3) + 0.5 + rng.uniform(-0.1, 0.1)
            images[place] = np.clip(np.moveaxis(piece, -1, 0), 0, 1)
            labels[place] = self.labels[index]
        return torch.from_numpy(images), torch.from_numpy(labels)


def accuracy(vgg: SceneVgg, scenes: LabelledScenes) -> float:
    """Share of whole scenes whose class is found; the network is put into evaluation mode."""
    device = next(vgg.parameters()).device
    right = 0
    was_training = vgg.training
    vgg.eval()
    with torch.inference_mode():
        for pixels, label in zip(scenes.images, scenes.labels, strict=True):
            image = torch.from_numpy(np.moveaxis(pixels, -1, 0).astype(np.float32) / 255.0)
            right += int(vgg(image[None].to(device)).argmax()) == label
    vgg.train(was_training)
    return right / len(scenes.images)
