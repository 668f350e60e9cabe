"""Calibration against a reference, where the truth is known.

From each large sharp scene: a reference at "10 m" with Sentinel-2's MTF, and captures of it:
blurred by a disk of 2-7 px times a Gaussian of 0.5 px, rotated by any angle, 3.7-4.1 times coarser,
tilted up to 10 degrees, another radiometry per band, cloud patches, noise 0.006, JPEG 85. Scenes
are taken at their own scale, where captures are small and three are measured jointly, and resampled
twice finer, one capture a case. Case i uses seed 1000 + i. Refusals are tried on references of
other places, captures under cloud, wrong GSD ranges and flat frames.

Examples
--------
::

    python bench/bench_calibration.py --data data
    python bench/bench_calibration.py --data data --cases 4 --scenes val
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

import numpy as np
import numpy.typing as npt
from PIL import Image

from imagine_deblur.calibration import calibrate, geometry, simulate
from imagine_deblur.errors import CalibrationError
from imagine_deblur.evaluation.metrics.psf import mnc, mtf50_error
from imagine_deblur.psf import PSF

SCENES = {
    "val": ("val/satellite/landsat_lava_coast.png", "val/satellite/nasa_pivot_fields.png"),
    "test": (
        "test/satellite/s2_city_river.png",
        "test/satellite/s2_utrecht.png",
        "test/satellite/s2_dolomites.png",
        "test/satellite/s2_ridge_roads.png",
        "test/satellite/s2_farm_valley_pre.png",
        "test/satellite/s2_farm_valley_post.png",
    ),
}
MTF_NYQUIST = 0.22
NEEDED_MNC, ALLOWED_PX = 0.98, 0.5
FloatImage = npt.NDArray[np.float32]


@dataclass
class Case:
    """One reference with its captures."""

    label: str
    reference: npt.NDArray[np.uint8]
    truths: list[simulate.Truth]
    radius: float
    shapes: list[tuple[int, int]]


def load(path: Path, factor: int) -> FloatImage:
    """A scene as float32, resampled `factor` times finer."""
    with Image.open(path) as picture:
        scene = np.asarray(picture.convert("RGB"), dtype=np.float32) / np.float32(255)
    return simulate.enlarge(np.ascontiguousarray(scene), factor)


def draw(
    scene: FloatImage, rng: np.random.Generator, psf: PSF, cloud: float
) -> tuple[simulate.Truth, tuple[int, int]]:
    """A capture anywhere in a scene, as large as its rotation permits, at most 1536 x 2048."""
    scale, rotation = float(rng.uniform(3.7, 4.1)), float(rng.uniform(0.0, 360.0))
    tilt, direction = float(rng.uniform(0.0, 10.0)), float(rng.uniform(0.0, 360.0))
    c, s = abs(np.cos(np.deg2rad(rotation))), abs(np.sin(np.deg2rad(rotation)))
    rows, columns = scene.shape[:2]
    room = 0.95 / scale
    height = room * min(rows / (c + 4 / 3 * s), columns / (4 / 3 * c + s))
    shape = (min(int(height), 1536), min(int(height * 4 / 3), 2048))
    free = (
        max(columns - scale * (shape[1] * c + shape[0] * s), 0.0),
        max(rows - scale * (shape[0] * c + shape[1] * s), 0.0),
    )
    centre = (
        0.5 * (columns - 1) + float(rng.uniform(-0.45, 0.45)) * free[0],
        0.5 * (rows - 1) + float(rng.uniform(-0.45, 0.45)) * free[1],
    )
    homography = simulate.view(shape, scale, rotation, tilt, direction, centre)
    return simulate.capture_of(scene, homography, shape, psf, rng, cloud=cloud), shape


def cases(data: Path, names: list[str], limit: int | None) -> Iterator[Case]:
    """The cases, in the order of their seeds."""
    plan = [
        (name, factor, repeat)
        for factor, repeats in ((2, 2), (1, 1))
        for repeat in range(repeats)
        for name in names
    ]
    for index, (name, factor, _) in enumerate(plan[:limit]):
        rng = np.random.default_rng(1000 + index)
        scene = load(data / name, factor)
        radius = float(rng.uniform(2.0, 7.0))
        psf = PSF.defocus(radius)
        reference = simulate.reference_of(scene, MTF_NYQUIST, rng)
        truths, shapes = [], []
        for _ in range(1 if factor == 2 else 3):
            truth, shape = draw(scene, rng, psf, float(rng.choice([0.0, rng.uniform(0.02, 0.3)])))
            truths.append(truth)
            shapes.append(shape)
        yield Case(f"{Path(name).stem} x{factor}", reference, truths, radius, shapes)


def measure(data: Path, names: list[str], limit: int | None) -> None:
    """Print a row per case and the share that reaches the aim."""
    print(
        "| scene | captures | R | found R ± se | sigma ± se | MNC | MTF50 error | registration px |"
        " own figure px | GSD m (true) | cloud | rounds | s | verdict |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    good = wrong = refused = 0
    inside: list[bool] = []
    for case in cases(data, names, limit):
        started = time.perf_counter()
        largest = max(case.shapes)
        cloud = max(t.cloud for t in case.truths)
        head = f"| {case.label} | {len(case.truths)}, up to {largest[1]}x{largest[0]} | "
        try:
            found = calibrate([t.capture for t in case.truths], case.reference)
        except CalibrationError as error:
            refused += 1
            seconds = time.perf_counter() - started
            print(
                f"{head}{case.radius:.2f} | | | | | | | | {cloud:.2f} | | {seconds:.0f} |"
                f" refused: {error} |",
                flush=True,
            )
            continue
        seconds = time.perf_counter() - started
        truth = case.truths[0].psf
        size = 2 * int(case.radius + 8) + 1
        agreement = mnc(found.psf.kernel(size), truth.kernel(size))
        by_name = {f"capture {i}": i for i in range(len(case.truths))}
        distances, gsds = [], []
        for one in found.captures:
            at = by_name[one.name]
            homography = case.truths[at].homography
            distances.append(geometry.distance(one.homography, homography, case.shapes[at]))
            gsds.append(geometry.describe(homography, case.shapes[at], 10.0).gsd_m)
        worst = max(distances)
        passed = agreement >= NEEDED_MNC and worst <= ALLOWED_PX
        good, wrong = good + passed, wrong + (not passed)
        errors = list(found.standard_errors.values())
        inside.append(abs(found.values[0] - case.radius) <= 1.645 * errors[0])
        left_out = f", {len(found.refused)} left out" if found.refused else ""
        print(
            f"{head}{case.radius:.2f} | {found.values[0]:.3f} ± {errors[0]:.3f} |"
            f" {found.values[1]:.2f} ± {errors[1]:.2f} | {agreement:.4f} |"
            f" {100 * mtf50_error(found.psf, truth):+.2f} % | {worst:.3f} |"
            f" {found.registration_rms_px:.3f} | {found.gsd_m:.2f} ({np.mean(gsds):.2f}) |"
            f" {cloud:.2f} | {found.iterations} | {seconds:.0f} |"
            f" {'good' if passed else 'WRONG'}{left_out} |",
            flush=True,
        )
    total = good + wrong + refused
    print(
        f"\n{total} cases: {good} good ({100 * good / max(total, 1):.0f} %), {refused} refused,"
        f" {wrong} wrong without a refusal; good is MNC >= {NEEDED_MNC} and registration within"
        f" {ALLOWED_PX} px over the whole frame."
    )
    if inside:
        print(f"The true radius lies in the 90 % interval in {sum(inside)} of {len(inside)} cases.")


def refusals(data: Path) -> None:
    """Cases that must be refused."""
    rng = np.random.default_rng(900)
    psf = PSF.defocus(4.0)
    one = load(data / SCENES["val"][0], 2)
    other = load(data / SCENES["val"][1], 2)
    reference = simulate.reference_of(one, MTF_NYQUIST, rng)
    elsewhere = simulate.reference_of(other, MTF_NYQUIST, rng)
    clear, _ = draw(one, rng, psf, 0.0)
    clouded, _ = draw(one, rng, psf, 0.9)
    flat = np.full((300, 400, 3), 0.4, dtype=np.float32)
    noisy = (np.clip(flat + rng.normal(0, 0.01, flat.shape), 0, 1) * 255).astype(np.uint8)
    tried = (
        ("reference of another place", clear.capture, elsewhere, (37.0, 41.0)),
        ("90 % cloud", clouded.capture, reference, (37.0, 41.0)),
        ("GSD said to be 60-80 m", clear.capture, reference, (60.0, 80.0)),
        ("flat frame with noise", noisy, reference, (37.0, 41.0)),
        ("64 px frame", noisy[:64, :64], reference, (37.0, 41.0)),
        ("mirrored capture", simulate.mirrored(clear), reference, (37.0, 41.0)),
    )
    print("\n| must be refused | answer |\n|---|---|")
    for label, capture, scene, gsd in tried:
        try:
            found = calibrate(capture, scene, gsd_m=gsd)
        except CalibrationError as error:
            print(f"| {label} | refused: {error} |", flush=True)
        else:
            print(f"| {label} | ACCEPTED: {found.values} |", flush=True)


def head(data: Path, names: list[str]) -> str:
    """What figures need to be comparable."""
    digest = sha256()
    for name in names:
        digest.update((data / name).read_bytes())
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return (
        f"scenes {digest.hexdigest()[:12]}, commit {commit}, {platform.machine()}, "
        f"Python {platform.python_version()}, numpy {np.__version__}, "
        f"reference MTF {MTF_NYQUIST} at Nyquist"
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--scenes", choices=("val", "test", "all"), default="all")
    parser.add_argument("--cases", type=int, help="only the first so many")
    parser.add_argument("--refusals-only", action="store_true")
    parsed = parser.parse_args()
    names = [
        name
        for split in ("val", "test")
        if parsed.scenes in (split, "all")
        for name in SCENES[split]
    ]
    print(head(parsed.data, names) + "\n")
    if not parsed.refusals_only:
        measure(parsed.data, names, parsed.cases)
    refusals(parsed.data)


if __name__ == "__main__":
    main()
