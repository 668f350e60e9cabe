"""How much context a window needs so that its restoration is the whole scene's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from imagine_deblur.capture.analysis import named_blur
from imagine_deblur.capture.result import Analysis
from imagine_deblur.capture.ring_gain import FILTER_NSR_RANGE
from imagine_deblur.errors import OptionsError
from imagine_deblur.options import Options, PsfArgument
from imagine_deblur.raster.radiometry import REACH_PX
from imagine_deblur.raster.windows import ALIGNMENT
from imagine_deblur.session_parts import Parts

_BEYOND_PX = 192
"""What a network needs beyond the linear filters' reach, px: it amplifies the rest that is cut off.
With 128 px windows were up to 1.25 steps of 8 bits from the whole scene, with 192 px 0.75, with 256
px 0.69 (a disk of 3 px, noise of 0.3 %); disks of 1.5 and 6 px stay below 0.7."""


def required_margin(psf: PsfArgument, **options: Any) -> int:
    """Return the context that a part of a scene needs on every side to be restored as the whole.

    Parameters
    ----------
    psf : PSF, PsfField, (K, K) ndarray, path or preset name
        The blur, see `Options.psf`.
    **options
        Fields of `Options`. With `nsr`, the ratio that is used; without, the lowest that a scene
        can have, whose inverse reaches furthest.

    Returns
    -------
    int
        px, a multiple of 32: how far the Wiener inverse reaches, the network's halo, how far the
        blur reaches in the reblur check, one of its blocks, and the means of flat fields.

    Examples
    --------
    >>> required_margin("disk:3", model="wiener") % 32
    0
    """
    if psf is None:
        raise OptionsError("psf", None, "a PSF; a blur that is to be estimated has no reach yet")
    chosen = Options(**options)
    found = replace(named_blur(psf), filter_nsr=chosen.nsr or FILTER_NSR_RANGE[0])
    parts = Parts(chosen)
    try:
        return margin_of(parts, found)
    finally:
        parts.close()


def margin_of(parts: Parts, found: Analysis) -> int:
    """Return the margin for what was found in a scene; see `required_margin`."""
    if found.psf is None or found.passed is not None:
        return 0
    margin = parts.reach_px(found) + ALIGNMENT + REACH_PX
    margin += _BEYOND_PX if parts.model.is_network else 0
    return margin + -margin % ALIGNMENT
