"""Fine-tuning our network with the adversarial and perceptual losses of the IMAGIN-e recipe.

The restoration loss stays. Added are the least-squares loss of the multi-scale discriminators,
their feature matching, and the distance of a frozen VGG's features
(`imagine_deblur.train.published`). The discriminators see the image beside the capture, both
without the margin that the restoration loss leaves out, and take one step before each of the
network's, in float32. Start from a trained network (``--initialise``): such a loss sharpens a
restoration, it does not find one.
"""

from __future__ import annotations

import os
from typing import Any

import torch

from imagine_deblur.errors import OptionsError
from imagine_deblur.train.config import TrainConfig
from imagine_deblur.train.loop import Trainer
from imagine_deblur.train.network import RGB
from imagine_deblur.train.published.discriminator import (
    MultiScaleDiscriminator,
    adversarial_loss,
    feature_loss,
)
from imagine_deblur.train.published.perceptual import PerceptualLoss, SceneVgg
from imagine_deblur.train.published.trainer import frozen


class AdversarialTrainer(Trainer):
    """A `Trainer` with discriminators.

    Parameters
    ----------
    config : TrainConfig
        With `adversarial.weight` or `adversarial.perceptual` above 0.
    device : str
        ``"cpu"`` or ``"cuda"``.
    vgg : SceneVgg, optional
        Trained; needed where `adversarial.perceptual` is above 0.

    Attributes
    ----------
    parts : dict of str to float
        Of the last step: ``critic``, ``adversarial``, ``features``, ``perceptual``.

    Raises
    ------
    OptionsError
        The VGG is missing.
    """

    def __init__(
        self, config: TrainConfig, *, device: str = "cpu", vgg: SceneVgg | None = None
    ) -> None:
        super().__init__(config, device=device)
        wanted = config.adversarial
        if wanted.perceptual and vgg is None:
            raise OptionsError("perceptual", None, "the checkpoint of a trained VGG16")
        self.perceptual = None if vgg is None else PerceptualLoss(vgg).to(self.device)
        self.discriminator = MultiScaleDiscriminator(
            2 * RGB, wanted.width, wanted.scales, attention=wanted.attention
        ).to(self.device)
        self.critic = torch.optim.Adam(
            self.discriminator.parameters(), lr=wanted.learning_rate, betas=(0.5, 0.999)
        )
        self.parts: dict[str, float] = {}

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
            self.parts["perceptual"] = float(distance.detach())
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
            self.parts |= {"critic": float(critic.detach()), "adversarial": float(fooled.detach())}
            loss = wanted.weight * fooled
            if wanted.features:
                with torch.no_grad():
                    features = self.discriminator(real)
                matched = feature_loss(answers, features)
                self.parts["features"] = float(matched.detach())
                loss = loss + wanted.features * matched
        return loss

    def save(self, path: str | os.PathLike[str], **extra: Any) -> None:
        """As `Trainer.save`, with the discriminators."""
        super().save(
            path,
            discriminator=self.discriminator.state_dict(),
            critic=self.critic.state_dict(),
            **extra,
        )

    def load(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """As `Trainer.load`, with the discriminators."""
        state = super().load(path)
        self.discriminator.load_state_dict(state["discriminator"])
        self.critic.load_state_dict(state["critic"])
        return state
