"""Small published systems and pairs for tests."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
Image = pytest.importorskip("PIL.Image", reason="training needs the extra [train]")

from imagine_deblur.train.published.config import (  # noqa: E402
    PublishedConfig,
    from_dict,
)
from synthetic import made_up_scene  # noqa: E402

CLASSES = ("field", "water")

TINY_NETWORK = {
    "mimo-unet": {"width": 8, "blocks": 1},
    "mgstnet": {
        "stages": 2, "widths": [4, 4, 4], "blocks": 1, "kernel_width": 4, "kernel_size": 5,
    },
    "autoencoder": {"width": 4, "code": 16, "side": 32},
    "vgg16": {"width": 4},
}  # fmt: skip


def tiny(system: str, *phases: dict[str, object], **changes: object) -> PublishedConfig:
    """A configuration whose steps take milliseconds."""
    common = {"batch": 2, "crop": 32, "steps": 6, "degradation": "defocus"}
    return from_dict(
        {
            "name": f"tiny-{system}",
            "system": system,
            "network": TINY_NETWORK[system],
            "phases": [{**common, **phase} for phase in phases or ({},)],
            "discriminator": {"width": 4, "scales": 2},
            "perceptual": {"width": 4, "steps": 2, "batch": 2, "crop": 32, "blocks": [2, 3]},
            "run": {
                "precision": "f32",
                "threads": 1,
                "checkpoint_every": 0,
                "evaluate_every": 0,
                "log_every": 2,
            },
            **changes,
        }
    )


GAN = (
    {"name": "generic", "steps": 3, "degradation": "generic"},
    {"name": "refined", "steps": 3, "degradation": "refined", "beta1": 0.5,
     "loss": {"adversarial": 0.01, "features": 0.1, "perceptual": 0.05}},
)  # fmt: skip


def pair(count: int = 2, side: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Sharp scenes and the same averaged over 3x3 px."""
    scenes = np.stack([made_up_scene(side, side, seed) for seed in range(count)])
    sharp = torch.from_numpy(np.moveaxis(scenes, -1, 1).astype(np.float32) / 255)
    padded = torch.nn.functional.pad(sharp, (1, 1, 1, 1), mode="reflect")
    return torch.nn.functional.avg_pool2d(padded, 3, 1), sharp


def on_meta(make):  # type: ignore[no-untyped-def]
    with torch.device("meta"):
        return make()


def assert_same(a: dict[str, object], b: dict[str, object]) -> None:
    def compare(x: object, y: object, where: str) -> None:
        if isinstance(x, torch.Tensor):
            assert torch.equal(x, y), where
        elif isinstance(x, dict):
            assert x.keys() == y.keys(), where
            for key in x:
                compare(x[key], y[key], f"{where}.{key}")
        elif isinstance(x, list | tuple):
            for number, (one, other) in enumerate(zip(x, y, strict=True)):
                compare(one, other, f"{where}.{number}")
        else:
            assert x == y or x is None, where

    parts = ("step", "network", "optimizer", "discriminator", "critic", "plateau")
    compare({k: a[k] for k in parts}, {k: b[k] for k in parts}, "")


def capture(rows: int, columns: int) -> np.ndarray:
    """(rows, columns, 3) float32: a made-up scene as the instrument might see it."""
    return made_up_scene(rows, columns, 7).astype(np.float32) / 255
