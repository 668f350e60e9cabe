"""Train a published system, or go on with a run that was interrupted."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imagine_deblur.errors import OptionsError
from imagine_deblur.train.loop import _Journal
from imagine_deblur.train.published.config import (
    NetworkConfig,
    PhaseConfig,
    PublishedConfig,
    from_dict,
)
from imagine_deblur.train.published.data import Labelled, Pairs, batches
from imagine_deblur.train.published.initialise import scale_to_data
from imagine_deblur.train.published.perceptual import LabelledScenes, SceneVgg, accuracy
from imagine_deblur.train.published.trainer import Trainer, load_network, read_checkpoint
from imagine_deblur.train.published.validation import Case, evaluate, make_cases
from imagine_deblur.train.scenes import checksum

#: Batches, the first of the run, that fresh weights are scaled on.
SCALED_ON = 4

_PARTS = ("loss", "reconstruction", "perceptual", "adversarial", "critic")
_LOG_FIELDS = ("time", "step", "phase", "seconds", "learning_rate", *_PARTS)
_VALIDATION_FIELDS = ("step", "protocol", "input", "ours", "gain_p5", "mnc")


def vgg_config(config: PublishedConfig) -> PublishedConfig:
    """How the VGG16 behind a configuration's perceptual loss is trained."""
    wanted = config.perceptual
    return PublishedConfig(
        name=f"{config.name}-vgg16",
        system="vgg16",
        seed=config.seed,
        network=NetworkConfig(width=wanted.width),
        phases=(
            PhaseConfig(
                name="classes",
                steps=wanted.steps,
                batch=wanted.batch,
                crop=wanted.crop,
                learning_rate=wanted.learning_rate,
                drop_at=(wanted.steps // 2, wanted.steps * 3 // 4),
                drop_factor=0.3,
            ),
        ),
        run=config.run,
    )


def train(
    config: PublishedConfig,
    data_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    device: str | None = None,
    initialise: str | os.PathLike[str] | None = None,
    perceptual: str | os.PathLike[str] | None = None,
    until: int | None = None,
    workers: int = 0,
    progress: bool = True,
) -> Path:
    """Train from scratch on a folder of sharp images.

    Parameters
    ----------
    config : PublishedConfig
        A resumed run may differ from its checkpoint in `run` only.
    data_dir : path
        Folder with ``train`` and, for validation, ``val``.
    out_dir : path
        Receives ``checkpoint.pt``, ``log.csv`` and ``validation.csv``; with a perceptual loss the
        VGG16's run in ``vgg16``, trained first.
    device : str, optional
        ``"cuda"`` where there is one by default, else ``"cpu"``.
    initialise : path, optional
        Checkpoint to start from: the same network, or for MIMO-UNet one with fewer residual
        blocks (`mimo_unet.grow`). Ignored when resuming.
    perceptual : path, optional
        Checkpoint of a VGG16 to use instead of training one.
    until : int, optional
        Stop after this step (the schedule stays).
    workers : int
        Processes that make batches ahead; the batches are the same for any number.
    progress : bool
        Print a line per log entry.

    Returns
    -------
    Path
        The last checkpoint; the VGG16's where the run was interrupted before its own first step.
        SIGTERM and Ctrl-C end the run after the step in hand, checkpoint written.

    Raises
    ------
    OptionsError
        If the checkpoint in `out_dir` belongs to another configuration.
    EngineError
        If the loss is no longer finite.
    """
    data, out = Path(data_dir), Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    if config.run.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
    vgg: SceneVgg | None = None
    if config.is_perceptual:
        if perceptual is None:
            wanted = vgg_config(config)
            perceptual = train(
                wanted, data, out / "vgg16", device=device, workers=workers, progress=progress
            )
            if read_checkpoint(perceptual)["step"] < wanted.steps:
                return perceptual  # interrupted
        vgg = load_vgg(perceptual)
    run = _Run(config, data, out, device, vgg)
    run.restore(initialise)
    return run.go(min(config.steps, until or config.steps), workers, progress)


def load_vgg(path: str | os.PathLike[str]) -> SceneVgg:
    """The VGG16 of a finished run's checkpoint; OptionsError for any other checkpoint."""
    network, config, state = load_network(path)
    if not isinstance(network, SceneVgg):
        raise OptionsError("perceptual", os.fspath(path), "a checkpoint of a VGG16")
    if state["step"] < config.steps:
        raise OptionsError(
            "perceptual", os.fspath(path), f"a finished one, not step {state['step']}"
        )
    return network


class _Run:
    """A trainer with its folder, tables and data."""

    def __init__(
        self,
        config: PublishedConfig,
        data: Path,
        out: Path,
        device: str,
        vgg: SceneVgg | None,
    ) -> None:
        self.config, self.data, self.out = config, data, out
        self.labelled: LabelledScenes | None = None
        classes: tuple[str, ...] = ()
        if config.system == "vgg16":
            self.labelled = LabelledScenes(data / "train", smallest=config.phases[0].crop)
            classes = self.labelled.classes
        self.trainer = Trainer(config, device=device, vgg=vgg, classes=classes)
        self.checkpoint = out / "checkpoint.pt"
        self.log = _Journal(out / "log.csv", _LOG_FIELDS)
        self.table = _Journal(out / "validation.csv", _VALIDATION_FIELDS)
        self.training_checksum = checksum(data / "train")
        self.seconds = self.processor_seconds = 0.0
        self.history: list[dict[str, Any]] = []
        self._cases: dict[str, list[Case]] = {}

    def restore(self, initialise: str | os.PathLike[str] | None) -> None:
        """Resume from the run's checkpoint, or start from another one's weights."""
        if self.checkpoint.exists():
            held = read_checkpoint(self.checkpoint)
            before, now = held["config"], dataclasses.asdict(self.config)
            for section in before:
                if section not in ("run", "name") and before[section] != now[section]:
                    raise OptionsError(section, now[section], f"the run's own, {before[section]}")
            if held["training_checksum"] != self.training_checksum:
                raise OptionsError("data", str(self.data), "the images the run began with")
            state = self.trainer.load(self.checkpoint)
            self.seconds, self.history = float(state["seconds"]), state["history"]
            self.processor_seconds = float(state["processor_seconds"])
        elif initialise is not None:
            state = read_checkpoint(initialise)
            try:
                self.trainer.start_from(state["network"])
            except ValueError as error:
                raise OptionsError(
                    "initialise", os.fspath(initialise), f"a network that fits: {error}"
                ) from None
            self.history = [
                *state["history"],
                {
                    "name": state["config"]["name"],
                    "steps": state["step"],
                    "crops": from_dict(state["config"]).crops(state["step"]),
                    "seconds": round(float(state["seconds"])),
                    "processor_seconds": round(float(state["processor_seconds"])),
                },
            ]
        elif self.labelled is None:
            pairs = Pairs(self.data / "train", self.config, 0)
            images = torch.cat([pairs[step][0] for step in range(SCALED_ON)])
            scale_to_data(self.trainer.network, images.to(self.trainer.device))

    def go(self, last: int, workers: int, progress: bool) -> Path:
        """Train up to step `last`."""
        stop: list[int] = []
        handlers = {
            number: signal.signal(number, lambda n, frame: stop.append(n))
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            while self.trainer.step < last and not stop:
                self._phase(last, workers, progress, stop)
            self._save()
            every = self.config.run.evaluate_every
            if every and not stop and self.trainer.step % every:
                self._validate(progress)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return self.checkpoint

    def _phase(self, last: int, workers: int, progress: bool, stop: list[int]) -> None:
        """Train to the end of the phase in hand, or to step `last`."""
        trainer, run = self.trainer, self.config.run
        index, place = self.config.phase_of(trainer.step)
        phase = self.config.phases[index]
        end = min(phase.steps, place + last - trainer.step)
        dataset = (
            Pairs(self.data / "train", self.config, index)
            if self.labelled is None
            else Labelled(self.labelled, self.config, index)
        )
        rows: list[dict[str, float]] = []
        began, used = time.monotonic(), time.process_time()
        for batch in batches(dataset, place, end, workers):
            rows.append(trainer.train_step(*batch))
            now = time.monotonic()
            self.seconds, began = self.seconds + now - began, now
            now = time.process_time()
            self.processor_seconds, used = self.processor_seconds + now - used, now
            finished = trainer.step == last or trainer.step == self.config.steps
            if run.log_every and (trainer.step % run.log_every == 0 or finished):
                self._report(rows, phase, progress)
                rows.clear()
            if run.checkpoint_every and trainer.step % run.checkpoint_every == 0:
                self._save()
            if run.evaluate_every and trainer.step % run.evaluate_every == 0:
                self._validate(progress)
                began, used = time.monotonic(), time.process_time()
            if stop:
                return

    def _report(self, rows: list[dict[str, float]], phase: PhaseConfig, progress: bool) -> None:
        means = {
            name: float(np.mean([row[name] for row in rows if name in row]))
            for name in _PARTS
            if any(name in row for row in rows)
        }
        self.log.write(
            time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            step=self.trainer.step,
            phase=phase.name,
            seconds=self.seconds,
            learning_rate=rows[-1]["learning_rate"],
            **{name: means.get(name, "") for name in _PARTS},
        )
        if progress:
            parts = "  ".join(f"{name} {value:.5f}" for name, value in means.items())
            print(
                f"{self.config.name} step {self.trainer.step}/{self.config.steps}  {parts}  "
                f"{self.seconds:.0f} s, {self.processor_seconds:.0f} s of processor time",
                flush=True,
            )

    def _save(self) -> None:
        self.trainer.save(
            self.checkpoint,
            seconds=self.seconds,
            processor_seconds=self.processor_seconds,
            training_checksum=self.training_checksum,
            history=self.history,
        )

    def _validate(self, progress: bool) -> None:
        trainer = self.trainer
        trainer.network.eval()
        if isinstance(trainer.network, SceneVgg):
            held_out = LabelledScenes(self.data / "val", smallest=16, classes=trainer.classes)
            share = accuracy(trainer.network, held_out)
            self._row("classes", {"input": 1 / len(trainer.classes), "ours": share}, progress)
            return
        for name in self.config.run.protocols:
            if name not in self._cases:
                self._cases[name] = make_cases(
                    name,
                    self.data / "val",
                    aerial_every=self.config.run.validate_aerial_every,
                )
            row = evaluate(trainer.network, self.config, self._cases[name])
            self._row(name, row, progress)

    def _row(self, name: str, row: dict[str, float], progress: bool) -> None:
        filled = {field: row.get(field, float("nan")) for field in _VALIDATION_FIELDS[2:]}
        self.table.write(step=self.trainer.step, protocol=name, **filled)
        if progress:
            figures = "  ".join(f"{key} {value:.3f}" for key, value in row.items())
            print(f"{self.config.name} step {self.trainer.step}  {name}: {figures}", flush=True)
