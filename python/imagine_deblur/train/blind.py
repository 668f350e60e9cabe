"""Train the blind PSF estimator: from sharp scenes to the weights that ship in the package.

Everything runs on one core::

    train="python -m imagine_deblur.train.blind"
    for seed in 3 4 5 6; do
        $train generate data/train train$seed.npz --groups 2000 --seed $seed
    done
    for seed in 21 22 23 24 25 26 27 28; do
        $train generate data/train pair$seed.npz --groups 3000 --size 2 --seed $seed
    done
    $train generate data/val val11.npz --groups 300 --size 4 --seed 11
    $train generate data/val val12.npz --groups 300 --size 4 --seed 12
    $train fit weights.npz --train train?.npz pair*.npz --calibrate val11.npz val12.npz

These are the commands that made the weights in the package: an hour and a half on one core. Many
groups matter more than large ones: with a quarter of them the loss on validation scenes rose again
after 3,000 steps.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from imagine_deblur.psf.estimation import directions
from imagine_deblur.psf.estimation import network as net
from imagine_deblur.psf.estimation.spectrum import BINS, FREQUENCY, SECTOR_BINS
from imagine_deblur.train import blind_calibration as calibration
from imagine_deblur.train.blind_data import generate

Arrays = Mapping[str, npt.NDArray[Any]]

CHANNELS = (48, 64, 96, 32)
HIDDEN = 192


class Regressor(nn.Module):  # type: ignore[misc]
    """One member; layer names are those of `imagine_deblur.psf.estimation.network.Ensemble`."""

    def __init__(self, dropout: float = 0.25) -> None:
        super().__init__()
        a, b, c, d = CHANNELS
        self.c1 = nn.Conv1d(net.CHANNELS, a, 7, padding=3)
        self.c2 = nn.Conv1d(a, b, 5, stride=2, padding=2)
        self.c3 = nn.Conv1d(b, c, 5, stride=2, padding=2)
        self.c4 = nn.Conv1d(c, d, 1)
        self.f1 = nn.Linear(d * (BINS // 4) + net.SCALARS, HIDDEN)
        self.f2 = nn.Linear(HIDDEN, HIDDEN)
        self.out = nn.Linear(HIDDEN, sum(net.HEADS.values()))
        self.dropout = nn.Dropout(dropout)

    def hidden(self, curves: Tensor, scalars: Tensor) -> Tensor:
        """What the last layer sees, (n, HIDDEN)."""
        x = curves
        for layer in (self.c1, self.c2, self.c3, self.c4):
            x = functional.relu(layer(x))
        x = torch.cat([x.flatten(1), scalars], dim=1)
        x = self.dropout(functional.relu(self.f1(x)))
        return functional.relu(self.f2(x))

    def forward(self, curves: Tensor, scalars: Tensor) -> dict[str, Tensor]:
        x = self.out(self.hidden(curves, scalars))
        return dict(zip(net.HEADS, x.split(list(net.HEADS.values()), dim=1), strict=True))


def features(
    curves: npt.NDArray[np.float32],
    sectors: npt.NDArray[np.float32],
    blocks: npt.NDArray[np.float32],
    tables: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """`network.inputs` for a batch: (n, 4, 128), (n, 8, 64), (n,), (n, 4) in."""
    second = np.einsum("k,nkf->nf", np.exp(2j * directions._ANGLE), sectors) * (2 / 8)
    total = (second * directions._WEIGHT).sum(1)
    unit = total / np.maximum(np.abs(total), 1e-9)
    turned = (second * np.conj(unit)[:, None]).real
    extra = np.repeat(np.stack([np.abs(second), turned], axis=1), BINS // SECTOR_BINS, axis=2)
    x = np.concatenate([curves, extra], axis=1).astype(np.float32)
    means = x.mean(axis=2)
    scalars = np.concatenate([means, np.log(blocks)[:, None], tables], axis=1)
    return x - means[:, :, None], scalars.astype(np.float32)


def augment(
    curves: npt.NDArray[np.float32], members: npt.NDArray[np.int_], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Other scene laws: smooth bends where the scene stands above the floor, and estimation noise.

    curves : (n, 4, 128), from a mean over `members` (n,) captures each.
    """
    n = len(curves)
    floor = curves[:, 2, 70:96].mean(axis=1)[:, None, None]
    above = 1 / (1 + np.exp(-(curves - floor - 1.0)))
    octave = np.log(FREQUENCY / 0.1)
    bend = rng.normal(0, 0.25, (n, 1)) * octave + rng.normal(0, 0.1, (n, 1)) * octave**2
    wave = np.cos(octave * rng.uniform(1, 3, (n, 1)) + rng.uniform(0, 2 * np.pi, (n, 1)))
    bend += rng.normal(0, 0.1, (n, 1)) * wave
    ripple = rng.normal(0, 1, curves.shape) * (0.04 / np.sqrt(members))[:, None, None]
    level = rng.normal(0, 0.1, (n, 1, 1))
    return np.asarray(curves + bend[:, None, :] * above + ripple + level, dtype=np.float32)


def batch(
    data: Arrays, rng: np.random.Generator, size: int, *, augmented: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Features and truth of randomly pooled captures of random groups."""
    count = data["curves"].shape[1]
    group = rng.integers(len(data["truth"]), size=size)
    blocks = data["blocks"][group]
    members = np.minimum(rng.choice([1, 1, 1, 2, 3, count], size=size), (blocks > 0).sum(1))
    order = np.where(blocks > 0, rng.random((size, count)), 1.0).argsort(axis=1).argsort(axis=1)
    weight = blocks * (order < members[:, None])
    share = (weight / weight.sum(1, keepdims=True))[:, :, None, None]
    curves = (data["curves"][group] * share).sum(1)
    sectors = (data["sectors"][group] * share).sum(1)
    if augmented:
        curves = augment(curves, members, rng)
    tables = data["tables"][group].copy()
    tables[rng.random(size) < 0.3] = 0
    x, scalars = features(curves, sectors, weight.sum(1), tables)
    truth = data["truth"][group].astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy(scalars), torch.from_numpy(truth)


def _soft(position: Tensor, bins: int, width: float = 0.8) -> Tensor:
    """Histogram targets: a Gaussian of `width` bins around a fractional bin."""
    distance = torch.arange(bins)[None, :] - position[:, None]
    target = torch.exp(-0.5 * (distance / width) ** 2)
    return target / target.sum(1, keepdim=True)


def _histogram_loss(logits: Tensor, target: Tensor, order_weight: float) -> Tensor:
    """Cross-entropy, and the squared distance of the cumulative distributions."""
    cross = -(target * functional.log_softmax(logits, 1)).sum(1)
    apart = (functional.softmax(logits, 1).cumsum(1) - target.cumsum(1)).square().sum(1)
    return cross + order_weight * apart


def _normal_loss(output: Tensor, target: Tensor, centre: float) -> Tensor:
    log_variance = output[:, 1].clamp(-6, 3)
    error = target - output[:, 0] - centre
    return 0.5 * (log_variance + error.square() * torch.exp(-log_variance))


def loss(heads: Mapping[str, Tensor], truth: Tensor) -> Tensor:
    """Sum of the heads' negative log-likelihoods; each counts where its number exists."""
    radius, sigma, truncated, noise, _, length, _, other = truth.T
    is_round, disk = 1 - other, (radius > 0).float()
    target = _soft(torch.log1p(radius) / net.RADIUS_LOG_STEP, net.RADIUS_BINS)
    total = is_round * _histogram_loss(heads["radius"], target, 0.3)
    target = _soft(sigma / net.SIGMA_GRID[1], net.SIGMA_BINS)
    chosen = torch.where((disk > 0)[:, None], heads["sigma_with_disk"], heads["sigma_alone"])
    total = total + 0.7 * is_round * _histogram_loss(chosen, target, 0.15)
    cut = functional.binary_cross_entropy_with_logits(
        heads["truncated"][:, 0], truncated, reduction="none"
    )
    total = total + 0.3 * is_round * (1 - disk) * cut
    sensor = (noise >= 0).float()
    log_noise = torch.log(noise.clamp(min=0) + net.NOISE_OFFSET)
    total = total + 0.3 * sensor * _normal_loss(
        heads["log_noise"], log_noise, net.CENTRES["log_noise"]
    )
    width = torch.log(torch.sqrt(radius**2 / 4 + sigma**2) + net.WIDTH_OFFSET_PX)
    total = total + 0.5 * is_round * _normal_loss(
        heads["log_width"], width, net.CENTRES["log_width"]
    )
    moved = (length > 0).float()
    total = total + 0.5 * moved * _normal_loss(
        heads["log_length"], torch.log(length.clamp(min=1)), net.CENTRES["log_length"]
    )
    family = torch.where(other > 0, torch.where(length > 0, 1, 2), 0)
    total = total + 0.5 * functional.cross_entropy(heads["family"], family, reduction="none")
    return total.mean()


def train_member(
    data: Arrays, norm: Sequence[Tensor], steps: int, seed: int, size: int = 128
) -> Regressor:
    """Train one member; `norm` holds mean and scale of curves and scalars."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Regressor()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 2e-3, total_steps=steps, pct_start=0.1
    )
    start, running = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        x, scalars, truth = batch(data, rng, size)
        heads = model((x - norm[0]) / norm[1], (scalars - norm[2]) / norm[3])
        value = loss(heads, truth)
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        running += 0.01 * (value.item() - running)
        if step % max(1, steps // 10) == 0:
            mean = running / (1 - 0.99**step)
            seconds = time.monotonic() - start
            print(f"member {seed} step {step} loss {mean:.3f} {seconds:.0f} s", flush=True)
    model.eval()
    return model


def refit_noise(
    model: Regressor, data: Arrays, norm: Sequence[Tensor], *, batches: int = 40, size: int = 512
) -> None:
    """Fit the noise head anew by least squares on captures that are noisy at all.

    The likelihood's mean leans towards the noiseless captures, a fifth of the prior, wherever JPEG
    hides the noise: it came out at half the truth. No sensor is noiseless; what is wanted is the
    amplitude given that there is noise, at least `blind_calibration.LEAST_NOISE`.
    """
    rng = np.random.default_rng(0)
    hidden, target = [], []
    with torch.no_grad():
        for _ in range(batches):
            x, scalars, truth = batch(data, rng, size, augmented=False)
            noisy = truth[:, 3] >= calibration.LEAST_NOISE
            x, scalars = x[noisy], scalars[noisy]
            hidden.append(
                model.hidden((x - norm[0]) / norm[1], (scalars - norm[2]) / norm[3]).double()
            )
            target.append(torch.log(truth[noisy, 3] + net.NOISE_OFFSET).double())
        design = torch.cat(hidden)
        design = torch.cat([design, torch.ones(len(design), 1, dtype=torch.float64)], dim=1)
        wanted = torch.cat(target) - net.CENTRES["log_noise"]
        ridge = 10.0 * torch.eye(design.shape[1], dtype=torch.float64)
        solution = torch.linalg.solve(design.T @ design + ridge, design.T @ wanted)
        residual = (design @ solution - wanted).square().mean().log()
        names = list(net.HEADS)
        row = sum(net.HEADS[name] for name in names[: names.index("log_noise")])
        model.out.weight[row] = solution[:-1].float()
        model.out.bias[row] = solution[-1].float()
        model.out.weight[row + 1] = 0.0
        model.out.bias[row + 1] = residual.float()


def pack(
    states: Sequence[Mapping[str, Tensor]], norm: Sequence[Tensor]
) -> dict[str, npt.NDArray[Any]]:
    """The ensemble's arrays, uncalibrated; weights in half precision."""
    names = ("curve_mean", "curve_scale", "scalar_mean", "scalar_scale")
    arrays: dict[str, npt.NDArray[Any]] = {
        name: value.numpy() for name, value in zip(names, norm, strict=True)
    }
    arrays["members"] = np.array(len(states), dtype=np.int32)
    for i, state in enumerate(states):
        for name, value in state.items():
            arrays[f"m{i}.{name}"] = value.numpy().astype(np.float16)
    return arrays | calibration.neutral()


def _train_from_files(
    paths: Sequence[Path], norm: Sequence[Tensor], steps: int, seed: int
) -> dict[str, Tensor]:
    torch.set_num_threads(1)
    data = joined(paths)
    model = train_member(data, norm, steps, seed)
    refit_noise(model, data, norm)
    return dict(model.state_dict())


def fit(
    paths: Sequence[Path], steps: int, members: int, *, jobs: int = 1
) -> dict[str, npt.NDArray[Any]]:
    """Train an ensemble on generated sets.

    Parameters
    ----------
    paths : sequence of Path
        Written by the command "generate".
    steps, members : int
        Batches of 128 for each member, and the number of members.
    jobs : int
        Processes; one thread each. The result does not depend on it.

    Returns
    -------
    dict of ndarray
        The arrays of `network.Ensemble`, uncalibrated.
    """
    torch.set_num_threads(1)
    x, scalars, _ = batch(joined(paths), np.random.default_rng(0), 4000)
    norm = (x.mean(0), x.std(0) + 0.05, scalars.mean(0), scalars.std(0) + 0.05)
    if jobs == 1:
        states = [_train_from_files(paths, norm, steps, seed) for seed in range(members)]
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            tasks = [
                pool.submit(_train_from_files, paths, norm, steps, seed) for seed in range(members)
            ]
            states = [task.result() for task in tasks]
    return pack(states, norm)


def joined(paths: Sequence[Path]) -> dict[str, npt.NDArray[Any]]:
    """Generated sets as one; captures that smaller groups lack have no blocks."""
    stored = [dict(np.load(path)) for path in paths]
    size = max(part["blocks"].shape[1] for part in stored)
    for part in stored:
        for name in ("curves", "sectors", "blocks"):
            lacking = [(0, 0)] * part[name].ndim
            lacking[1] = (0, size - part[name].shape[1])
            part[name] = np.pad(part[name], lacking)
    return {name: np.concatenate([part[name] for part in stored]) for name in stored[0]}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("generate", help="captures of sharp scenes, reduced to curves")
    make.add_argument("scenes", type=Path, help="folder with aerial/ and satellite/")
    make.add_argument("output", type=Path)
    make.add_argument("--groups", type=int, default=2500)
    make.add_argument("--size", type=int, default=6, help="captures in a group")
    make.add_argument("--seed", type=int, default=3)
    learn = commands.add_parser("fit", help="train and calibrate")
    learn.add_argument("output", type=Path)
    for name, scenes in (("--train", "training"), ("--calibrate", "validation")):
        learn.add_argument(
            name, type=Path, nargs="+", required=True, help=f"generated from the {scenes} scenes"
        )
    learn.add_argument("--steps", type=int, default=14000)
    learn.add_argument("--members", type=int, default=2)
    learn.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args(arguments)
    if options.command == "generate":
        listed = sorted(p for p in options.scenes.glob("*/*") if p.is_file())
        start = time.monotonic()

        def progress(done: int) -> None:
            if done % 100 == 0:
                print(f"{done} groups, {time.monotonic() - start:.0f} s", flush=True)

        made = generate(listed, options.groups, options.size, options.seed, progress=progress)
        np.savez(options.output, **made)  # type: ignore[arg-type]
        return 0
    arrays = fit(options.train, options.steps, options.members, jobs=options.jobs)
    arrays = calibration.calibrate(arrays, joined(options.calibrate))
    np.savez_compressed(options.output, **arrays)  # type: ignore[arg-type]
    return 0


if __name__ == "__main__":
    sys.exit(main())
