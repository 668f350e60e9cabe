"""A camera's description as a protocol, to measure restorations of its captures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from imagine_deblur.degradation.camera_description import NO_CAMERA, CameraDescription
from imagine_deblur.evaluation.protocols import (
    SEED,
    Case,
    FloatImage,
    Protocol,
    central_crop,
    scale_contrast,
)
from imagine_deblur.psf.models import PSF


@dataclass(frozen=True)
class DescribedProtocol(Protocol):
    """Degrades scenes as a described camera does; named ``camera:NAME``.

    Attributes
    ----------
    description : CameraDescription
    """

    description: CameraDescription = NO_CAMERA

    def make(self, image: FloatImage, index: int) -> Case:
        """Degrade one scene; see `Protocol.make`."""
        rng = np.random.default_rng(SEED + index)
        drawn = self.description.draw(rng)
        sharp = image if self.crop_px is None else central_crop(image, self.crop_px)
        sharp = np.clip(scale_contrast(sharp, drawn.contrast), 0, 1)
        params = {
            "protocol": self.name,
            "index": index,
            "radius_px": drawn.radius_px,
            "sigma_px": drawn.sigma_px,
            "length_px": drawn.length_px,
            "noise": drawn.noise,
            "jpeg_quality": drawn.jpeg_quality,
            "contrast": drawn.contrast,
        }
        return Case(sharp, drawn.capture(sharp, rng), drawn.psf, params)


def protocol_of(camera: CameraDescription, *, crop_px: int | None = None) -> DescribedProtocol:
    """Return a camera's protocol.

    Parameters
    ----------
    camera : CameraDescription
    crop_px : int, optional
        Side of the central square that is used.
    """

    def draw(rng: np.random.Generator) -> tuple[PSF, dict[str, Any]]:
        return camera.draw(rng).psf, {}

    return DescribedProtocol(f"camera:{camera.name}", draw, crop_px=crop_px, description=camera)
