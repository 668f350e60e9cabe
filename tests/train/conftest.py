"""A folder of small made-up scenes and a configuration that trains on it in a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra [train]")
Image = pytest.importorskip("PIL.Image", reason="training needs the extra [train]")

from imagine_deblur.train.config import TrainConfig, from_dict  # noqa: E402


def made_up_scene(rows: int, columns: int, seed: int) -> np.ndarray:
    """(rows, columns, 3) uint8: 1/f noise with some hard edges, like fields seen from above."""
    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :]
    amplitude = 1.0 / np.maximum(np.hypot(fy, fx), 1.0 / max(rows, columns))
    planes = []
    for _ in range(3):
        phase = np.exp(2j * np.pi * rng.random(amplitude.shape))
        plane = np.fft.irfft2(amplitude * phase, s=(rows, columns))
        planes.append(plane / plane.std())
    image = 0.5 + 0.12 * np.stack(planes, -1)
    for _ in range(4):
        top, left = int(rng.integers(rows - 8)), int(rng.integers(columns - 8))
        image[top : top + 20, left : left + 30] += rng.uniform(-0.3, 0.3, 3)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


@pytest.fixture(scope="session")
def scenes_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder: ``train`` and ``val``, each with ``aerial`` and ``satellite``."""
    root = tmp_path_factory.mktemp("scenes")
    for split, first in (("train", 0), ("val", 10)):
        for kind, count in (("aerial", 2), ("satellite", 1)):
            folder = root / split / kind
            folder.mkdir(parents=True)
            for number in range(count):
                scene = made_up_scene(80, 96, first + number + (5 if kind == "satellite" else 0))
                Image.fromarray(scene).save(folder / f"scene-{number}.png")
    return root


@pytest.fixture
def tiny_config() -> TrainConfig:
    """Width 4, one pair, 32 px crops; a step takes milliseconds."""
    return from_dict(
        {
            "name": "tiny",
            "seed": 3,
            "network": {"width": 4, "pairs": 1},
            "data": {
                "crop": 32,
                "region": 72,
                "grid": 2,
                "pool_groups": 4,
                "ahead": 2,
                "refresh": 0.5,
            },
            "optim": {
                "batch": 2,
                "steps": 12,
                "learning_rate": 1e-3,
                "warmup": 2,
                "margin": 4,
                "precision": "f32",
            },
            "run": {
                "log_every": 4,
                "checkpoint_every": 3,
                "evaluate_every": 0,
                "sample_every": 0,
                "protocols": ["imagine"],
                "threads": 1,
            },
        }
    )
