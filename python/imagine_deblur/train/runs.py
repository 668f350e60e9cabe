"""Training our own networks: what the loop needs of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imagine_deblur.errors import OptionsError
from imagine_deblur.train.adversarial import PARTS, AdversarialTrainer
from imagine_deblur.train.config import TrainConfig, from_dict
from imagine_deblur.train.device import Device
from imagine_deblur.train.loop import Batch, Cadence, Limits, Stop, Task, run
from imagine_deblur.train.network import RGB
from imagine_deblur.train.pool import CropPool
from imagine_deblur.train.published.perceptual import SceneVgg
from imagine_deblur.train.scenes import checksum
from imagine_deblur.train.trainer import Trainer, load_network
from imagine_deblur.train.validation import ValidationCase, evaluate, make_cases, restore

#: Sections of a configuration that a resumed run must share with its checkpoint.
_OF_THE_RUN = ("seed", "network", "planes", "data", "adversarial")


class NetworkTask(Task):
    """One of our networks, its crops and its validation scenes.

    Parameters
    ----------
    config : TrainConfig
    data : path
        Folder with ``train`` and ``val``.
    out : path
        Run folder; the crop pool lies in it.
    device : Device, optional
    vgg : SceneVgg, optional
        For configurations with a perceptual loss.
    background : bool
        Make crops in a process of their own.
    """

    figures = ("input", "oracle", "base", "ours", "gain_p5")

    def __init__(
        self,
        config: TrainConfig,
        data: str | os.PathLike[str],
        out: str | os.PathLike[str],
        *,
        device: Device | None = None,
        vgg: SceneVgg | None = None,
        background: bool = True,
    ) -> None:
        if config.run.threads:
            torch.set_num_threads(config.run.threads)
        if config.run.deterministic:
            torch.use_deterministic_algorithms(True, warn_only=True)
        self.config, self.data, self.out = config, Path(data), Path(out)
        self.name, self.steps, self.background = config.name, config.optim.steps, background
        if config.adversarial.is_on:
            self.learner: Trainer = AdversarialTrainer(config, device=device, vgg=vgg)
        elif vgg is not None:
            raise OptionsError("perceptual", "a VGG16", "a configuration with [adversarial]")
        else:
            self.learner = Trainer(config, device=device)
        self.columns = ("loss", "gradient_norm", *PARTS)
        options = config.run
        self.cadence = Cadence(
            options.log_every, options.checkpoint_every, options.evaluate_every,
            options.sample_every,
        )  # fmt: skip
        self.training_checksum = checksum(self.data / "train")
        self._pool: CropPool | None = None
        self._cases: dict[str, list[ValidationCase]] = {}

    def batches(self, last: int) -> Iterator[Batch]:
        """See `Task.batches`."""
        self._pool = CropPool(
            self.out / "pool",
            self.config,
            self.data / "train",
            training_checksum=self.training_checksum,
            step=self.learner.step,
            background=self.background,
        )
        while self.learner.step < last:
            planes, sharp, traits = self._pool.batch(self.learner.step)
            yield torch.from_numpy(planes), torch.from_numpy(sharp), torch.from_numpy(traits)

    def refuse(self, held: dict[str, Any]) -> None:
        """See `Task.refuse`."""
        # An older checkpoint lacks newer sections: they have their defaults.
        before, now = from_dict(held["config"]).to_dict(), self.config.to_dict()
        for section in _OF_THE_RUN:
            if before[section] != now[section]:
                raise OptionsError(section, now[section], f"the run's own, {before[section]}")

    def start(self, initialise: str | os.PathLike[str] | None) -> list[dict[str, Any]]:
        """See `Task.start`."""
        if initialise is None:
            if self.config.network.shape == "unet":
                wanted = "a checkpoint of the network that the U-shape stands behind (--initialise)"
                raise OptionsError("initialise", None, wanted)
            return []
        trained, begun, state = load_network(initialise)
        self.learner.start_from(trained)
        before = {
            "name": begun.name,
            "steps": state["step"],
            "crops": state["step"] * begun.optim.batch,
            "seconds": round(state["seconds"]),
            "processor_seconds": round(state.get("processor_seconds", state["seconds"])),
        }
        return [*state.get("history", []), before]

    def validate(self) -> Iterator[tuple[str, dict[str, float]]]:
        """See `Task.validate`."""
        options = self.config.run
        for name in options.protocols:
            if name not in self._cases:
                self._cases[name] = make_cases(
                    name,
                    self.data / "val",
                    self.config.planes.spec,
                    aerial_every=options.validate_aerial_every,
                )
            yield name, evaluate(self.learner.average, self._cases[name])

    def sample(self, path: Path) -> None:
        """Capture, base Wiener plane, restored and sharp image side by side."""
        from PIL import Image

        if not self._cases:
            return
        case = next(iter(self._cases.values()))[0]
        planes = case.planes.astype(np.float32)
        capture = np.moveaxis(planes[:RGB], 0, -1) + np.float32(0.5)
        base = np.moveaxis(planes[RGB : 2 * RGB], 0, -1) + np.float32(0.5)
        restored = restore(self.learner.average, planes, case.traits)
        row = np.concatenate([capture, base, restored, case.sharp.astype(np.float32)], axis=1)
        Image.fromarray(np.rint(np.clip(row, 0, 1) * 255).astype(np.uint8)).save(path)

    def close(self) -> None:
        """See `Task.close`."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None


def train(
    config: TrainConfig,
    data_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    device: Device | None = None,
    initialise: str | os.PathLike[str] | None = None,
    vgg: SceneVgg | None = None,
    background: bool = True,
    limits: Limits | None = None,
    stop: Stop | None = None,
    progress: bool = True,
) -> tuple[Path, str]:
    """Train one of our networks; see `imagine_deblur.train.loop.run` for the parameters."""
    task = NetworkTask(config, data_dir, out_dir, device=device, vgg=vgg, background=background)
    return run(task, out_dir, initialise=initialise, limits=limits, stop=stop, progress=progress)
