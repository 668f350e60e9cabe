"""PSFs and gains as the core's transforms take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imagine_deblur import _core
from imagine_deblur.psf.models import PSF
from imagine_deblur.restoration.gains import COLOUR_GAIN, HIGHEST, LUMA_GAIN, PlaneGain
from imagine_deblur.support.fft_size import fast_length
from imagine_deblur.support.process_memory import return_free_memory

_ENTRIES = 16385
"""Of a radial OTF's table: a step of 4e-5 cycles/px, so that linear interpolation of a disk of 10
px is off by 2e-7, as much as float32 is."""


def padded_length(length: int, gap: int) -> int:
    """Return what an axis is extended to, px; `gap` as for `sizes_for`."""
    return fast_length(length + gap)


@lru_cache(maxsize=16)
def sizes_for(rows: int, columns: int, gap: int) -> _core.PlaneSizes:
    """Return the sizes and tables of the transforms of a plane.

    Parameters
    ----------
    rows, columns : int
        Of the plane, px, positive.
    gap : int
        Least number of extension samples along each axis.
    """
    return _core.PlaneSizes(rows, columns, padded_length(rows, gap), padded_length(columns, gap))


def scratch_bytes(rows: int, columns: int, gap: int) -> int:
    """Return the scratch that the transforms of a plane take; arguments as for `sizes_for`."""
    padded = padded_length(rows, gap), padded_length(columns, gap)
    return _core.PlaneSizes.scratch_bytes_of(rows, columns, *padded)


def worker_bytes(rows: int, columns: int, gap: int) -> int:
    """Return what each worker takes for itself meanwhile; arguments as for `sizes_for`."""
    padded = padded_length(rows, gap), padded_length(columns, gap)
    return _core.PlaneSizes.worker_bytes_of(rows, columns, *padded)


def is_radial(psf: PSF) -> bool:
    """Whether the PSF's OTF is real and depends on the radial frequency alone."""
    return all(component.isotropic for component in psf.components)


def otf_bytes(psf: PSF, sizes: _core.PlaneSizes) -> int:
    """Return the bytes of `otf_for` that grow with the frame: none of a PSF without direction."""
    return 0 if is_radial(psf) else sizes.otf_bytes(not psf.symmetric)


def otf_for(psf: PSF, sizes: _core.PlaneSizes, workers: _core.WorkerPool) -> _core.Otf:
    """Return a PSF's OTF on the grid of a plane's spectrum."""
    if is_radial(psf):
        table = psf.at(0.0, np.linspace(0.0, HIGHEST, _ENTRIES)).real
        return _core.Otf.radial(np.asarray(table, np.float32))
    values = psf.half_plane(*sizes.padded_shape)
    otf = _core.Otf.half_plane(sizes, values, workers)
    del values
    return_free_memory()  # the C library may keep as much again
    return otf


@dataclass(frozen=True)
class Bank:
    """The filters of a bank.

    Attributes
    ----------
    luma : list of Gain
        Of luma, one for each ratio.
    base : int
        The ratio restored in colour.
    colour : Gain
        Of its colour differences.
    """

    luma: list[_core.Gain]
    base: int
    colour: _core.Gain


def bank_of(
    nsr: Sequence[float], base: int, chroma: float, gains: Sequence[PlaneGain | None]
) -> Bank:
    """Return the filters of `restoration.wiener.WienerSpec` with learned gains, see there."""
    luma = [
        _core.Gain(nsr=ratio) if gain is None else _table(gain, LUMA_GAIN)
        for ratio, gain in zip(nsr, gains, strict=True)
    ]
    learned = gains[base]
    colour = _core.Gain(nsr=chroma * nsr[base]) if learned is None else _table(learned, COLOUR_GAIN)
    return Bank(luma, base, colour)


def _table(gain: PlaneGain, component: int) -> _core.Gain:
    return _core.Gain(
        added=gain.added[component],
        scale=None if gain.scale is None else gain.scale[component],
        noise=None if gain.noise is None else gain.noise[component],
    )
