"""Captures, folders and the final reckoning that the campaigns share."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from imagine_deblur import _core
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.options import Options
from imagine_deblur.psf.models import PSF
from imagine_deblur.watch import Service, WatchSettings

RADIUS = 2.5
TILE = 160  # px; the self-test's picture is one tile


def scene(rows: int, columns: int, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A (rows, columns, 3) float32 scene with a 1/f spectrum and hard-edged fields."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :])
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((rows, columns))) / frequency
    spectrum[0, 0] = 0.0
    texture = np.fft.irfft2(spectrum, s=(rows, columns))
    picture = 0.45 + 0.12 * texture[..., None] / texture.std() * rng.uniform(0.8, 1.0, 3)
    for _ in range(20):
        top, left = int(rng.integers(0, rows)), int(rng.integers(0, columns))
        height, width = int(rng.integers(4, rows // 3)), int(rng.integers(4, columns // 3))
        picture[top : top + height, left : left + width] += rng.uniform(-0.2, 0.2)
    return np.clip(picture, 0, 1).astype(np.float32)


def capture(seed: int, rows: int = 128, columns: int = 160, noise: float = 0.003) -> bytes:
    """A blurred, noisy JPEG capture."""
    rng = np.random.default_rng(seed)
    blurred = degrade(scene(rows, columns, seed), PSF.defocus(RADIUS), noise=noise, rng=rng)
    return _core.encode_jpeg(blurred, quality=92)


@contextmanager
def folder(name: str, keep: bool = False, inside: Path | None = None) -> Iterator[Path]:
    """A scratch folder that goes away."""
    path = Path(tempfile.mkdtemp(prefix=f"imagine-deblur-{name}-", dir=inside))
    try:
        yield path
    finally:
        if not keep:
            shutil.rmtree(path, ignore_errors=True)


def service(inbox: Path, outbox: Path, model: str = "wiener", **settings: Any) -> Service:
    """A quick service on one thread."""
    quick: dict[str, Any] = {"once": True, "poll": 0.002, "patience": 0.05, "min_free": 0}
    options = Options(psf=f"disk:{RADIUS}", model=model, threads=1, tile=TILE)
    return Service(inbox, outbox, WatchSettings(**(quick | settings)), options)


def drop(inbox: Path, name: str, data: bytes) -> None:
    """Put a capture into an inbox as a careful camera does."""
    part = inbox / f"{name}.part"
    part.write_bytes(data)
    os.rename(part, inbox / name)


def reckon(outbox: Path, sent: dict[str, bytes], expected: dict[str, bytes]) -> Counter[str]:
    """Hold what was sent against what came out.

    Parameters
    ----------
    outbox : Path
    sent : dict of str to bytes
        Captures by name.
    expected : dict of str to bytes
        What an undisturbed session makes of them, by name.

    Returns
    -------
    Counter
        ``done``, ``passed-through``, ``quarantined``, and the faults ``lost``, ``twice``,
        ``wrong bytes``, ``no report``, ``litter``.
    """
    count: Counter[str] = Counter()
    found = {p.name: p.read_bytes() for p in outbox.glob("*.jpg")}
    reports: dict[str, list[dict[str, Any]]] = {}
    for name in found:
        try:
            report = json.loads((outbox / f"{name}.json").read_bytes())
        except (OSError, ValueError):
            count["no report"] += 1
            continue
        digest = hashlib.sha256(found[name]).hexdigest()
        if report["output_sha256"] != digest:
            count["wrong bytes"] += 1
        reports.setdefault(report["capture"], []).append(report)
    for name, data in sent.items():
        mine = reports.get(name, [])
        if not mine:
            count["lost"] += 1
            continue
        if len(mine) > 1:
            count["twice"] += 1
        count[mine[0]["outcome"]] += 1
        wanted = expected[name] if mine[0]["outcome"] == "done" else data
        if found[mine[0]["output"]] != wanted:
            count["wrong bytes"] += 1
    count["litter"] += len(list(outbox.glob("**/*.part"))) + len(os.listdir(outbox / ".staging"))
    return count


def expected_of(captures: dict[str, bytes], model: str = "wiener") -> dict[str, bytes]:
    """Return what an undisturbed session makes of captures."""
    import io

    from imagine_deblur.session import Session

    result = {}
    with Session(psf=f"disk:{RADIUS}", model=model, threads=1, tile=TILE) as session:
        for name, data in captures.items():
            restored = io.BytesIO()
            session.process(data, restored)
            result[name] = restored.getvalue()
    return result


FAULTS = ("lost", "twice", "wrong bytes", "no report", "litter")


def verdict(count: Counter[str]) -> int:
    """Print a reckoning; return the exit code."""
    print(json.dumps(dict(sorted(count.items()))))
    bad = sum(count[fault] for fault in FAULTS)
    print("no fault" if not bad else f"{bad} faults", file=sys.stderr)
    return 1 if bad else 0


def interval(hits: int, trials: int) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) 95 % interval of a share, by bisection."""

    def at_most(count: int, share: float) -> float:
        log = [
            math.lgamma(trials + 1)
            - math.lgamma(k + 1)
            - math.lgamma(trials - k + 1)
            + k * math.log(share)
            + (trials - k) * math.log1p(-share)
            for k in range(count + 1)
        ]
        return sum(map(math.exp, log))

    def solve(count: int, wanted: float) -> float:
        low, high = 1e-12, 1 - 1e-12
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if at_most(count, middle) > wanted else (low, middle)
        return low

    low = 0.0 if hits == 0 else solve(hits - 1, 0.975)
    return low, 1.0 if hits == trials else solve(hits, 0.025)
