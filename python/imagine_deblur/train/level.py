"""Train the regressor that chooses the bank's ratio: from sharp scenes to `capture/nsr.npz`.

    train="python -m imagine_deblur.train.level"
    $train generate data/train levels.npz --count 2000
    $train fit level.npz levels.npz

The first command restores synthetic captures of the training's own recipe with a bundled network
at eight ratios each (about a second of one core a capture) and keeps the features of each capture
and its curve of PSNR; the second fits the correction that loses least of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from imagine_deblur.capture.nsr import GUESS, features
from imagine_deblur.capture.spectrum import mean_power
from imagine_deblur.evaluation.metrics.fidelity import psnr
from imagine_deblur.session import Session
from imagine_deblur.train.blind import joined
from imagine_deblur.train.recipe import change_scene, draw
from imagine_deblur.train.scenes import Scenes

Arrays = Mapping[str, NDArray[Any]]

EXPONENTS = np.arange(-3.5, 0.01, 0.5)
"""Logarithms (base 10) of the ratios that are tried."""
_STEP = 0.125  # of the interpolated curves
_MOST_LOSS = 3.0  # dB; captures at which the choice decides everything should not decide it all
_SHARP = 0.9  # MTF at Nyquist of blurs that are not undone
_SATELLITE_SHARE, _OPERATING_SHARE = 0.25, 0.4
_PSF_SHARES = (0.30, 0.15, 0.10, 0.08, 0.15, 0.20)  # as `recipe.PSF_SHARES`, the rare ones raised


def generate(
    folder: Path, count: int, *, seed: int, model: str = "fast", radius_error: float = 0.01
) -> dict[str, NDArray[Any]]:
    """Restore `count` captures at every ratio of `EXPONENTS`.

    Returns
    -------
    dict of ndarray
        ``features`` (n, F) and ``psnr`` (n, 8) dB; n is below `count` by the captures that are
        flat or all but sharp.
    """
    sessions = [
        Session(model=model, nsr=float(10.0**e), reblur_check=False, threads=1, max_ram="4GB")
        for e in EXPONENTS
    ]
    scenes = Scenes(folder, region=400, smallest=200)
    rows: list[tuple[NDArray[np.float64], list[float]]] = []
    for index in range(count):
        rng = np.random.default_rng((seed, index))
        piece, satellite = scenes.draw(rng, satellite_share=_SATELLITE_SHARE)
        operating = bool(rng.random() < (_OPERATING_SHARE if satellite else 0.05))
        sharp = change_scene(piece, rng, operating=operating)
        chosen = draw(
            rng,
            operating=operating,
            radius_error=radius_error,
            sigma_error=3 * radius_error,
            shares=_PSF_SHARES,
        )
        capture = chosen.capture(sharp, rng)
        power = mean_power([capture])
        if power is None or chosen.psf.mtf_nyquist() > _SHARP:
            continue
        believed = chosen.believed
        restored = (s.restore_with_report(capture, psf=believed)[0] for s in sessions)
        curve = [psnr(picture / 255.0, sharp) for picture in restored]
        rows.append((features(power, believed), curve))
        if len(rows) % 100 == 0:
            print(f"{index + 1} captures", flush=True)
    values, curves = zip(*rows, strict=True)
    return {"features": np.array(values, np.float32), "psnr": np.array(curves, np.float32)}


def losses(curves: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (n, K) dB below each capture's best, at steps of an eighth of a decade."""
    from scipy.interpolate import PchipInterpolator

    fine = np.arange(EXPONENTS[0], EXPONENTS[-1] + 0.01, _STEP)
    smooth = PchipInterpolator(EXPONENTS, curves, axis=1)(fine)
    lost = np.minimum(smooth.max(axis=1, keepdims=True) - smooth, _MOST_LOSS)
    return np.asarray(lost, np.float32)


def fit(
    data: Arrays,
    *,
    members: int = 4,
    hidden: int = 32,
    steps: int = 800,
    held: NDArray[np.bool_] | None = None,
) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32]]:
    """Fit the ensemble.

    Parameters
    ----------
    data : mapping
        From `generate`.
    members, hidden, steps : int
    held : (n,) bool ndarray, optional
        Captures to leave out of the fit.

    Returns
    -------
    arrays : dict of ndarray
        What `capture.nsr.bundled_regressor` reads.
    lost : (n,) float32 ndarray
        dB below each capture's best with the fitted choice, in quarters of a decade.
    """
    torch.set_num_threads(1)
    values = data["features"]
    guess = torch.from_numpy(values[:, GUESS])
    lost = torch.from_numpy(losses(data["psnr"]))
    used = torch.from_numpy(np.ones(len(values), bool) if held is None else ~held)
    mean, scale = values.mean(axis=0), values.std(axis=0) + np.float32(1e-3)
    x = torch.from_numpy((values - mean) / scale)
    best = EXPONENTS[0] + _STEP * lost.argmin(dim=1)

    def lost_at(exponent: torch.Tensor) -> torch.Tensor:
        inside = exponent.clamp(EXPONENTS[0], EXPONENTS[-1])
        place = ((inside - EXPONENTS[0]) / _STEP).clamp(max=lost.shape[1] - 1.001)
        low = place.floor().long()[:, None]
        share = place - low[:, 0]
        at = lost.gather(1, low)[:, 0] * (1 - share) + lost.gather(1, low + 1)[:, 0] * share
        return at + (exponent - inside).abs()

    nets = []
    for member in range(members):
        torch.manual_seed(member)
        net = nn.Sequential(
            nn.Linear(x.shape[1], hidden), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1),
        )  # fmt: skip
        optimiser = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=3e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
        for _ in range(steps):
            exponent = net(x + 0.05 * torch.randn_like(x))[:, 0] + guess
            near = functional.smooth_l1_loss(exponent[used], best[used].float())
            loss = lost_at(exponent)[used].mean() + 0.03 * near
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        nets.append(net.eval())
    with torch.no_grad():
        exponent = torch.stack([net(x)[:, 0] for net in nets]).mean(dim=0) + guess
        quarters = ((exponent * 4).round() / 4).clamp(EXPONENTS[0], EXPONENTS[-1])
        result = lost_at(quarters).numpy()
        dense = [[layer for layer in net if isinstance(layer, nn.Linear)] for net in nets]
        arrays: dict[str, NDArray[Any]] = {"mean": mean, "scale": scale}
        for k, same in enumerate(zip(*dense, strict=True)):
            arrays[f"w{k}"] = np.stack([layer.weight.T.numpy() for layer in same])
            arrays[f"b{k}"] = np.stack([layer.bias.numpy()[None] for layer in same])
    return arrays, result


def report(data: Arrays, steps: int, folds: int = 5) -> str:
    """Cross-validate and say what the correction is worth, in dB lost below the best ratio."""
    lost = losses(data["psnr"])
    place = np.rint((data["features"][:, GUESS] - EXPONENTS[0]) / _STEP).astype(int)
    first = lost[np.arange(len(lost)), place]
    corrected = np.empty_like(first)
    for fold in range(folds):
        held = np.arange(len(first)) % folds == fold
        corrected[held] = fit(data, steps=steps, held=held)[1][held]
    figures = [
        f"{name}: mean {values.mean():.3f}, p95 {np.percentile(values, 95):.2f}"
        for name, values in (("first guess", first), ("corrected", corrected))
    ]
    return f"{len(first)} captures, dB lost; {'; '.join(figures)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("generate", help="captures of sharp scenes, restored at each ratio")
    make.add_argument("scenes", type=Path, help="folder with aerial/ and satellite/")
    make.add_argument("output", type=Path)
    make.add_argument("--count", type=int, default=2000)
    make.add_argument("--seed", type=int, default=77)
    make.add_argument("--model", default="fast")
    learn = commands.add_parser("fit", help="cross-validate, then fit on everything")
    learn.add_argument("output", type=Path)
    learn.add_argument("--steps", type=int, default=800)
    learn.add_argument("sets", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    if options.command == "generate":
        made = generate(options.scenes, options.count, seed=options.seed, model=options.model)
        np.savez_compressed(options.output, **made)  # type: ignore[arg-type]
        return 0
    data = joined(options.sets)
    print(report(data, options.steps))
    np.savez_compressed(options.output, **fit(data, steps=options.steps)[0])  # type: ignore[arg-type]
    return 0


if __name__ == "__main__":
    sys.exit(main())
