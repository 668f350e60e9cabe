"""Fine-tuning our network with the adversarial and perceptual losses of the IMAGIN-e recipe.

The restoration loss stays. Added are the least-squares loss of the multi-scale discriminators,
their feature matching, and the distance of a frozen VGG's features
(`imagine_deblur.train.published`). The discriminators see the image beside the capture, both
without the margin that the restoration loss leaves out, and take one step before each of the
network's, in float32. Start from a trained network (``--initialise``): such a loss sharpens a
restoration, it does not find one.
"""

from __future__ import annotations

from typing import Any

import torch

from imagine_deblur.errors import OptionsError
from imagine_deblur.train.config import TrainConfig
from imagine_deblur.train.device import Device
from imagine_deblur.train.network import RGB
from imagine_deblur.train.published.discriminator import (
    MultiScaleDiscriminator,
    adversarial_loss,
    feature_loss,
)
from imagine_deblur.train.published.perceptual import PerceptualLoss, SceneVgg
from imagine_deblur.train.published.trainer import frozen
from imagine_deblur.train.trainer import Trainer

#: Parts of the loss that are logged, beside the restoration's.
PARTS = ("critic", "adversarial", "features", "perceptual")


class AdversarialTrainer(Trainer):
    """A `Trainer` with discriminators.

    Parameters
    ----------
    config : TrainConfig
        With `adversarial.weight` or `adversarial.perceptual` above 0.
    device : Device, optional
    vgg : SceneVgg, optional
        Trained; needed where `adversarial.perceptual` is above 0.

    Raises
    ------
    OptionsError
        The VGG is missing.
    """

    def __init__(
        self, config: TrainConfig, *, device: Device | None = None, vgg: SceneVgg | None = None
    ) -> None:
        super().__init__(config, device=device)
        wanted = config.adversarial
        if wanted.perceptual and vgg is None:
            raise OptionsError("perceptual", None, "the checkpoint of a trained VGG16")
        self.perceptual = None if vgg is None else PerceptualLoss(vgg).to(self.device.handle)
        self.discriminator = MultiScaleDiscriminator(
            2 * RGB, wanted.width, wanted.scales, attention=wanted.attention
        ).to(self.device.handle)
        self.critic = torch.optim.Adam(
            self.discriminator.parameters(), lr=wanted.learning_rate, betas=(0.5, 0.999)
        )
        self._parts: dict[str, float] = {}

    def objective(
        self, restored: torch.Tensor, truth: torch.Tensor, planes: torch.Tensor
    ) -> torch.Tensor:
        """The restoration loss plus what discriminators and VGG add; trains the former one step."""
        loss = super().objective(restored, truth, planes)
        wanted, margin = self.config.adversarial, self.config.optim.margin
        inner = (..., slice(margin, -margin or None), slice(margin, -margin or None))
        ours, sharp, capture = restored[inner], truth[inner], planes[:, :RGB][inner] + 0.5
        if self.perceptual is not None and wanted.perceptual:
            distance = self.perceptual(ours, sharp)
            self._parts["perceptual"] = float(distance.detach())
            loss = loss + wanted.perceptual * distance
        if wanted.weight:
            loss = loss + self._fooled(
                torch.cat([capture, ours], dim=1), torch.cat([capture, sharp], dim=1)
            )
        return loss

    def _fooled(self, ours: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Train the discriminators one step, then the network's loss from them."""
        wanted = self.config.adversarial
        self.discriminator.train()
        critic = 0.5 * (
            adversarial_loss(self.discriminator(real), real=True)
            + adversarial_loss(self.discriminator(ours.detach()), real=False)
        )
        self.critic.zero_grad(set_to_none=True)
        critic.backward()
        self.critic.step()
        with frozen(self.discriminator):
            answers = self.discriminator(ours)
            fooled = adversarial_loss(answers, real=True)
            self._parts |= {"critic": float(critic.detach()), "adversarial": float(fooled.detach())}
            loss = wanted.weight * fooled
            if wanted.features:
                with torch.no_grad():
                    features = self.discriminator(real)
                matched = feature_loss(answers, features)
                self._parts["features"] = float(matched.detach())
                loss = loss + wanted.features * matched
        return loss

    def train_step(
        self, inputs: torch.Tensor, target: torch.Tensor, traits: torch.Tensor | None = None
    ) -> dict[str, float]:
        """As `Trainer.train_step`, with the parts of the loss."""
        self._parts = {}
        return {**super().train_step(inputs, target, traits), **self._parts}

    def state(self) -> dict[str, Any]:
        """As `Trainer.state`, with the discriminators."""
        return {
            **super().state(),
            "discriminator": self.discriminator.state_dict(),
            "critic": self.critic.state_dict(),
        }

    def take(self, state: dict[str, Any]) -> None:
        """As `Trainer.take`, with the discriminators."""
        super().take(state)
        self.discriminator.load_state_dict(state["discriminator"])
        self.critic.load_state_dict(state["critic"])
