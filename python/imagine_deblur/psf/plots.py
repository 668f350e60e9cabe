"""Pictures of a PSF: kernel, MTF with its confidence band, spectra; needs matplotlib."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imagine_deblur.errors import PsfError
from imagine_deblur.psf.field import middle_psf
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.presets import named_psf
from imagine_deblur.psf.record import Record, load_record
from imagine_deblur.psf.uncertainty import mtf_band
from imagine_deblur.support.colour import LUMA

FloatArray = npt.NDArray[np.float64]
PathLike = str | os.PathLike[str]

_MAX_SIDE = 1024
_LOW = (0.01, 0.04)  # cycles/px: blur takes little there
_CAPTURE_GSD_M = 39.0


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Power spectrum of a picture's luma.

    Attributes
    ----------
    frequency : (n,) float64 ndarray
        Cycles per px of the capture.
    power_db : (n,) float64 ndarray
        Mean over directions, 10 log10, 0 on average between 0.01 and 0.04 cycles/px.
    plane_db : (k, k) float64 ndarray
        Zero frequency in the middle, up to `edge` cycles per px of the capture.
    edge : float
    """

    frequency: FloatArray
    power_db: FloatArray
    plane_db: FloatArray
    edge: float


def power_spectrum(image: npt.NDArray[Any], px_per_capture_px: float = 1.0) -> Spectrum:
    """Spectrum of the largest central square, Hann-windowed.

    Parameters
    ----------
    image : (R, C, 3) or (R, C) ndarray
        uint8, or float in [0, 1].
    px_per_capture_px : float
        Sampling of `image` over the capture's: 2 for a picture with twice as many px per metre.
    """
    scaled = image.astype(np.float64) / (255.0 if image.dtype == np.uint8 else 1.0)
    colour = scaled.ndim == 3 and scaled.shape[2] == 3
    plane = scaled @ np.array(LUMA) if colour else scaled.reshape(scaled.shape[0], scaled.shape[1])
    rows, columns = int(plane.shape[0]), int(plane.shape[1])
    side = min(rows, columns, _MAX_SIDE) // 2 * 2
    if side < 32:
        raise PsfError(f"a picture of {rows}x{columns} px is too small to plot")
    top, left = (rows - side) // 2, (columns - side) // 2
    part = plane[top : top + side, left : left + side]
    hann = np.hanning(side + 1)[:side]
    window = np.outer(hann, hann)
    part = (part - np.average(part, weights=window)) * window
    power = np.abs(np.fft.fftshift(np.fft.fft2(part))) ** 2 / np.sum(window**2)
    axis = np.arange(side) - side // 2
    ring = np.rint(np.hypot(axis[:, None], axis[None, :])).astype(np.intp).ravel()
    count = side // 2
    total = np.bincount(ring, power.ravel())[2:count]
    members = np.bincount(ring)[2:count]
    profile = 10.0 * np.log10(np.maximum(total / members, 1e-20))
    step = max(1, side // 256)
    small = power[: side // step * step, : side // step * step]
    small = small.reshape(side // step, step, side // step, step).mean(axis=(1, 3))
    frequency = np.arange(2, count) / side * px_per_capture_px
    low = (frequency >= _LOW[0]) & (frequency <= _LOW[1])
    return Spectrum(
        frequency,
        profile - (profile[low].mean() if low.any() else profile[0]),
        10.0 * np.log10(np.maximum(small, 1e-20)),
        0.5 * px_per_capture_px,
    )


def plot_record(
    record: PathLike,
    output: PathLike,
    *,
    before: PathLike | None = None,
    after: PathLike | None = None,
    reference: Spectrum | None = None,
) -> None:
    """Draw a PSF record, and the spectra of a capture around its restoration.

    Parameters
    ----------
    record : path or str
        A PSF record, or a preset such as ``"disk:4"``. Of a PSF that changes over the field, the
        one in the middle of the frame is drawn.
    output : path
        PNG, PDF or SVG, by its ending.
    before, after : path, optional
        A capture, and its restoration.
    reference : Spectrum, optional
        Of a sharp scene, see `power_spectrum`.

    Raises
    ------
    ImportError
        Matplotlib is not installed; the message names the extra.
    PsfError, InputImageError, OSError
        A file cannot be used.
    """
    spectra: dict[str, Spectrum] = {}
    loaded = _load(record)
    if reference is not None:
        spectra["reference"] = reference
    for name, path in (("capture", before), ("restored", after)):
        if path is not None:
            spectra[name] = power_spectrum(_picture(path))
    figure = draw(loaded, spectra, title=Path(os.fspath(record)).name)
    figure.savefig(os.fspath(output), dpi=130)


def draw(record: Record, spectra: Mapping[str, Spectrum], *, title: str = "") -> Any:
    """The matplotlib figure `plot_record` writes."""
    figure_type, canvas_type = _matplotlib()
    rows = 2 if spectra else 1
    figure = figure_type(figsize=(11.0, 4.2 * rows), layout="constrained")
    canvas_type(figure)
    grid = figure.add_gridspec(rows, 6)
    _draw_kernel(figure.add_subplot(grid[0, :2]), record.psf, title)
    _draw_mtf(figure.add_subplot(grid[0, 2:]), record)
    if spectra:
        _draw_profiles(figure.add_subplot(grid[1, :3]), spectra)
        top = max(float(np.percentile(s.plane_db, 99.9)) for s in spectra.values())
        # At most three planes in the remaining half of the row.
        planes = grid[1, 3:].subgridspec(1, len(spectra))
        for column, (name, spectrum) in enumerate(spectra.items()):
            axes = figure.add_subplot(planes[0, column])
            edge = spectrum.edge
            axes.imshow(
                spectrum.plane_db,
                extent=(-edge, edge, edge, -edge),
                vmin=top - 90.0,
                vmax=top,
                cmap="magma",
            )
            axes.set_xlim(-0.5, 0.5)
            axes.set_ylim(0.5, -0.5)
            axes.set_title(name)
            axes.set_xlabel("cycles/px")
            if column:
                axes.set_yticklabels([])
    return figure


def _draw_kernel(axes: Any, psf: PSF, title: str) -> None:
    kernel = psf.kernel()
    half = kernel.shape[0] // 2
    axes.imshow(kernel, extent=(-half - 0.5, half + 0.5, half + 0.5, -half - 0.5), cmap="viridis")
    axes.set_title(f"kernel {title}".strip())
    axes.set_xlabel("px")
    axes.set_ylabel("px")


def _draw_mtf(axes: Any, record: Record) -> None:
    band = mtf_band(record)
    axes.fill_between(band.frequency, band.low, band.high, alpha=0.35, label="90 % interval")
    axes.plot(band.frequency, band.value, label="MTF")
    calibration = record.provenance.get("calibration")
    curve = calibration.get("curve") if isinstance(calibration, dict) else None
    if isinstance(curve, dict):
        measured = np.abs(np.asarray(curve["transfer"], dtype=np.float64))
        axes.errorbar(
            curve["frequency"],
            measured,
            yerr=curve["standard_error"],
            fmt=".",
            markersize=4,
            linewidth=0.8,
            label="measured",
        )
    half = record.psf.mtf50()
    if half <= 0.5:
        axes.axvline(half, linestyle=":", color="0.4", label=f"MTF50 {half:.3f} cycles/px")
    axes.set_xlim(0.0, 0.5)
    axes.set_ylim(0.0, 1.05)
    axes.set_xlabel("frequency, cycles/px")
    axes.set_ylabel("MTF")
    axes.legend()


def _draw_profiles(axes: Any, spectra: Mapping[str, Spectrum]) -> None:
    for name, spectrum in spectra.items():
        axes.plot(spectrum.frequency, spectrum.power_db, label=name)
    axes.set_xlim(0.0, 0.5)
    axes.set_xlabel("frequency, cycles per capture px")
    axes.set_ylabel(f"power, dB against {_LOW[0]}-{_LOW[1]} cycles/px")
    axes.legend()


def _load(record: PathLike) -> Record:
    psf = named_psf(os.fspath(record)).psf
    if isinstance(psf, PSF) and Path(record).is_file():
        return load_record(record)
    return Record(middle_psf(psf))


def capture_gsd_m(record: PathLike) -> float:
    """Return the GSD of a record in m/px; of one that does not tell it, the usual 39."""
    return _load(record).gsd_m or _CAPTURE_GSD_M


def _picture(path: PathLike) -> npt.NDArray[np.uint8]:
    from imagine_deblur import _core

    reader = _core.JpegReader(os.fspath(path))
    return np.asarray(reader.read_rows(reader.info["rows"]))


def _matplotlib() -> tuple[Callable[..., Any], Callable[..., Any]]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"plots need matplotlib: pip install 'imagine-deblur[plot]' ({error})",
            name="matplotlib",
        ) from error
    return Figure, FigureCanvasAgg
