"""Train the regressor of the ring gains: from sharp scenes to `capture/ring_gain.npz`.

    python -m imagine_deblur.train.ring_gain_data data/train examples --count 8000
    python -m imagine_deblur.train.ring_gain examples ring_gain.npz

The loss is the mean over captures of the logarithm of the restoration's squared error, that is, of
minus the gain in dB. A capture's error is exact for its gains: ``sum G^2 |Y|^2 - 2 G Re(X Y*) +
|X|^2`` over frequency (Parseval).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from imagine_deblur.capture.ring_gain import (
    LOCAL,
    NU_RANGE,
    PLANES,
    SCALARS,
    TO_ENTRIES,
    interpolation,
    local_inputs,
)
from imagine_deblur.capture.ring_spectra import RINGS, ROUNDING
from imagine_deblur.train.ring_gain_data import BELIEFS

Arrays = Mapping[str, NDArray[Any]]

PLANE_WEIGHTS = (3.0, 1.26, 1.04)
"""Squared errors of luma and of both colour differences in that of red, green and blue together,
without the products of two planes."""

BELIEF_SHARES = (0.22, 0.13, 0.4, 0.25)
"""How often each of `BELIEFS` is shown."""

EXPECTATION_WEIGHT = 0.05
"""Of the squared error of the expected error's logarithm: it shall not shape the gains."""

CONTEXT, CHANNELS = 32, 48


class RingNetwork(nn.Module):
    """Context from everything, then a convolution over rings that is shared by all rings."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Linear(LOCAL * RINGS + SCALARS, 96)
        self.c2 = nn.Linear(96, CONTEXT)
        self.r1 = nn.Conv1d(LOCAL + CONTEXT, CHANNELS, 5, padding=2)
        self.r2 = nn.Conv1d(CHANNELS, CHANNELS, 5, padding=2)
        self.r3 = nn.Conv1d(CHANNELS, 3 * PLANES + 1, 3, padding=1)
        nn.init.zeros_(self.r3.weight)
        with torch.no_grad():
            assert self.r3.bias is not None
            self.r3.bias.zero_()
            self.r3.bias[PLANES : 2 * PLANES] = -3.0

    def forward(self, local: torch.Tensor, scalars: torch.Tensor) -> torch.Tensor:
        """(B, LOCAL, RINGS) and (B, SCALARS) to (B, 3 * PLANES + 1, RINGS)."""
        context = torch.relu(self.c1(torch.cat([local.flatten(1), scalars], 1)))
        context = torch.relu(self.c2(context))
        spread = context[:, :, None].expand(-1, -1, RINGS)
        hidden = torch.relu(self.r1(torch.cat([local, spread], 1)))
        hidden = hidden + torch.relu(self.r2(hidden))
        return torch.as_tensor(self.r3(hidden))


class Examples:
    """Examples in memory, ready for the network.

    Parameters
    ----------
    data : mapping of str to ndarray
        From `imagine_deblur.train.ring_gain_data`.
    directed : bool
        Take those whose PSF depends on direction, or the others.
    """

    def __init__(self, data: Arrays, *, directed: bool) -> None:
        chosen = np.asarray(data["directed"], bool) == directed
        self.directed = directed
        self.index = np.flatnonzero(chosen)
        self.count = self.index.size
        self.given = np.asarray(data["known"], bool)[chosen]
        self.mode, self.kind = data["mode"][chosen], data["kind"][chosen]
        mean, deviation = data["moments"][chosen, :, 0], data["moments"][chosen, :, 1]
        second = mean**2 + deviation**2
        weights = interpolation(data["frequency"][chosen]) if directed else None
        to_rings = None
        if weights is not None:
            to_rings = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-6)
        spectra = data["spectra"][chosen]
        local = [
            local_inputs(spectra, mean[:, k], second[:, k], to_rings) for k in range(len(BELIEFS))
        ]
        self.local = torch.from_numpy(np.stack(local, axis=1))
        self.mean, self.second = torch.from_numpy(mean), torch.from_numpy(second)
        self.weights = torch.from_numpy(TO_ENTRIES if weights is None else weights)
        facts = data["scalars"][chosen]
        nothing = np.zeros_like(facts[:, 0])
        self.facts = torch.from_numpy(np.stack([nothing, nothing, facts[:, 0], facts[:, 1]], 1))
        self.table = torch.from_numpy(data["table"][chosen] / np.array([1, 4, 4, 4], np.float32))
        self.average = torch.from_numpy(data["average"][chosen].astype(np.float32))
        sums = data["sums"][chosen]
        colour = np.tensordot(np.array(PLANE_WEIGHTS[1:], np.float32), sums[:, 1:], ((0,), (1,)))
        luma = np.float32(PLANE_WEIGHTS[0]) * sums[:, 0]
        self.sums = torch.from_numpy(np.stack([luma, colour], axis=1).astype(np.float32))
        self.before = squared_error(torch.ones(1), self.sums)

    def judge(
        self, network: nn.Module, index: NDArray[Any], belief: NDArray[Any], known: NDArray[Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Squared error over the capture's own, and how far off the expected error is.

        `belief` is the place in `BELIEFS` of each, `known` whether the JPEG's table is known.
        """
        at, of = torch.from_numpy(index), torch.from_numpy(belief)
        table = self.table[at] * torch.from_numpy(known)[:, None]
        flags = torch.stack([torch.full((index.size,), float(self.directed)), (of >= 2).float()], 1)
        scalars = torch.cat([table, self.facts[at, of], self.average[at], flags], 1)
        output = network(self.local[at, of], scalars)
        weights = self.weights if self.weights.ndim == 2 else self.weights[at]
        fine = output[:, : 3 * PLANES] @ weights.mT
        alpha, nu, delta = fine[:, :PLANES], fine[:, PLANES : 2 * PLANES], fine[:, 2 * PLANES :]
        wiener = self.mean[at, of][:, None] / (
            self.second[at, of][:, None] + torch.exp(nu.clamp(*NU_RANGE))
        )
        gain = (1 + alpha) * wiener + (0 if self.directed else delta)
        sums = self.sums[at]
        ratio = (squared_error(gain, sums) + ROUNDING) / (self.before[at] + ROUNDING)
        luma, power = _luma_error(gain, sums).detach().clamp_min(0), sums[:, 0, 0]
        shares = [(v[:, None] @ weights).squeeze(1) + 1e-4 * ROUNDING for v in (luma, power)]
        wanted = torch.log10(shares[0] / shares[1])
        return ratio, ((output[:, 3 * PLANES] - wanted) ** 2).mean()


def _luma_error(gain: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
    """(B, ENTRIES) squared error of luma."""
    own = gain[:, 0]
    return own**2 * sums[:, 0, 0] - 2 * own * sums[:, 0, 1] + sums[:, 0, 2]


def squared_error(gain: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
    """(B,) squared error a pixel, from gains (B, PLANES, ENTRIES) and sums (B, PLANES, 3, .)."""
    error = gain**2 * sums[:, :, 0] - 2 * gain * sums[:, :, 1] + sums[:, :, 2]
    return error.sum(dim=(1, 2))


def load(folder: Path) -> dict[str, NDArray[Any]]:
    """All examples of a folder."""
    parts = [
        dict(np.load(p)) for p in sorted(folder.glob("part-*.npz")) if "part.npz" not in p.name
    ]
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def evaluate(network: nn.Module, examples: Examples, belief: str) -> NDArray[np.float64]:
    """Gain in dB on each example with the PSF known as `belief` says."""
    everything = np.arange(examples.count)
    places = np.full(examples.count, BELIEFS.index(belief))
    with torch.no_grad():
        known = np.full(examples.count, belief != "array")
        ratio, _ = examples.judge(network, everything, places, known)
    return np.asarray(-10 * torch.log10(ratio.double()).numpy())


def best_radial(examples: Examples) -> NDArray[np.float64]:
    """Gain in dB with the best gain at every entry: what no such filter can pass."""
    gain = examples.sums[:, :, 1] / examples.sums[:, :, 0].clamp_min(1e-14)
    ratio = (squared_error(gain, examples.sums) + ROUNDING) / (examples.before + ROUNDING)
    return np.asarray(-10 * torch.log10(ratio.double()).numpy())


def train(
    data: Arrays,
    *,
    steps: int,
    batch: int = 128,
    seed: int = 0,
    rate: float = 3e-3,
    begin: Mapping[str, torch.Tensor] | None = None,
    watch: Callable[[int, nn.Module], None] | None = None,
) -> RingNetwork:
    """Fit one member; its weights are averaged over the last steps.

    Parameters
    ----------
    data : mapping
        From `load`.
    steps, batch, seed, rate
        Of AdamW with one cycle of the learning rate.
    begin : mapping, optional
        Weights to go on from, as `RingNetwork.state_dict` gives them.
    watch : callable, optional
        Called every 500 steps with the step and the network.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = RingNetwork()
    if begin is not None:
        network.load_state_dict(begin)
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    )
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    sets = [Examples(data, directed=False), Examples(data, directed=True)]
    for step in range(steps):
        examples = sets[1] if step % 8 == 7 and sets[1].count > 8 else sets[0]
        size = batch if not examples.directed else batch // 2
        index = rng.integers(examples.count, size=size)
        belief = rng.choice(len(BELIEFS), size=size, p=BELIEF_SHARES)
        if examples.directed:  # its sums are those of one belief
            belief = np.where(examples.given[index], belief % 2, 2 + belief % 2)
        known = np.where(belief == 3, False, np.where(belief == 2, True, rng.random(size) < 0.5))
        ratio, off = examples.judge(network, index, belief, known)
        # Harm counts more than gain: the mean of logarithms alone would hide the rare one.
        gained = torch.log(ratio.clamp_min(1e-6))
        loss = (gained + 0.5 * gained.clamp_min(0)).mean() + 0.1 * ratio.clamp_max(20).mean()
        loss = loss + EXPECTATION_WEIGHT * off
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        plan.step()
        average.update_parameters(network)
        if watch is not None and (step + 1) % 500 == 0:
            watch(step + 1, average.module)
    network.load_state_dict(average.module.state_dict())
    return network


def table(examples: Examples, found: Mapping[str, NDArray[Any]]) -> str:
    """Mean and least gain by mode and scene set."""
    lines = ["mode kind n " + " ".join(found)]
    for mode in sorted(set(examples.mode)):
        for kind in ("aerial", "satellite", "iss"):
            chosen = (examples.mode == mode) & (examples.kind == kind)
            if chosen.any():
                cells = [f"{v[chosen].mean():+.2f}/{v[chosen].min():+.2f}" for v in found.values()]
                lines.append(f"{mode:11s} {kind:9s} {int(chosen.sum()):3d} " + "  ".join(cells))
    return "\n".join(lines)


def _member(path: Path, member: int) -> dict[str, torch.Tensor]:
    """Weights of a member that were saved."""
    prefix = f"m{member}."
    with np.load(path) as stored:
        return {
            name.removeprefix(prefix): torch.from_numpy(stored[name].astype(np.float32))
            for name in stored.files
            if name.startswith(prefix)
        }


def main(arguments: list[str] | None = None) -> int:
    """Fit the members and save them in half precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("examples", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--validation", type=Path, help="examples of other scenes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=3e-3, help="highest learning rate")
    parser.add_argument("--initialise", type=Path, help="weights to go on from")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = load(options.examples)
    print(len(data["mode"]), "examples", flush=True)
    held = (
        []
        if options.validation is None
        else [Examples(load(options.validation), directed=flag) for flag in (False, True)]
    )

    def watch(step: int, network: nn.Module) -> None:
        for examples in held:
            shown = {b: round(float(evaluate(network, examples, b).mean()), 3) for b in BELIEFS}
            print(step, shown, flush=True)

    arrays: dict[str, NDArray[np.float16]] = {}
    for member in range(options.members):
        network = train(
            data,
            steps=options.steps,
            seed=options.seed + member,
            rate=options.rate,
            begin=None if options.initialise is None else _member(options.initialise, member),
            watch=watch,
        )
        for name, value in network.state_dict().items():
            arrays[f"m{member}.{name}"] = value.numpy().astype(np.float16)
        with options.output.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        for examples in held:
            found = {"best": best_radial(examples)}
            found |= {b: evaluate(network, examples, b) for b in BELIEFS}
            print(table(examples, found))
            print({k: round(float(v.mean()), 3) for k, v in found.items()}, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
