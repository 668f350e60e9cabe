"""The trainer of our own networks: weights, averaged weights, optimiser."""

from __future__ import annotations

import math
import os
from typing import Any, ClassVar

import torch
from torch import nn

from imagine_deblur.capture.ring_gain import TRAITS
from imagine_deblur.errors import OptionsError
from imagine_deblur.train import learner
from imagine_deblur.train.config import TrainConfig, from_dict
from imagine_deblur.train.device import Device
from imagine_deblur.train.learner import Learner
from imagine_deblur.train.losses import restoration_loss
from imagine_deblur.train.network import Mixture, Network, NetworkSpec, grow
from imagine_deblur.train.unet import UNet, UNetSpec

FORMAT = "imagine-deblur-checkpoint"

AnyNetwork = Network | Mixture | UNet


def network_spec(config: TrainConfig) -> NetworkSpec | UNetSpec:
    """The network that a configuration describes."""
    net = config.network
    plain = NetworkSpec(
        config.input_planes, net.width, net.pairs, net.unshuffle, net.reparam, net.experts
    )
    if net.shape == "unet":
        return UNetSpec(plain, net.unet_width, net.encoder, net.middle, net.attention)
    return plain


def make_network(spec: NetworkSpec | UNetSpec) -> AnyNetwork:
    """A network with random weights."""
    if isinstance(spec, UNetSpec):
        return UNet(spec)
    return Network(spec) if spec.experts == 1 else Mixture(spec, TRAITS)


def applied(
    network: nn.Module, planes: torch.Tensor, traits: torch.Tensor | None = None
) -> torch.Tensor:
    """What a network makes of (N, P, H, W) planes; a mixture adapts to the (N, T) traits."""
    if network.spec.experts == 1:
        return torch.as_tensor(network(planes))
    known = torch.zeros(len(planes), TRAITS) if traits is None else traits
    return torch.as_tensor(network(planes, known.to(planes.device)))


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


class Trainer(Learner):
    """State of a run: network, averaged network, optimiser, step.

    Parameters
    ----------
    config : TrainConfig
    device : Device, optional
        The CPU by default.
    """

    FORMAT: ClassVar[str] = FORMAT

    def __init__(self, config: TrainConfig, *, device: Device | None = None) -> None:
        super().__init__(device or Device("cpu"), config.optim.precision)
        torch.manual_seed(config.seed)
        self.config = config
        self.spec = network_spec(config)
        self.network: nn.Module = self.device.place(make_network(self.spec), self.precision)
        self.average = make_network(self.spec).to(self.device.handle)
        self.average.load_state_dict(self.network.state_dict())
        self.optimizer = torch.optim.AdamW(
            (weight for weight in self.network.parameters() if weight.requires_grad),
            lr=config.optim.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=config.optim.weight_decay,
            fused=True,
        )

    def start_from(self, trained: AnyNetwork) -> None:
        """Begin as the same function as a trained network, a smaller one's grown (`grow`).

        Each expert of a mixture begins as a plain network that was trained; a U-shape takes one as
        its trunk.

        Raises
        ------
        OptionsError
            The networks do not fit each other.
        """
        whole = [self.network, self.average]
        if isinstance(self.spec, UNetSpec) and trained.spec == self.spec.trunk:
            whole = [network.get_submodule("trunk") for network in whole]
        elif trained.spec != self.spec:
            trained = self._grown(trained)
        for network in whole:
            network.load_state_dict(trained.state_dict())

    def _grown(self, trained: AnyNetwork) -> AnyNetwork:
        spec, seed = self.spec, self.config.seed
        if isinstance(trained, UNet) or not isinstance(spec, NetworkSpec):
            raise OptionsError("initialise", trained.spec, f"a network like {spec}")
        if spec.experts == 1 and isinstance(trained, Network):
            return grow(trained, spec, seed=seed)
        if spec.experts == 1 or trained.spec.experts not in (1, spec.experts):
            raise OptionsError("initialise", trained.spec, f"a network like {spec}")
        result = Mixture(spec, TRAITS)
        experts = list(trained.experts) if isinstance(trained, Mixture) else [trained]
        for k, expert in enumerate(result.experts):
            expert.load_state_dict(grow(experts[k % len(experts)], spec, seed=seed).state_dict())
        if isinstance(trained, Mixture):
            result.router.load_state_dict(trained.router.state_dict())
        return result

    def train_step(
        self, inputs: torch.Tensor, target: torch.Tensor, traits: torch.Tensor | None = None
    ) -> dict[str, float]:
        """One optimiser step on a batch.

        Parameters
        ----------
        inputs : (B, P, n, n) float32 tensor
            Planes.
        target : (B, 3, n, n) float32 tensor
        traits : (B, T) float32 tensor, optional
            Of the crops' captures; zeros stand for a capture of which nothing is known.

        Returns
        -------
        dict
            ``loss``, ``gradient_norm`` before clipping, ``learning_rate``.
        """
        optim = self.config.optim
        rate = learning_rate(self.config, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        planes = self.device.send(inputs, self.precision)
        truth = target.to(self.device.handle)
        with self.device.autocast(self.precision):
            restored = applied(self.network, planes, traits)
        loss = self.objective(restored.float(), truth, planes)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), optim.clip_norm)
        parts = {"loss": float(loss.detach()), "gradient_norm": float(norm)}
        self.require_finite(parts)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return {**parts, "learning_rate": rate}

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
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.network.parameters()), 1.0 - decay
            )

    def state(self) -> dict[str, Any]:
        """See `Learner.state`."""
        return {
            "config": self.config.to_dict(),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def take(self, state: dict[str, Any]) -> None:
        """See `Learner.take`."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A checkpoint's content; OptionsError for a file that is none of ours."""
    return learner.read_checkpoint(path, FORMAT)


def load_network(
    path: str | os.PathLike[str],
) -> tuple[AnyNetwork, TrainConfig, dict[str, Any]]:
    """The averaged network of a checkpoint, its configuration, and the checkpoint."""
    state = read_checkpoint(path)
    config = from_dict(state["config"])
    network = make_network(network_spec(config))
    network.load_state_dict(state["average"])
    return network.eval(), config, state
