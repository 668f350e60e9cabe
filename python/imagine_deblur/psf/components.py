"""What a point-spread function is made of: each component knows its own transfer function.

Every component has three members. ``otf(fy, fx)`` samples the transfer function at frequencies that
broadcast against each other, down and right in cycles/px; ``extent_px`` is the radius beyond which
its kernel holds next to nothing; ``isotropic`` tells that the transfer function is real and depends
on ``hypot(fy, fx)`` only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import PsfError
from imagine_deblur.psf.jinc import jinc

FloatArray = npt.NDArray[np.float64]
# Real for kernels that are symmetric about their centre, complex otherwise.
Transfer = npt.NDArray[np.float64] | npt.NDArray[np.complex128]


@dataclass(frozen=True)
class Disk:
    """Defocus of a circular aperture in geometrical optics: a uniform disk.

    ``H(f) = 2 J1(2 pi R f) / (2 pi R f)``, first zero at ``f = 0.60983 / R`` cycles/px (Goodman,
    Introduction to Fourier Optics, eq. 6-37 in the geometrical limit).

    Parameters
    ----------
    radius_px : float
        R >= 0 in px; 0 is no blur.
    """

    radius_px: float
    kind: ClassVar[str] = "disk"
    isotropic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_range("radius_px", self.radius_px, 0.0, 1000.0)

    @property
    def extent_px(self) -> float:
        return self.radius_px

    def otf(self, fy: FloatArray, fx: FloatArray) -> Transfer:
        return jinc((2.0 * np.pi * self.radius_px) * np.hypot(fy, fx))


@dataclass(frozen=True)
class Gaussian:
    """Gaussian blur of the optics or the atmosphere, optionally elliptical.

    ``H(f) = exp(-2 pi^2 (s_major^2 f_major^2 + s_minor^2 f_minor^2))``.

    Parameters
    ----------
    sigma_px : float
        Standard deviation along the major axis in px, >= 0.
    axis_ratio : float, default 1
        Minor over major standard deviation, in [0, 1].
    angle_deg : float, default 0
        Direction of the major axis in degrees, counter-clockwise from the column axis as displayed
        (row 0 on top).
    """

    sigma_px: float
    axis_ratio: float = 1.0
    angle_deg: float = 0.0
    kind: ClassVar[str] = "gaussian"

    def __post_init__(self) -> None:
        require_range("sigma_px", self.sigma_px, 0.0, 1000.0)
        require_range("axis_ratio", self.axis_ratio, 0.0, 1.0)
        require_range("angle_deg", self.angle_deg, -360.0, 360.0)

    @property
    def isotropic(self) -> bool:
        return self.axis_ratio == 1.0

    @property
    def extent_px(self) -> float:
        return 4.0 * self.sigma_px

    def otf(self, fy: FloatArray, fx: FloatArray) -> Transfer:
        scale = -2.0 * np.pi**2 * self.sigma_px**2
        if self.isotropic:  # separable
            return np.asarray(np.exp(scale * fy**2) * np.exp(scale * fx**2))
        along, across = _rotated(fy, fx, self.angle_deg)
        return np.asarray(np.exp(scale * (along**2 + self.axis_ratio**2 * across**2)))


@dataclass(frozen=True)
class Motion:
    """Linear motion at constant speed during the exposure: ``H(f) = sinc(L f_along)``.

    Parameters
    ----------
    length_px : float
        L >= 0 in px.
    angle_deg : float
        Direction in degrees, counter-clockwise from the column axis as displayed (row 0 on top).
    """

    length_px: float
    angle_deg: float
    kind: ClassVar[str] = "motion"
    isotropic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_range("length_px", self.length_px, 0.0, 1000.0)
        require_range("angle_deg", self.angle_deg, -360.0, 360.0)

    @property
    def extent_px(self) -> float:
        return 0.5 * self.length_px

    def otf(self, fy: FloatArray, fx: FloatArray) -> Transfer:
        along, _ = _rotated(fy, fx, self.angle_deg)
        return np.asarray(np.sinc(self.length_px * along))


@dataclass(frozen=True)
class PixelAperture:
    """Integration over a square pixel: ``H(f) = sinc(w fx) sinc(w fy)``.

    Parameters
    ----------
    fill : float, default 1
        Linear fill factor w in [0, 1] px.
    """

    fill: float = 1.0
    kind: ClassVar[str] = "pixel_aperture"
    isotropic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_range("fill", self.fill, 0.0, 1.0)

    @property
    def extent_px(self) -> float:
        return 0.5 * self.fill

    def otf(self, fy: FloatArray, fx: FloatArray) -> Transfer:
        return np.asarray(np.sinc(self.fill * fy) * np.sinc(self.fill * fx))


@dataclass(frozen=True, eq=False)
class Sampled:
    """A kernel given by its samples, zero outside them.

    Parameters
    ----------
    kernel : (K, K) float64 ndarray, K odd
        Centred on ``(K // 2, K // 2)``, non-negative, sum 1 to within 1e-6 (then normalised
        exactly). A copy is kept, read-only.

    Raises
    ------
    PsfError
        Not square, even, negative, not finite, or not summing to 1.
    """

    kernel: FloatArray
    kind: ClassVar[str] = "sampled"
    isotropic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        kernel = np.array(self.kernel, dtype=np.float64)
        if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or kernel.shape[0] % 2 == 0:
            raise PsfError(f"kernel has shape {kernel.shape}; it must be square with odd size")
        if not np.isfinite(kernel).all() or (kernel < 0).any():
            raise PsfError("kernel has negative or non-finite values")
        total = float(kernel.sum())
        if abs(total - 1.0) > 1e-6:
            raise PsfError(f"kernel sums to {total:.8g}; divide it by its sum so that flux is kept")
        if abs(total - 1.0) > 1e-12:  # else a stored kernel would not come back bit for bit
            kernel /= total
        kernel.flags.writeable = False
        object.__setattr__(self, "kernel", kernel)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sampled) and np.array_equal(self.kernel, other.kernel)

    def __hash__(self) -> int:
        return hash((self.kernel.shape, self.kernel.tobytes()))

    @property
    def symmetric(self) -> bool:
        """Whether the kernel equals itself turned by 180 degrees."""
        return bool(np.array_equal(self.kernel, self.kernel[::-1, ::-1]))

    @property
    def extent_px(self) -> float:
        return float(self.kernel.shape[0] // 2)

    def otf(self, fy: FloatArray, fx: FloatArray) -> Transfer:
        offset = np.arange(self.kernel.shape[0]) - self.kernel.shape[0] // 2
        phase_y = np.exp((-2j * np.pi) * fy[..., None] * offset)
        phase_x = np.exp((-2j * np.pi) * fx[..., None] * offset)
        if fy.shape[1:] == (1,) and fx.shape[:1] == (1,):  # an outer grid: two small products
            result = (phase_y[:, 0] @ self.kernel) @ phase_x[0].T
        else:
            result = ((phase_y @ self.kernel) * phase_x).sum(axis=-1)
        return np.asarray(result.real.copy() if self.symmetric else result)


def _rotated(fy: FloatArray, fx: FloatArray, angle_deg: float) -> tuple[FloatArray, FloatArray]:
    """Frequencies along and across a displayed direction; rows grow downwards, hence the minus."""
    angle = np.deg2rad(angle_deg)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    along = cos * fx - sin * fy
    across = sin * fx + cos * fy
    return np.asarray(along), np.asarray(across)


def require_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also refuses NaN
        raise PsfError(f"{name}={value!r} is outside [{low:g}, {high:g}]")
