"""Make the pictures of the documentation from the package: ``make figures``.

Scenes are crops of Sentinel-2 and Landsat scenes from the development images (see the line under
each picture for the attribution); nothing else of those images is shown.
"""

from __future__ import annotations

import argparse
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from imagine_deblur import PSF, Session, _core
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.evaluation.metrics.fidelity import psnr, ssim
from imagine_deblur.psf.components import Gaussian, Motion
from imagine_deblur.psf.plots import power_spectrum
from imagine_deblur.report_html.measure import block_spectra, curves
from imagine_deblur.report_html.pixels import JpegSource, Stretch

HERE = Path(__file__).parent
OUT = HERE / "figures"
CREDIT = {
    "s2": "Contains modified Copernicus Sentinel data.",
    "landsat": "Landsat scene courtesy of NASA and the U.S. Geological Survey.",
}
GREY = "#7c7f85"  # text and axes: read as well on a light page as on a dark one
SIDE, SHOWN = 1024, 420  # px: what is restored, and what of it is shown
NOISE, QUALITY = 0.004, 90
GALLERY = (  # scene, disk radius in px, title
    ("s2_utrecht", 3.0, "Town and polders, disk of 3 px"),
    ("s2_city_river", 4.0, "City on a river, disk of 4 px"),
    ("s2_ridge_roads", 5.0, "Ridge with roads, disk of 5 px"),
    ("s2_dolomites", 6.8, "Mountains, disk of 6.8 px"),
    ("landsat_dunes", 4.0, "Dunes, disk of 4 px"),
)
STYLE = {
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 11,
    "legend.frameon": False,
    "legend.labelcolor": GREY,
    "savefig.transparent": True,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "imagine_deblur",
    "text.color": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
}
BEFORE, AFTER = "#d9742b", "#3f8ddb"

Pixels = npt.NDArray[np.uint8]


def main() -> None:
    """Make every figure."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    named = os.environ.get("IMAGINE_DEBLUR_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(named), help="the development images")
    scenes = parser.parse_args().data / "test" / "satellite"
    OUT.mkdir(exist_ok=True)
    with rc_context(STYLE):
        kernels()
        mtfs()
        entries = [pair(scenes, *entry) for entry in GALLERY]
        (OUT / "gallery.json").write_text(json.dumps(entries, indent=1) + "\n")
        stages(scenes / "s2_utrecht.png")


def kernels() -> None:
    """Four PSFs as pictures."""
    shown = (
        ("disk, R = 4 px", PSF.defocus(4.0)),
        ("disk times Gaussian", PSF.defocus(4.0, 1.2)),
        ("Gaussian, sigma = 2 px", PSF((Gaussian(2.0),))),
        ("motion, 12 px at 30°", PSF((Motion(12.0, 30.0), Gaussian(0.5)))),
    )
    figure = Figure(figsize=(9.6, 2.7), layout="constrained")
    for axes, (title, psf) in zip(figure.subplots(1, 4), shown, strict=True):
        axes.imshow(psf.kernel(25), cmap="inferno", extent=(-12.5, 12.5, 12.5, -12.5))
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("px")
    save(figure, "psf.svg")


def mtfs() -> None:
    """MTF of disks, with their zeros."""
    figure = Figure(figsize=(8.0, 3.6), layout="constrained")
    axes = figure.subplots()
    frequency = np.linspace(0.0, 0.5, 400)
    for radius, colour in ((2.0, "#4caf82"), (4.0, AFTER), (6.8, BEFORE)):
        psf = PSF.defocus(radius)
        axes.plot(frequency, psf.mtf(frequency), color=colour, label=f"disk of {radius:g} px")
        axes.plot(psf.mtf50(), 0.5, "o", color=colour)
    axes.axhline(0.5, color=GREY, linestyle=":", linewidth=1)
    label(axes, "frequency, cycles/px", "MTF")
    save(figure, "mtf.svg")


def pair(scenes: Path, name: str, radius: float, title: str) -> dict[str, Any]:
    """Write a crop before and after, restored blind; return its entry of the gallery."""
    sharp = crop(scenes / f"{name}.png")
    capture, restored, found = restored_blind(sharp, radius)
    rows, columns = sharp.shape[:2]
    top, left = (rows - SHOWN) // 2, (columns - SHOWN) // 2
    part = (slice(top, top + SHOWN), slice(left, left + SHOWN))
    files = {}
    for kind, pixels in (("before", capture), ("after", restored)):
        files[kind] = f"gallery_{name}_{kind}.webp"
        Image.fromarray(pixels[part]).save(OUT / files[kind], quality=88, method=6)
    truth = sharp[part].astype(np.float32) / 255
    scores = []
    for pixels in (capture, restored):
        image = pixels[part].astype(np.float32) / 255
        scores.append(f"{psnr(image, truth):.1f} dB / {ssim(image, truth):.2f}")
    credit = CREDIT["landsat" if name.startswith("landsat") else "s2"]
    return {
        "title": title,
        **files,
        "rows": SHOWN,
        "columns": SHOWN,
        "note": "a crop at its own resolution, WebP",
        "text": f"PSNR / SSIM: **{scores[0]}** before, **{scores[1]}** after. "
        f"Blurred by a disk of {radius:g} px, found blind as {found}; "
        f"noise {NOISE:g}, JPEG quality {QUALITY}. *{credit}*",
    }


def restored_blind(sharp: Pixels, radius: float) -> tuple[Pixels, Pixels, str]:
    """Return capture, restoration and the PSF that was found."""
    data = _core.encode_jpeg(degraded(sharp, radius), quality=QUALITY)
    out = io.BytesIO()
    with Session() as session:
        report = session.process(data, out)
    parts = (report.psf or {}).get("components", [])
    words = [" ".join(f"{v:.3g}" for v in list(p.values())[1:2]) for p in parts]
    found = ", ".join(f"{p['kind']} {w} px" for p, w in zip(parts, words, strict=True))
    return decoded(data), decoded(out.getvalue()), found or "nothing to undo"


def stages(scene: Path) -> None:
    """A crop sharp, captured, linear and restored; and what their spectra and MTF show."""
    radius = 4.0
    sharp = crop(scene)
    psf = PSF.defocus(radius)
    data = _core.encode_jpeg(degraded(sharp, radius), quality=QUALITY)
    results = {}
    for model in ("wiener", "fast"):
        out = io.BytesIO()
        with Session(psf=psf, model=model) as session:
            session.process(data, out)
        results[model] = out.getvalue()
    pictures = {
        "sharp scene": sharp,
        "capture": decoded(data),
        "linear stage alone": decoded(results["wiener"]),
        "restored": decoded(results["fast"]),
    }
    figure = Figure(figsize=(10.4, 2.95), layout="constrained")
    for axes, (title, pixels) in zip(figure.subplots(1, 4), pictures.items(), strict=True):
        axes.imshow(pixels[432:592, 432:592], interpolation="nearest")
        axes.set_title(title, fontsize=11)
        axes.set_axis_off()
    save(figure, "crops.webp")

    figure = Figure(figsize=(8.0, 3.6), layout="constrained")
    axes = figure.subplots()
    colours = ("#4caf82", BEFORE, GREY, AFTER)
    for (name, pixels), colour in zip(pictures.items(), colours, strict=True):
        spectrum = power_spectrum(pixels)
        axes.plot(spectrum.frequency, spectrum.power_db, color=colour, label=name)
    label(axes, "frequency, cycles/px", "power, dB against 0.01-0.04 cycles/px")
    save(figure, "spectra.svg")

    sources = []
    for name, stored in (("before", data), ("after", results["fast"])):
        path = OUT / f".{name}.jpg"
        path.write_bytes(stored)
        sources.append(JpegSource(path))
        path.unlink()
    spectra = block_spectra((sources[0], sources[1]), Stretch())
    assert spectra is not None, "the crop has too few blocks"
    found = curves(spectra, psf)
    figure = Figure(figsize=(8.0, 3.6), layout="constrained")
    axes = figure.subplots()
    for curve, name, colour in (
        (found.mtf_before, "capture", BEFORE),
        (found.mtf_after, "restored", AFTER),
    ):
        assert curve is not None
        axes.plot(found.frequency, curve[0], color=colour, label=name)
        axes.fill_between(found.frequency, curve[1], curve[2], color=colour, alpha=0.3, lw=0)
    label(axes, "frequency, cycles/px", "MTF")
    save(figure, "mtf_before_after.svg")


def crop(path: Path) -> Pixels:
    """The middle of a scene."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    rows, columns = pixels.shape[:2]
    height, width = min(SIDE, rows), min(SIDE, columns)
    top, left = (rows - height) // 2, (columns - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def degraded(sharp: Pixels, radius: float) -> Pixels:
    """The scene as the camera of these pages takes it."""
    scene = sharp.astype(np.float32) / 255
    rng = np.random.default_rng(1000)
    return degrade(scene, PSF.defocus(radius), noise=NOISE, rng=rng)


def decoded(data: bytes) -> Pixels:
    """A JPEG's pixels."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def label(axes: Any, x: str, y: str) -> None:
    """Name both axes, and the lines."""
    axes.set_xlim(0.0, 0.5)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend()


def save(figure: Figure, name: str) -> None:
    """Write a figure without the date, so that the same figure is the same file."""
    if name.endswith(".svg"):
        figure.savefig(OUT / name, metadata={"Date": None})
        return
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, transparent=True)
    Image.open(buffer).save(OUT / name, quality=85, method=6)


if __name__ == "__main__":
    main()
