"""A network for a described camera: the description, the scenes, a tiny training, the card."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra [train]")
Image = pytest.importorskip("PIL.Image", reason="training needs the extra [train]")

from imagine_deblur.cli import main  # noqa: E402
from imagine_deblur.degradation.forward import degrade  # noqa: E402
from imagine_deblur.engines.descriptor import describe  # noqa: E402
from imagine_deblur.errors import InputImageError  # noqa: E402
from imagine_deblur.evaluation.run import Row  # noqa: E402
from imagine_deblur.psf.models import PSF  # noqa: E402
from imagine_deblur.session import Session  # noqa: E402
from imagine_deblur.train import camera_card  # noqa: E402
from imagine_deblur.train.camera_card import Retrained, behind, divide  # noqa: E402
from synthetic import made_up_scene, natural  # noqa: E402

CAMERA = """\
name = "toy"
radius_px = [2.0, 3.0]
noise = [0.002, 0.004]
jpeg_quality = [85, 95]
"""

TINY = [
    "network.width=4", "network.pairs=1", "data.crop=32", "data.grid=2",
    "data.pool_groups=4", "data.ahead=2", "optim.batch=2", "optim.steps=6", "optim.warmup=2",
    "optim.margin=4", "run.threads=1",
]  # fmt: skip


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Ten made-up scenes, some of them called satellite."""
    folder = tmp_path / "sharp"
    for number in range(10):
        path = folder / ("satellite" if number % 2 else "more") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(made_up_scene(300, 320, number)).save(path)
    return folder


def row(method: str, gain: float, worst: float, scenes: str = "aerial") -> Row:
    return Row(
        "camera:toy", scenes, method, 4, 30.0, 29.0, 0.8, 0.7, 0.03, gain, gain - 0.1, worst, 0, 1
    )


def test_one_command_makes_a_network_and_its_card(scenes, tmp_path, capsys):
    camera, out = tmp_path / "camera.toml", tmp_path / "mine"
    camera.write_text(CAMERA)
    arguments = ["retrain", str(camera), str(scenes), str(out), "--hours", "0"]
    for value in TINY:
        arguments += ["--set", value]
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert f"network  {out / 'toy.onnx'}" in said.out

    descriptor = describe(out / "toy.onnx")
    assert descriptor.name == "toy"
    assert descriptor.psf_range["disk_radius_px"] == (2.0, 3.0)
    assert descriptor.training["jpeg_quality_range"] == [85, 95]
    card = json.loads((out / "toy.card.json").read_text())
    assert card["camera"]["radius_px"] == [2.0, 3.0]
    assert card["data"] == card["data"] | {"training_scenes": 8, "held_out_scenes": 2}
    assert card["training"]["steps"] == 6
    methods = {figures["method"] for figures in card["figures"]}
    assert {"input", "oracle Wiener", "fast, blind", "toy, blind"} <= methods
    assert ("warning: the new network is not better" in said.err) == bool(card["worse"])
    words = (out / "toy.card.md").read_text()
    for text in ("8 sharp scenes, 6 steps", "0.002 to 0.004", "quality 85 to 95", *card["worse"]):
        assert text in words

    rng = np.random.default_rng(1)
    frame = degrade(natural(96, 120, seed=1), PSF.defocus(2.5), noise=0.003, rng=rng)
    with Session(model=out / "toy.onnx", psf="disk:2.5", threads=1) as session:
        restored, report = session.restore_with_report(frame)
    assert report.model == "toy"
    assert restored.shape == frame.shape


def test_a_training_that_was_stopped_makes_no_network(scenes, tmp_path, monkeypatch, capsys):
    camera, out = tmp_path / "camera.toml", tmp_path / "mine"
    camera.write_text(CAMERA)
    stopped = {"toy": "stopped"}
    monkeypatch.setattr(camera_card, "run_queue", lambda *places, **options: stopped)
    assert main(["retrain", str(camera), str(scenes), str(out)]) == 8
    assert "the training stopped; no network was made yet" in capsys.readouterr().err
    assert not (out / "toy.onnx").exists()


def test_a_network_that_is_behind_is_warned_of(monkeypatch, capsys):
    made = Retrained(Path("toy.onnx"), Path("toy.card.md"), ("iss: mean gain 0.20 dB below",))
    monkeypatch.setattr(camera_card, "retrain", lambda *places, **options: made)
    assert main(["retrain", "camera.toml", "scenes", "out"]) == 0
    said = capsys.readouterr().err
    assert "warning: the new network is not better everywhere: iss: mean gain 0.20 dB below" in said


def test_scenes_are_divided_without_a_scene_in_both_parts(scenes, tmp_path):
    data = tmp_path / "data"
    for _ in range(2):  # made afresh each time
        assert divide(scenes, data) == {"train": 8, "val": 2}
    parts = {
        part: {path.resolve() for path in (data / part).rglob("*.png")} for part in ("train", "val")
    }
    assert len(parts["train"] | parts["val"]) == 10
    kinds = {path.parent.name for path in data.rglob("*.png")}
    assert kinds == {"satellite", "aerial"}
    own = tmp_path / "own"
    for part, names in (("train", "0123"), ("val", "4")):
        (own / part).mkdir(parents=True)
        for name in names:
            (own / part / f"{name}.png").write_bytes(next(scenes.rglob("*.png")).read_bytes())
    assert divide(own, data) == {"train": 4, "val": 1}


def test_too_few_scenes_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputImageError, match="0 scenes; training needs 5 at least"):
        divide(tmp_path / "empty", tmp_path / "data")
    with pytest.raises(FileNotFoundError):
        divide(tmp_path / "none", tmp_path / "data")


def test_what_is_behind_is_said_and_what_is_ahead_is_not():
    rows = [row("fast, blind", 3.0, 0.5), row("mine, blind", 2.8, 0.6)]
    rows += [row("fast, blind", 3.0, 0.5, "iss"), row("mine, blind", 3.2, 0.6, "iss")]
    assert behind(rows, "fast, blind", "mine, blind") == [
        "aerial: mean gain 0.20 dB below the bundled fast",
        "aerial: 5th percentile gain 0.20 dB below the bundled fast",
    ]
    rows = [row("fast, blind", 3.0, -0.5), row("mine, blind", 3.2, -0.2)]
    assert behind(rows, "fast, blind", "mine, blind") == [
        "aerial: a capture was made worse by 0.20 dB"
    ]
