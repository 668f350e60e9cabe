"""A camera in a few numbers: how blurred, how noisy and how coded its captures are.

    name = "cubesat_1"
    radius_px = [3.0, 5.0]       # defocus: radius of the disk
    sigma_px = [0.4, 0.8]        # what the lens and the sensor add to it, as a Gaussian
    motion_px = [0.0, 0.0]       # length of a motion during the exposure
    noise = [0.002, 0.008]       # amplitude, full scale 1, see docs/conventions.md
    jpeg_quality = [85, 95]      # [] where captures never are JPEG
    contrast = [0.6, 1.0]        # of captures beside the scenes at hand

Each pair is a range, both ends included, from which captures are drawn evenly.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.degradation.forward import degrade
from imagine_deblur.errors import OptionsError
from imagine_deblur.psf.components import Disk, Gaussian, Motion
from imagine_deblur.psf.models import PSF, Component

FloatImage = NDArray[np.float32]

_BOUNDS: dict[str, tuple[float, float]] = {
    "radius_px": (0.0, 9.0),  # what the blind estimate knows
    "sigma_px": (0.05, 4.0),
    "motion_px": (0.0, 15.0),
    "noise": (0.0, 0.03),
    "jpeg_quality": (30, 100),
    "contrast": (0.05, 1.5),
}


@dataclasses.dataclass(frozen=True)
class DrawnCapture:
    """One way in which the camera may have taken a scene.

    Attributes
    ----------
    psf : PSF
    radius_px, sigma_px, length_px : float
        Of its disk, Gaussian and motion; 0 where it has none.
    noise : float
    jpeg_quality : int or None
    contrast : float
    """

    psf: PSF
    radius_px: float
    sigma_px: float
    length_px: float
    noise: float
    jpeg_quality: int | None
    contrast: float

    def capture(self, sharp: FloatImage, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Degrade a scene whose contrast is the capture's: (R, C, 3) float32 in [0, 1]."""
        return degrade(sharp, self.psf, noise=self.noise, jpeg_quality=self.jpeg_quality, rng=rng)


@dataclasses.dataclass(frozen=True)
class CameraDescription:
    """Ranges of a camera's captures; see the module for each. Without a name, no camera at all."""

    name: str = ""
    radius_px: tuple[float, ...] = (0.0, 0.0)
    sigma_px: tuple[float, ...] = (0.3, 0.7)
    motion_px: tuple[float, ...] = (0.0, 0.0)
    noise: tuple[float, ...] = (0.0, 0.006)
    jpeg_quality: tuple[int, ...] = (85, 97)
    contrast: tuple[float, ...] = (0.7, 1.0)

    def __post_init__(self) -> None:
        for name, (low, high) in _BOUNDS.items():
            values: Sequence[float] = getattr(self, name)
            if name == "jpeg_quality" and not values:
                continue
            if len(values) != 2 or not low <= values[0] <= values[1] <= high:
                raise OptionsError(f"camera.{name}", list(values), f"[low, high], {low} to {high}")

    def draw(self, rng: np.random.Generator) -> DrawnCapture:
        """Draw a capture; it depends on nothing but the generator."""
        radius, sigma, length, noise, contrast = (
            float(rng.uniform(*getattr(self, name)))
            for name in ("radius_px", "sigma_px", "motion_px", "noise", "contrast")
        )
        angle = float(rng.uniform(0.0, 180.0))
        quality = None
        if self.jpeg_quality:
            quality = int(rng.integers(self.jpeg_quality[0], self.jpeg_quality[1] + 1))
        components: list[Component] = [Gaussian(sigma)]
        if length > 0:
            components.insert(0, Motion(length, angle))
        if radius > 0:
            components.insert(0, Disk(radius))
        return DrawnCapture(PSF(tuple(components)), radius, sigma, length, noise, quality, contrast)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in the file."""
        plain = dataclasses.asdict(self)
        return {key: list(v) if isinstance(v, tuple) else v for key, v in plain.items()}


NO_CAMERA = CameraDescription()
"""Draws nothing: a description without a name."""


def read_camera(path: str | os.PathLike[str]) -> CameraDescription:
    """Read a camera's description.

    Parameters
    ----------
    path : path
        TOML file.

    Raises
    ------
    OptionsError
        Not TOML, a name that is none, a value of another type or outside its range.
    OSError
        The file cannot be read.
    """
    try:
        values = tomllib.loads(Path(path).read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionsError(os.fspath(path), str(error), "a TOML file") from error
    known = {field.name for field in dataclasses.fields(CameraDescription)}
    given: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise OptionsError(f"{path}: {key}", value, "one of " + ", ".join(sorted(known)))
        given[key] = value if key == "name" else _numbers(f"{path}: {key}", value, key)
    if not isinstance(given.get("name"), str) or not given["name"].isidentifier():
        allowed = "a name of letters, digits and underscores, for the network's file"
        raise OptionsError(f"{path}: name", given.get("name"), allowed)
    return CameraDescription(**given)


def _numbers(where: str, value: object, key: str) -> tuple[float, ...] | tuple[int, ...]:
    kinds: tuple[type, ...] = (int,) if key == "jpeg_quality" else (int, float)
    if not isinstance(value, list) or any(type(entry) not in kinds for entry in value):
        raise OptionsError(where, value, "a list of two numbers")
    return tuple(value) if key == "jpeg_quality" else tuple(float(entry) for entry in value)
