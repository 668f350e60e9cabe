"""How far NIQE and BRISQUE can fall honestly: captures like the ISS ones, with a known truth.

    python bench/bench_naturalness.py DATA/test

Synthetic captures: the satellite scenes of a split (middle 1024 x 768 px), blurred by the disk the
ISS series shows (R = 3.9 px), with noise that the camera has smoothed and JPEG of quality 75, as
the originals. Each is restored blind as shipped, and with the true PSF at noise-to-signal ratios
from the one read off the capture downwards. A ratio that lowers NIQE while it lowers PSNR buys the
figure with grain and rings. The sharp scene's own figures come last.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench_captures import COLUMNS, ROWS
from environment import print_environment
from imagine_deblur.capture.ring_gain import rounded_nsr
from imagine_deblur.evaluation.metrics.brisque import brisque
from imagine_deblur.evaluation.metrics.fidelity import psnr, ssim
from imagine_deblur.evaluation.metrics.niqe_eo import niqe_eo
from imagine_deblur.evaluation.protocols import central_crop, load_scene, protocol
from imagine_deblur.evaluation.run import as_float
from imagine_deblur.psf.models import PSF
from imagine_deblur.session import Session
from imagine_deblur.train.recipe import Draw

BLUR = PSF.defocus(3.9, 0.5)
QUALITY = 75
CAMERA_SIGMA = 0.7
LOWER = (1.0, 0.3, 0.1, 0.03, 0.01)
"""Shares of the capture's own ratio."""


def figures(image: NDArray[np.float32], sharp: NDArray[np.float32]) -> tuple[float, ...]:
    """Return NIQE, BRISQUE, PSNR in dB and SSIM of a picture in [0, 1]."""
    return niqe_eo(image), brisque(image), psnr(image, sharp), ssim(image, sharp)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a split's folder")
    parser.add_argument("--noise", type=float, default=0.012, help="noise scale s of PROTOCOLS")
    parser.add_argument("--contrast", type=float, default=1.0, help="scale about the mean")
    parser.add_argument("--model", default="fast")
    options = parser.parse_args()
    print_environment()
    found: dict[str, list[tuple[float, ...]]] = {}
    ratios = []
    with Session(model=options.model) as blind:
        for index, path in enumerate(protocol("imagine").images(options.data)):
            sharp = central_crop(load_scene(path), ROWS, COLUMNS)
            mean = sharp.mean(axis=(0, 1))
            sharp = np.ascontiguousarray(mean + np.float32(options.contrast) * (sharp - mean))
            rng = np.random.default_rng(1000 + index)
            capture = Draw(BLUR, BLUR, options.noise, QUALITY, CAMERA_SIGMA).capture(sharp, rng)
            level = rounded_nsr(blind.analyse([capture], psf=BLUR).filter_nsr)
            ratios.append(level)
            rows = {
                "capture": capture,
                "restored blind, as shipped": blind.restore_with_report(capture)[0],
            }
            for share in LOWER:
                with Session(model=options.model, nsr=share * level) as session:
                    rows[f"true PSF, ratio x {share:g}"] = session.restore_with_report(
                        capture, psf=BLUR
                    )[0]
            for name, picture in rows.items():
                image = as_float(np.asarray(picture, np.uint8))
                found.setdefault(name, []).append(figures(image, sharp))
            found.setdefault("the sharp scene", []).append(figures(sharp, sharp))
    first = np.mean(found["capture"], axis=0)
    print(f"noise {options.noise:g}; ratios {', '.join(f'{ratio:.2g}' for ratio in ratios)}\n")
    print("| picture | NIQE | change | BRISQUE | change | PSNR dB | SSIM |")
    print("|---|---|---|---|---|---|---|")
    for name, values in found.items():
        mean = np.mean(values, axis=0)
        changes = 100 * (mean[:2] / first[:2] - 1)
        print(
            f"| {name} | {mean[0]:.1f} | {changes[0]:+.0f} % | {mean[1]:.0f} "
            f"| {changes[1]:+.0f} % | {mean[2]:.2f} | {mean[3]:.3f} |"
        )


if __name__ == "__main__":
    main()
