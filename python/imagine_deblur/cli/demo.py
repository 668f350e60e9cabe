"""``imagine-deblur demo``: blur a synthetic scene, restore it, show the difference."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.cli.progress import in_words


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "demo",
        help="restore a synthetic scene and measure it",
        description="Make a synthetic scene, degrade it (defocus, noise, JPEG), restore it blind "
        "and write capture.jpg, capture.restored.jpg and before_after.jpg.",
        examples="""
        imagine-deblur demo -o demo
        imagine-deblur demo --radius 7 --rows 512 --columns 768
        """,
    )
    parser.add_argument("-o", "--output", default="demo", metavar="DIR")
    parser.add_argument("--radius", type=float, default=5.0, help="defocus radius, px")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--rows", type=int, default=1536)
    parser.add_argument("--columns", type=int, default=2048)
    parser.set_defaults(run=run)


def _restore(capture: Path, target: Path, model: str) -> dict[str, Any]:
    """Restore in a process of its own, so that its peak memory is not that of making the scene."""
    command = [sys.executable, "-m", "imagine_deblur", "process", str(capture), "-o", str(target)]
    command += ["--model", model, "--overwrite", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _blur(psf: Mapping[str, Any] | None) -> str:
    """A PSF in words: its components with radius or sigma."""
    parts = []
    for component in (psf or {}).get("components", []):
        sizes = [
            f"{key.removesuffix('_px')} {component[key]:.2f} px"
            for key in ("radius_px", "sigma_px", "length_px")
            if key in component
        ]
        parts.append(" ".join([component["kind"], *sizes]))
    return ", ".join(parts) or "none"


def run(parsed: argparse.Namespace) -> int:
    """Run the demonstration and print what was measured."""
    from imagine_deblur import _core
    from imagine_deblur.degradation.forward import degrade, jpeg_encode
    from imagine_deblur.evaluation.metrics.fidelity import psnr, ssim
    from imagine_deblur.psf.models import PSF
    from imagine_deblur.support.scene import synthetic_scene

    folder = Path(parsed.output)
    folder.mkdir(parents=True, exist_ok=True)
    sharp = synthetic_scene(parsed.rows, parsed.columns, seed=2024)
    rng = np.random.default_rng(2024)
    degraded = degrade(sharp, PSF.defocus(parsed.radius), noise=0.004, rng=rng)
    capture = folder / "capture.jpg"
    capture.write_bytes(jpeg_encode(degraded, 90))
    target = folder / "capture.restored.jpg"
    report = _restore(capture, target, parsed.model)

    def decoded(path: Path) -> NDArray[np.float32]:
        reader = _core.JpegReader(str(path))
        rows = reader.read_rows(reader.info["rows"])
        result: NDArray[np.float32] = rows.astype(np.float32) / np.float32(255)
        return result

    before, after = decoded(capture), decoded(target)
    print(
        f"synthetic scene, {parsed.columns} x {parsed.rows}, defocus radius {parsed.radius} px, "
        "noise 0.004, JPEG 90"
    )
    gain = psnr(after, sharp) - psnr(before, sharp)
    print(f"blur found     {_blur(report['psf'])}")
    print(f"capture        PSNR {psnr(before, sharp):5.2f} dB  SSIM {ssim(before, sharp):.4f}")
    print(f"restored       PSNR {psnr(after, sharp):5.2f} dB  SSIM {ssim(after, sharp):.4f}")
    print(f"gain           {gain:+.2f} dB with {report['model']} on {report['engine']}")
    threads = "1 thread" if report["threads"] == 1 else f"{report['threads']} threads"
    seconds = in_words(report["seconds"]["total"])
    print(f"time           {seconds} on {threads}, the first frame of a process")
    print(f"memory         {report['peak_bytes'] / 1e6:.0f} MB at the peak of that process")
    rows, columns = min(400, parsed.rows), min(400, parsed.columns)
    top, left = (parsed.rows - rows) // 2, (parsed.columns - columns) // 2
    crop = np.s_[top : top + rows, left : left + columns]
    gap = np.ones((rows, 8, 3), np.float32)
    panel = np.hstack([before[crop], gap, after[crop], gap, sharp[crop]])
    picture = folder / "before_after.jpg"
    image = np.ascontiguousarray((np.clip(panel, 0, 1) * 255 + 0.5).astype(np.uint8))
    picture.write_bytes(_core.encode_jpeg(image, quality=95, subsampling="4:4:4"))
    print(f"pictures       {capture}, {target}")
    print(f"look at        {picture} (capture, restored, truth)")
    return 0
