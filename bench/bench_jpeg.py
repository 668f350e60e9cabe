"""Speed and memory of reading and writing a JPEG strip by strip, beside Pillow on the same files.

One axis varies at a time around a centre (2048x1536, quality 90, 4:2:0, baseline, 16 rows a call):
frame size, subsampling, progressive, quality, rows a call. Each case runs in its own process and is
one line of JSON: megapixels per second (best and median of the repeats), how far the resident size
grows above the idle process while a file is read, libjpeg's estimated share of that, and the
largest difference from Pillow's samples, which ends the run when it is not zero.

Examples
--------
::

    python bench/bench_jpeg.py
    python bench/bench_jpeg.py --file capture.jpg --repeats 21
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from environment import print_environment
from imagine_deblur.support.process_memory import status_bytes


@dataclass(frozen=True)
class Case:
    """What is measured; `file` replaces the synthetic frame and fixes the first five fields."""

    rows: int = 1536
    columns: int = 2048
    quality: int = 90
    subsampling: str = "4:2:0"
    progressive: bool = False
    rows_a_call: int = 16
    file: str = ""


def cases() -> Iterator[Case]:
    """Yield the centre, then one axis at a time."""
    centre = Case()
    yield centre
    for rows, columns in ((96, 128), (768, 1024), (3040, 4056)):
        yield replace(centre, rows=rows, columns=columns)
    for subsampling in ("4:4:4", "4:2:2"):
        yield replace(centre, subsampling=subsampling)
    yield replace(centre, progressive=True)
    for quality in (75, 98):
        yield replace(centre, quality=quality)
    for rows_a_call in (1, 8, 128, 1536):
        yield replace(centre, rows_a_call=rows_a_call)


def scene(rows: int, columns: int) -> NDArray[np.uint8]:
    """Return (rows, columns, 3) uint8 with a natural scene's falling spectrum, seeded."""
    rng = np.random.default_rng(1)
    spectrum = np.fft.rfft2(rng.standard_normal((3, rows, columns), dtype=np.float32))
    f = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None])
    spectrum /= np.maximum(f, 1.0 / max(rows, columns))
    planes = np.fft.irfft2(spectrum, s=(rows, columns))
    planes *= 45.0 / planes.std()
    planes += 118.0 + rng.normal(0.0, 1.5, planes.shape)
    return np.ascontiguousarray(np.clip(planes, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def times(work: Callable[[], object], repeats: int) -> list[float]:
    """Return the seconds of each run after one that warms up."""
    work()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found


def report(seconds: list[float], pixels: int) -> dict[str, float]:
    """Return rates in MP/s and the median in ms."""
    median = statistics.median(seconds)
    return {
        "best_mp_s": round(pixels / min(seconds) / 1e6, 1),
        "median_mp_s": round(pixels / median / 1e6, 1),
        "median_ms": round(median * 1e3, 2),
    }


def read(path: Path, rows_a_call: int) -> None:
    """Read every strip of the file and let go of it."""
    from imagine_deblur import _core

    reader = _core.JpegReader(str(path), max_memory_bytes=2**31)
    while len(reader.read_rows(rows_a_call)):
        pass


def decode(path: Path) -> NDArray[np.uint8]:
    """Return the whole frame through the core."""
    from imagine_deblur import _core

    reader = _core.JpegReader(str(path), max_memory_bytes=2**31)
    return reader.read_rows(reader.info["rows"])


def measure(case: Case, path: Path, repeats: int) -> dict[str, object]:
    """Run one case in this process; `path` is its file."""
    from imagine_deblur import _core

    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = status_bytes("VmRSS") / 2**20
    read(path, case.rows_a_call)
    growth = status_bytes("VmHWM") / 2**20 - before
    info = _core.JpegReader(str(path), max_memory_bytes=2**31).info
    pixels = info["rows"] * info["columns"]
    result: dict[str, object] = {
        **asdict(case),
        "rows": info["rows"],
        "columns": info["columns"],
        "file_mib": round(path.stat().st_size / 2**20, 3),
        "read": report(times(lambda: read(path, case.rows_a_call), repeats), pixels),
        "read_peak_growth_mib": round(growth, 1),
        "libjpeg_estimate_mib": round(info["decoder_bytes"] / 2**20, 2),
    }
    with Image.open(path) as opened:
        expected = np.asarray(opened)
    frame = decode(path)
    difference = int(np.abs(frame.astype(np.int16) - expected).max())
    result["largest_difference"] = difference
    result["pillow_read"] = report(times(lambda: np.asarray(Image.open(path)), repeats), pixels)
    encoding = {"quality": case.quality, "progressive": case.progressive}
    written = _core.encode_jpeg(frame, subsampling=case.subsampling, **encoding)
    if np.asarray(Image.open(io.BytesIO(written))).shape != frame.shape:
        raise SystemExit("what was written cannot be read back")
    result["write"] = report(
        times(lambda: _core.encode_jpeg(frame, subsampling=case.subsampling, **encoding), repeats),
        pixels,
    )
    picture = Image.fromarray(frame)
    result["pillow_write"] = report(
        times(
            lambda: picture.save(io.BytesIO(), "JPEG", subsampling=case.subsampling, **encoding),
            repeats,
        ),
        pixels,
    )
    return result


def main() -> None:
    """Measure every case, or only the one handed over by the parent process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", default="", help="a JPEG to use instead of the synthetic scene")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        case = Case(**json.loads(arguments.case))
        result = measure(case, arguments.path, arguments.repeats)
        print(json.dumps(result), flush=True)
        if result["largest_difference"]:
            raise SystemExit("the samples differ from Pillow's")
        return
    print_environment()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.jpg"
        for case in [Case(file=arguments.file)] if arguments.file else cases():
            if case.file:
                path = Path(case.file)
            else:
                Image.fromarray(scene(case.rows, case.columns)).save(
                    path,
                    quality=case.quality,
                    subsampling=case.subsampling,
                    progressive=case.progressive,
                )
            subprocess.run(
                [sys.executable, __file__, "--case", json.dumps(asdict(case)), "--path", str(path),
                 "--repeats", str(arguments.repeats)],
                check=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
