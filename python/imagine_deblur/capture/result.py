"""What a capture is to those who look at it, and what they found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture.ring_gain import RingGains
from imagine_deblur.psf.distribution import PsfDistribution
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.otf_moments import OtfMoments

Image = NDArray[np.uint8] | NDArray[np.float32]


@dataclass(frozen=True)
class Analysis:
    """What is known of a capture before it is restored.

    Attributes
    ----------
    psf : PSF, PsfField or None
        None when the capture does not tell its blur and should be passed through.
    psf_source : {"estimated", "given", "record", "preset", "none"}
    confidence : float or None
        Of an estimate, in [0, 1].
    filter_nsr : float or None
        Noise-to-signal power ratio at Nyquist: the one that is given, else `RingGains.level`.
    distribution : PsfDistribution or None
        What captures held possible, where `psf` was estimated blindly: from this capture, or from
        those of a record.
    moments : OtfMoments or None
        Of the OTF over what is held possible; None where `psf` is taken as certain.
    standard_errors : mapping of str to float
        Of parameters of `psf`, by their names in a record; empty where they are not known.
    gains : RingGains or None
        Learned filters, see `ring_gain`; None where the Wiener filters of the PSF are used: with a
        ratio that is given, or where the capture is too small to tell its spectrum.
    unknown : bool
        The blur may be of another kind than any that is estimated: `psf` is the identity, and
        only what the capture's spectrum asks for is undone, by the learned gains.
    untrained : bool
        The blur is beyond what the network was trained for: the linear model takes its place.
    passed : str or None
        Why the capture is passed through; None where it is restored.
    warnings : tuple of str
    """

    psf: PSF | PsfField | None = None
    psf_source: str = "none"
    confidence: float | None = None
    filter_nsr: float | None = None
    distribution: PsfDistribution | None = field(default=None, compare=False, repr=False)
    moments: OtfMoments | None = field(default=None, compare=False, repr=False)
    standard_errors: Mapping[str, float] = field(default_factory=dict, compare=False, repr=False)
    gains: RingGains | None = field(default=None, compare=False, repr=False)
    unknown: bool = False
    untrained: bool = False
    passed: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def blind(self) -> bool:
        """Whether `psf` is known from captures alone, this one or those of a record."""
        return self.distribution is not None or self.psf_source == "estimated"

    @property
    def told_psf(self) -> PSF | PsfField | None:
        """The blur, for those who report it; None where `unknown`."""
        return None if self.unknown else self.psf

    def passing(self, reason: str) -> Analysis:
        """Return what is known, and that the capture is passed through for a reason."""
        warning = f"passed through unrestored: {reason}"
        return replace(self, passed=reason, gains=None, warnings=(*self.warnings, warning))


@dataclass(frozen=True)
class Capture:
    """A capture, or enough of it to tell its blur and its noise.

    Attributes
    ----------
    images : callable
        Returns (R, C, 3) or (R, C) uint8 or float32 arrays, the frame or parts of it. Called where
        the samples are needed, so that a file is not decoded for nothing.
    quantisation : (64,) uint16 ndarray or None
        Luma table of the capture's JPEG file; None for an array, whose past is not known.
    """

    images: Callable[[], Sequence[Image]]
    quantisation: NDArray[np.uint16] | None = None
