"""Batches of pairs: each a pure function of the seed and the step."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from imagine_deblur.engines.scaled import area_reduce
from imagine_deblur.train.published.config import PhaseConfig, PublishedConfig
from imagine_deblur.train.published.perceptual import LabelledScenes
from imagine_deblur.train.published.recipes import DEGRADATIONS
from imagine_deblur.train.scenes import Scenes

Float32Array = NDArray[np.float32]
Batch = tuple[torch.Tensor, torch.Tensor]


def make_pair(
    scenes: Scenes, phase: PhaseConfig, rng: np.random.Generator
) -> tuple[Float32Array, Float32Array]:
    """A capture and its truth.

    Returns
    -------
    captured, sharp : (3, crop, crop) float32 ndarray in [0, 1]
    """
    piece, satellite = scenes.draw(rng, satellite_share=phase.satellite_share)
    piece = piece[: phase.region, : phase.region]
    planes = np.ascontiguousarray(np.moveaxis(piece, -1, 0))
    if phase.reduced == "scene":
        planes = area_reduce(planes, phase.reduction)
    sharp, capture = DEGRADATIONS[phase.degradation](
        np.ascontiguousarray(np.moveaxis(planes, 0, -1)), rng, satellite
    )
    pair = []
    for image in (capture.astype(np.float32) / np.float32(255), sharp):
        planes = np.ascontiguousarray(np.moveaxis(image, -1, 0))
        if phase.reduced == "pair":
            planes = area_reduce(planes, phase.reduction)
        inner = slice(phase.margin, phase.margin + phase.crop)
        pair.append(np.ascontiguousarray(planes[:, inner, inner]))
    return pair[0], pair[1]


class Pairs(Dataset[Batch]):
    """Item s is the batch of step s of a phase: (B, 3, crop, crop) float32 captures and truths."""

    def __init__(
        self, folder: str | os.PathLike[str], config: PublishedConfig, phase_index: int
    ) -> None:
        self.seed, self.phase_index = config.seed, phase_index
        self.phase = config.phases[phase_index]
        self.scenes = Scenes(folder, region=self.phase.region, smallest=self.phase.region)

    def __len__(self) -> int:
        return self.phase.steps

    def __getitem__(self, step: int) -> Batch:
        captured, sharp = [], []
        for place in range(self.phase.batch):
            rng = np.random.default_rng((self.seed, 4, self.phase_index, step, place))
            one, other = make_pair(self.scenes, self.phase, rng)
            captured.append(one)
            sharp.append(other)
        return torch.from_numpy(np.stack(captured)), torch.from_numpy(np.stack(sharp))


class Labelled(Dataset[Batch]):
    """Item s is the batch of step s for the VGG16: images and class numbers."""

    def __init__(self, scenes: LabelledScenes, config: PublishedConfig, phase_index: int) -> None:
        self.scenes, self.phase = scenes, config.phases[phase_index]
        self.seed = config.seed

    def __len__(self) -> int:
        return self.phase.steps

    def __getitem__(self, step: int) -> Batch:
        return self.scenes.batch(self.seed, step, self.phase.batch, self.phase.crop)


def batches(dataset: Dataset[Batch], first: int, end: int, workers: int) -> Iterator[Batch]:
    """The batches of steps `first` to `end` - 1 in order, made ahead by `workers` processes."""
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=range(first, end),
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
    )
    return iter(loader)
