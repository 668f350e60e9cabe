"""Training is resumable to the exact step, deterministic, and it lowers the loss."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from imagine_deblur.errors import OptionsError  # noqa: E402
from imagine_deblur.train.config import OptimConfig, RunConfig, TrainConfig  # noqa: E402
from imagine_deblur.train.trainer import (  # noqa: E402
    Trainer,
    learning_rate,
    load_network,
    read_checkpoint,
)
from trainkit import train  # noqa: E402


def run(config: TrainConfig, data: Path, out: Path, **options: object) -> dict[str, object]:
    return read_checkpoint(train(config, data, out, **options))


def assert_same(a: dict[str, object], b: dict[str, object]) -> None:
    assert a["step"] == b["step"]
    for part in ("network", "average"):
        for name, tensor in a[part].items():
            assert torch.equal(tensor, b[part][name]), f"{part}.{name}"
    for one, other in zip(
        a["optimizer"]["state"].values(), b["optimizer"]["state"].values(), strict=True
    ):
        for name, tensor in one.items():
            assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_resumed_run_equals_an_uninterrupted_one(
    precision: str, tiny_config: TrainConfig, scenes_dir: Path, tmp_path: Path
) -> None:
    optim = dataclasses.replace(tiny_config.optim, precision=precision)
    config = dataclasses.replace(tiny_config, optim=optim)
    whole = run(config, scenes_dir, tmp_path / "whole")
    run(config, scenes_dir, tmp_path / "parts", until=5)
    for stale in (tmp_path / "parts" / "pool").iterdir():
        stale.unlink()  # a lost pool is made again
    parts = run(config, scenes_dir, tmp_path / "parts")
    assert whole["step"] == 12
    assert_same(whole, parts)


def test_seed_decides(tiny_config: TrainConfig, scenes_dir: Path, tmp_path: Path) -> None:
    one = run(tiny_config, scenes_dir, tmp_path / "one", until=3)
    same = run(tiny_config, scenes_dir, tmp_path / "same", until=3)
    other = run(dataclasses.replace(tiny_config, seed=4), scenes_dir, tmp_path / "other", until=3)
    assert_same(one, same)
    weight = "head.weight"
    assert not torch.equal(one["network"][weight], other["network"][weight])


def test_background_producer_changes_nothing(
    tiny_config: TrainConfig, scenes_dir: Path, tmp_path: Path
) -> None:
    inside = run(tiny_config, scenes_dir, tmp_path / "inside", until=6)
    outside = run(tiny_config, scenes_dir, tmp_path / "outside", until=6, background=True)
    assert_same(inside, outside)


def test_resuming_with_another_network_is_refused(
    tiny_config: TrainConfig, scenes_dir: Path, tmp_path: Path
) -> None:
    run(tiny_config, scenes_dir, tmp_path, until=1)
    wider = dataclasses.replace(
        tiny_config, network=dataclasses.replace(tiny_config.network, width=6)
    )
    with pytest.raises(OptionsError, match="network"):
        run(wider, scenes_dir, tmp_path)


def test_growing_starts_from_the_averaged_small_network(
    tiny_config: TrainConfig, scenes_dir: Path, tmp_path: Path
) -> None:
    run(tiny_config, scenes_dir, tmp_path / "small", until=3)
    wider = dataclasses.replace(tiny_config.network, width=6, pairs=2)
    config = dataclasses.replace(tiny_config, name="wide", network=wider)
    checkpoint = tmp_path / "small" / "checkpoint.pt"
    grown = run(config, scenes_dir, tmp_path / "large", until=1, initialise=checkpoint)
    assert [entry["name"] for entry in grown["history"]] == ["tiny"]
    assert grown["history"][0]["steps"] == 3
    small, _, _ = load_network(checkpoint)
    large, _, _ = load_network(tmp_path / "large" / "checkpoint.pt")
    planes = torch.rand(1, 9, 16, 16) - 0.5
    with torch.inference_mode():
        # One step at a learning rate of 5e-4 moves it a little.
        torch.testing.assert_close(large(planes), small(planes), rtol=0, atol=0.02)
    # It goes on without the small network at hand.
    checkpoint.unlink()
    assert run(config, scenes_dir, tmp_path / "large", until=2)["history"] == grown["history"]


def run_and_terminate(config: TrainConfig, data: Path, out: Path) -> None:
    """Send ourselves SIGTERM in step 4; exit with 0 when that ended the run as it should."""
    step = Trainer.train_step

    def interrupted(self: Trainer, *batch: torch.Tensor) -> dict[str, float]:
        result = step(self, *batch)
        if self.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    Trainer.train_step = interrupted
    before = signal.getsignal(signal.SIGTERM)
    ended_well = run(config, data, out)["step"] == 4
    raise SystemExit(0 if ended_well and signal.getsignal(signal.SIGTERM) is before else 1)


def test_sigterm_ends_after_the_step_with_a_checkpoint(
    tiny_config: TrainConfig, scenes_dir: Path, tmp_path: Path
) -> None:
    # In a process of its own, as a training is: after hundreds of tests with three runtimes in
    # one process the kernel could not deliver the signal any more (the thread's alternative signal
    # stack, which one of them had set, was not usable).
    process = multiprocessing.get_context("spawn").Process(
        target=run_and_terminate, args=(tiny_config, scenes_dir, tmp_path)
    )
    process.start()
    process.join(120)
    assert process.exitcode == 0


def test_loss_falls_and_bf16_follows_f32(tiny_config: TrainConfig) -> None:
    """A residual that the network can express is learnt, and alike in both precisions."""
    rng = np.random.default_rng(0)
    planes = rng.uniform(-0.5, 0.5, (2, 9, 32, 32)).astype(np.float32)
    sharp = torch.from_numpy(0.5 + 0.8 * planes[:, 3:6] + 0.2 * planes[:, :3])
    planes = torch.from_numpy(planes)
    ends = {}
    for precision in ("f32", "bf16"):
        optim = OptimConfig(
            batch=2,
            steps=150,
            learning_rate=1e-2,
            warmup=1,
            margin=4,
            precision=precision,
            logarithmic=False,
        )
        config = dataclasses.replace(
            tiny_config,
            optim=optim,
            network=dataclasses.replace(tiny_config.network, width=16),
        )
        trainer = Trainer(config)
        losses = [trainer.train_step(planes, sharp)["loss"] for _ in range(150)]
        assert losses[-1] < 0.6 * losses[0]
        ends[precision] = losses[-1]
    assert ends["bf16"] == pytest.approx(ends["f32"], rel=0.15)


def test_log_and_validation_tables(
    tiny_config: TrainConfig, scenes_dir: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(
        tiny_config,
        run=RunConfig(
            log_every=2,
            checkpoint_every=0,
            evaluate_every=2,
            sample_every=4,
            protocols=("imagine", "defocus+"),
            threads=1,
        ),
    )
    run(config, scenes_dir, tmp_path, until=4)
    with (tmp_path / "log.csv").open(newline="") as stream:
        assert [row["step"] for row in csv.DictReader(stream)] == ["2", "4"]
    with (tmp_path / "validation.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["step"], row["protocol"]) for row in rows] == [
        ("2", "imagine"), ("2", "defocus+"), ("4", "imagine"), ("4", "defocus+"),
    ]  # fmt: skip
    for row in rows:
        # Nothing linear beats the oracle, and the near-zero residual leaves the base plane.
        assert float(row["oracle"]) >= float(row["base"]) - 0.05
        assert float(row["ours"]) == pytest.approx(float(row["base"]), abs=1.5)
    assert (tmp_path / "sample-0000004.png").exists()


def test_learning_rate_warms_up_stays_and_decays(tiny_config: TrainConfig) -> None:
    optim = OptimConfig(steps=100, warmup=10, decay_fraction=0.5, learning_rate=1e-3)
    config = dataclasses.replace(tiny_config, optim=optim)
    rates = [learning_rate(config, step) for step in range(101)]
    assert rates[0] == pytest.approx(1e-4)
    assert rates[9:51] == [pytest.approx(1e-3)] * 42
    assert all(a > b for a, b in itertools.pairwise(rates[50:]))
    assert rates[100] == pytest.approx(optim.final_learning_rate)
