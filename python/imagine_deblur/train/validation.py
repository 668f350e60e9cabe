"""Validation during training: `evaluation.protocols` on the validation scenes.

The cases are made once and kept in memory as network input planes; each evaluation is one pass of
the network over whole images. Scenes larger than `LARGEST` a side are cut to their middle, so that
one pass stays short: the figures steer training, those to be reported come from `imagine-deblur
evaluate`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from imagine_deblur.capture.analysis import analyse
from imagine_deblur.capture.result import Capture
from imagine_deblur.capture.ring_gain import TRAITS, RingGains
from imagine_deblur.errors import OptionsError
from imagine_deblur.evaluation.protocols import PROTOCOLS, load_scene
from imagine_deblur.psf import PSF
from imagine_deblur.restoration.wiener import WienerSpec, wiener
from imagine_deblur.train.network import RGB
from imagine_deblur.train.planes import input_planes
from imagine_deblur.train.trainer import AnyNetwork, applied

Float32Array = NDArray[np.float32]

#: Largest side of a validation image, px.
LARGEST = 640

#: Largest mirrored border of a validation image, px: above what a U-shape uses of its reach.
LARGEST_PADDING = 64

#: Noise-to-signal ratios among which the oracle Wiener filter takes the best per image.
_ORACLE_NSR = tuple(float(10.0**e) for e in np.arange(-4.0, 0.01, 0.4))


def psnr(restored: Float32Array, sharp: Float32Array) -> float:
    """PSNR in dB over all samples, range 1, restored values clipped to [0, 1], capped at 60 dB."""
    error = float(np.mean((np.clip(restored, 0, 1) - sharp) ** 2, dtype=np.float64))
    return min(60.0, -10.0 * float(np.log10(max(error, 1e-6))))


@dataclasses.dataclass(frozen=True)
class ValidationCase:
    """One degraded validation image.

    Attributes
    ----------
    planes : (P, R, C) float16 ndarray
        Network input.
    sharp : (R, C, 3) float16 ndarray
    traits : (TRAITS,) float32 ndarray
    input_psnr, oracle_psnr : float
        Of the capture, and of the best single Wiener filter with the true PSF.
    """

    planes: NDArray[np.float16]
    sharp: NDArray[np.float16]
    traits: Float32Array
    input_psnr: float
    oracle_psnr: float


def _middle(image: Float32Array) -> Float32Array:
    top, left = (max(0, (length - LARGEST) // 2) for length in image.shape[:2])
    return np.ascontiguousarray(image[top : top + LARGEST, left : left + LARGEST])


def make_cases(
    name: str, data_dir: str | os.PathLike[str], spec: WienerSpec, *, aerial_every: int = 1
) -> list[ValidationCase]:
    """The cases of a protocol that have a PSF; of the aerial scenes each `aerial_every`-th.

    Raises
    ------
    OptionsError
        For a name that is no protocol.
    """
    if name not in PROTOCOLS:
        raise OptionsError("run.protocols", name, ", ".join(PROTOCOLS))
    protocol = PROTOCOLS[name]
    cases = []
    for scene in protocol.scenes(os.fspath(data_dir)):
        if scene.scene_set == "aerial" and scene.index % aerial_every:
            continue
        case = protocol.make(_middle(load_scene(scene.path)), scene.index)
        if case.psf is None:
            continue
        capture = case.degraded.astype(np.float32) / np.float32(255)
        oracle = max(psnr(wiener(capture, case.psf, nsr), case.sharp) for nsr in _ORACLE_NSR)
        psf, gains = _blind(case.degraded)
        cases.append(
            ValidationCase(
                input_planes(case.degraded, psf or case.psf, spec, gains).astype(np.float16),
                case.sharp.astype(np.float16),
                np.zeros(TRAITS, np.float32) if gains is None else gains.traits,
                psnr(capture, case.sharp),
                oracle,
            )
        )
    return cases


def _blind(capture: NDArray[np.uint8]) -> tuple[PSF | None, RingGains | None]:
    """The PSF and the gains of a capture of which nothing but its samples is known."""
    found = analyse(Capture(lambda: [capture]), None, nsr=None, checked=False, raise_unknown=False)
    return (found.psf, found.gains) if isinstance(found.psf, PSF) and found.gains else (None, None)


def restore(
    network: AnyNetwork, planes: Float32Array, traits: Float32Array | None = None
) -> Float32Array:
    """Run a network over a whole image in float32, mirrored at its borders by the halo.

    Parameters
    ----------
    network : Network, Mixture or UNet
        On any device.
    planes : (P, R, C) float32 ndarray
        Network input; R and C above the halo.
    traits : (TRAITS,) float32 ndarray, optional
        Of the capture.

    Returns
    -------
    (R, C, 3) float32 ndarray
        Not clipped.
    """
    spec = network.spec
    _, rows, columns = planes.shape
    halo, multiple = min(spec.halo, LARGEST_PADDING), spec.multiple_of
    device = next(network.parameters()).device
    pad = (halo, halo + -columns % multiple, halo, halo + -rows % multiple)
    with torch.inference_mode():
        x = torch.from_numpy(planes).to(device)[None]
        x = functional.pad(x, pad, mode="reflect").contiguous(memory_format=torch.channels_last)
        known = None if traits is None else torch.from_numpy(traits).to(device)[None]
        y = applied(network, x, known)[0, :, halo : halo + rows, halo : halo + columns]
        restored: Float32Array = y.permute(1, 2, 0).contiguous().cpu().numpy()
    return restored


def evaluate(network: AnyNetwork, cases: Sequence[ValidationCase]) -> dict[str, float]:
    """Mean PSNRs in dB over cases, and the 5th percentile of the gain.

    Returns
    -------
    dict
        ``input``, ``oracle``, ``base`` (the middle Wiener plane), ``ours``, ``gain_p5``.
    """
    rows = []
    for case in cases:
        planes = case.planes.astype(np.float32)
        sharp = case.sharp.astype(np.float32)
        base = np.moveaxis(planes[RGB : 2 * RGB], 0, -1) + np.float32(0.5)
        rows.append(
            (
                case.input_psnr,
                case.oracle_psnr,
                psnr(base, sharp),
                psnr(restore(network, planes, case.traits), sharp),
            )
        )
    table = np.asarray(rows)
    mean = table.mean(axis=0)
    return {
        "input": float(mean[0]),
        "oracle": float(mean[1]),
        "base": float(mean[2]),
        "ours": float(mean[3]),
        "gain_p5": float(np.percentile(table[:, 3] - table[:, 0], 5)),
    }
