"""Queues: one job after another, resumed exactly, fitted to a budget, on any device."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from imagine_deblur.cli.main import main  # noqa: E402
from imagine_deblur.errors import OptionsError  # noqa: E402
from imagine_deblur.train import kinds, queue  # noqa: E402
from imagine_deblur.train.device import Device  # noqa: E402
from imagine_deblur.train.fitting import fit  # noqa: E402
from imagine_deblur.train.learner import read_checkpoint  # noqa: E402
from imagine_deblur.train.published.config import PublishedConfig  # noqa: E402
from imagine_deblur.train.published.export import export  # noqa: E402
from imagine_deblur.train.published.trainer import FORMAT  # noqa: E402
from imagine_deblur.train.published.trainer import Trainer as PublishedTrainer  # noqa: E402
from trainkit import train  # noqa: E402

NETWORK = """
name = "{name}"
system = "mimo-unet"
[network]
width = 8
blocks = {blocks}
[[phases]]
name = "small"
steps = {steps}
batch = 2
crop = 16
margin = 4
degradation = "defocus"
[[phases]]
name = "large"
steps = 4
batch = 1
crop = 32
margin = 4
drop_every = 2
degradation = "defocus"
[run]
precision = "f32"
threads = 1
log_every = 2
checkpoint_every = 3
evaluate_every = 4
protocols = ["defocus"]
validate_aerial_every = 2
"""

JOBS = """
data = {data!r}
[[job]]
name = "one"
config = "small.toml"
[[job]]
name = "two"
config = "deep.toml"
initialise = "one"
"""


@pytest.fixture
def folder(scenes_dir: Path, tmp_path: Path) -> Path:
    """Two configurations and a queue of them."""
    (tmp_path / "small.toml").write_text(NETWORK.format(name="small", blocks=1, steps=8))
    (tmp_path / "deep.toml").write_text(NETWORK.format(name="deep", blocks=2, steps=8))
    (tmp_path / "queue.toml").write_text(JOBS.format(data=str(scenes_dir)))
    return tmp_path


def run(folder: Path, runs: str = "runs", **options: object) -> dict[str, str]:
    wanted = queue.read_queue(folder / "queue.toml")
    options = {"device": "cpu", "polite": False, "progress": False, **options}
    return queue.run_queue(wanted, folder / runs, **options)


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(checkpoint, FORMAT)["network"]


def assert_same(one: Path, other: Path) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_a_checkpoint_beside_the_queue_is_found(folder: Path) -> None:
    (folder / "begun").mkdir()
    (folder / "begun" / "one.pt").touch()
    text = (folder / "queue.toml").read_text()
    (folder / "queue.toml").write_text(
        text.replace('initialise = "one"', 'initialise = "begun/one.pt"')
    )
    first, second = queue.read_queue(folder / "queue.toml").job
    assert first.config == str(folder / "small.toml")
    assert second.initialise == str(folder / "begun" / "one.pt")


def test_jobs_run_in_order_and_start_from_each_other(folder: Path) -> None:
    assert run(folder) == {"one": "done", "two": "done"}
    two = read_checkpoint(folder / "runs" / "two" / "checkpoint.pt", FORMAT)
    assert [entry["name"] for entry in two["history"]] == ["small"]
    assert (two["step"], two["history"][0]["steps"]) == (12, 12)
    with (folder / "runs" / "jobs.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["run"], r["state"], r["step"], r["steps"]) for r in rows] == [
        ("one", "done", "12", "12"), ("two", "done", "12", "12"),
    ]  # fmt: skip
    assert all(float(r["db_3_of_3"]) > 10 for r in rows)
    curves = (folder / "runs" / "curves.csv").read_text().splitlines()
    assert [c.split(",")[:2] for c in curves[1:4]] == [["one", "4"], ["one", "8"], ["one", "12"]]
    pytest.importorskip("matplotlib")
    assert (folder / "runs" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_finished_queue_does_nothing_more(folder: Path) -> None:
    run(folder)
    before = [(folder / "runs" / name / "validation.csv").read_text() for name in ("one", "two")]
    stamp = (folder / "runs" / "two" / "checkpoint.pt").stat().st_mtime_ns
    assert run(folder) == {"one": "done", "two": "done"}
    after = [(folder / "runs" / name / "validation.csv").read_text() for name in ("one", "two")]
    assert before == after
    assert (folder / "runs" / "two" / "checkpoint.pt").stat().st_mtime_ns == stamp


COMMAND = [sys.executable, "-m", "imagine_deblur", "train", "--device", "cpu"]


def test_interrupted_and_killed_it_ends_with_the_same_bits(folder: Path) -> None:
    """SIGTERM ends the step in hand; SIGKILL loses steps, and they are repeated."""
    config = NETWORK.format(name="small", blocks=1, steps=50)
    (folder / "small.toml").write_text(
        config.replace("checkpoint_every = 3", "checkpoint_every = 5")
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*COMMAND, "--queue", str(folder / "queue.toml"), str(folder / "parts")]
    for ending in (signal.SIGTERM, signal.SIGKILL):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        log = folder / "parts" / "one" / "log.csv"
        started = _rows(log)
        deadline = time.monotonic() + 100
        while _rows(log) < started + 5 and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(ending)
        assert process.wait(60) == (0 if ending == signal.SIGTERM else -ending)
        step = read_checkpoint(folder / "parts" / "one" / "checkpoint.pt", FORMAT)["step"]
        assert 0 < step < 54
        assert json.loads((folder / "parts" / "one" / "job.json").read_text())["ended"] in (
            "", "stopped",
        )  # fmt: skip
    assert run(folder, "parts") == {"one": "done", "two": "done"}
    assert run(folder, "whole") == {"one": "done", "two": "done"}
    for name in ("one", "two"):
        assert_same(*(folder / r / name / "checkpoint.pt" for r in ("parts", "whole")))


def _rows(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_a_job_goes_on_from_its_exported_file(
    folder: Path, scenes_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On another machine, without the run's folder: the schedule, the step and the hours stay."""
    pytest.importorskip("onnxruntime")
    begun = kinds.kind_of(folder / "small.toml").stretched(2.0)
    assert isinstance(begun, kinds.PublishedKind)
    part = train(begun.config, scenes_dir, folder / "part", until=19)
    export(part, folder / "one.onnx")
    before = read_checkpoint(part, FORMAT)

    text = (folder / "queue.toml").read_text()
    wanted = '"small.toml"\nhours = 1.0\nresume = "one.onnx"'
    (folder / "queue.toml").write_text(text.replace('"small.toml"', wanted))
    assert run(folder)["one"] == "done"
    after = read_checkpoint(folder / "runs" / "one" / "checkpoint.pt", FORMAT)
    assert after["config"]["phases"] == before["config"]["phases"]
    assert (after["step"], after["history"]) == (24, [])
    assert after["processor_seconds"] > round(before["processor_seconds"])
    rows = (folder / "runs" / "one" / "log.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows[1:]] == ["20", "22", "24"]  # what was left
    main(["train", "--queue", str(folder / "queue.toml"), str(folder / "runs"), "--status"])
    assert "one                  done     step 24/24" in capsys.readouterr().out


def test_a_finished_file_is_a_finished_job(folder: Path, scenes_dir: Path) -> None:
    """Its steps and hours are told, and the next job starts from it."""
    pytest.importorskip("onnxruntime")
    small = kinds.kind_of(folder / "small.toml")
    assert isinstance(small, kinds.PublishedKind)
    whole = train(small.config, scenes_dir, folder / "whole")
    export(whole, folder / "one.onnx")
    text = (folder / "queue.toml").read_text()
    wanted = '"small.toml"\nresume = "one.onnx"'
    (folder / "queue.toml").write_text(text.replace('"small.toml"', wanted))
    assert run(folder) == {"one": "done", "two": "done"}
    with (folder / "runs" / "jobs.csv").open(newline="") as stream:
        one = next(csv.DictReader(stream))
    seconds = round(read_checkpoint(whole, FORMAT)["processor_seconds"])
    assert (one["step"], one["steps"], one["hours"]) == ("12", "12", f"{seconds / 3600:.3f}")
    assert float(one["db_3_of_3"]) > 10


def test_what_cannot_be_resumed_is_refused(folder: Path, scenes_dir: Path) -> None:
    """One of our own networks, another network's file, a file that is not there."""
    pytest.importorskip("onnxruntime")
    deep = kinds.kind_of(folder / "deep.toml")
    assert isinstance(deep, kinds.PublishedKind)
    export(train(deep.config, scenes_dir, folder / "deep", until=1), folder / "deep.onnx")
    text = (folder / "queue.toml").read_text()
    for number, (config, file, why) in enumerate(
        [
            ("fast", "deep.onnx", "published system"),
            ("small.toml", "deep.onnx", "network that fits"),
            ("small.toml", "absent.onnx", "absent.onnx"),
        ]
    ):
        wanted = f'"{config}"\nresume = "{file}"'
        (folder / "queue.toml").write_text(text.replace('"small.toml"', wanted))
        outcome = run(folder, f"runs-{number}")["one"]
        assert outcome.startswith("failed: ")
        assert why in outcome


def test_steps_are_timed_on_scenes_that_are_open(
    folder: Path, scenes_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening them takes longer than a small step; a schedule fitted to that ends far too early."""
    opened: list[int] = []

    class Counted(kinds.Pairs):
        def __init__(self, root: Path, config: PublishedConfig, phase_index: int) -> None:
            opened.append(phase_index)
            super().__init__(root, config, phase_index)

    monkeypatch.setattr(kinds, "Pairs", Counted)
    fit(kinds.kind_of(folder / "small.toml"), scenes_dir, Device("cpu"), hours=0.001)
    assert opened == [0, 1]


def test_hours_fit_the_schedule_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve steps become as many as the budget holds, both phases and their drops alike."""
    text = (folder / "queue.toml").read_text()
    (folder / "queue.toml").write_text(text.replace('"small.toml"', '"small.toml"\nhours = 0.0005'))
    assert run(folder)["one"] in ("done", "spent")
    held = json.loads((folder / "runs" / "one" / "job.json").read_text())
    state = read_checkpoint(folder / "runs" / "one" / "checkpoint.pt", FORMAT)
    assert held["factor"] > 1.5
    assert held["steps"] == sum(phase["steps"] for phase in state["config"]["phases"])
    small, large = state["config"]["phases"]
    assert small["steps"] == pytest.approx(2 * large["steps"], abs=2)
    assert large["drop_every"] == pytest.approx(large["steps"] / 2, abs=1)
    assert 0.4 * 1.8 < state["processor_seconds"] < 1.6 * 1.8
    # Going on does not time again.
    monkeypatch.setattr(queue, "fit", None)
    assert run(folder)["two"] == "done"


def test_a_flat_curve_ends_a_job(folder: Path) -> None:
    """At a rate of 0 nothing is learnt: the job ends after the hours it has to be flat for."""
    still = (
        (folder / "small.toml").read_text().replace("margin = 4", "margin = 4\nlearning_rate = 0.0")
    )
    (folder / "small.toml").write_text(still)
    text = (folder / "queue.toml").read_text()
    flat = '"small.toml"\nflat_hours = 0.000001\nflat_db = 0.05'
    (folder / "queue.toml").write_text(text.replace('"small.toml"', flat))
    assert run(folder) == {"one": "flat", "two": "done"}
    assert read_checkpoint(folder / "runs" / "one" / "checkpoint.pt", FORMAT)["step"] == 8


def test_the_accelerators_path_on_the_cpu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """bf16, channels-last, the batch found, a memory that is too small for the largest."""
    taken: list[int] = []
    step = PublishedTrainer.train_step

    def limited(self: PublishedTrainer, inputs: torch.Tensor, target: torch.Tensor) -> object:
        assert self.precision == "bf16"
        assert next(self.network.parameters()).is_contiguous(memory_format=torch.channels_last)
        taken.append(len(inputs))
        if len(inputs) > 8:
            raise torch.OutOfMemoryError("made up")
        return step(self, inputs, target)

    monkeypatch.setattr(PublishedTrainer, "train_step", limited)
    monkeypatch.setattr("imagine_deblur.train.device.WORTH", 0.2)  # the search ends at the memory
    for name in ("small", "deep"):
        text = (folder / f"{name}.toml").read_text()
        (folder / f"{name}.toml").write_text(text.replace('"f32"', '"auto"'))
    text = (folder / "queue.toml").read_text()
    (folder / "queue.toml").write_text(
        text.replace('"small.toml"', '"small.toml"\nfind_batch = true')
    )
    assert run(folder, device="rehearsal") == {"one": "done", "two": "done"}
    assert 16 in taken
    state = read_checkpoint(folder / "runs" / "one" / "checkpoint.pt", FORMAT)
    small, large = state["config"]["phases"]
    # As many crops as configured: 8 steps of 2, and 4 of 1.
    assert (small["batch"], small["steps"]) == (8, 2)
    assert (large["batch"], large["steps"]) == (8, 1)
    assert small["learning_rate"] == pytest.approx(1e-4 * 2)


def test_a_job_that_fails_does_not_end_the_queue(folder: Path) -> None:
    text = (folder / "queue.toml").read_text()
    (folder / "queue.toml").write_text(
        text.replace('"small.toml"', '"no-such"').replace('initialise = "one"', "")
    )
    outcome = run(folder)
    assert outcome["one"].startswith("failed: ")
    assert "no-such" in outcome["one"]
    assert outcome["two"] == "done"


def test_status_tells_what_is_left(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "--queue", str(folder / "queue.toml"), str(folder / "runs")]
    assert main([*command, "--status"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["one", "waiting"], ["two", "waiting"],
    ]  # fmt: skip
    run(folder)
    assert main([*command, "--status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all("step 12/12" in line and "dB" in line for line in lines)


def test_wrong_queues_are_refused(
    folder: Path, scenes_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "wrong.toml"
    for text, field in (
        ("", "job.name"),
        ('[[job]]\nname = "a"\nconfig = "x"\ncolour = 1\n', "colour"),
        ('[[job]]\nname = "a/b"\nconfig = "x"\n', "job.name"),
        ('[[job]]\nname = "a"\nconfig = "x"\nhours = -1.0\n', "job.hours"),
        ('[[job]]\nname = "a"\nconfig = "x"\ninitialise = "a"\n', "job.initialise"),
        ("[[job", "queue"),
    ):
        path.write_text(text)
        with pytest.raises(OptionsError, match=field):
            queue.read_queue(path, scenes_dir)
    path.write_text('[[job]]\nname = "a"\nconfig = "x"\n')
    with pytest.raises(OptionsError, match="data"):
        queue.read_queue(path)
    assert main(["train", "--queue", str(path), "a", "b"]) == 2
    assert main(["train", "fast", "a"]) == 2
    with pytest.raises(OptionsError, match="rehearsal"):
        Device("tpu")
