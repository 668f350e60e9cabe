"""The training loop: resumable to the exact step, deterministic under a seed.

A step's batch depends on the seed and the step (`imagine_deblur.train.pool`), the learning rate on
the step, and nothing else is random; a checkpoint holds weights, averaged weights and optimiser.
So a run that was interrupted and resumed ends with the same bits as one that was not, on the same
machine and thread count.
"""

from __future__ import annotations

import csv
import math
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imagine_deblur.errors import OptionsError
from imagine_deblur.train.config import TrainConfig, from_dict
from imagine_deblur.train.losses import restoration_loss
from imagine_deblur.train.network import RGB, Network, NetworkSpec, grow
from imagine_deblur.train.pool import CropPool
from imagine_deblur.train.scenes import checksum
from imagine_deblur.train.validation import ValidationCase, evaluate, make_cases, restore

_LOG_FIELDS = ("time", "step", "seconds", "learning_rate", "loss", "gradient_norm", "waited_s")
_VALIDATION_FIELDS = ("step", "protocol", "input", "oracle", "base", "ours", "gain_p5")


def network_spec(config: TrainConfig) -> NetworkSpec:
    """The network that a configuration describes."""
    net = config.network
    return NetworkSpec(config.input_planes, net.width, net.pairs, net.unshuffle, net.reparam)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, flat, then a half cosine to the final rate over the last `decay_fraction`."""
    optim = config.optim
    if step < optim.warmup:
        return optim.learning_rate * (step + 1) / optim.warmup
    start = optim.steps * (1.0 - optim.decay_fraction)
    if step <= start:
        return optim.learning_rate
    share = min(1.0, (step - start) / max(1.0, optim.steps - start))
    mix = 0.5 * (1.0 + math.cos(math.pi * share))
    return optim.final_learning_rate + mix * (optim.learning_rate - optim.final_learning_rate)


class Trainer:
    """State of a run: network, averaged network, optimiser, step.

    Parameters
    ----------
    config : TrainConfig
    device : str
        ``"cpu"`` or ``"cuda"``.
    """

    def __init__(self, config: TrainConfig, *, device: str = "cpu") -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.device = torch.device(device)
        self.step = 0
        spec = network_spec(config)
        self.network = Network(spec)
        self._to_device()
        self.average = Network(spec).to(self.device)
        self.average.load_state_dict(self.network.state_dict())
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=config.optim.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=config.optim.weight_decay,
        )

    def _to_device(self) -> None:
        self.network = self.network.to(self.device, memory_format=torch.channels_last)

    def start_from(self, small: Network) -> None:
        """Begin as the same function as a smaller trained network, see `grow`."""
        state = grow(small, self.network.spec, seed=self.config.seed).state_dict()
        self.network.load_state_dict(state)
        self.average.load_state_dict(state)

    def train_step(self, planes: np.ndarray, sharp: np.ndarray) -> tuple[float, float]:
        """One optimiser step on a batch; returns loss and gradient norm before clipping.

        Parameters
        ----------
        planes : (B, P, n, n) float32 ndarray
        sharp : (B, 3, n, n) float32 ndarray
        """
        optim = self.config.optim
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        x = torch.from_numpy(planes).to(self.device)
        truth = torch.from_numpy(sharp).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=optim.precision == "bf16"):
            restored = self.network(x.contiguous(memory_format=torch.channels_last))
        loss = self.objective(restored.float(), truth, x)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), optim.clip_norm)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return float(loss.detach()), float(norm)

    def objective(
        self, restored: torch.Tensor, truth: torch.Tensor, planes: torch.Tensor
    ) -> torch.Tensor:
        """The loss of a batch: (B, 3, n, n) images and the (B, P, n, n) input, float32."""
        optim = self.config.optim
        return restoration_loss(
            restored,
            truth,
            margin=optim.margin,
            spectral_weight=optim.spectral_weight,
            logarithmic=optim.logarithmic,
            squared=optim.squared,
        )

    def _update_average(self) -> None:
        decay = min(self.config.optim.ema, (1.0 + self.step) / (10.0 + self.step))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(new, 1.0 - decay)

    def save(self, path: str | os.PathLike[str], **extra: Any) -> None:
        """Write a checkpoint atomically; `extra` are plain values to keep with it."""
        path = Path(path)
        state = {
            "format": "imagine-deblur-checkpoint",
            "version": 1,
            "config": self.config.to_dict(),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            **extra,
        }
        scratch = path.with_suffix(".tmp")
        with scratch.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)

    def load(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Take up a checkpoint's state; returns all of it."""
        state = read_checkpoint(path)
        self.network.load_state_dict(state["network"])
        self._to_device()
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = int(state["step"])
        return state


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A checkpoint's content (tensors and plain values only).

    Raises
    ------
    OptionsError
        If the file is no checkpoint of this package.
    """
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or state.get("format") != "imagine-deblur-checkpoint":
        raise OptionsError("checkpoint", os.fspath(path), "a checkpoint of imagine_deblur.train")
    return state


def load_network(path: str | os.PathLike[str]) -> tuple[Network, TrainConfig, dict[str, Any]]:
    """The averaged network of a checkpoint, its configuration, and the checkpoint."""
    state = read_checkpoint(path)
    config = from_dict(state["config"])
    network = Network(network_spec(config))
    network.load_state_dict(state["average"])
    return network.eval(), config, state


class _Journal:
    """Appends rows to a CSV file, with a header when it is new."""

    def __init__(self, path: Path, fields: tuple[str, ...]) -> None:
        self.path, self.fields = path, fields
        if not path.exists():
            self._append(fields)

    def _append(self, row: tuple[Any, ...]) -> None:
        with self.path.open("a", newline="") as stream:
            csv.writer(stream).writerow(row)

    def write(self, **values: Any) -> None:
        def text(value: Any) -> Any:
            return f"{value:.6g}" if isinstance(value, float) else value

        self._append(tuple(text(values[field]) for field in self.fields))


def _sample_picture(path: Path, network: Network, case: ValidationCase) -> None:
    """Capture, base Wiener plane, restored and sharp image side by side."""
    from PIL import Image

    planes = case.planes.astype(np.float32)
    capture = np.moveaxis(planes[:RGB], 0, -1) + np.float32(0.5)
    base = np.moveaxis(planes[RGB : 2 * RGB], 0, -1) + np.float32(0.5)
    row = np.concatenate(
        [capture, base, restore(network, planes), case.sharp.astype(np.float32)], axis=1
    )
    Image.fromarray(np.rint(np.clip(row, 0, 1) * 255).astype(np.uint8)).save(path)


def _trainer(
    config: TrainConfig, device: str, perceptual: str | os.PathLike[str] | None
) -> Trainer:
    """The trainer that a configuration asks for."""
    if not config.adversarial.is_on:
        if perceptual is not None:
            raise OptionsError("perceptual", perceptual, "a configuration with [adversarial]")
        return Trainer(config, device=device)
    from imagine_deblur.train.adversarial import AdversarialTrainer
    from imagine_deblur.train.published.train import load_vgg

    vgg = None if perceptual is None else load_vgg(perceptual)
    return AdversarialTrainer(config, device=device, vgg=vgg)


def train(
    config: TrainConfig,
    data_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    device: str | None = None,
    initialise: str | os.PathLike[str] | None = None,
    perceptual: str | os.PathLike[str] | None = None,
    until: int | None = None,
    background: bool = True,
    progress: bool = True,
) -> Path:
    """Train a network, or go on with a run that was interrupted.

    Parameters
    ----------
    config : TrainConfig
        A resumed run may differ from its checkpoint in `run` and `optim` only.
    data_dir : path
        Folder with ``train`` and, for validation, ``val``.
    out_dir : path
        Receives ``checkpoint.pt``, ``log.csv``, ``validation.csv``, sample pictures and the crop
        pool.
    device : str, optional
        ``"cuda"`` where there is one by default, else ``"cpu"``.
    initialise : path, optional
        Checkpoint of a smaller or equal network to start from; ignored when resuming.
    perceptual : path, optional
        Checkpoint of a VGG16, where the configuration has a perceptual loss.
    until : int, optional
        Stop after this step (the schedule stays that of `config.optim.steps`).
    background : bool
        Make crops in a process of their own.
    progress : bool
        Print a line per log entry.

    Returns
    -------
    Path
        The last checkpoint. SIGTERM and Ctrl-C end the run after the step in hand, checkpoint
        written.

    Raises
    ------
    OptionsError
        If the checkpoint in `out_dir` belongs to another network or data configuration.
    """
    data, out = Path(data_dir), Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    if config.run.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    trainer = _trainer(config, device, perceptual)
    checkpoint = out / "checkpoint.pt"
    training_checksum = checksum(data / "train")
    spent = 0.0
    history: list[dict[str, Any]] = []
    if checkpoint.exists():
        # An older checkpoint lacks newer sections: they have their defaults.
        held, asked = from_dict(read_checkpoint(checkpoint)["config"]).to_dict(), config.to_dict()
        for section in ("seed", "network", "planes", "data", "adversarial"):
            if held[section] != asked[section]:
                raise OptionsError(section, asked[section], f"the run's own, {held[section]}")
        state = trainer.load(checkpoint)
        spent = float(state["seconds"])
        history = state.get("history", [])
    elif initialise is not None:
        small, begun, state = load_network(initialise)
        trainer.start_from(small)
        before = {"name": begun.name, "steps": state["step"], "seconds": round(state["seconds"])}
        history = [*state.get("history", []), before]
    log = _Journal(out / "log.csv", _LOG_FIELDS)
    table = _Journal(out / "validation.csv", _VALIDATION_FIELDS)
    cases: dict[str, list[ValidationCase]] = {}
    stop: list[int] = []
    handlers = {
        number: signal.signal(number, lambda n, frame: stop.append(n))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    pool = CropPool(
        out / "pool",
        config,
        data / "train",
        training_checksum=training_checksum,
        step=trainer.step,
        background=background,
    )
    last = min(config.optim.steps, until or config.optim.steps)
    began = time.monotonic()
    losses: list[float] = []
    norms: list[float] = []

    def save() -> None:
        trainer.save(
            checkpoint,
            seconds=spent + time.monotonic() - began,
            training_checksum=training_checksum,
            history=history,
        )

    def validate() -> None:
        if not cases:
            spec = config.planes.spec
            for name in config.run.protocols:
                cases[name] = make_cases(
                    name, data / "val", spec, aerial_every=config.run.validate_aerial_every
                )
        for name, listed in cases.items():
            row = evaluate(trainer.average, listed)
            table.write(step=trainer.step, protocol=name, **row)
            if progress:
                figures = "  ".join(f"{key} {value:.3f}" for key, value in row.items())
                print(f"step {trainer.step}  {name}: {figures}", flush=True)

    def due(every: int) -> bool:
        return every > 0 and trainer.step % every == 0

    try:
        while trainer.step < last and not stop:
            loss, norm = trainer.train_step(*pool.batch(trainer.step))
            losses.append(loss)
            norms.append(norm)
            if due(config.run.log_every) or trainer.step == last:
                seconds = spent + time.monotonic() - began
                log.write(
                    time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    step=trainer.step,
                    seconds=seconds,
                    learning_rate=learning_rate(config, trainer.step),
                    loss=float(np.mean(losses)),
                    gradient_norm=float(np.median(norms)),
                    waited_s=pool.waited_s,
                )
                if progress:
                    rate = len(losses)
                    print(
                        f"step {trainer.step}/{last}  loss {np.mean(losses):.5f}  "
                        f"{seconds:.0f} s  ({rate} steps logged)",
                        flush=True,
                    )
                losses.clear()
                norms.clear()
            if due(config.run.checkpoint_every):
                save()
            if due(config.run.evaluate_every):
                validate()
            if due(config.run.sample_every) and cases:
                first = next(iter(cases.values()))[0]
                _sample_picture(out / f"sample-{trainer.step:07d}.png", trainer.average, first)
        save()
        if config.run.evaluate_every and not stop and trainer.step % config.run.evaluate_every:
            validate()
    finally:
        pool.close()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return checkpoint
