"""The pictures of the self-tests, always the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imagine_deblur import _core

_GOLDEN_SEED = 20_260_311
_TRIAL_PIXELS = 16_000_000  # 48 MB of samples, beside a session that has just been opened
_TRIAL_SIDE, _TRIAL_TILE = 16_000, 512  # px


def probe_tile(planes: int, rows: int, columns: int) -> NDArray[np.float32]:
    """Return the engine's fixed input: (planes, rows, columns) float32 about 0, always the same.

    Noise on the left, shapes of rising contrast on the right, the same in every plane as a scene's
    are: some units of a network answer to one of them only.
    """
    rng = np.random.default_rng(_GOLDEN_SEED)
    tile: NDArray[np.float32] = rng.random((planes, rows, columns), np.float32)
    tile -= np.float32(0.5)
    half = columns // 2
    shapes = golden_picture(rows, columns - half).mean(axis=2) - np.float32(0.4)
    y, x = np.arange(rows)[:, None], np.arange(columns - half)
    shapes += np.where((y // 16 + x // 24) % 2, np.float32(0.12), np.float32(-0.12))
    shapes *= np.linspace(0.2, 3.0, rows, dtype=np.float32)[:, None]
    tile[:, :, half:] *= np.float32(0.02)
    tile[:, :, half:] += shapes
    return tile


def trial_capture(rows: int, columns: int) -> bytes:
    """Return a JPEG of (rows, columns) or less, made of one picture again and again."""
    rows = min(rows, _TRIAL_PIXELS // min(columns, _TRIAL_SIDE))
    columns = min(columns, _TRIAL_SIDE)
    side = min(_TRIAL_TILE, rows), min(_TRIAL_TILE, columns)
    tile = np.rint(golden_picture(*side) * 255).astype(np.uint8)
    times = -(-rows // side[0]), -(-columns // side[1]), 1
    return _core.encode_jpeg(np.ascontiguousarray(np.tile(tile, times)[:rows, :columns]))


def golden_picture(rows: int, columns: int) -> NDArray[np.float32]:
    """Return the self-test's picture: (rows, columns, 3) float32 in [0.1, 0.9], always the same."""
    rng = np.random.default_rng(_GOLDEN_SEED)
    y, x = np.arange(rows, dtype=np.float32)[:, None], np.arange(columns, dtype=np.float32)
    waves = np.zeros((rows, columns), np.float32)
    for _ in range(6):
        fy, fx = rng.uniform(-0.08, 0.08, 2).astype(np.float32)
        waves += np.cos(np.float32(2 * np.pi) * (fy * y + fx * x)) * np.float32(0.04)
    steps = (((y // 24) + (x // 40)) % 2) * np.float32(0.05)
    noise = rng.random((rows, columns, 3), np.float32) * np.float32(0.004)
    picture = np.float32(0.4) + waves[..., None] + steps[..., None] + noise
    clipped: NDArray[np.float32] = np.clip(picture, 0.1, 0.9).astype(np.float32)
    return clipped
