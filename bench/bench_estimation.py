"""Blind PSF estimation against the truth, and what its errors cost the Wiener stage.

For every protocol named: errors of radius and sigma, coverage of the 90 % intervals, predicted
against achieved confidence, root mean square error of the MTF up to 0.5 cycles/px, and the PSNR
lost by restoring with the blind PSF instead of the true one, each with its best noise-to-signal
ratio out of a fixed list. Cases follow docs/PROTOCOLS.md: image i uses seed 1000 + i.

Examples
--------
::

    python bench/bench_estimation.py --data data/test --protocols defocus,defocus+,gauss+
    python bench/bench_estimation.py --captures data/captures/payload --plot mtf.png
    python bench/bench_estimation.py --data data/test --protocols none --large --joint 16
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagine_deblur.degradation.forward import degrade
from imagine_deblur.errors import EstimationError
from imagine_deblur.evaluation import protocols
from imagine_deblur.evaluation.metrics.fidelity import psnr
from imagine_deblur.psf import PSF
from imagine_deblur.psf.estimation import (
    DecodedCapture,
    Estimate,
    estimate_psf,
    render,
    report_records,
)
from imagine_deblur.restoration.wiener import WienerSpec, wiener_planes

NSR = tuple(float(v) for v in np.geomspace(3e-4, 0.1, 7))
LARGE_ROWS, LARGE_COLUMNS = 1536, 2048


@dataclass
class Row:
    """One case."""

    truth_radius: float
    truth_sigma: float
    found: Estimate
    seconds: float
    mtf_error: float
    loss_db: float


def head(data: Path) -> str:
    """What figures need to be comparable."""
    digest = sha256()
    for path in sorted(p for p in data.rglob("*") if p.is_file()):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return (
        f"data {digest.hexdigest()[:12]}, commit {commit}, {platform.machine()}, "
        f"Python {platform.python_version()}, numpy {np.__version__}"
    )


def best_psnr(case: protocols.Case, psf: PSF) -> float:
    """PSNR of the Wiener stage with a PSF and the best of `NSR`."""
    image = case.degraded.astype(np.float32) / np.float32(255)
    best = -np.inf
    for nsr in NSR:
        planes = wiener_planes(image, psf, WienerSpec((nsr,), 0))
        restored = np.clip(np.moveaxis(planes, 0, -1), 0, 1)
        best = max(best, psnr(restored, case.sharp))
    return float(best)


def mtf_error(found: PSF, truth: PSF) -> float:
    """Root mean square difference of the transfer functions along one axis up to Nyquist."""
    f = np.linspace(0, 0.5, 101)
    difference = found.transfer([0.0], f) - truth.transfer([0.0], f)
    return float(np.sqrt(np.mean(np.abs(difference) ** 2)))


def protocol_cases(
    protocol: protocols.Protocol, data: Path, scenes: str | None, draws: int
) -> Iterator[protocols.Case]:
    """A protocol on the scenes of one set; by default, as in its page, on all but those of `iss`.

    The first draw of a scene has its own seed, and each further one the next thousand's.
    """
    for scene in protocol.scenes(data):
        if scene.scene_set == scenes or (scenes is None and scene.scene_set != "iss"):
            image = protocols.load_scene(scene.path)
            for draw in range(draws):
                yield protocol.make(image, scene.index + 1000 * draw)


def large_cases(data: Path, count: int = 32) -> Iterator[protocols.Case]:
    """Frames of 3 MP: `defocus+` on mosaics of a split's aerial scenes.

    A mosaic sets twenty scenes of 400x400 px side by side, blurred as one frame; seams between
    them are edges of the scene like any others.
    """
    drawn = protocols.protocol("defocus+")
    listed = sorted((data / "aerial").iterdir())
    for index in range(count):
        rng = np.random.default_rng(9000 + index)
        psf, params = drawn.draw(rng)
        chosen = rng.choice(len(listed), 20, replace=len(listed) < 20)
        tiles = [protocols.load_scene(listed[i])[:400, :400] for i in chosen]
        rows = [np.concatenate(tiles[k : k + 5], axis=1) for k in range(0, 20, 5)]
        sharp = np.ascontiguousarray(np.concatenate(rows)[:LARGE_ROWS, :LARGE_COLUMNS])
        quality = int(rng.integers(85, 98))
        degraded = degrade(sharp, psf, noise=0.006, jpeg_quality=quality, rng=rng)
        yield protocols.Case(sharp, degraded, psf, params)


def joint_rows(data: Path, captures: int, count: int = 24) -> list[Row]:
    """Joint estimates from captures of different scenes with one blur, as in `defocus+`."""
    drawn = protocols.protocol("defocus+")
    listed = sorted((data / "aerial").iterdir())
    rows = []
    for index in range(count):
        rng = np.random.default_rng(7000 + index)
        psf, params = drawn.draw(rng)
        assert psf is not None
        chosen = rng.choice(len(listed), captures, replace=False)
        frames = [
            degrade(
                protocols.load_scene(listed[i]),
                psf,
                noise=0.006,
                jpeg_quality=int(rng.integers(85, 98)),
                rng=rng,
            )
            for i in chosen
        ]
        start = time.perf_counter()
        found = estimate_psf(frames)
        seconds = time.perf_counter() - start
        error = mtf_error(found.psf, psf)
        rows.append(Row(params["radius_px"], params["sigma_px"], found, seconds, error, np.nan))
    return rows


def measure(cases: Iterator[protocols.Case], *, restore: bool) -> tuple[list[Row], int]:
    """Estimate every case; the second value counts refusals."""
    rows, refused = [], 0
    for case in cases:
        start = time.perf_counter()
        try:
            found = estimate_psf(case.degraded)
        except EstimationError:
            refused += 1
            continue
        seconds = time.perf_counter() - start
        assert case.psf is not None
        loss = best_psnr(case, case.psf) - best_psnr(case, found.psf) if restore else np.nan
        radius, sigma = case.params.get("radius_px", 0.0), case.params["sigma_px"]
        error = mtf_error(found.psf, case.psf)
        rows.append(Row(radius, sigma, found, seconds, error, loss))
    return rows, refused


def percentiles(values: np.ndarray) -> str:
    median, high, worst = np.percentile(values, [50, 95, 100])
    return f"{median:.2f} / {high:.2f} / {worst:.2f}"


def table_line(name: str, rows: list[Row], refused: int) -> str:
    """One Markdown row."""
    truth = np.array([[r.truth_radius, r.truth_sigma] for r in rows])
    radius = np.array([r.found.disk_radius_px for r in rows])
    sigma = np.array([r.found.gaussian_sigma_px for r in rows])
    disk = truth[:, 0].max() > 0
    if disk:
        error = np.abs(radius - truth[:, 0]) / truth[:, 0]
        interval = np.array([r.found.disk_radius_interval for r in rows])
        target = truth[:, 0]
        within = np.abs(radius - target) <= np.maximum(0.05 * radius, 0.1)
    else:
        error = np.abs(sigma - truth[:, 1]) / truth[:, 1]
        interval = np.array([r.found.gaussian_sigma_interval for r in rows])
        target = truth[:, 1]
        within = np.abs(sigma - target) <= np.maximum(0.1 * sigma, 0.1)
        within &= radius == 0
    inside = np.mean((interval[:, 0] <= target) & (target <= interval[:, 1]))
    predicted = np.mean([r.found.confidence for r in rows])
    loss = np.array([r.loss_db for r in rows])
    cost = "" if np.isnan(loss).any() else f"{loss.mean():.3f} / {np.percentile(loss, 95):.2f}"
    mtf = 100 * np.array([r.mtf_error for r in rows])
    return (
        f"| {name} | {len(rows)} ({refused}) | {'radius' if disk else 'sigma'} "
        f"{percentiles(100 * error)} | {np.median(np.abs(sigma - truth[:, 1])):.2f} "
        f"| {inside:.3f} | {predicted:.3f} / {within.mean():.3f} | {percentiles(mtf)} "
        f"| {cost} | {np.median([r.seconds for r in rows]):.3f} |"
    )


def captures_records(folder: Path) -> list[dict[str, Any]]:
    """The records of `imagine-deblur psf estimate` over a folder of JPEG files."""

    def decoded() -> Iterator[DecodedCapture]:
        for path in sorted(folder.iterdir()):
            with Image.open(path) as picture:
                table = np.array(picture.quantization[0])
                yield DecodedCapture(path.name, np.asarray(picture.convert("RGB")), table)

    return report_records(decoded())


def plot_mtf(records: list[dict[str, Any]], path: Path) -> None:
    """Transfer functions of all records; the last one, the joint estimate's, with its 90 % band."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    f = np.linspace(0, 0.5, 201)
    figure, axes = pyplot.subplots(figsize=(7, 4))
    used = [record for record in records if "refused" not in record]
    for record in used[:-1]:
        curve = PSF.from_dict(record["psf"]).transfer([0.0], f)[0].real
        axes.plot(f, curve, lw=0.8, label=record["file"])
    joint = used[-1]
    rng = np.random.default_rng(0)
    centre = [joint["disk_radius_px"], joint["gaussian_sigma_px"]]
    drawn = np.abs(rng.multivariate_normal(centre, joint["covariance"], 400))
    curves = [PSF.defocus(r, s).transfer([0.0], f)[0].real for r, s in drawn]
    low, high = np.percentile(curves, [5, 95], axis=0)
    axes.fill_between(f, low, high, color="k", alpha=0.15, lw=0, label="joint, 90 %")
    axes.plot(f, PSF.from_dict(joint["psf"]).transfer([0.0], f)[0].real, "k", lw=2)
    axes.axhline(0, color="k", lw=0.5)
    axes.set(xlabel="cycles/px", ylabel="transfer function", xlim=(0, 0.5), ylim=(-0.2, 1))
    axes.legend(fontsize=6, ncols=2)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a split's folder")
    parser.add_argument("--protocols", default="defocus,defocus+,gauss+,imagine,imagine90")
    parser.add_argument("--scenes", help="only those of a set: aerial, satellite, iss")
    parser.add_argument("--draws", type=int, default=1, help="captures of every scene")
    parser.add_argument("--large", action="store_true", help="3 MP mosaics of the split's scenes")
    parser.add_argument("--joint", type=int, help="also joint estimates from so many captures")
    parser.add_argument("--no-restore", action="store_true", help="leave the cost in dB out")
    parser.add_argument("--captures", type=Path, help="a folder of JPEG captures")
    parser.add_argument("--plot", type=Path, help="write the captures' transfer functions (PNG)")
    arguments = parser.parse_args()
    if arguments.captures:
        records = captures_records(arguments.captures)
        print("\n".join(render(records)))
        if arguments.plot:
            plot_mtf(records, arguments.plot)
    if not arguments.data:
        return
    print(head(arguments.data))
    print(
        "| protocol | cases (refused) | error % median / p95 / max | sigma error px, median "
        "| 90 % interval covers | confidence: predicted / achieved | MTF error x 100 "
        "| cost dB mean / p95 | seconds |\n|---|---|---|---|---|---|---|---|---|"
    )
    for name in [n for n in arguments.protocols.split(",") if n != "none"]:
        protocol = protocols.protocol(name)
        cases = protocol_cases(protocol, arguments.data, arguments.scenes, arguments.draws)
        print(table_line(name, *measure(cases, restore=not arguments.no_restore)), flush=True)
    if arguments.large:
        cases = large_cases(arguments.data)
        print(table_line("defocus+ 3 MP", *measure(cases, restore=False)), flush=True)
    if arguments.joint:
        rows = joint_rows(arguments.data, arguments.joint)
        print(table_line(f"defocus+ joint over {arguments.joint}", rows, 0), flush=True)


if __name__ == "__main__":
    main()
