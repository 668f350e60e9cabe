"""A picture of an instrument's blur over time; needs matplotlib."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from imagine_deblur.archive.epochs import Drift, Epoch
from imagine_deblur.support.extras import require

_TO_90 = 1.645  # standard errors of a central interval of 90 %


def plot_drift(
    path: str | os.PathLike[str], epochs: Sequence[Epoch], drift: Drift | None = None
) -> None:
    """Draw the width of an instrument's PSF over time.

    Parameters
    ----------
    path : path
        PNG, PDF or SVG, by its ending.
    epochs : sequence of Epoch
        Of one instrument. Epochs without a time are left out.
    drift : Drift, optional
        The line through them.

    Raises
    ------
    ImportError
        Matplotlib is not installed; the message names the extra.
    """
    figure = require("matplotlib.figure", extra="plot", purpose="a plot of the drift").Figure(
        figsize=(9.0, 4.5), layout="constrained"
    )
    axes = figure.add_subplot()
    _captures(axes, epochs)
    known = [e for e in epochs if e.joint is not None and e.time is not None]
    if known:
        axes.errorbar(
            [e.time for e in known],
            [e.joint.width_px for e in known if e.joint is not None],
            yerr=[_TO_90 * e.joint.width_se for e in known if e.joint is not None],
            fmt="o",
            markersize=7,
            capsize=4,
            color="C0",
            label="epoch, 90 % interval",
        )
    title = epochs[0].instrument if epochs else ""
    if drift is not None:
        title += f": {drift.per_year:+.3f} ± {drift.standard_error:.3f} px a year"
    axes.set_title(title)
    axes.set_xlabel("time, UTC")
    axes.set_ylabel("rms width of the PSF, px")
    axes.set_ylim(bottom=0.0)
    axes.tick_params(axis="x", rotation=30)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    figure.savefig(os.fspath(path), dpi=130)


def _captures(axes: Any, epochs: Sequence[Epoch]) -> None:
    """Draw single captures: dots that were used, crosses that stand out."""
    for outlying, mark, colour, label in (
        (False, ".", "0.6", "one capture"),
        (True, "x", "C3", "outlier"),
    ):
        shown = [
            (c.time, c.estimate.width_px)
            for epoch in epochs
            for c in epoch.captures
            if c.time is not None and c.estimate is not None and bool(c.outlier) == outlying
        ]
        if shown:
            times, widths = zip(*shown, strict=True)
            axes.plot(times, widths, mark, color=colour, label=label, zorder=1)
