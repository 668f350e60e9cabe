"""Keep the pictures of one tree, and compare those of another with them, sample by sample.

    OLD/.venv/bin/python tests/support/same_pictures.py keep FOLDER
    NEW/.venv/bin/python tests/support/same_pictures.py compare FOLDER

Run both with this file: only the package that the interpreter imports differs. Every case is a
made-up capture or array and one way to restore it; with IMAGINE_DEBLUR_DATA set, real captures are
restored too. Two pictures are the same when no sample differs by more than one 8-bit step, and few
by one: see `LINEAR` and `NETWORK`. Results are compared before they are encoded, since a JPEG
spreads one step over a whole block.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))

from imagine_deblur import Session, _core
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF, Gaussian, Motion
from synthetic import natural

Picture = NDArray[np.uint8]

LINEAR, NETWORK = 1e-4, 2e-3
"""Most samples that may differ by one step. Transforms in single precision in another order move a
linear plane by 0.002 of its fixed-point steps, which are a sixteenth of an 8-bit step; both orders
are equally far from double precision. A network sums many such planes and moves ten times as
many samples across a rounding."""


@dataclass(frozen=True)
class Case:
    """A capture and how it is restored.

    Attributes
    ----------
    name : str
    make : callable
        Returns the capture: an array, or a JPEG's bytes.
    options : dict
        Of the session.
    """

    name: str
    make: Callable[[], Any]
    options: dict[str, Any]

    def run(self) -> Picture:
        """Restore the capture; float32 results are rounded to 8 bits."""
        capture = self.make()
        if isinstance(capture, bytes):
            reader = _core.JpegReader(capture)
            capture = reader.read_rows(reader.info["rows"])
        with Session(**{"threads": 2, **self.options}) as session:
            restored = session.restore(capture)
        if restored.dtype == np.uint8:
            return restored
        return np.rint(255 * np.clip(restored, 0, 1)).astype(np.uint8)

    @property
    def share(self) -> float:
        """Most samples that may differ by one step; strips may be cut elsewhere."""
        cut = "max_ram" in self.options
        return NETWORK if cut or self.options.get("model") in ("fast", "best") else LINEAR


def scene(rows: int, columns: int, psf: PSF, noise: float = 0.004, seed: int = 3) -> Picture:
    """A degraded (rows, columns, 3) scene of repeated parts."""
    part = natural(min(rows, 384), min(columns, 512), seed=seed)
    times = -(-rows // part.shape[0]), -(-columns // part.shape[1]), 1
    sharp = np.ascontiguousarray(np.tile(part, times)[:rows, :columns])
    image = degrade(sharp, psf, noise=noise, rng=np.random.default_rng(seed))
    return np.ascontiguousarray(image)


def invents(tile: Any) -> Any:
    """A callable that returns its tile but for a checkerboard in a corner of it."""
    drawn = np.array(tile)
    drawn[:, 40:64, 50:74] = np.indices((24, 24)).sum(axis=0) // 6 % 2
    return drawn


def cases(scale: int = 4) -> Iterator[Case]:
    """Every kind of frame; sides are multiples of 32 px times `scale`, and some are odd."""
    rows, columns = 24 * scale + 1, 32 * scale + 3
    disk, motion = PSF.defocus(3.0, 0.6), PSF((Motion(9.0, 25.0), Gaussian(0.6)))
    kernel = PSF.sampled(motion.kernel(15))
    field = PsfField(((disk, PSF.defocus(2.0, 0.6)), (PSF.defocus(4.0, 0.6), disk)))

    def array(psf: PSF, noise: float = 0.004) -> Callable[[], Picture]:
        return lambda: scene(rows, columns, psf, noise)

    def grey() -> Picture:
        return np.ascontiguousarray(scene(rows, columns, disk)[..., 1])

    def jpeg(psf: PSF) -> Callable[[], bytes]:
        return lambda: _core.encode_jpeg(scene(8 * rows // 3, 8 * columns // 3, psf), quality=92)

    def tall() -> Picture:
        return scene(24 * rows, columns // 2, PSF.defocus(2.0, 0.5))

    def wide() -> Picture:
        return scene(rows, 4500, PSF.defocus(2.0, 0.5))

    for model in ("wiener", "fast", "best"):
        yield Case(f"colour {model}", array(disk), {"psf": disk, "model": model})
    yield Case("grey fast", grey, {"psf": disk, "model": "fast"})
    yield Case("grey wiener", grey, {"psf": disk, "model": "wiener", "nsr": 0.01})
    yield Case(
        "float fast",
        lambda: scene(rows, columns, disk).astype(np.float32) / np.float32(255),
        {"psf": disk, "model": "fast", "nsr": 0.02},
    )
    yield Case("clean best", array(disk, 0.0), {"psf": disk, "model": "best"})
    yield Case("motion fast", array(motion), {"psf": motion, "model": "fast"})
    yield Case("motion wiener", array(motion), {"psf": motion, "model": "wiener"})
    yield Case("kernel wiener", array(kernel), {"psf": kernel, "model": "wiener", "nsr": 0.01})
    yield Case("field wiener", array(disk), {"psf": field, "model": "wiener", "nsr": 0.01})
    yield Case("field fast", array(disk), {"psf": field, "model": "fast", "nsr": 0.01})
    yield Case("callable", array(disk), {"psf": disk, "model": invents, "tile": 96, "nsr": 0.02})
    for model in ("wiener", "fast", "best"):
        yield Case(f"blind {model}", jpeg(disk), {"model": model})
    yield Case("blind motion", jpeg(motion), {"model": "fast"})
    if scale >= 4:
        strips = {"psf": "disk:2", "model": "wiener", "tile": 128, "nsr": 0.02}
        yield Case("tall whole", tall, strips)
        yield Case("tall strips", tall, {**strips, "max_ram": "63MB"})
        yield Case("wide fast", wide, {"psf": "disk:2", "model": "fast", "nsr": 0.02})
        yield from real()


def real() -> Iterator[Case]:
    """Captures of IMAGINE_DEBLUR_DATA, where it is set."""
    folder = Path(os.environ.get("IMAGINE_DEBLUR_DATA", "absent")) / "captures"
    for path in sorted(folder.glob("payload/*.jpg"))[:3]:
        yield Case(f"{path.stem} blind fast", path.read_bytes, {"model": "fast"})
        yield Case(f"{path.stem} blind wiener", path.read_bytes, {"model": "wiener"})
        yield Case(f"{path.stem} given fast", path.read_bytes, {"psf": "disk:3", "model": "fast"})


def difference(found: Picture, wanted: Picture) -> tuple[int, float]:
    """The largest difference in 8-bit steps, and the share of samples that differ."""
    if found.shape != wanted.shape:
        return 255, 1.0
    steps = np.abs(found.astype(np.int16) - wanted)
    return int(steps.max()), float(np.count_nonzero(steps)) / steps.size


def main() -> int:
    """Keep or compare; 1 where a picture is another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("keep", "compare"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument("--scale", type=int, default=4)
    parsed = parser.parse_args()
    parsed.folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for case in cases(parsed.scale):
        if parsed.only not in case.name:
            continue
        started = time.perf_counter()
        found = case.run()
        seconds = time.perf_counter() - started
        file = parsed.folder / f"{case.name.replace(' ', '_')}.npy"
        digest = hashlib.sha256(found.tobytes()).hexdigest()[:12]
        if parsed.action == "keep":
            np.save(file, found)
            print(f"{case.name:40s} {digest} {seconds:6.2f} s", flush=True)
            continue
        most, share = difference(found, np.load(file))
        few = case.share + 8 / found.size  # single samples of small pictures
        same = most == 0 or (most == 1 and share <= few)
        failed += not same
        verdict = "same bytes" if most == 0 else "same" if same else "ANOTHER PICTURE"
        print(f"{case.name:40s} {verdict:16s} {most:3d} steps, {share:.4%} of samples", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
