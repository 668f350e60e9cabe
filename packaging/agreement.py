"""One frame restored on two machines: write it on each, then compare.

``agreement.py write OUT.npz`` restores a synthetic capture with each model and runtime that is
installed (one thread, float32) and saves the pictures; ``agreement.py compare A.npz B.npz`` prints
the differences in 8-bit steps and fails where one is above 1, or above 2 once coded as JPEG again.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROWS, COLUMNS = 160, 208
LIMIT = 1
AFTER_CODING = 2  # where a sample differs by 1, the coder may round a coefficient the other way
PSF = "disk:4,0.5"


def scene() -> NDArray[np.uint8]:
    """The capture: smooth random fields at several scales and edges, blurred by hand.

    From integers alone and exact sums, so that every machine makes the same bytes.
    """
    generator = np.random.Generator(np.random.PCG64(7))
    total = np.zeros((ROWS, COLUMNS, 3), np.int64)
    for step in (32, 8, 2):
        coarse = generator.integers(0, 256, (ROWS // step + 1, COLUMNS // step + 1, 3))
        total += np.repeat(np.repeat(coarse, step, 0), step, 1)[:ROWS, :COLUMNS] * step
    total[40:90, 60:140] = 255 * 42  # a bright field with sharp borders
    padded = np.pad(total, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    blurred = np.zeros_like(total)
    count = 0
    for row in range(-4, 5):
        for column in range(-4, 5):
            if row * row + column * column <= 16:
                blurred += padded[4 + row : 4 + row + ROWS, 4 + column : 4 + column + COLUMNS]
                count += 1
    return (blurred // (42 * count)).clip(0, 255).astype(np.uint8)


def restored() -> dict[str, NDArray[np.uint8]]:
    """The pictures by model and runtime, and those that went through JPEG files."""
    import imagine_deblur
    from imagine_deblur.degradation.forward import jpeg_decode, jpeg_encode

    capture = scene()
    pictures = {"capture": capture}
    pictures["wiener"] = imagine_deblur.restore(capture, psf=PSF, model="wiener", threads=1)
    for engine in ("winograd", "onnxruntime", "openvino"):
        if engine != "winograd" and find_spec(engine) is None:
            continue
        pictures[f"fast {engine}"] = imagine_deblur.restore(
            capture, psf=PSF, model="fast", engine=engine, threads=1, reblur_check=False, tile=128
        )
    pictures["best winograd"] = imagine_deblur.restore(
        capture, psf=PSF, model="best", engine="winograd", threads=1, reblur_check=False, tile=128
    )
    pictures["fast, as shipped"] = imagine_deblur.restore(capture, psf=PSF, threads=1)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.jpg"), Path(folder, "out.jpg")
        source.write_bytes(jpeg_encode(capture, 92))
        imagine_deblur.process(source, target, psf=PSF, model="wiener", threads=1)
        for name, file in (("jpeg in", source), ("jpeg out, wiener", target)):
            pictures[name] = jpeg_decode(file.read_bytes())
    return pictures


def compare(first: Path, second: Path) -> int:
    """Print the largest and the mean difference of each picture; 1 where one is above the limit."""
    failed = False
    with np.load(first) as a, np.load(second) as b:
        print(f"{a['machine']} against {b['machine']}, {ROWS}x{COLUMNS}x3, 8-bit steps")
        only = sorted(set(a.files) ^ set(b.files))
        if only:
            print(f"on one machine alone: {', '.join(only)}")
        for name in sorted(set(a.files) & set(b.files) - {"machine"}):
            difference = np.abs(a[name].astype(int) - b[name])
            failed |= bool(difference.max() > (AFTER_CODING if "jpeg out" in name else LIMIT))
            print(
                f"{name:20} largest {difference.max()}, mean {difference.mean():.6f}, "
                f"differing {100 * np.count_nonzero(difference) / difference.size:.4f} %"
            )
    return int(failed)


def main() -> int:
    """Write or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("write", "compare"))
    parser.add_argument("files", type=Path, nargs="+")
    options = parser.parse_args()
    if options.what == "compare":
        return compare(*options.files)
    np.savez(options.files[0], machine=np.array(platform.machine()), **restored())
    return 0


if __name__ == "__main__":
    sys.exit(main())
