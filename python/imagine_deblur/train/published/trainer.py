"""State of a run of a published system, one optimiser step at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import nn

from imagine_deblur.errors import OptionsError
from imagine_deblur.train import learner
from imagine_deblur.train.device import Device
from imagine_deblur.train.learner import Learner
from imagine_deblur.train.published import mgstnet, mimo_unet
from imagine_deblur.train.published.config import PhaseConfig, PublishedConfig, from_dict
from imagine_deblur.train.published.discriminator import (
    MultiScaleDiscriminator,
    adversarial_loss,
    feature_loss,
)
from imagine_deblur.train.published.mgstnet import Mgstnet
from imagine_deblur.train.published.mimo_unet import MimoUnet
from imagine_deblur.train.published.perceptual import PerceptualLoss, SceneVgg
from imagine_deblur.train.published.systems import make_network, reconstruction_loss

FORMAT = "imagine-deblur-published"


class Plateau:
    """Factor on the learning rate that falls where an epoch's mean loss stops falling.

    Attributes
    ----------
    state : dict
        ``factor``, ``best``, ``waited``, ``total``, ``count``: plain numbers, for checkpoints.
    """

    #: Relative fall below which an epoch counts as no better.
    MARGIN = 1e-4

    def __init__(self) -> None:
        self.state: dict[str, float] = {
            "factor": 1.0,
            "best": float("inf"),
            "waited": 0,
            "total": 0.0,
            "count": 0,
        }

    def observe(self, loss: float, phase: PhaseConfig) -> None:
        """Take in one step's loss."""
        s = self.state
        s["total"] += loss
        s["count"] += 1
        if s["count"] < phase.plateau_steps:
            return
        mean = s["total"] / s["count"]
        s["total"], s["count"] = 0.0, 0
        if mean < s["best"] * (1.0 - self.MARGIN):
            s["best"], s["waited"] = mean, 0
            return
        s["waited"] += 1
        if s["waited"] >= phase.plateau_patience:
            least = phase.plateau_least / phase.learning_rate
            s["factor"], s["waited"] = max(least, s["factor"] * phase.drop_factor), 0


def learning_rate(phase: PhaseConfig, step: int, plateau: float = 1.0) -> float:
    """The rate of a phase's step, counted from its first; `plateau` is `Plateau`'s factor."""
    drops = sum(step >= at for at in phase.drop_at)
    if phase.drop_every:
        drops += step // phase.drop_every
    return phase.learning_rate * phase.drop_factor**drops * plateau


class Trainer(Learner):
    """Networks, optimisers, step.

    Parameters
    ----------
    config : PublishedConfig
    device : Device, optional
        The CPU by default.
    vgg : SceneVgg, optional
        For configurations with a perceptual loss.
    classes : tuple of str
        For the VGG16.
    """

    FORMAT: ClassVar[str] = FORMAT

    def __init__(
        self,
        config: PublishedConfig,
        *,
        device: Device | None = None,
        vgg: SceneVgg | None = None,
        classes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(device or Device("cpu"), config.run.precision)
        torch.manual_seed(config.seed)
        self.config, self.classes = config, classes
        self.network = self.device.place(make_network(config, classes=len(classes)), self.precision)
        self.discriminator: MultiScaleDiscriminator | None = None
        if config.is_adversarial:
            d = config.discriminator
            made = MultiScaleDiscriminator(
                6 if d.conditional else 3, d.width, d.scales, attention=d.attention
            )
            self.discriminator = made.to(self.device.handle)
        self.perceptual: PerceptualLoss | None = None
        if config.is_perceptual:
            if vgg is None:
                raise OptionsError("perceptual", None, "a trained VGG16 for this configuration")
            wanted = config.perceptual.blocks
            self.perceptual = PerceptualLoss(vgg, wanted).to(self.device.handle)
        self._begin(config.phases[0])

    def _begin(self, phase: PhaseConfig) -> None:
        """Fresh optimisers and plateau for a phase."""
        betas = (phase.beta1, 0.999)
        self.optimizer = self.device.adam(self.network.parameters(), phase.learning_rate, betas)
        self.critic: torch.optim.Adam | None = None
        if self.discriminator is not None:
            self.critic = self.device.adam(
                self.discriminator.parameters(), phase.learning_rate, betas
            )
        self.plateau = Plateau()

    def start_from(self, network: dict[str, torch.Tensor]) -> None:
        """Begin with a trained network's weights.

        A shallower MIMO-UNet's are grown, and those of an MGSTNet of fewer stages.

        Raises
        ------
        ValueError
            If they do not fit.
        """
        if isinstance(self.network, MimoUnet):
            network = mimo_unet.grow(network, self.network)
        elif isinstance(self.network, Mgstnet):
            network = mgstnet.grow(network, self.network)
        try:
            self.network.load_state_dict(network)
        except RuntimeError as error:
            raise ValueError(str(error)) from None

    def go_on(self, network: dict[str, torch.Tensor], step: int) -> None:
        """Begin at a step of the schedule with a network's weights and fresh optimisers.

        Raises
        ------
        ValueError
            If the weights do not fit.
        """
        self.start_from(network)
        self.step = step
        if step < self.config.steps:
            self._begin(self.config.phases[self.config.phase_of(step)[0]])

    def train_step(
        self, inputs: torch.Tensor, target: torch.Tensor, traits: torch.Tensor | None = None
    ) -> dict[str, float]:
        """One step on a batch; returns the parts of the loss and the learning rate.

        Parameters
        ----------
        inputs : (B, 3, n, n) float32 tensor
            Captures.
        target : (B, 3, n, n) float32 tensor, or (B,) int64 classes for the VGG16
        traits : None
            The published networks do not adapt to a capture.

        Raises
        ------
        EngineError
            The loss is not finite.
        """
        index, place = self.config.phase_of(self.step)
        phase = self.config.phases[index]
        if place == 0 and index:
            self._begin(phase)
        rate = learning_rate(phase, place, self.plateau.state["factor"])
        for optimizer in (self.optimizer, self.critic):
            for group in () if optimizer is None else optimizer.param_groups:
                group["lr"] = rate
        captured = self.device.send(inputs, self.precision)
        target = target.to(self.device.handle, non_blocking=self.device.is_accelerator)
        self.network.train()
        with self._autocast():
            answer = self.network(captured)
        loss, image = reconstruction_loss(self.config.system, answer, captured, target, phase.loss)
        parts = {"reconstruction": float(loss.detach())}
        if phase.loss.perceptual and self.perceptual is not None:
            with self._autocast():
                perceptual = self.perceptual(image, target)
            parts["perceptual"] = float(perceptual.detach())
            loss = loss + phase.loss.perceptual * perceptual
        if phase.loss.adversarial or phase.loss.features:
            loss = loss + self._against_critic(captured, target, image, phase, parts)
        parts["loss"] = float(loss.detach())
        self.require_finite(parts)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if phase.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), phase.clip_norm)
        self.optimizer.step()
        if phase.plateau_steps:
            self.plateau.observe(parts["loss"], phase)
        self.step += 1
        return {**parts, "learning_rate": rate}

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        return self.device.autocast(self.precision)

    def _against_critic(
        self,
        captured: torch.Tensor,
        sharp: torch.Tensor,
        image: torch.Tensor,
        phase: PhaseConfig,
        parts: dict[str, float],
    ) -> torch.Tensor:
        """Train the discriminators one step, in float32, then the generator's loss from them."""
        assert self.discriminator is not None
        assert self.critic is not None

        def shown(picture: torch.Tensor) -> torch.Tensor:
            if not self.config.discriminator.conditional:
                return picture
            return torch.cat([captured, picture], dim=1)

        self.discriminator.train()
        critic_loss = 0.5 * (
            adversarial_loss(self.discriminator(shown(sharp)), real=True)
            + adversarial_loss(self.discriminator(shown(image.detach())), real=False)
        )
        self.critic.zero_grad(set_to_none=True)
        critic_loss.backward()
        self.critic.step()
        parts["critic"] = float(critic_loss.detach())
        with frozen(self.discriminator):
            answers = self.discriminator(shown(image))
            fooled = adversarial_loss(answers, real=True)
            parts["adversarial"] = float(fooled.detach())
            loss = phase.loss.adversarial * fooled
            if phase.loss.features:
                with torch.no_grad():
                    wanted = self.discriminator(shown(sharp))
                loss = loss + phase.loss.features * feature_loss(answers, wanted)
        return loss

    def state(self) -> dict[str, Any]:
        """See `Learner.state`."""
        return {
            "config": self.config.to_dict(),
            "classes": list(self.classes),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "discriminator": _state(self.discriminator),
            "critic": _state(self.critic),
            "plateau": dict(self.plateau.state),
        }

    def take(self, state: dict[str, Any]) -> None:
        """See `Learner.take`."""
        self._begin(self.config.phases[0])
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.discriminator is not None and self.critic is not None:
            self.discriminator.load_state_dict(state["discriminator"])
            self.critic.load_state_dict(state["critic"])
        self.plateau.state = dict(state["plateau"])


@contextlib.contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """No gradients for a network's weights, and no update of its spectral norms."""
    network.requires_grad_(False).eval()
    try:
        yield
    finally:
        network.requires_grad_(True).train()


def _state(holder: nn.Module | torch.optim.Optimizer | None) -> dict[str, Any] | None:
    return None if holder is None else dict(holder.state_dict())


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A checkpoint's content; OptionsError for a file that is none of a published system."""
    return learner.read_checkpoint(path, FORMAT)


def load_network(
    path: str | os.PathLike[str],
) -> tuple[nn.Module, PublishedConfig, dict[str, Any]]:
    """A checkpoint's network in evaluation mode on the CPU, its configuration, and all of it."""
    state = read_checkpoint(path)
    config = from_dict(state["config"])
    network = make_network(config, classes=len(state["classes"]))
    network.load_state_dict(state["network"])
    return network.eval(), config, state
