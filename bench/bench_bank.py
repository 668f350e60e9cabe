"""What the linear stage could reach: one ratio, luma and colour apart, and the shipped rule.

Per protocol, means over the scenes of a split, true PSF, PSNR in dB. "one" is the oracle Wiener
filter of the protocols; "two" takes the best ratio of the luma and the best of the colour
differences on each image; "x K" ties the second to the first; "rule" is the linear model as it
ships, which sees the capture alone. Best ratios are means of their decimal logarithms.

    python bench/bench_bank.py DATA/val --protocols defocus+ imagine90 --every 4
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from environment import print_environment
from imagine_deblur.capture.nsr import filter_nsr
from imagine_deblur.capture.spectrum import mean_power
from imagine_deblur.engines.model import DEFAULT_NSR
from imagine_deblur.evaluation.metrics.fidelity import psnr
from imagine_deblur.evaluation.protocols import PROTOCOLS, Case, central_crop, load_scene
from imagine_deblur.evaluation.run import as_float, data_checksum
from imagine_deblur.restoration.wiener import LUMA, WienerSpec, wiener, wiener_planes

GRID = np.arange(-4.0, 2.1, 0.25)
FACTORS = (1.0, 10.0, 30.0, 100.0)
LARGEST = 640


def measure(case: Case) -> list[float]:
    """PSNR by one ratio, two, each factor and the rule; then the two best exponents."""
    assert case.psf is not None
    capture = as_float(case.degraded)
    weights = np.array(LUMA, np.float32)
    luma, truth = capture @ weights, case.sharp @ weights
    colour, colour_truth = capture - luma[..., None], case.sharp - truth[..., None]
    lumas = {e: wiener(luma, case.psf, 10.0**e) for e in GRID}
    # A ratio leaves the mean of a plane alone, so differences may be filtered around one half.
    half = np.float32(0.5)
    colours = {e: wiener(colour + half, case.psf, 10.0**e) - half for e in GRID}

    def together(luma_exponent: float, colour_exponent: float) -> float:
        nearest = GRID[np.argmin(np.abs(GRID - colour_exponent))]
        restored = lumas[luma_exponent][..., None] + colours[nearest]
        return psnr(np.clip(restored, 0, 1), case.sharp)

    def error(planes: dict[float, NDArray[np.float32]], exponent: float, wanted: object) -> float:
        return float(np.mean((planes[exponent] - wanted) ** 2))

    best = min(GRID, key=lambda e: error(lumas, e, truth))
    best_colour = min(GRID, key=lambda e: error(colours, e, colour_truth))
    nsr = filter_nsr(mean_power([case.degraded]), case.psf) or DEFAULT_NSR
    rule = np.moveaxis(wiener_planes(capture, case.psf, WienerSpec((nsr,), 0)), 0, -1)
    return [
        psnr(capture, case.sharp),
        max(together(e, e) for e in GRID),
        together(best, best_colour),
        *(together(best, best + np.log10(factor)) for factor in FACTORS),
        psnr(np.clip(rule, 0, 1), case.sharp),
        best,
        best_colour,
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a split's folder")
    parser.add_argument("--protocols", nargs="+", default=["defocus+", "imagine90", "imagine"])
    parser.add_argument("--every", type=int, default=4, help="of the aerial scenes, each N-th")
    parsed = parser.parse_args()
    print_environment()
    print(f"data {data_checksum(parsed.data)}\n")
    factors = " | ".join(f"x {factor:.0f}" for factor in FACTORS)
    print(f"| protocol | n | input | one | two | {factors} | rule | luma | colour |")
    print("|---" * (8 + len(FACTORS)) + "|")
    for name in parsed.protocols:
        chosen, rows = PROTOCOLS[name], []
        for index, path in enumerate(chosen.images(parsed.data)):
            if path.parent.name == "aerial" and index % parsed.every:
                continue
            rows.append(measure(chosen.make(central_crop(load_scene(path), LARGEST), index)))
        means = " | ".join(f"{value:.2f}" for value in np.mean(rows, axis=0))
        print(f"| {name} | {len(rows)} | {means} |", flush=True)


if __name__ == "__main__":
    main()
