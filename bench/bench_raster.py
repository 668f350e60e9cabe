"""Seconds, memory and size of restoring a raster far larger than memory.

``run`` makes a scene of uint16 x 3 bands by mirroring a cut of a picture, blurs the cut with noise,
and restores the file in a process of its own. ``pack`` compares the output's size and the seconds
by compression. One JSON line a case, after a line that says where it ran.

Examples
--------
::

    python bench/bench_raster.py run --side 30000 --model wiener --folder /var/tmp
    python bench/bench_raster.py pack
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from PIL import Image
from rasterio.transform import from_origin
from rasterio.windows import Window

import memory_watch
from environment import print_environment
from imagine_deblur import PSF
from imagine_deblur.degradation.forward import blur

_LOW, _HIGH = 300.0, 9000.0  # physical values of the scene's samples 0 and 1
_BLUR = PSF.defocus(3.0)
_MAIN = "import sys; from imagine_deblur.cli import main; sys.exit(main())"


def cut(picture: Path, noise: float) -> NDArray[np.uint16]:
    """A blurred cut of (3, 1024, 1024) that mirrors without an edge."""
    with Image.open(picture) as opened:
        sharp = np.asarray(opened.convert("RGB"))[:1024, :1024].astype(np.float32) / 255
    soft = blur(np.ascontiguousarray(sharp), _BLUR)
    soft += np.random.default_rng(0).normal(0, noise, soft.shape).astype(np.float32)
    values = _LOW + np.moveaxis(soft, -1, 0) * (_HIGH - _LOW)
    return np.rint(np.clip(values, 0, 65535)).astype(np.uint16)


def make(path: Path, side: int, part: NDArray[np.uint16]) -> None:
    """Write a scene of `side` x `side` px from mirrored copies of a cut."""
    size = part.shape[1]
    mirrored = {
        (r, c): part[:, :: 1 if r else -1, :: 1 if c else -1] for r in (0, 1) for c in (0, 1)
    }
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=3, dtype="uint16", tiled=True,
        blockxsize=512, blockysize=512, compress="zstd", predictor=2, bigtiff="YES",
        photometric="RGB", crs="EPSG:32631", transform=from_origin(5e5, 5e6, 10, 10),
    ) as file:  # fmt: skip
        for top in range(0, side, size):
            for left in range(0, side, size):
                rows, columns = min(size, side - top), min(size, side - left)
                values = mirrored[top // size % 2, left // size % 2][:, :rows, :columns]
                file.write(values, window=Window(left, top, columns, rows))


def run(arguments: argparse.Namespace) -> None:
    """Make a scene and restore it by the command a user would type."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        source, target = Path(folder) / "scene.tif", Path(folder) / "restored.tif"
        make(source, arguments.side, cut(arguments.picture, arguments.noise))
        command = [sys.executable, "-c", _MAIN, "process", str(source), "-o", str(target), "--json",
                   "--psf", "disk:3", "--model", arguments.model,
                   "--max-ram", arguments.max_ram]  # fmt: skip
        usage = memory_watch.run(command)
        report: dict[str, Any] = json.loads(usage.output.strip().splitlines()[-1])
        pixels = arguments.side**2 / 1e6
        line = {
            "side": arguments.side, "model": arguments.model, "max_ram": arguments.max_ram,
            "windows": report["windows"], "window": report["window"],
            "margin": report["groups"][0]["margin"], "nsr": report["nsr"],
            "seconds": {k: round(v, 1) for k, v in report["seconds"].items()},
            "mp_per_s": round(pixels / usage.seconds, 3), "cpu_s": round(usage.cpu_seconds, 1),
            "peak_mib": round(usage.peak_mib, 1), "vmhwm_mb": round(report["peak_bytes"] / 1e6, 1),
            "source_mb": round(report["source_bytes"] / 1e6, 1),
            "output_mb": round(report["output_bytes"] / 1e6, 1),
        }  # fmt: skip
    print(json.dumps(line), flush=True)


def pack(arguments: argparse.Namespace) -> None:
    """Compare compressions of a restored scene by bytes and seconds."""
    part = cut(arguments.picture, arguments.noise)
    for dtype in ("uint8", "uint16", "float32"):
        divisor = {"uint8": 36.0, "uint16": 1.0, "float32": 1e4}[dtype]
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            source, target = Path(folder) / "in.tif", Path(folder) / "out.tif"
            values = (part / divisor).astype(dtype)
            with rasterio.open(
                source, "w", driver="GTiff", width=1024, height=1024, count=3, dtype=dtype
            ) as file:
                file.write(values)
            for name, level in (("DEFLATE", 6), ("ZSTD", 1), ("ZSTD", 9), ("LZW", None)):
                for predictor in ("NO", "YES"):
                    options = {} if level is None else {"level": level}
                    started = time.perf_counter()
                    rasterio.shutil.copy(
                        source, target, driver="COG", compress=name, predictor=predictor, **options
                    )
                    written = time.perf_counter()
                    with rasterio.open(target) as file:
                        file.read()
                    line = {
                        "dtype": dtype, "compress": name, "level": level, "predictor": predictor,
                        "share": round(target.stat().st_size / values.nbytes, 4),
                        "write_s": round(written - started, 2),
                        "read_s": round(time.perf_counter() - written, 2),
                    }  # fmt: skip
                    print(json.dumps(line), flush=True)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "pack"))
    parser.add_argument("--side", type=int, default=4096, help="of the scene, px")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--max-ram", default="2GB")
    parser.add_argument("--noise", type=float, default=0.003)
    parser.add_argument("--picture", type=Path, help="at least 1024 px a side", required=True)
    parser.add_argument("--folder", type=Path, help="of the scenes; default: the temporary one")
    arguments = parser.parse_args()
    print_environment()
    (run if arguments.what == "run" else pack)(arguments)


if __name__ == "__main__":
    main()
