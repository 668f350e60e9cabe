"""Scenes with class names, a few steps of each system, and their exports."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
Image = pytest.importorskip("PIL.Image", reason="training needs the extra [train]")

from imagine_deblur.train.published.export import export  # noqa: E402
from imagine_deblur.train.published.trainer import (  # noqa: E402
    read_checkpoint,
)
from publishedkit import CLASSES, tiny  # noqa: E402
from synthetic import made_up_scene  # noqa: E402
from trainkit import train  # noqa: E402


@pytest.fixture(scope="session")
def labelled_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes with class names: flat-ish fields and dark water."""
    root = tmp_path_factory.mktemp("labelled")
    for split, first in (("train", 0), ("val", 20)):
        folder = root / split / "aerial"
        folder.mkdir(parents=True)
        for number in range(4):
            for shift, name in enumerate(CLASSES):
                scene = made_up_scene(64, 72, first + number) // (1 + 2 * shift)
                Image.fromarray(scene).save(folder / f"aerial_{name}_{number}.png")
    return root


@pytest.fixture(scope="session")
def checkpoints(labelled_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A few steps of each system."""
    root = tmp_path_factory.mktemp("published")
    return {
        system: train(tiny(system), labelled_dir, root / system, until=2)
        for system in ("mimo-unet", "mgstnet", "autoencoder", "vgg16")
    }


@pytest.fixture(scope="session")
def models(checkpoints: dict[str, Path]) -> dict[str, Path]:
    """Their exports."""
    pytest.importorskip("onnxruntime")
    made = {}
    for system in ("mimo-unet", "mgstnet", "autoencoder"):
        made[system] = checkpoints[system].with_name(f"{system}.onnx")
        values = export(checkpoints[system], made[system])
        assert values["difference"]["onnxruntime"] < 1e-4
    return made


@pytest.fixture(scope="session")
def through(labelled_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MIMO-UNet checkpoint that hands the capture on unchanged."""
    config = tiny("mimo-unet")
    folder = tmp_path_factory.mktemp("through")
    path = train(config, labelled_dir, folder, until=1)
    state = read_checkpoint(path)
    for name in ("out1.weight", "out1.bias"):
        state["network"][name].zero_()
    torch.save(state, path)
    return path


@pytest.fixture
def session_class():  # type: ignore[no-untyped-def]
    pytest.importorskip("onnxruntime")
    pytest.importorskip("imagine_deblur._core", reason="the native core is not built")
    from imagine_deblur.session import Session

    return Session
