"""What became of trainings: a table of the jobs, and their learning curves as CSV and picture."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from imagine_deblur.train.loop import read_curve

THIRDS = 3


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where a job stands.

    Attributes
    ----------
    name : str
    state : str
        How it ended, ``"running"`` once begun, else ``"waiting"``.
    step, steps : int
        Taken, and of the whole schedule (0 before it is known).
    used_hours, hours : float
        Of the device's clock: spent, and the budget (0: none).
    share : float
        Seconds of the device's clock per second that passed; 1 before the first step.
    thirds : tuple of float
        Mean validation PSNR in dB at each third of what was spent so far, NaN where none was
        measured by then.
    """

    name: str
    state: str
    step: int
    steps: int
    used_hours: float
    hours: float
    share: float
    thirds: tuple[float, ...]

    @property
    def hours_left(self) -> float:
        """Hours that will pass until it is done, NaN where that cannot be told yet."""
        if self.state not in ("running", "waiting", "stopped"):
            return 0.0
        if self.step and self.steps:
            left = self.used_hours / self.step * (self.steps - self.step)
        elif self.hours:
            left = self.hours - self.used_hours
        else:
            return float("nan")
        return left / self.share

    def line(self, wait: float) -> str:
        """One line for people; `wait` are the hours until it is done, earlier jobs included."""
        parts = [f"{self.name:<20} {self.state:<8} step {self.step}/{self.steps or '?'}"]
        parts.append(f"{self.used_hours:.2f} of {self.hours:g} h" if self.hours else
                     f"{self.used_hours:.2f} h")  # fmt: skip
        if self.thirds and self.thirds[-1] == self.thirds[-1]:
            parts.append("dB " + " ".join(f"{value:.2f}" for value in self.thirds))
        if self.hours_left:
            parts.append(f"done in {wait:.1f} h" if wait == wait else "done: not known yet")
        return "  ".join(parts)


def standing(folder: Path, name: str, *, hours: float, steps: int, ended: str) -> Standing:
    """Read a run's tables."""
    # A job that goes on from an exported file may be validated before its first step here.
    step, seconds, used = max(
        _last_entry(folder / table) for table in ("log.csv", "validation.csv")
    )
    state = ended or ("running" if step else "waiting")
    curve = read_curve(folder / "validation.csv")
    return Standing(
        name, state, step, steps, used / 3600, hours,
        min(1.0, used / seconds) if seconds and used else 1.0, thirds(curve, used),
    )  # fmt: skip


def _last_entry(table: Path) -> tuple[int, float, float]:
    """Step, seconds and seconds of the device's clock of a table's last row."""
    if not table.exists():
        return 0, 0.0, 0.0
    last = None
    with table.open(newline="") as stream:
        for last in csv.DictReader(stream):  # noqa: B007 - the last one is wanted
            pass
    if last is None:
        return 0, 0.0, 0.0
    return int(last["step"]), float(last["seconds"]), float(last["processor_seconds"])


def thirds(curve: Sequence[tuple[int, float, float]], used: float) -> tuple[float, ...]:
    """The last validation value by each third of `used` seconds; NaN where there is none."""
    found = []
    for part in range(1, THIRDS + 1):
        end = used * part / THIRDS
        values = [value for _, at, value in curve if at <= end * (1 + 1e-9)]
        found.append(values[-1] if values else float("nan"))
    return tuple(found)


def write_table(path: Path, jobs: Sequence[Standing]) -> None:
    """Write the jobs as CSV: run, state, steps, hours, dB at each third."""
    with path.open("w", newline="") as stream:
        table = csv.writer(stream)
        names = [f"db_{k}_of_{THIRDS}" for k in range(1, THIRDS + 1)]
        table.writerow(["run", "state", "step", "steps", "hours", "budget_hours", *names])
        for one in jobs:
            figures = ["" if value != value else f"{value:.3f}" for value in one.thirds]
            spent = f"{one.used_hours:.3f}"
            head = [one.name, one.state, one.step, one.steps, spent, one.hours]
            table.writerow([*head, *figures])


def draw_curves(runs: Path, names: Sequence[str]) -> None:
    """Write ``curves.csv`` of all runs, and ``curves.png`` where matplotlib is installed."""
    curves = {name: read_curve(runs / name / "validation.csv") for name in names}
    with (runs / "curves.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["run", "step", "hours", "psnr"])
        for name, curve in curves.items():
            for step, seconds, value in curve:
                table.writerow([name, step, f"{seconds / 3600:.4f}", f"{value:.4f}"])
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, curve in curves.items():
        if curve:
            axes.plot([s / 3600 for _, s, _ in curve], [v for _, _, v in curve], ".-", label=name)
    axes.set_xlabel("hours of training")
    axes.set_ylabel("PSNR on validation scenes (dB)")
    axes.grid(alpha=0.3)
    if any(curves.values()):
        axes.legend(fontsize="small")
    FigureCanvasAgg(figure)
    figure.savefig(runs / "curves.png", dpi=110)
