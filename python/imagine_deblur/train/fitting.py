"""Fitting a training's schedule to a budget, and its batch to the device."""

from __future__ import annotations

import dataclasses
import os

from imagine_deblur.train.device import Device, find_batch
from imagine_deblur.train.kinds import Kind

#: Steps per phase that are timed, after one that is not.
TIMED = 2

#: Share of a budget that is planned for steps; the rest is for what is slower than when timed.
PLANNED = 0.97


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A schedule for a device and a budget.

    Attributes
    ----------
    factor : float
        By which the numbers of crops are multiplied.
    batch : int
        Crops per step; 0: as configured.
    seconds_per_crop : float
        Of the device's clock, mean over the schedule; 0 where nothing was timed.
    """

    factor: float
    batch: int
    seconds_per_crop: float


def fit(
    kind: Kind,
    data: str | os.PathLike[str],
    device: Device,
    *,
    perceptual: str | os.PathLike[str] | None = None,
    hours: float = 0.0,
    find: bool = False,
) -> Fitted:
    """Time a few steps of each phase on the device; nothing is kept of them.

    Parameters
    ----------
    kind : Kind
    data : path
    device : Device
    perceptual : path, optional
        Checkpoint of the VGG16.
    hours : float
        Budget of the device's clock; 0: the schedule stays.
    find : bool
        Look for the batch that makes crops fastest; that of the costliest phase counts.
    """
    timer = kind.timer(data, device, perceptual)
    batch = 0
    if find:
        index = max(range(kind.phases), key=lambda k: kind.crop_pixels(k))
        batch = find_batch(lambda size: timer.seconds(index, size, TIMED), kind.batch(index))
    spent = crops = 0.0
    for index in range(kind.phases):
        size = batch or kind.batch(index)
        each = timer.seconds(index, size, TIMED) / size
        spent += each * kind.crops(index)
        crops += kind.crops(index)
    factor = hours * 3600 * PLANNED / spent if hours else 1.0
    return Fitted(factor, batch, spent / crops)
