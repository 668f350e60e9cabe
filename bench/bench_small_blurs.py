"""What undoing a small, unsure, estimated blur does to a picture, by its MTF at Nyquist.

    python bench/bench_small_blurs.py DATA/train --every 6

Scenes are blurred a little (Gaussians of 0.3 to 0.9 px, disks of 0.5 to 1.8 px, or a turn about the
centre as in the protocol ``spin``), exposed with or without noise, coded as JPEG of quality 85 to
97 or not at all, estimated blind and restored with the estimate whatever it is. The table, change
in PSNR by the estimate's MTF, is what `policy.SHARP_MTF` was chosen on. Synthetic captures.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np

from environment import print_environment
from imagine_deblur.capture.policy import SURE
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.errors import EstimationError
from imagine_deblur.evaluation.metrics.fidelity import psnr
from imagine_deblur.evaluation.protocols import load_scene, protocol, truncated_gaussian
from imagine_deblur.psf.estimation import estimate_psf
from imagine_deblur.psf.models import PSF
from imagine_deblur.session import Session

EDGES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 0.95)
SIDE = 512


def capture(path: Path, index: int, rng: np.random.Generator):
    """Return a scene, a capture of it, and whether that was coded."""
    sharp = load_scene(path)[:SIDE, :SIDE]
    kind = index % 3
    if kind == 2:
        return sharp, protocol("spin").make(sharp, index).degraded, True
    psf = truncated_gaussian(rng.uniform(0.3, 0.9), 15)
    if kind == 1:
        psf = PSF.defocus(rng.uniform(0.5, 1.8), 0.3)
    quality = int(rng.integers(85, 98)) if rng.random() < 0.5 else None
    noise = float(rng.choice([0.0, 0.002, 0.006]))
    degraded = degrade(sharp, psf, noise=noise, jpeg_quality=quality, rng=rng)
    return sharp, degraded, quality is not None


def described(gains: list[float]) -> str:
    """Return the cells of one column group."""
    if not gains:
        return "0 | | "
    return f"{len(gains)} | {np.mean(gains):+.2f} | {np.percentile(gains, 5):+.2f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", type=int, default=6)
    parser.add_argument("--model", default="fast")
    options = parser.parse_args()
    rng = np.random.default_rng(6)
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    with Session(model=options.model, threads=1) as session:
        for index, path in enumerate(protocol("gauss").images(options.data)[:: options.every]):
            sharp, degraded, coded = capture(path, index, rng)
            try:
                estimate = estimate_psf([degraded])
            except EstimationError:
                continue
            if estimate.confidence >= SURE or estimate.family != "round":
                continue
            restored, _ = session.restore_with_report(degraded, psf=estimate.psf)
            gain = psnr(restored / 255.0, sharp) - psnr(degraded / 255.0, sharp)
            found[coded].append((estimate.psf.mtf_nyquist(), gain))
    print_environment()
    print("| MTF at Nyquist | never JPEG: n | mean dB | p5 | was JPEG: n | mean dB | p5 |")
    print("|---|---|---|---|---|---|---|")
    for low, high in pairwise(EDGES):
        cells = (
            described([gain for mtf, gain in found[coded] if low <= mtf < high])
            for coded in (False, True)
        )
        print(f"| {low} to {high} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
