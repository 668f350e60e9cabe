"""Synthetic captures for the learned ring gains: what the regressor sees, and the best gains.

A capture is kept as its spectra, what is believed of its PSF, and the sums over frequency from
which the error of any radial gain follows (Parseval): ``|Y|^2``, ``Re(X Y*)`` and ``|X|^2``. They
are taken of the cosine transform of the whole crop: a crop blurred under reflection is diagonal in
it, so that no window smears the zeros of a disk.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture.ring_spectra import ring_spectra
from imagine_deblur.errors import EstimationError
from imagine_deblur.psf import PSF
from imagine_deblur.psf.estimation.estimator import estimate_from, summary_of
from imagine_deblur.psf.estimation.quantisation_table import table_scalars
from imagine_deblur.psf.otf_moments import (
    ENTRIES,
    FREQUENCY,
    HIGHEST,
    OtfMoments,
    moments_of_normal,
    moments_of_psf,
)
from imagine_deblur.train.blind_data import quality_table
from imagine_deblur.train.captures import Capture, SceneFiles, draw_capture, draw_mode

FloatImage = NDArray[np.float32]

BELIEFS = ("exact", "unsure", "file", "array")
"""What is known of the PSF: itself, a record with a covariance, a blind estimate with the JPEG's
table at hand, and one without."""

DIRECTION_RINGS, DIRECTION_GROUPS = 64, 8

_ROUND_SHAPED = 0.05  # share of the round captures whose gains are relative to their OTF


def colour_planes(image: FloatImage) -> FloatImage:
    """Luma and the two differences, (3, R, C)."""
    luma = image @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.stack([luma, image[..., 0] - luma, image[..., 2] - luma])


def round_sums(sharp: FloatImage, degraded: FloatImage) -> NDArray[np.float32]:
    """``|Y|^2``, ``Re(X Y*)``, ``|X|^2`` of `colour_planes` at `FREQUENCY`: (3, 3, ENTRIES).

    The first axis is the plane; sums are in units of squared error a pixel.
    """
    from scipy.fft import dctn

    rows, columns = sharp.shape[:2]
    spectra = [
        dctn(colour_planes(image), type=1, axes=(1, 2), overwrite_x=True)
        for image in (sharp, degraded)
    ]
    fy = np.arange(rows) / (2 * (rows - 1))
    fx = np.arange(columns) / (2 * (columns - 1))
    ends = [
        np.where((np.arange(n) == 0) | (np.arange(n) == n - 1), 1.0, 2.0) for n in (rows, columns)
    ]
    weight = np.outer(ends[0], ends[1]) / (4.0 * (rows - 1) * (columns - 1)) ** 2
    index = np.minimum((np.hypot(fy[:, None], fx[None, :]) * (ENTRIES / HIGHEST)), ENTRIES - 1)
    index = index.astype(np.intp).ravel()
    weight[0, 0] = 0.0  # the mean stays as it is
    result = np.empty((3, 3, ENTRIES), np.float32)
    for plane in range(3):
        x, y = spectra[0][plane].astype(np.float64), spectra[1][plane].astype(np.float64)
        for k, product in enumerate((y * y, x * y, x * x)):
            result[plane, k] = np.bincount(index, (weight * product).ravel(), ENTRIES)
    return result


def direction_sums(
    sharp: FloatImage, degraded: FloatImage, believed: PSF
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """The same sums for a PSF with a direction, over rings and, within a ring, groups of |H|.

    Returns
    -------
    sums : (3, 3, ENTRIES) float32 ndarray
        ``Re(X Y*)`` with the phase of the believed H taken out.
    magnitude, frequency : (ENTRIES,) float32 ndarray
        Mean |H| and frequency of each group.
    """
    rows, columns = sharp.shape[:2]
    window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1])
    window = (window / np.sqrt(np.mean(window**2))).astype(np.float32)
    planes = [colour_planes(image) for image in (sharp, degraded)]
    means = planes[1].mean(axis=(1, 2), keepdims=True)
    spectra = [np.fft.rfft2((p - means) * window, norm="ortho") for p in planes]
    otf = believed.otf(rows, columns)
    magnitude = np.abs(otf)
    phase = np.conj(otf) / np.maximum(magnitude, 1e-6)
    f = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :])
    ring = np.minimum((f * (DIRECTION_RINGS / HIGHEST)).astype(np.intp), DIRECTION_RINGS - 1)
    order = np.lexsort((magnitude.ravel(), ring.ravel()))
    counts = np.bincount(ring.ravel(), minlength=DIRECTION_RINGS)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    rank = np.arange(order.size) - starts
    group = np.empty(order.size, np.intp)
    sorted_ring = ring.ravel()[order]
    group[order] = sorted_ring * DIRECTION_GROUPS + rank * DIRECTION_GROUPS // counts[sorted_ring]
    weight = np.full(f.shape, 2.0)
    weight[:, 0] = 1.0
    if columns % 2 == 0:
        weight[:, -1] = 1.0
    weight /= rows * columns
    weight[0, 0] = 0.0
    sums = np.empty((3, 3, ENTRIES), np.float32)
    for plane in range(3):
        x, y = spectra[0][plane], spectra[1][plane]
        products = (np.abs(y) ** 2, (np.conj(x) * y * phase).real, np.abs(x) ** 2)
        for k, product in enumerate(products):
            sums[plane, k] = np.bincount(group, (weight * product).ravel(), ENTRIES)
    total = np.maximum(np.bincount(group, minlength=ENTRIES), 1)
    mean_magnitude = np.bincount(group, magnitude.ravel(), ENTRIES) / total
    mean_f = np.bincount(group, f.ravel(), ENTRIES) / total
    return sums, mean_magnitude.astype(np.float32), mean_f.astype(np.float32)


def example(scenes: SceneFiles, seed: int, index: int) -> dict[str, Any] | None:
    """One training example, a pure function of its arguments; None of a flat capture."""
    rng = np.random.default_rng((seed, index))
    mode = draw_mode(rng)
    kind = scenes.draw_kind(rng, mode)
    capture = draw_capture(scenes.draw(rng, kind), mode, rng)
    spectra = ring_spectra([capture.degraded])
    if spectra is None:
        return None
    degraded = capture.degraded.astype(np.float32) / np.float32(255)
    table = table_scalars(quality_table(capture.quality) if capture.quality else None, known=True)
    unknown = table_scalars(None, known=False)
    try:
        summary = summary_of(capture.degraded)
    except EstimationError:
        summary = None
    moments: dict[str, OtfMoments] = {}
    nothing = OtfMoments(np.zeros(ENTRIES), np.full(ENTRIES, 0.5))
    scalars = np.zeros((2, 5), np.float32)
    guess = None
    for k, (name, about) in enumerate((("file", table), ("array", unknown))):
        if summary is None:
            moments[name] = nothing
            continue
        estimate = estimate_from(summary, about)
        moments[name] = estimate.distribution.moments
        scalars[k] = estimate.distribution.facts
        guess = estimate.psf
    shaped, believed, known = _believed(capture, guess, rng)
    result: dict[str, Any] = {
        "mode": mode,
        "kind": kind,
        "table": table,
        "scalars": scalars,
        "spectra": spectra.stacked,
        "average": spectra.mean,
        "directed": shaped,
        "known": known,
        "truth": (capture.radius, capture.sigma),
    }
    if not shaped:
        moments["exact"] = moments_of_psf(capture.psf)
        error = np.exp(rng.uniform(np.log(0.003), np.log(0.1)))
        spread = np.array([error * max(capture.radius, 0.3), 3 * error * max(capture.sigma, 0.3)])
        moments["unsure"] = moments_of_normal(
            max(0.0, capture.radius + float(rng.normal(0, spread[0]))) if capture.radius else 0.0,
            max(0.0, capture.sigma + float(rng.normal(0, spread[1]))),
            np.diag(spread**2) * (np.array([1.0 if capture.radius else 0.0, 1.0])[:, None]),
        )
        result["sums"] = round_sums(capture.sharp, degraded)
        result["frequency"] = FREQUENCY.astype(np.float32)
    else:
        sums, magnitude, frequency = direction_sums(capture.sharp, degraded, believed)
        result["sums"], result["frequency"] = sums, frequency
        own = OtfMoments(magnitude.astype(np.float64), np.zeros(ENTRIES))
        moments = dict.fromkeys(BELIEFS, own)
    result["moments"] = np.array(
        [[moments[name].mean, moments[name].deviation] for name in BELIEFS], np.float32
    )
    return result


def _believed(
    capture: Capture, guess: PSF | None, rng: np.random.Generator
) -> tuple[bool, PSF, bool]:
    """Whether the gains are relative to a PSF's own transfer function, which PSF, and if given.

    A kernel that is not round is undone by its own transfer function; the estimate of such a blur
    may be round all the same, and a round one is undone so where it is a cell of a field.
    """
    if capture.round and capture.psf.isotropic:
        return bool(rng.random() < _ROUND_SHAPED), capture.psf, True
    found = guess is not None and bool(guess.components) and not guess.isotropic
    if found and guess is not None and rng.random() < 0.5:
        return True, guess, False
    cut = capture.round
    return not cut or bool(rng.random() < 0.5), capture.psf, True


def main(arguments: list[str] | None = None) -> int:
    """Make examples into numbered files of 500."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", type=Path, help="folder with aerial, satellite and iss")
    parser.add_argument("output", type=Path, help="folder for part-NNNN.npz")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", type=int, default=500, help="examples a file")
    options = parser.parse_args(arguments)
    scenes = SceneFiles(options.scenes)
    options.output.mkdir(parents=True, exist_ok=True)
    for first in range(0, options.count, options.part):
        path = options.output / f"part-{options.seed:02d}-{first // options.part:04d}.npz"
        if path.exists():
            continue
        last = min(first + options.part, options.count)
        made = [e for i in range(first, last) if (e := example(scenes, options.seed, i))]
        arrays = {k: np.array([e[k] for e in made]) for k in made[0]}
        np.savez(path.with_suffix(".part"), allow_pickle=False, **arrays)
        path.with_suffix(".part.npz").rename(path)
        print(path.name, len(made), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
