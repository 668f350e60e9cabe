"""Line plots as inline SVG: no fonts, no colours and no scripts of their own.

Colours come from the page's style sheet by class, so that a plot follows a dark page. Each plot
carries a title and a description for those who hear it read out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
import numpy.typing as npt

_LEFT, _RIGHT, _TOP, _BOTTOM = 76.0, 16.0, 14.0, 56.0
_MOST_POINTS = 160


@dataclass(frozen=True)
class Axis:
    """One axis of a plot.

    Attributes
    ----------
    label : str
        With the unit.
    low, high : float
        Ends; positive where `log`.
    log : bool
        Decades.
    """

    label: str
    low: float
    high: float
    log: bool = False

    def place(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Places of values along the axis: 0 at its low end, 1 at its high end."""
        data = np.clip(np.asarray(values, np.float64), self.low, self.high)
        if self.log:
            span = math.log10(self.high / self.low)
            return np.asarray(np.log10(data / self.low) / span)
        return np.asarray((data - self.low) / (self.high - self.low))

    def ticks(self) -> list[float]:
        """Round values within the ends."""
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            every = max(1, -(-(last - first) // 6))
            return [10.0**power for power in range(first, last + 1, every)]
        step = _round_step((self.high - self.low) / 5)
        begin, end = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [index * step for index in range(begin, end + 1)]


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * m for m in (1.0, 2.0, 2.5, 5.0, 10.0) if power * m >= rough * 0.999)


@dataclass
class Plot:
    """A plot that is drawn mark by mark.

    Parameters
    ----------
    key : str
        Names the plot within its page.
    title, description : str
        Read out in place of the picture.
    x, y : Axis
    width, height : float
        Of the drawing's own grid; the page scales it to its column.
    """

    key: str
    title: str
    description: str
    x: Axis
    y: Axis
    width: float = 560.0
    height: float = 320.0
    _marks: list[str] = field(default_factory=list)

    def _points(self, x: npt.ArrayLike, y: npt.ArrayLike) -> list[str]:
        across = _LEFT + self.x.place(x) * (self.width - _LEFT - _RIGHT)
        bottom = self.height - _BOTTOM
        down = bottom - self.y.place(y) * (bottom - _TOP)
        return [f"{a:.1f},{d:.1f}" for a, d in zip(across, down, strict=True)]

    def line(self, x: npt.ArrayLike, y: npt.ArrayLike, style: str) -> None:
        """Draw a line through (n,) values; `style` is a class of the page's style sheet."""
        x, y = _thinned(x, y)
        self._marks.append(f'<polyline class="{style}" points="{" ".join(self._points(x, y))}"/>')

    def band(self, x: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike, style: str) -> None:
        """Fill between two lines of (n,) values."""
        there, low = _thinned(x, low)
        _, high = _thinned(x, high)
        corners = self._points(there, low) + self._points(there, high)[::-1]
        self._marks.append(f'<polygon class="{style}" points="{" ".join(corners)}"/>')

    def rule(self, value: float, style: str, *, along: str = "x") -> None:
        """Draw a straight line across the plot at a value of the x or the y axis."""
        if along == "x":
            self.line([value, value], [self.y.low, self.y.high], style)
        else:
            self.line([self.x.low, self.x.high], [value, value], style)

    def render(self) -> str:
        """Return the SVG element."""
        right, bottom = self.width - _RIGHT, self.height - _BOTTOM
        parts = [
            f'<svg class="plot" role="img" viewBox="0 0 {self.width:g} {self.height:g}" '
            f'aria-labelledby="{self.key}-title {self.key}-about">',
            f'<title id="{self.key}-title">{escape(self.title)}</title>',
            f'<desc id="{self.key}-about">{escape(self.description)}</desc>',
        ]
        for tick in self.x.ticks():
            (at,) = _LEFT + self.x.place([tick]) * (right - _LEFT)
            parts.append(
                f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{bottom}"/>'
            )
            place = f'x="{at:.1f}" y="{bottom + 20}" text-anchor="middle"'
            parts.append(f"<text {place}>{_text(tick, self.x)}</text>")
        for tick in self.y.ticks():
            (at,) = bottom - self.y.place([tick]) * (bottom - _TOP)
            parts.append(
                f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>'
            )
            place = f'x="{_LEFT - 7}" y="{at + 4:.1f}" text-anchor="end"'
            parts.append(f"<text {place}>{_text(tick, self.y)}</text>")
        parts += self._marks
        parts.append(
            f'<text x="{(_LEFT + right) / 2:.0f}" y="{self.height - 8}" text-anchor="middle">'
            f"{escape(self.x.label)}</text>"
        )
        middle = (_TOP + bottom) / 2
        parts.append(
            f'<text transform="translate(18 {middle:.0f}) rotate(-90)" text-anchor="middle">'
            f"{escape(self.y.label)}</text></svg>"
        )
        return "".join(parts)


def _thinned(
    x: npt.ArrayLike, y: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Every n-th point where there are more than a screen shows, and the last."""
    across, up = np.asarray(x, np.float64), np.asarray(y, np.float64)
    step = max(1, len(across) // _MOST_POINTS)
    kept = np.unique(np.append(np.arange(0, len(across), step), len(across) - 1))
    return across[kept], up[kept]


def _text(value: float, axis: Axis) -> str:
    if axis.log and not 0.01 <= value <= 1000:
        power = round(math.log10(value))
        return f'10<tspan dy="-5" font-size="9">{power}</tspan>'
    return f"{value:.4g}"


def table(columns: Sequence[tuple[str, npt.ArrayLike]], rows: int = 12) -> list[list[str]]:
    """Return a plot's lines as a short table, for those who would rather have numbers.

    Parameters
    ----------
    columns : sequence of (str, (n,) array)
        Heading and values; all of one length.
    rows : int
        How many rows to keep, evenly spread.

    Returns
    -------
    list of list of str
        The headings, then the rows.
    """
    data = [np.asarray(values, np.float64) for _, values in columns]
    chosen = np.unique(np.linspace(0, len(data[0]) - 1, rows).round().astype(np.intp))
    body = [[f"{values[index]:.3g}" for values in data] for index in chosen]
    return [[name for name, _ in columns], *body]
