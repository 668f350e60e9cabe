"""Validation of the published systems: protocols on the validation scenes, blind by nature."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from imagine_deblur.errors import OptionsError
from imagine_deblur.evaluation.metrics.psf import mnc
from imagine_deblur.evaluation.protocols import PROTOCOLS, central_crop, load_scene
from imagine_deblur.train.published.config import PublishedConfig
from imagine_deblur.train.published.mgstnet import Mgstnet
from imagine_deblur.train.published.systems import Restorer, restore_image
from imagine_deblur.train.validation import LARGEST, psnr

Float32Array = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Case:
    """A degraded validation scene.

    Attributes
    ----------
    capture : (R, C, 3) uint8 ndarray
    sharp : (R, C, 3) float32 ndarray
    kernel : (K, K) float64 ndarray or None
        The true kernel; None where the blur differs from place to place.
    """

    capture: NDArray[np.uint8]
    sharp: Float32Array
    kernel: NDArray[np.float64] | None


def make_cases(name: str, folder: str | os.PathLike[str], *, aerial_every: int) -> list[Case]:
    """The cases of a protocol; of the aerial scenes each `aerial_every`-th, large ones cut.

    Raises
    ------
    OptionsError
        For a name that is no protocol.
    """
    if name not in PROTOCOLS:
        raise OptionsError("run.protocols", name, ", ".join(PROTOCOLS))
    cases = []
    for index, path in enumerate(PROTOCOLS[name].images(os.fspath(folder))):
        if path.parent.name == "aerial" and index % aerial_every:
            continue
        case = PROTOCOLS[name].make(central_crop(load_scene(path), LARGEST), index)
        kernel = None if case.psf is None else case.psf.kernel()
        cases.append(Case(case.degraded, case.sharp, kernel))
    return cases


def estimate_kernel(network: Mgstnet, image: Float32Array) -> NDArray[np.float64]:
    """MGSTNet's kernel for an image: (R, C, 3) float32 in [0, 1] to (K, K) float64 of sum 1."""
    rows, columns = (length - length % 4 for length in image.shape[:2])
    planes = np.ascontiguousarray(np.moveaxis(image[:rows, :columns], -1, 0))
    device = next(network.parameters()).device
    with torch.inference_mode():
        _, kernels = network(torch.from_numpy(planes)[None].to(device))
    kernel = kernels[0][0].double().cpu().numpy()
    return np.asarray(kernel / kernel.sum())


def evaluate(
    network: nn.Module, config: PublishedConfig, cases: Sequence[Case]
) -> dict[str, float]:
    """Mean PSNRs in dB, the 5th percentile of the gain, and for MGSTNet the mean MNC.

    Returns
    -------
    dict
        ``input``, ``ours``, ``gain_p5``, ``mnc`` (NaN where there is no kernel to compare).
    """
    restorer = Restorer(network, rotations=config.network.rotations)
    rows, agreements = [], []
    for case in cases:
        image = case.capture.astype(np.float32) / np.float32(255)
        restored = restore_image(
            restorer,
            image,
            multiple_of=config.multiple_of,
            fixed=config.system == "autoencoder",
            scale=config.scale,
        )
        rows.append((psnr(image, case.sharp), psnr(restored, case.sharp)))
        if isinstance(network, Mgstnet) and case.kernel is not None:
            agreements.append(mnc(estimate_kernel(network, image), case.kernel))
    table = np.asarray(rows)
    return {
        "input": float(table[:, 0].mean()),
        "ours": float(table[:, 1].mean()),
        "gain_p5": float(np.percentile(table[:, 1] - table[:, 0], 5)),
        "mnc": float(np.mean(agreements)) if agreements else float("nan"),
    }
