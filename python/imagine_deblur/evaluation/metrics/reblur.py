"""Whether a restored image explains its capture: blur it again and compare."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagine_deblur.degradation.forward import blur
from imagine_deblur.errors import InputImageError
from imagine_deblur.psf.models import PSF

FloatImage = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ReblurReport:
    """What is left between a capture and its reblurred restoration.

    Attributes
    ----------
    rms : float
        Root mean square of ``h (*) x - y``, full scale 1. With the true scene and PSF it is the
        capture's noise, rounding and JPEG error.
    bias : float
        Mean of ``h (*) x - y``: brightness added or lost.
    tiles : (n, m) float64 ndarray
        The same root mean square tile by tile, row by row; tiles at the right and lower edge may be
        smaller.
    tile_px : int
    """

    rms: float
    bias: float
    tiles: npt.NDArray[np.float64]
    tile_px: int


def reblur_residual(
    restored: FloatImage, capture: FloatImage, psf: PSF, tile_px: int = 64
) -> ReblurReport:
    """Reblur a restored image with the PSF and compare it with the capture.

    Parameters
    ----------
    restored, capture : (R, C) or (R, C, 3) float32 ndarray, [0, 1]
    psf : PSF
    tile_px : int, default 64
        Side of the tiles of the map.
    """
    if restored.shape != capture.shape:
        raise InputImageError(
            f"images of shape {restored.shape} and {capture.shape} do not compare"
        )
    residual = (blur(restored, psf) - capture).astype(np.float64)
    energy = residual**2 if residual.ndim == 2 else (residual**2).mean(axis=2)
    rows, columns = (np.arange(0, length, tile_px) for length in energy.shape)
    sums = np.add.reduceat(np.add.reduceat(energy, rows, axis=0), columns, axis=1)
    heights = np.diff(np.append(rows, energy.shape[0]))
    widths = np.diff(np.append(columns, energy.shape[1]))
    return ReblurReport(
        rms=float(np.sqrt(energy.mean())),
        bias=float(residual.mean()),
        tiles=np.sqrt(sums / np.outer(heights, widths)),
        tile_px=tile_px,
    )
