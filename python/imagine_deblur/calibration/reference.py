"""The sharp reference: read, reduced with a known transfer function, and its own MTF.

A reference is kept at a working sampling of about half the capture's ground sample distance: fine
enough to be interpolated onto the capture's grid without aliasing, coarse enough for a whole
Sentinel-2 tile to fit into memory. Reduction averages k x k pixels, so its transfer function is
known exactly (Dirichlet's kernel) and is taken out of the PSF together with the sensor's own.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imagine_deblur.calibration import sentinel2
from imagine_deblur.calibration.extras import require
from imagine_deblur.errors import CalibrationError, OptionsError

FloatImage = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

_WORKING_SHARE = 1.9  # the capture's GSD over the working one is at least this where k > 1
_MAX_WORKING_PIXELS = 64_000_000
_STRIP_PIXELS = 8_000_000


@dataclass(frozen=True, eq=False)
class Reference:
    """A sharp scene at its working sampling.

    Attributes
    ----------
    image : (R, C, 3) float32 ndarray, [0, 1]
        The scene; NaN nowhere.
    valid : (R, C) bool ndarray
        False where the product holds no data.
    gsd_m : float
        Sampling of the source in metres per px.
    factor : int
        Source pixels averaged along each axis per pixel of `image`.
    mtf_nyquist : float
        The source's MTF at its Nyquist frequency, in (0, 1]; a Gaussian is assumed between.
    name : str
        The file, or ``"array"``.
    crs : str or None
        Coordinate reference system of `transform`.
    transform : tuple of 6 float or None
        Affine map ``(a, b, c, d, e, f)`` of source columns and rows (corners of pixels, as GDAL
        counts them) to map coordinates.
    origin : (int, int)
        Row and column of the source where `image` begins.
    """

    image: FloatImage
    valid: npt.NDArray[np.bool_]
    gsd_m: float
    factor: int
    mtf_nyquist: float
    name: str = "array"
    crs: str | None = None
    transform: tuple[float, ...] | None = None
    origin: tuple[int, int] = (0, 0)

    @property
    def working_gsd_m(self) -> float:
        """Metres per px of `image`."""
        return self.gsd_m * self.factor

    @property
    def to_source(self) -> FloatArray:
        """Homogeneous (3, 3) map of working (column, row, 1) to the source's, pixel centres."""
        shift = 0.5 * (self.factor - 1)
        return np.array(
            [
                [self.factor, 0.0, shift + self.origin[1]],
                [0.0, self.factor, shift + self.origin[0]],
                [0.0, 0.0, 1.0],
            ]
        )

    def transfer(
        self, fy: FloatArray, fx: FloatArray, mtf_nyquist: float | None = None
    ) -> FloatArray:
        """Transfer function of the scene's way into `image`.

        Parameters
        ----------
        fy, fx : float64 ndarray
            Frequencies in cycles per *working* px; they broadcast.
        mtf_nyquist : float, optional
            In place of the reference's own.

        Returns
        -------
        float64 ndarray
            ``m^((f / f_N)^2)`` of the sensor (a Gaussian with the value m at its Nyquist
            frequency f_N) times ``sin(pi k f) / (k sin(pi f))`` per axis of the averaging, f in
            cycles per source px.
        """
        down, right = np.asarray(fy) / self.factor, np.asarray(fx) / self.factor
        nyquist = self.mtf_nyquist if mtf_nyquist is None else mtf_nyquist
        sensor = nyquist ** (4.0 * (down**2 + right**2))
        return np.asarray(sensor * _dirichlet(down, self.factor) * _dirichlet(right, self.factor))


def _dirichlet(f: FloatArray, count: int) -> FloatArray:
    bottom = count * np.sin(np.pi * f)
    small = np.abs(bottom) < 1e-12
    return np.where(small, 1.0, np.sin(np.pi * count * f) / np.where(small, 1.0, bottom))


def read_reference(
    source: str | os.PathLike[str] | npt.NDArray[Any] | Reference,
    *,
    capture_gsd_m: float = 39.0,
    gsd_m: float | None = None,
    mtf_nyquist: float = sentinel2.MTF_NYQUIST,
    centre: tuple[float, float] | None = None,
    extent_km: float | None = None,
) -> Reference:
    """Read a reference scene and reduce it to its working sampling.

    Parameters
    ----------
    source : path, array or Reference
        A Sentinel-2 SAFE folder, its true-colour JP2, a GeoTIFF or any raster GDAL reads, a PNG or
        JPEG, or an (R, C, 3) array, uint8 or float32 in [0, 1]. A `Reference` passes through.
    capture_gsd_m : float
        Rough ground sample distance of the captures.
    gsd_m : float, optional
        Metres per px of `source`; by default its georeference's, or 10 m without one.
    mtf_nyquist : float
        The source's MTF at its Nyquist frequency.
    centre : (latitude, longitude), optional
        In degrees, WGS 84: reads only a square of `extent_km` about it. The raster must be
        georeferenced.
    extent_km : float, optional
        Side of that square, by default 200.

    Returns
    -------
    Reference

    Raises
    ------
    CalibrationError
        Not a picture with red, green and blue; not in metres; too large; `centre` outside it.
    OSError
        The file cannot be read.
    """
    if isinstance(source, Reference):
        return source
    if not 0.0 < mtf_nyquist <= 1.0:
        raise OptionsError("reference_mtf_nyquist", mtf_nyquist, "above 0, at most 1")
    if gsd_m is not None and not 0.0 < gsd_m < math.inf:
        raise OptionsError("reference_gsd_m", gsd_m, "a positive number of metres")
    if isinstance(source, np.ndarray):
        sampling = sentinel2.GSD_M if gsd_m is None else gsd_m
        factor = working_factor(sampling, capture_gsd_m)
        image = _as_float(source)
        rows, columns = (n // factor * factor for n in image.shape[:2])
        reduced = _average(image[:rows, :columns], factor)
        valid = np.ones(reduced.shape[:2], dtype=np.bool_)
        return Reference(reduced, valid, sampling, factor, mtf_nyquist)
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(2, "no such reference", str(path))
    files = sentinel2.true_colour_files(path) if path.is_dir() else (path,)
    return _read_raster(files, str(path), capture_gsd_m, gsd_m, mtf_nyquist, centre, extent_km)


def working_factor(gsd_m: float, capture_gsd_m: float) -> int:
    """Source pixels averaged per working pixel, 1 or more."""
    if gsd_m > 1.05 * capture_gsd_m:
        raise CalibrationError(
            f"the reference's {gsd_m:g} m per px are coarser than the capture's {capture_gsd_m:g} m"
        )
    return max(1, math.floor(capture_gsd_m / (_WORKING_SHARE * gsd_m)))


def _read_raster(
    files: tuple[Path, ...],
    name: str,
    capture_gsd_m: float,
    gsd_m: float | None,
    mtf_nyquist: float,
    centre: tuple[float, float] | None,
    extent_km: float | None,
) -> Reference:
    rasterio = require("rasterio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            opened = [rasterio.open(file) for file in files]
        except rasterio.errors.RasterioIOError as error:
            raise CalibrationError(f"{name}: not a raster that can be read: {error}") from error
    try:
        first = opened[0]
        if len(opened) == 1 and first.count < 3:
            raise CalibrationError(f"{name}: {first.count} bands; red, green and blue are needed")
        sampling = gsd_m if gsd_m is not None else _sampling(first, name)
        factor = working_factor(sampling, capture_gsd_m)
        top, left, rows, columns = _window(first, name, sampling, centre, extent_km)
        rows, columns = rows // factor * factor, columns // factor * factor
        if rows * columns > _MAX_WORKING_PIXELS * factor**2:
            raise CalibrationError(
                f"{name}: {rows}x{columns} px are too many; name a centre and an extent"
            )
        image = np.empty((rows // factor, columns // factor, 3), dtype=np.float32)
        valid = np.empty(image.shape[:2], dtype=np.bool_)
        for at, part in _strips(opened, top, left, rows, columns, factor):
            height = part.shape[0] // factor
            here = slice(at // factor, at // factor + height)
            image[here] = _average(part.astype(np.float32), factor)
            # Sentinel-2 codes missing data as 0 in every band.
            empty = (part == 0).all(axis=2).reshape(height, factor, -1, factor)
            valid[here] = ~empty.any(axis=(1, 3))
        scale = _full_scale(first, image, valid)
        np.divide(image, np.float32(scale), out=image)
        np.clip(image, 0.0, 1.0, out=image)
        georeferenced = first.crs is not None
        return Reference(
            image,
            valid,
            sampling,
            factor,
            mtf_nyquist,
            name,
            str(first.crs) if georeferenced else None,
            tuple(first.transform)[:6] if georeferenced else None,
            (top, left),
        )
    finally:
        for raster in opened:
            raster.close()


def _sampling(raster: Any, name: str) -> float:
    if raster.crs is None:
        return sentinel2.GSD_M
    if not raster.crs.is_projected:
        raise CalibrationError(
            f"{name}: its coordinates are degrees; give it in a projection in metres (such as UTM)"
        )
    a, b, _, d, e = tuple(raster.transform)[:5]
    return float(math.sqrt(abs(a * e - b * d)) * raster.crs.linear_units_factor[1])


def _window(
    raster: Any,
    name: str,
    sampling: float,
    centre: tuple[float, float] | None,
    extent_km: float | None,
) -> tuple[int, int, int, int]:
    """First row, first column, rows and columns to read."""
    if centre is None:
        return 0, 0, raster.height, raster.width
    if raster.crs is None:
        raise CalibrationError(f"{name}: not georeferenced, so a centre means nothing in it")
    warp = require("rasterio.warp")
    xs, ys = warp.transform("EPSG:4326", raster.crs, [centre[1]], [centre[0]])
    a, b, c, d, e, f = tuple(raster.transform)[:6]
    column, row = np.linalg.solve(np.array([[a, b], [d, e]]), np.array([xs[0] - c, ys[0] - f]))
    half = math.ceil(500.0 * (200.0 if extent_km is None else extent_km) / sampling)
    top, bottom = max(0, int(row) - half), min(raster.height, int(row) + half)
    left, right = max(0, int(column) - half), min(raster.width, int(column) + half)
    if bottom - top < 2 or right - left < 2:
        raise CalibrationError(
            f"{name}: latitude {centre[0]:g}, longitude {centre[1]:g} lies outside"
        )
    return top, left, bottom - top, right - left


def _strips(
    opened: list[Any], top: int, left: int, rows: int, columns: int, factor: int
) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Strips of full-resolution rows, (n, columns, 3), n a multiple of `factor`."""
    window = require("rasterio.windows").Window
    step = max(1, _STRIP_PIXELS // (columns * factor)) * factor
    for at in range(0, rows, step):
        here = window(left, top + at, columns, min(step, rows - at))
        if len(opened) == 1:
            bands = opened[0].read((1, 2, 3), window=here)
        else:
            bands = np.stack([raster.read(1, window=here) for raster in opened])
        yield at, np.moveaxis(bands, 0, -1)


def _full_scale(raster: Any, image: FloatImage, valid: npt.NDArray[np.bool_]) -> float:
    """8-bit pictures: 255. Reflectances: the 99.8th percentile, since gain is fitted anyway."""
    if raster.dtypes[0] == "uint8":
        return 255.0
    values = image[valid][::97]
    scale = float(np.percentile(values, 99.8)) if values.size else 0.0
    if not scale > 0.0:
        raise CalibrationError(f"{raster.name}: no data")
    return scale


def _average(image: FloatImage, factor: int) -> FloatImage:
    if factor == 1:
        return image
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    blocks = image.reshape(rows, factor, columns, factor, image.shape[2])
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


def _as_float(image: npt.NDArray[Any]) -> FloatImage:
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise CalibrationError(f"the reference has shape {image.shape}; it must be (R, C, 3)")
    if image.dtype == np.uint8:
        return image.astype(np.float32) / np.float32(255)
    if image.dtype != np.float32:
        raise CalibrationError(f"the reference is {image.dtype}; it must be uint8 or float32")
    return image
