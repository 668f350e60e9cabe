"""Measure restorations by protocol, against the truth and against linear methods.

Rows: the input; the oracle Wiener filter (true PSF, the ratio of `restoration.wiener` that
maximises PSNR on each image); Richardson-Lucy with the true PSF (scikit-image, 30 iterations); the
best radial linear filter, which only the truth tells; each model with the true PSF and blind, and
through a camera also with the effective PSF, since the true one leaves out what the camera does.
Figures are means over the images of one set of scenes with the 5th percentile beside them, and the
5th percentile and the least of the gain over the input: below 0, some image was made worse.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.errors import EngineError
from imagine_deblur.evaluation.bounds import best_radial, effective_psf
from imagine_deblur.evaluation.metrics.fidelity import psnr, rmse, ssim
from imagine_deblur.evaluation.metrics.ringing import ringing
from imagine_deblur.evaluation.protocols import Case, Protocol, load_scene, protocol
from imagine_deblur.options import Options
from imagine_deblur.psf.models import PSF
from imagine_deblur.restoration.wiener import wiener
from imagine_deblur.session import Session

FloatImage = NDArray[np.float32]
Restore = Callable[[Case], FloatImage]

RL_ITERATIONS = 30
RL_LEAST = 1e-6  # Of a blurred estimate, to divide by: else one shaken scene came out as NaN.
_GRID = np.arange(-4.5, 0.6, 0.5)  # log10 of the oracle's ratios; refined around the best
_TOLERANCE = 0.05


@dataclass(frozen=True)
class Row:
    """One method under one protocol.

    Attributes
    ----------
    protocol, scenes, method : str
        Scenes is the set: aerial, satellite, iss, or all of a folder without these.
    images : int
    psnr, psnr_p5 : float
        Mean and 5th percentile, dB.
    ssim, ssim_p5 : float
    rmse : float
        Mean, range 1.
    gain, gain_p5, gain_worst : float
        PSNR over the input's, mean, 5th percentile and least, dB.
    ringing : float
        Mean overshoot beyond the truth's local range (`metrics.ringing`), full scale 1.
    seconds : float
        Per image, median; not a benchmark.
    """

    protocol: str
    scenes: str
    method: str
    images: int
    psnr: float
    psnr_p5: float
    ssim: float
    ssim_p5: float
    rmse: float
    gain: float
    gain_p5: float
    gain_worst: float
    ringing: float
    seconds: float


def oracle_wiener(case: Case) -> FloatImage:
    """Restore with the true PSF and the noise-to-signal ratio that maximises PSNR.

    Parameters
    ----------
    case : Case
        Its `psf` must not be None.

    Returns
    -------
    (R, C, 3) float32 ndarray
        Clipped to [0, 1].
    """
    assert case.psf is not None
    psf, capture = case.psf, as_float(case.degraded)

    def restored(exponent: float) -> FloatImage:
        return np.clip(wiener(capture, psf, 10.0**exponent), 0, 1)

    scores = {float(e): psnr(restored(float(e)), case.sharp) for e in _GRID}
    best = max(scores, key=lambda e: scores[e])
    step = 0.25
    while step >= _TOLERANCE:
        for candidate in (best - step, best + step):
            if candidate not in scores:
                scores[candidate] = psnr(restored(candidate), case.sharp)
        best = max(scores, key=lambda e: scores[e])
        step /= 2
    return restored(best)


def richardson_lucy(case: Case) -> FloatImage:
    """Restore with the true PSF by scikit-image's Richardson-Lucy, band by band.

    The image is extended by reflection first, so that its edge does not ring.
    """
    try:
        from skimage.restoration import richardson_lucy as run
    except ImportError as error:
        raise EngineError(
            "the Richardson-Lucy row needs scikit-image: pip install scikit-image", engine="skimage"
        ) from error
    assert case.psf is not None
    kernel = case.psf.kernel().astype(np.float32)
    pad = kernel.shape[0]
    image = np.pad(as_float(case.degraded), ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    options = {"num_iter": RL_ITERATIONS, "filter_epsilon": RL_LEAST}
    bands = [run(image[..., b], kernel, **options) for b in range(3)]
    restored = np.stack(bands, axis=-1)[pad:-pad, pad:-pad]
    return np.ascontiguousarray(np.clip(restored, 0, 1), np.float32)


def as_float(image: NDArray[np.uint8]) -> FloatImage:
    """Return 8-bit samples as float32 in [0, 1]."""
    return image.astype(np.float32) * np.float32(1 / 255)


class ModelMethod:
    """A model of this package as a method, warmed up over images of one size.

    Parameters
    ----------
    model : str
        As `Options.model`.
    known : callable or None
        Gives a case's PSF; None estimates it.
    options : Options
    """

    def __init__(
        self, model: str, *, known: Callable[[Case], PSF | None] | None, options: Options
    ) -> None:
        self._session = Session(options, model=model)
        self._known = known

    def __call__(self, case: Case) -> FloatImage:
        """Restore one case as 8-bit samples, as a user gets them."""
        restored, _ = self._session.restore_with_report(
            case.degraded, psf=None if self._known is None else self._known(case)
        )
        return as_float(np.asarray(restored, np.uint8))


def methods(
    models: Sequence[str], options: Options, *, known_psf: bool, camera: bool = False
) -> dict[str, Restore]:
    """Return the methods to compare by the name of their row.

    Parameters
    ----------
    models : sequence of str
        Models of this package.
    options : Options
    known_psf : bool
        False leaves out every method that needs the true PSF.
    camera : bool
        Add the rows with the effective PSF.
    """
    rows: dict[str, Restore] = {"input": lambda case: as_float(case.degraded)}
    if known_psf:
        rows["oracle Wiener"] = oracle_wiener
        rows["Richardson-Lucy"] = richardson_lucy
        rows["best radial filter"] = best_radial_filter
    for model in models:
        if known_psf:
            rows[f"{model}, true PSF"] = ModelMethod(model, known=_true_psf, options=options)
        if camera:
            rows[f"{model}, effective PSF"] = ModelMethod(model, known=_effective, options=options)
        rows[f"{model}, blind"] = ModelMethod(model, known=None, options=options)
    return rows


def best_radial_filter(case: Case) -> FloatImage:
    """Restore with the best real gain a ring of frequency and band, see `bounds.best_radial`."""
    return best_radial(case.sharp, as_float(case.degraded))


def _true_psf(case: Case) -> PSF | None:
    return case.psf


def _effective(case: Case) -> PSF:
    return effective_psf(case.sharp, as_float(case.degraded))


def cases(
    chosen: Protocol,
    data_dir: str | Path,
    limit: int | None = None,
    *,
    scene_set: str | None = None,
) -> Iterator[Case]:
    """Yield the cases of a protocol over a split's folder.

    Parameters
    ----------
    chosen : Protocol
    data_dir : path
    limit : int, optional
        Of each set, about this many scenes, evenly spaced; their seeds stay.
    scene_set : str, optional
        One of `protocols.SCENE_SETS`; all sets, one behind the other, if None.
    """
    scenes = chosen.scenes(data_dir)
    for name in dict.fromkeys(scene.scene_set for scene in scenes):
        if scene_set not in (None, name):
            continue
        listed = [scene for scene in scenes if scene.scene_set == name]
        step = 1 if limit is None else max(1, -(-len(listed) // limit))
        for scene in listed[::step]:
            yield chosen.make(load_scene(scene.path), scene.index)


def evaluate(
    under: str | Protocol,
    data_dir: str | Path,
    *,
    models: Sequence[str] = ("auto",),
    options: Options | None = None,
    limit: int | None = None,
    skip: Sequence[str] = (),
    sheet: str | Path | None = None,
    progress: Callable[[int], object] | None = None,
    scene_sets: Sequence[str] | None = None,
) -> list[Row]:
    """Measure every method under one protocol.

    Parameters
    ----------
    under : str or Protocol
        A name of `imagine_deblur.evaluation.protocols.PROTOCOLS`, or a protocol such as a camera's
        (`evaluation.described`).
    data_dir : path
        A split's folder, for example ``.../test``.
    models : sequence of str
    options : Options, optional
        Of the models; threads, engine and so on.
    limit : int, optional
        Use about this many scenes, evenly spaced; the seeds stay those of the full set.
    skip : sequence of str
        Rows to leave out, by name; Richardson-Lucy takes most of the time.
    sheet : path, optional
        Write a JPEG with central crops of a few scenes, one column a method, the truth last.
    progress : callable, optional
        Called with the number of images done.
    scene_sets : sequence of str, optional
        Of `protocols.SCENE_SETS`; every one the folder has, if None.

    Returns
    -------
    list of Row
        Set by set.
    """
    chosen = protocol(under) if isinstance(under, str) else under
    options = options or Options(max_ram="4GB")
    rows = methods(models, options, known_psf=chosen.name != "spin", camera=chosen.camera)
    rows = {key: method for key, method in rows.items() if key not in skip or key == "input"}
    found = dict.fromkeys(scene.scene_set for scene in chosen.scenes(data_dir))
    crops: list[list[FloatImage]] = []
    results: list[Row] = []
    done = 0
    for scene_set in found:
        if scene_sets is not None and scene_set not in scene_sets:
            continue
        figures: dict[str, list[tuple[float, ...]]] = {key: [] for key in rows}
        for case in cases(chosen, data_dir, limit, scene_set=scene_set):
            pictures = []
            for key, method in rows.items():
                started = time.perf_counter()
                restored = method(case)
                seconds = time.perf_counter() - started
                figures[key].append((*_fidelity(restored, case.sharp), seconds))
                pictures.append(restored)
            if sheet is not None and len(crops) < 6:
                crops.append([_crop(picture) for picture in [*pictures, case.sharp]])
            done += 1
            if progress is not None:
                progress(done)
        base = np.array([f[0] for f in figures["input"]])
        results += [
            _row((chosen.name, scene_set, key), np.array(values), base)
            for key, values in figures.items()
            if values
        ]
    if sheet is not None:
        _write_sheet(Path(sheet), crops)
    return results


def _fidelity(restored: FloatImage, sharp: FloatImage) -> tuple[float, float, float, float]:
    return (
        psnr(restored, sharp),
        ssim(restored, sharp),
        rmse(restored, sharp),
        ringing(restored, sharp),
    )


def _row(
    names: tuple[str, str, str], values: NDArray[np.float64], base: NDArray[np.float64]
) -> Row:
    gains = values[:, 0] - base
    return Row(
        protocol=names[0],
        scenes=names[1],
        method=names[2],
        images=len(values),
        psnr=float(values[:, 0].mean()),
        psnr_p5=float(np.percentile(values[:, 0], 5)),
        ssim=float(values[:, 1].mean()),
        ssim_p5=float(np.percentile(values[:, 1], 5)),
        rmse=float(values[:, 2].mean()),
        gain=float(gains.mean()),
        gain_p5=float(np.percentile(gains, 5)),
        gain_worst=float(gains.min()),
        ringing=float(values[:, 3].mean()),
        seconds=float(np.median(values[:, 4])),
    )


def _crop(image: FloatImage, side: int = 200) -> FloatImage:
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    crop = image[top : top + side, left : left + side]
    return np.pad(crop, ((0, side - crop.shape[0]), (0, side - crop.shape[1]), (0, 0)))


def _write_sheet(path: Path, crops: list[list[FloatImage]]) -> None:
    from imagine_deblur import _core

    sheet = np.concatenate([np.concatenate(row, axis=1) for row in crops], axis=0)
    samples = np.ascontiguousarray((np.clip(sheet, 0, 1) * 255 + 0.5).astype(np.uint8))
    path.write_bytes(_core.encode_jpeg(samples, quality=92, subsampling="4:4:4"))


def data_checksum(data_dir: str | Path) -> str:
    """Return a hash over the names and bytes of a folder's files, 12 hex digits."""
    digest = hashlib.sha256()
    for path in sorted(p for p in Path(data_dir).rglob("*") if p.is_file()):
        digest.update(path.relative_to(data_dir).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def markdown(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table."""
    lines = [
        "| protocol | scenes | method | n | PSNR dB | p5 | SSIM | p5 | gain dB | p5 | worst |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.protocol} | {r.scenes} | {r.method} | {r.images} | {r.psnr:.2f} | {r.psnr_p5:.2f} "
        f"| {r.ssim:.4f} | {r.ssim_p5:.4f} "
        f"| {r.gain:+.2f} | {r.gain_p5:+.2f} | {r.gain_worst:+.2f} |"
        for r in rows
    ]
    return "\n".join(lines)


def as_dicts(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows as plain values."""
    return [asdict(row) for row in rows]
