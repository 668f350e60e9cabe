"""The measuring protocols: which scenes, degraded how, under which seed.

Image ``i`` of a protocol's sorted list uses the generator seeded with ``1000 + i``; its parameters
are drawn first, then the noise. Scenes are used at native scale, since natural scenes are close to
scale-free, and whole, except in ``imagine`` and ``imagine90``: these take the central 512x512 px,
patches like the published system's. On the seven satellite scenes of the test split that gives the
input row the operating point asks for, 23.93 dB / 0.461 (23.9 / 0.46); the whole scenes give
24.56 dB / 0.506, scenes reduced by 2 and by 4 give 23.62 / 0.425 and 23.53 / 0.393.

``camera`` and ``camera-low`` blur linear light and then photograph it (`degradation.camera`);
their truth is the sharp scene with the same exposure, white balance and tone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imagine_deblur.degradation.camera import draw_camera
from imagine_deblur.degradation.forward import NoiseModel, blur, degrade, expose
from imagine_deblur.degradation.rotation import spin
from imagine_deblur.degradation.shake import random_walk_kernel
from imagine_deblur.errors import OptionsError
from imagine_deblur.psf.components import Gaussian, Motion, Sampled
from imagine_deblur.psf.models import PSF

FloatImage = npt.NDArray[np.float32]
SEED = 1000
SCENE_SETS = ("aerial", "satellite", "iss")
"""Folders of a split, in the order that fixes the seeds; figures of two sets are never mixed."""

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})


@dataclass(frozen=True)
class Case:
    """One scene under one protocol.

    Attributes
    ----------
    sharp : (R, C, 3) float32 ndarray, [0, 1]
        The truth, contrast already scaled where the protocol does so; not rounded.
    degraded : (R, C, 3) uint8 ndarray
        What the instrument delivers.
    psf : PSF or None
        The true PSF; None for ``spin``, whose blur differs from place to place.
    params : dict
        What was drawn: ``radius_px``, ``sigma_px``, ``noise``, ``jpeg_quality`` and so on.
    """

    sharp: FloatImage
    degraded: npt.NDArray[np.uint8]
    psf: PSF | None
    params: dict[str, Any]


@dataclass(frozen=True)
class Scene:
    """A sharp scene of a split: the set it belongs to, its index (which is its seed), its file."""

    scene_set: str
    index: int
    path: Path


Draw = Callable[[np.random.Generator], tuple[PSF | None, dict[str, Any]]]


@dataclass(frozen=True)
class Protocol:
    """A way of degrading scenes.

    Attributes
    ----------
    name : str
    draw : callable
        Generator -> (PSF or None, parameters drawn).
    noise : float
        Amplitude s, full scale 1.
    noise_model : {"shot+read", "awgn"}
    jpeg_quality : None, int or (int, int)
        None leaves JPEG out; a pair is a uniform range, both ends included.
    satellite_only : bool
        Use only the files under ``satellite``.
    contrast : float or (float, float)
        Factor about each band's mean, applied to the sharp scene first; a pair is a uniform range.
    crop_px : int or None
        Side of the central square that is used, None for the whole scene.
    camera : bool
        Blur linear light and photograph it, see `degradation.camera.draw_camera`;
        `noise` and `jpeg_quality` are the camera's then.
    """

    name: str
    draw: Draw
    noise: float = 0.0
    noise_model: NoiseModel = "shot+read"
    jpeg_quality: int | tuple[int, int] | None = None
    satellite_only: bool = False
    contrast: float | tuple[float, float] = 1.0
    crop_px: int | None = None
    camera: bool = False

    def images(self, data_dir: str | Path) -> list[Path]:
        """Scenes of a split, in the order that fixes their seeds.

        Parameters
        ----------
        data_dir : path
            A split's folder with ``aerial`` and ``satellite`` inside (``.../test``). A folder
            without these is taken as it is, satellite or not.

        Returns
        -------
        list of Path
            Sorted by path: ``aerial`` before ``satellite``.
        """
        root = Path(data_dir)
        if not root.is_dir():
            raise FileNotFoundError(2, "no such folder of scenes", str(root))
        folders = [root / "aerial", root / "satellite"]
        split = [f for f in (folders[1:] if self.satellite_only else folders) if f.is_dir()]
        listed = [p for f in split or [root] for p in f.iterdir() if p.suffix.lower() in _SUFFIXES]
        return sorted(listed)

    def scenes(self, data_dir: str | Path) -> list[Scene]:
        """Every scene of a split with its set and its index.

        Parameters
        ----------
        data_dir : path
            As for `images`. Those of ``iss`` come behind them, so that no seed moves.

        Returns
        -------
        list of Scene
            Set ``"all"`` where the folder has none of `SCENE_SETS` inside.
        """
        root = Path(data_dir)
        known = any((root / name).is_dir() for name in SCENE_SETS)
        paths = [] if known and not self._has_older_sets(root) else self.images(root)
        if (root / "iss").is_dir():
            paths += sorted(p for p in (root / "iss").iterdir() if p.suffix.lower() in _SUFFIXES)
        return [Scene(p.parent.name if known else "all", i, p) for i, p in enumerate(paths)]

    def _has_older_sets(self, root: Path) -> bool:
        return any((root / name).is_dir() for name in SCENE_SETS[:2])

    def make(self, image: FloatImage, index: int) -> Case:
        """Degrade one scene.

        Parameters
        ----------
        image : (R, C, 3) float32 ndarray, [0, 1]
        index : int
            Position in `images`; the seed is ``1000 + index``.
        """
        rng = np.random.default_rng(SEED + index)
        psf, params = self.draw(rng)
        quality = self.jpeg_quality
        if isinstance(quality, tuple):
            quality = int(rng.integers(quality[0], quality[1] + 1))
        sharp = image if self.crop_px is None else central_crop(image, self.crop_px)
        contrast = self.contrast
        if isinstance(contrast, tuple):
            contrast = params["contrast"] = float(rng.uniform(*contrast))
        if contrast != 1.0:
            sharp = scale_contrast(sharp, contrast)
        params = {"protocol": self.name, "index": index, **params}
        if self.camera:
            return _photographed(sharp, psf, params, rng)
        params |= {"noise": self.noise, "noise_model": self.noise_model, "jpeg_quality": quality}
        if psf is None:
            blurred = spin(sharp, params["spin_deg"])
            degraded = expose(
                blurred,
                noise=self.noise,
                noise_model=self.noise_model,
                jpeg_quality=quality,
                rng=rng,
            )
        else:
            degraded = degrade(
                sharp,
                psf,
                noise=self.noise,
                noise_model=self.noise_model,
                jpeg_quality=quality,
                rng=rng,
            )
        return Case(sharp, degraded, psf, params)


def _photographed(
    sharp: FloatImage, psf: PSF | None, params: dict[str, Any], rng: np.random.Generator
) -> Case:
    assert psf is not None
    camera = draw_camera(rng)
    light = camera.expose(sharp)
    degraded = camera.capture(blur(light, psf), rng)
    return Case(camera.render(light), degraded, psf, params | camera.to_dict())


def scale_contrast(image: FloatImage, factor: float) -> FloatImage:
    """Scale (R, C, 3) float32 values about each band's mean."""
    mean = image.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
    return np.asarray(mean + np.float32(factor) * (image - mean), dtype=np.float32)


def central_crop(image: FloatImage, rows: int, columns: int | None = None) -> FloatImage:
    """The central rows x columns px (a square without `columns`) of an (R, C, 3) image, or all of
    an axis that is shorter.
    """
    columns = rows if columns is None else columns
    top, left = (max(0, (n - m) // 2) for n, m in zip(image.shape, (rows, columns), strict=False))
    return np.ascontiguousarray(image[top : top + rows, left : left + columns])


def load_scene(path: str | Path) -> FloatImage:
    """Read an 8-bit picture as (R, C, 3) float32 in [0, 1], sRGB-encoded."""
    from PIL import Image

    with Image.open(path) as picture:
        samples = np.array(picture.convert("RGB"), dtype=np.float32)
    samples *= np.float32(1.0 / 255.0)
    return samples


def truncated_gaussian(sigma_px: float, size: int) -> PSF:
    """A Gaussian sampled at pixel centres within size x size px (odd), normalised to sum 1."""
    offset = np.arange(size) - size // 2
    profile = np.exp(-0.5 * (offset / sigma_px) ** 2)
    kernel = np.outer(profile, profile)
    return PSF((Sampled(kernel / kernel.sum()),))


def protocol(name: str) -> Protocol:
    """The protocol of that name; `OptionsError` lists them where there is none."""
    if name not in PROTOCOLS:
        raise OptionsError("protocol", name, ", ".join(PROTOCOLS))
    return PROTOCOLS[name]


def _gauss(low: float, high: float) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[PSF, dict[str, Any]]:
        sigma = float(rng.uniform(low, high))
        return truncated_gaussian(sigma, 15), {"sigma_px": sigma}

    return draw


def _defocus(low: float, high: float) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[PSF, dict[str, Any]]:
        radius = float(rng.uniform(low, high))
        return PSF.defocus(radius, 0.5), {"radius_px": radius, "sigma_px": 0.5}

    return draw


def _motion(rng: np.random.Generator) -> tuple[PSF, dict[str, Any]]:
    length, angle = float(rng.uniform(3.0, 15.0)), float(rng.uniform(0.0, 180.0))
    psf = PSF((Motion(length, angle), Gaussian(0.5)))
    return psf, {"length_px": length, "angle_deg": angle, "sigma_px": 0.5}


def _shake(rng: np.random.Generator) -> tuple[PSF, dict[str, Any]]:
    return PSF((Sampled(random_walk_kernel(25, rng)),)), {"kernel_size_px": 25}


def _spin(rng: np.random.Generator) -> tuple[None, dict[str, Any]]:
    return None, {"spin_deg": float(rng.uniform(0.2, 1.0))}


_LISTED = (
    Protocol("gauss", _gauss(0.2, 4.0)),
    Protocol("gauss+", _gauss(1.0, 4.0), noise=0.001, noise_model="awgn"),
    Protocol("defocus", _defocus(2.0, 8.0), noise=0.002),
    Protocol("defocus+", _defocus(2.0, 8.0), noise=0.006, jpeg_quality=(85, 97)),
    Protocol("defocus75", _defocus(2.0, 8.0), noise=0.006, jpeg_quality=75),
    Protocol("imagine", _defocus(6.8, 6.8), satellite_only=True, contrast=0.7, crop_px=512),
    Protocol(
        "imagine90",
        _defocus(6.8, 6.8),
        noise=0.006,
        jpeg_quality=90,
        satellite_only=True,
        contrast=0.7,
        crop_px=512,
    ),
    Protocol("motion", _motion, noise=0.006, jpeg_quality=90),
    Protocol("shake", _shake, noise=0.006, jpeg_quality=90),
    Protocol("spin", _spin, noise=0.006, jpeg_quality=90),
    Protocol("camera", _defocus(2.0, 7.0), camera=True),
    Protocol("camera-low", _defocus(2.0, 7.0), camera=True, contrast=(0.15, 0.5)),
)

PROTOCOLS: Mapping[str, Protocol] = {p.name: p for p in _LISTED}
