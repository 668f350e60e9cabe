"""Point-spread functions: components, transfer functions and kernels."""

from __future__ import annotations

from imagine_deblur.psf.components import Disk, Gaussian, Motion, PixelAperture, Sampled
from imagine_deblur.psf.models import PSF, Component
from imagine_deblur.psf.pupil import Pupil

__all__ = ["PSF", "Component", "Disk", "Gaussian", "Motion", "PixelAperture", "Pupil", "Sampled"]
