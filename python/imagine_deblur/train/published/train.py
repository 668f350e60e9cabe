"""Training the published systems: what the loop needs of them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from imagine_deblur.errors import OptionsError
from imagine_deblur.train.device import Device
from imagine_deblur.train.loop import Batch, Cadence, Limits, Stop, Task, run
from imagine_deblur.train.published.config import (
    NetworkConfig,
    PhaseConfig,
    PublishedConfig,
    from_dict,
)
from imagine_deblur.train.published.data import Labelled, Pairs, batches
from imagine_deblur.train.published.exported import Exported, read_exported
from imagine_deblur.train.published.initialise import scale_to_data
from imagine_deblur.train.published.perceptual import LabelledScenes, SceneVgg, accuracy
from imagine_deblur.train.published.trainer import Trainer, load_network, read_checkpoint
from imagine_deblur.train.published.validation import Case, evaluate, make_cases
from imagine_deblur.train.scenes import checksum

#: Batches, the first of the run, that fresh weights are scaled on.
SCALED_ON = 4


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


class PublishedTask(Task):
    """One of the published systems, its pairs and its validation scenes.

    Parameters
    ----------
    config : PublishedConfig
    data : path
        Folder with ``train`` and ``val``.
    device : Device, optional
    vgg : SceneVgg, optional
        For configurations with a perceptual loss.
    workers : int
        Processes that make batches ahead; the batches are the same for any number.
    """

    columns = ("loss", "reconstruction", "perceptual", "adversarial", "critic")
    figures = ("input", "ours", "gain_p5", "mnc")

    def __init__(
        self,
        config: PublishedConfig,
        data: str | os.PathLike[str],
        *,
        device: Device | None = None,
        vgg: SceneVgg | None = None,
        workers: int = 0,
    ) -> None:
        options = config.run
        if options.threads:
            torch.set_num_threads(options.threads)
        if options.deterministic:
            torch.use_deterministic_algorithms(True, warn_only=True)
        self.config, self.data, self.workers = config, Path(data), workers
        self.name, self.steps = config.name, config.steps
        self.cadence = Cadence(options.log_every, options.checkpoint_every, options.evaluate_every)
        self.labelled: LabelledScenes | None = None
        classes: tuple[str, ...] = ()
        if config.system == "vgg16":
            self.labelled = LabelledScenes(self.data / "train", smallest=config.phases[0].crop)
            classes = self.labelled.classes
        self.learner: Trainer = Trainer(config, device=device, vgg=vgg, classes=classes)
        self.training_checksum = checksum(self.data / "train")
        self._cases: dict[str, list[Case]] = {}

    def batches(self, last: int) -> Iterator[Batch]:
        """See `Task.batches`."""
        while self.learner.step < last:
            index, place = self.config.phase_of(self.learner.step)
            end = min(self.config.phases[index].steps, place + last - self.learner.step)
            dataset = (
                Pairs(self.data / "train", self.config, index)
                if self.labelled is None
                else Labelled(self.labelled, self.config, index)
            )
            yield from batches(dataset, place, end, self.workers)

    def refuse(self, held: dict[str, Any]) -> None:
        """See `Task.refuse`."""
        before, now = held["config"], dataclasses.asdict(self.config)
        for section in before:
            if section not in ("run", "name") and before[section] != now[section]:
                raise OptionsError(section, now[section], f"the run's own, {before[section]}")

    def start(self, initialise: str | os.PathLike[str] | None) -> list[dict[str, Any]]:
        """See `Task.start`; a shallower MIMO-UNet's weights are grown.

        `initialise` is a checkpoint, or the file that was exported of one.
        """
        if initialise is None:
            if self.labelled is None:
                pairs = Pairs(self.data / "train", self.config, 0)
                images = torch.cat([pairs[step][0] for step in range(SCALED_ON)])
                scale_to_data(self.learner.network, images.to(self.learner.device.handle))
            return []
        network, history = _trained(initialise)
        with _fitting("initialise", initialise):
            self.learner.start_from(network)
        return history

    def take_up(self, path: str | os.PathLike[str], out: Path) -> Exported:
        """Write the checkpoint of a run that goes on where an exported file ends.

        Raises
        ------
        OptionsError
            The file does not fit the configuration, or the training needs more than it holds.
        """
        if self.config.is_adversarial:
            wanted = "a training without discriminators, which an exported file does not hold"
            raise OptionsError("resume", os.fspath(path), wanted)
        held = read_exported(path, "resume")
        with _fitting("resume", path):
            self.learner.go_on(held.network, min(held.training["steps"], self.steps))
        self.learner.save(
            out / "checkpoint.pt",
            seconds=float(held.training["seconds"]),
            processor_seconds=float(held.training["processor_seconds"]),
            training_checksum=held.training["data_sha256"],
            history=held.history,
        )
        return held

    def validate(self) -> Iterator[tuple[str, dict[str, float]]]:
        """See `Task.validate`; a VGG16's figure is the share of scenes whose class it tells."""
        network = self.learner.network
        network.eval()
        if isinstance(network, SceneVgg):
            classes = self.learner.classes
            held_out = LabelledScenes(self.data / "val", smallest=16, classes=classes)
            yield "classes", {"input": 1 / len(classes), "ours": accuracy(network, held_out)}
            return
        options = self.config.run
        for name in options.protocols:
            if name not in self._cases:
                every = options.validate_aerial_every
                self._cases[name] = make_cases(name, self.data / "val", aerial_every=every)
            yield name, evaluate(network, self.config, self._cases[name])


def _trained(
    path: str | os.PathLike[str],
) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Weights and history of a checkpoint or of an exported file."""
    if os.fspath(path).endswith(".onnx"):
        held = read_exported(path, "initialise")
        return held.network, [*held.history, held.run()]
    state = read_checkpoint(path)
    run = {
        "name": state["config"]["name"],
        "steps": state["step"],
        "crops": from_dict(state["config"]).crops(state["step"]),
        "seconds": round(float(state["seconds"])),
        "processor_seconds": round(float(state["processor_seconds"])),
    }
    return state["network"], [*state["history"], run]


@contextlib.contextmanager
def _fitting(option: str, path: str | os.PathLike[str]) -> Iterator[None]:
    """Weights of another shape are an error of the option that named their file."""
    try:
        yield
    except ValueError as error:
        raise OptionsError(option, os.fspath(path), f"a network that fits: {error}") from None


def train(
    config: PublishedConfig,
    data_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    device: Device | None = None,
    initialise: str | os.PathLike[str] | None = None,
    perceptual: str | os.PathLike[str] | None = None,
    workers: int = 0,
    limits: Limits | None = None,
    stop: Stop | None = None,
    progress: bool = True,
) -> tuple[Path, str]:
    """Train a published system.

    Parameters
    ----------
    config : PublishedConfig
        A resumed run may differ from its checkpoint in `run` only.
    data_dir : path
    out_dir : path
    device, initialise, limits, stop, progress
        See `imagine_deblur.train.loop.run`.
    perceptual : path, optional
        Checkpoint of a VGG16; without one a configuration with a perceptual loss trains its own
        first, in ``vgg16`` inside the run's folder.
    workers : int
        See `PublishedTask`.

    Returns
    -------
    checkpoint : Path
        The VGG16's where the run ended before its own first step.
    why : str
        See `imagine_deblur.train.loop.run`.
    """
    vgg: SceneVgg | None = None
    if config.is_perceptual:
        if perceptual is None:
            wanted = vgg_config(config)
            out = Path(out_dir) / "vgg16"
            perceptual, why = train(
                wanted, data_dir, out, device=device, workers=workers, stop=stop,
                progress=progress,
            )  # fmt: skip
            if why != "done":
                return perceptual, why
        vgg = load_vgg(perceptual)
    task = PublishedTask(config, data_dir, device=device, vgg=vgg, workers=workers)
    return run(task, out_dir, initialise=initialise, limits=limits, stop=stop, progress=progress)


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
