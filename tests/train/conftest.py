"""A folder of small made-up scenes and a configuration that trains on it in a second."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the extra [train]")
Image = pytest.importorskip("PIL.Image", reason="training needs the extra [train]")

from imagine_deblur.train.config import TrainConfig, from_dict  # noqa: E402
from synthetic import made_up_scene  # noqa: E402


@pytest.fixture(scope="session")
def scenes_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder: ``train`` and ``val``, each with ``aerial``, ``satellite`` and ``iss``."""
    root = tmp_path_factory.mktemp("scenes")
    for split, first in (("train", 0), ("val", 10)):
        for kind, count in (("aerial", 2), ("satellite", 1), ("iss", 1)):
            folder = root / split / kind
            folder.mkdir(parents=True)
            for number in range(count):
                offset = {"aerial": 0, "satellite": 5, "iss": 7}[kind]
                scene = made_up_scene(80, 96, first + number + offset)
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
