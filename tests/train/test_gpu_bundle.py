"""A queue travels to another machine and back, and goes on there at the exact step."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from imagine_deblur.train import kinds, queue  # noqa: E402
from imagine_deblur.train.learner import read_checkpoint  # noqa: E402
from imagine_deblur.train.trainer import FORMAT  # noqa: E402

RESEARCH = Path(__file__).resolve().parents[2] / "research"

QUEUE = """
[[job]]
name = "net"
config = "net.toml"
[[job]]
name = "later"
config = "no-such"
"""

CONFIG = """
name = "net"
[network]
width = 4
pairs = 1
[data]
crop = 32
grid = 2
pool_groups = 4
ahead = 2
refresh = 0.5
[optim]
batch = 2
steps = 6
[run]
threads = 1
evaluate_every = 0
"""


def _load(name: str):  # type: ignore[no-untyped-def]
    spec = importlib.util.spec_from_file_location(f"research_{name}", RESEARCH / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


gpu = _load("gpu")


def test_there_and_back(scenes_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("imagine_deblur._core", reason="the native core is not built")
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here / "research", there):
        folder.mkdir(parents=True)
    (here / "research" / "queue-gpu.toml").write_text(QUEUE)
    (here / "research" / "net.toml").write_text(CONFIG)
    monkeypatch.setattr(gpu, "__file__", str(here / "research" / "gpu.py"))
    monkeypatch.setattr(gpu, "PART", 20_000)
    gpu.main(["pack", str(scenes_dir), str(there / "b.tar")])
    # The other machine has the bundle and no installed package; isolated from this one's.
    status = gpu.main(["run", str(there / "b.tar"), str(there / "out"), "--device", "rehearsal"])
    assert status == 1  # the second job's configuration is not there
    parts = sorted((there / "out").iterdir())
    assert len(parts) > 1
    assert all(part.stat().st_size <= 20_000 for part in parts)
    gpu.main(["join", str(there / "out"), str(here / "runs")])
    state = read_checkpoint(here / "runs" / "net" / "checkpoint.pt", FORMAT)
    assert state["step"] == 6
    assert (here / "runs" / "jobs.csv").read_text().splitlines()[1].startswith("net,done,6,6,")
    # And once more with what came back: nothing is left to do for it.
    gpu.main(["pack", str(scenes_dir), str(there / "c.tar"), "--runs", str(here / "runs")])
    listed = subprocess.run(
        ["tar", "tf", str(there / "c.tar")], capture_output=True, text=True, check=True
    ).stdout
    assert "runs/net/checkpoint.pt" in listed
    assert "data/train/satellite/scene-0.png" in listed
    parts[0].unlink()
    with pytest.raises(SystemExit, match="missing"):
        gpu.main(["join", str(there / "out"), str(here / "runs")])


def test_what_does_not_fit_is_refused_or_left_out(
    scenes_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("imagine_deblur._core", reason="the native core is not built")
    gpu.main(["pack", str(scenes_dir), str(tmp_path / "b.tar")])
    whole = (tmp_path / "b.tar").stat().st_size
    scene = (scenes_dir / "train" / "aerial" / "scene-1.png").stat().st_size
    monkeypatch.setattr(gpu, "LIMIT", whole - scene // 2)
    with pytest.raises(SystemExit, match="--fewer-scenes"):
        gpu.main(["pack", str(scenes_dir), str(tmp_path / "c.tar")])
    gpu.main(["pack", str(scenes_dir), str(tmp_path / "c.tar"), "--fewer-scenes"])
    listed = subprocess.run(
        [sys.executable, "-m", "tarfile", "-l", str(tmp_path / "c.tar")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "data/train/satellite/scene-0.png" in listed
    assert "data/train/aerial/scene-1.png" not in listed


@pytest.mark.parametrize("name", ["queue.toml", "queue-gpu.toml"])
def test_the_queues_of_the_project_are_complete(name: str, scenes_dir: Path) -> None:
    held = queue.read_queue(RESEARCH / name, scenes_dir)
    for job in held.job:
        kind = kinds.kind_of(job.config, job.set)
        assert kind.stretched(0.5).steps <= kind.steps
        assert bool(job.hours) == (name == "queue.toml")
    if name == "queue.toml":
        assert sum(job.hours for job in held.job) == pytest.approx(25.5)
