"""Random captures of every sort: how often is a restoration worse than its capture?

Draw k is a pure function of its seed: a scene and a piece of it, a blur, noise, JPEG, contrast, a
camera's own processing or none. Each is restored blind, as the file it would be. A row a draw goes
to a CSV file; started again on the same file it goes on where it stopped.

    python bench/campaign.py DATA/test campaign.csv --count 2000 --seconds 3600
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from environment import print_environment
from imagine_deblur import Session
from imagine_deblur.capture.result import Capture
from imagine_deblur.degradation.camera import draw_camera
from imagine_deblur.degradation.forward import blur, expose
from imagine_deblur.evaluation.metrics.fidelity import psnr
from imagine_deblur.evaluation.protocols import (
    PROTOCOLS,
    Scene,
    load_scene,
    scale_contrast,
    truncated_gaussian,
)
from imagine_deblur.evaluation.run import as_float, data_checksum
from imagine_deblur.psf.models import PSF
from imagine_deblur.train.blind_data import quality_table

FloatImage = NDArray[np.float32]

SIDE = 320
SEED = 20_000
CAMERA_SHARE, CODED_SHARE = 0.4, 0.75
WORSE, MUCH_WORSE = -0.1, -0.5
"""Gains in dB below which a capture was made worse, or much worse."""

COLUMNS = (
    "seed", "scenes", "scene", "blur", "size_px", "camera", "contrast", "noise", "quality",
    "input_db", "gain_db", "restored",
)  # fmt: skip


def draw_blur(rng: np.random.Generator) -> tuple[str, float, PSF]:
    """A disk in three draws of four, else a Gaussian, whole or cut to 15 x 15 px."""
    if rng.random() < 0.75:
        radius = float(rng.uniform(1.0, 8.0))
        return "disk", radius, PSF.defocus(radius, 0.5)
    sigma = float(rng.uniform(0.7, 4.0))
    return "gauss", sigma, truncated_gaussian(sigma, 15)


def photographed(
    scene: FloatImage, rng: np.random.Generator
) -> tuple[FloatImage, NDArray[np.uint8], dict[str, object]]:
    """Truth, capture and what was drawn."""
    kind, size, psf = draw_blur(rng)
    contrast = float(np.exp(rng.uniform(np.log(0.15), 0.0)))
    sharp = np.clip(scale_contrast(scene, contrast), 0, 1)
    told: dict[str, object] = {"blur": kind, "size_px": round(size, 3), "contrast": contrast}
    if rng.random() < CAMERA_SHARE:
        camera = draw_camera(rng)
        light = camera.expose(sharp)
        capture = camera.capture(blur(light, psf), rng)
        told |= {"camera": 1, "noise": camera.noise, "quality": camera.jpeg_quality}
        return camera.render(light), capture, told
    noise = float(np.exp(rng.uniform(np.log(5e-4), np.log(0.012))))
    quality = int(rng.integers(70, 98)) if rng.random() < CODED_SHARE else None
    capture = expose(blur(sharp, psf), noise=noise, jpeg_quality=quality, rng=rng)
    return sharp, capture, told | {"camera": 0, "noise": noise, "quality": quality}


def measure(session: Session, scenes: list[Scene], seed: int) -> dict[str, object]:
    """One draw restored."""
    rng = np.random.default_rng(seed)
    sets = sorted({scene.scene_set for scene in scenes})
    chosen = str(rng.choice(sets))
    among = [scene for scene in scenes if scene.scene_set == chosen]
    scene = among[int(rng.integers(len(among)))]
    image = load_scene(scene.path)
    top, left = (int(rng.integers(max(1, n - SIDE + 1))) for n in image.shape[:2])
    piece = np.ascontiguousarray(image[top : top + SIDE, left : left + SIDE])
    truth, capture, told = photographed(piece, rng)
    quality = told["quality"]
    table = None
    if isinstance(quality, int):
        table = np.frombuffer(quality_table(quality), np.uint8).astype(np.uint16)
    found = session.parts.analyse(Capture(lambda: [capture], table), None)
    restored, report = session.restore_with_report(capture, analysis=found)
    before = psnr(as_float(capture), truth)
    after = psnr(as_float(np.asarray(restored, np.uint8)), truth)
    own = {"seed": seed, "scenes": chosen, "scene": scene.path.name, "restored": report.restored}
    return own | told | {"input_db": round(before, 4), "gain_db": round(after - before, 4)}


def summary(path: Path) -> str:
    """Counts and shares over a file of draws, together and by sort."""
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    lines = [
        "| draws | n | mean gain dB | worse by 0.1 dB | by 0.5 dB | worst dB |",
        "|---" * 6 + "|",
    ]
    groups = {"all": rows}
    groups |= {
        name: [row for row in rows if row["scenes"] == name]
        for name in sorted({row["scenes"] for row in rows})
    }
    groups["through a camera"] = [row for row in rows if row["camera"] == "1"]
    groups["contrast below 0.4"] = [row for row in rows if float(row["contrast"]) < 0.4]
    for name, group in groups.items():
        gains = np.array([float(row["gain_db"]) for row in group])
        if gains.size:
            lines.append(
                f"| {name} | {gains.size} | {gains.mean():+.2f} | {np.mean(gains < WORSE):.2%} "
                f"| {np.mean(gains < MUCH_WORSE):.2%} | {gains.min():+.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Draw, restore, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="a split's folder")
    parser.add_argument("output", type=Path, help="CSV file of the draws")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--model", default="fast")
    parsed = parser.parse_args()
    print_environment()
    print(f"data {data_checksum(parsed.data)}, model {parsed.model}\n", flush=True)
    scenes = PROTOCOLS["defocus+"].scenes(parsed.data)
    done = 0
    if parsed.output.exists():
        with parsed.output.open(newline="") as stream:
            done = sum(1 for _ in csv.DictReader(stream))
    else:
        parsed.output.write_text(",".join(COLUMNS) + "\n")
    began = time.monotonic()
    with Session(model=parsed.model, threads=1) as session, parsed.output.open("a") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        for seed in range(SEED + done, SEED + parsed.count):
            if time.monotonic() - began > parsed.seconds:
                break
            writer.writerow(measure(session, scenes, seed))
            stream.flush()
    print(summary(parsed.output))


if __name__ == "__main__":
    main()
