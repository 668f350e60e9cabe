"""Cross-spectra of captures and the reference, summed over windowed blocks.

With ``Y = H X + N`` the transfer function follows from ``H = <Y conj X> / <|X|^2>`` and the noise
from ``S_nn = <|Y|^2> - |<Y conj X>|^2 / <|X|^2>`` (Bendat & Piersol, Random Data, section 6.1).
Windows make ``<Y_w conj X_w>`` of a white scene the transform of ``h(t) r(t)`` with r the window's
autocorrelation, exactly; r is kept, so that a model can be seen through the same windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagine_deblur.psf.components import Transfer
from imagine_deblur.psf.models import PSF

FloatArray = npt.NDArray[np.float64]


@dataclass(eq=False)
class CrossSpectrum:
    """Sums over blocks of size B, on the half plane of ``rfft2``: (B, B // 2 + 1).

    Attributes
    ----------
    yx : complex128 ndarray
        Sum of Y conj X, X being the scene before the reference's own blur.
    xx, yy : float64 ndarray
        Sums of |X|^2 and |Y|^2.
    window : (B, B) float64 ndarray
        Sum of the windows' periodic autocorrelations, lag 0 at (0, 0).
    samples : float
        Pixels behind the sums, overlap counted once.
    blocks : int
    """

    yx: npt.NDArray[np.complex128]
    xx: FloatArray
    yy: FloatArray
    window: FloatArray
    samples: float
    blocks: int

    @property
    def size(self) -> int:
        """B."""
        return int(self.yx.shape[0])

    @classmethod
    def empty(cls, size: int) -> CrossSpectrum:
        """No blocks yet."""
        shape = (size, size // 2 + 1)
        return cls(
            np.zeros(shape, dtype=np.complex128),
            np.zeros(shape),
            np.zeros(shape),
            np.zeros((size, size)),
            0.0,
            0,
        )

    def __add__(self, other: CrossSpectrum) -> CrossSpectrum:
        """Blocks of both."""
        return CrossSpectrum(
            self.yx + other.yx,
            self.xx + other.xx,
            self.yy + other.yy,
            self.window + other.window,
            self.samples + other.samples,
            self.blocks + other.blocks,
        )

    def through(self, transfer: Transfer) -> npt.NDArray[np.complex128]:
        """A transfer function as it looks through the windows: transform of h(t) r(t)."""
        shape = (self.size, self.size)
        share = self.window / self.window[0, 0]
        return np.asarray(np.fft.rfft2(np.fft.irfft2(transfer, s=shape) * share))

    def transfer(self) -> npt.NDArray[np.complex128]:
        """``<Y conj X> / <|X|^2>``."""
        return np.asarray(self.yx / np.maximum(self.xx, 1e-300))

    def noise(self) -> FloatArray:
        """Power of what X does not explain, averaged over rings of equal frequency."""
        left = self.yy - np.abs(self.yx) ** 2 / np.maximum(self.xx, 1e-300)
        # Regression on one complex coefficient per bin takes one of the n degrees of freedom.
        n = max(self.samples / self.size**2, 1.5)
        return ring_average(np.maximum(left, 0.0) * (n / (n - 1.0)), self.size)

    def coherence(self) -> FloatArray:
        """``|<Y conj X>|^2 / (<|X|^2> <|Y|^2>)`` averaged over rings, in [0, 1]."""
        top = ring_average(np.abs(self.yx) ** 2 / np.maximum(self.xx, 1e-300), self.size)
        return np.asarray(np.clip(top / np.maximum(ring_average(self.yy, self.size), 1e-300), 0, 1))


def frequencies(size: int) -> tuple[FloatArray, FloatArray]:
    """Frequencies down (B, 1) and right (1, B // 2 + 1) in cycles/px."""
    down: FloatArray = np.asarray(np.fft.fftfreq(size), dtype=np.float64)
    right: FloatArray = np.asarray(np.fft.rfftfreq(size), dtype=np.float64)
    return down[:, None], right[None, :]


def transfer_of(psf: PSF, size: int) -> Transfer:
    """A PSF's transfer function on the half plane, in double precision."""
    fy, fx = frequencies(size)
    return psf.transfer(fy[:, 0], fx[0])


def rings(size: int) -> npt.NDArray[np.intp]:
    """Index of the ring, one bin wide, that each frequency of the half plane lies in."""
    fy, fx = frequencies(size)
    return np.asarray(np.rint(np.hypot(fy, fx) * size), dtype=np.intp)


def ring_average(plane: FloatArray, size: int) -> FloatArray:
    """A half plane with each value replaced by the mean of its ring."""
    index = rings(size)
    count = np.bincount(index.ravel())
    total = np.bincount(index.ravel(), plane.ravel())
    return np.asarray((total / np.maximum(count, 1))[index])


def ring_profile(
    plane: npt.NDArray[np.generic], weight: FloatArray, size: int
) -> tuple[FloatArray, FloatArray]:
    """Frequencies and weighted ring means of the real part of a half plane, up to 0.5."""
    index = rings(size).ravel()
    values = np.asarray(plane).real.astype(np.float64).ravel()
    total = np.bincount(index, weight.ravel() * values)
    mass = np.bincount(index, weight.ravel())
    count = size // 2
    profile = total[:count] / np.maximum(mass[:count], 1e-300)
    return np.arange(count) / size, np.asarray(profile)
