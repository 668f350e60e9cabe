"""How wild a linear restoration will be, known before it runs.

A linear filter turns a capture's power spectrum S into ``|G|^2 S``. In scenes of the Earth power
falls with frequency about as ``1 / f^2``, so that the restoration's ``f^2 |G|^2 S`` stays near the
most that the capture's has, at low frequencies that a blur hardly touches. Undoing a blur that was
not there raises what the filter takes for the blur's remains far above that: the picture becomes
black and white blobs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture.result import Analysis
from imagine_deblur.capture.ring_gain import UNKNOWN_NSR
from imagine_deblur.capture.ring_spectra import BLOCK, RING_FREQUENCY, RingSpectra
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.otf_moments import FREQUENCY
from imagine_deblur.psf.presets import cells

FloatArray = NDArray[np.float64]

_EDGES = np.array([2.5, 4.5, 6.5, 9, 12, 16, 21, 27, 34, 42, 52, 64]) / BLOCK
"""Of rings of frequency, cycles/px; below, the blocks' window leaks."""

_RING = np.digitize(FREQUENCY, _EDGES)
_COUNTED = np.bincount(_RING, minlength=len(_EDGES) + 1)[1:-1]
_ANGLES = (np.arange(16) + 0.5) * (np.pi / 16)


def power_growth(spectra: RingSpectra, found: Analysis) -> float:
    """Return the most power an octave of the restored luma over the most of the capture's.

    Parameters
    ----------
    spectra : RingSpectra
        Of the capture.
    found : Analysis
        With the PSF and how it will be undone; of a field the cell that adds most counts.

    Returns
    -------
    float
        About 1 for a scene whose power falls as ``1 / f^2``.
    """
    assert found.psf is not None, "nothing is undone without a PSF"
    power = FREQUENCY**2 * np.interp(FREQUENCY, RING_FREQUENCY, spectra.power[0])
    most = _rings(power).max()
    if most <= 0.0:  # a picture of one colour: nothing can grow
        return 0.0
    # The least ratios raise a clean capture's rounding a hundredfold where its own PSF has zeros; a
    # wrong PSF's zeros show as plainly at this one.
    judged = replace(found, filter_nsr=max(found.filter_nsr or 0.0, UNKNOWN_NSR))
    # Learned gains shy away from a wrong PSF, and what they leave of the picture is no better for
    # it; so the PSF's own Wiener filter is judged, where there is a PSF.
    learned = found.unknown
    grown = (
        _rings(power * gain_squared(psf, judged, learned=learned)).max() for psf in cells(found.psf)
    )
    return float(max(grown) / most)


def gain_squared(psf: PSF, found: Analysis, *, learned: bool) -> FloatArray:
    """``|G|^2`` of the base plane at `FREQUENCY`, averaged over directions.

    Parameters
    ----------
    psf : PSF
        Of the frame, or of a cell of its field.
    found : Analysis
    learned : bool
        By the learned gains, where there are some that do not depend on direction; else by the
        PSF's own Wiener filter.
    """
    if learned and found.gains is not None and not found.gains.directed:
        return np.asarray(found.gains.radial(0) ** 2, np.float64)
    down, right = np.outer(np.sin(_ANGLES), FREQUENCY), np.outer(np.cos(_ANGLES), FREQUENCY)
    squared = np.abs(psf.at(0.0, FREQUENCY[None]) if psf.isotropic else psf.at(down, right)) ** 2
    noise = 4.0 * (found.filter_nsr or UNKNOWN_NSR) * FREQUENCY**2
    return np.asarray((squared / (squared + noise) ** 2).mean(axis=0), np.float64)


def _rings(power: FloatArray) -> FloatArray:
    """Mean of each ring."""
    return np.asarray(np.bincount(_RING, power, len(_EDGES) + 1)[1:-1] / _COUNTED)
