"""What became of the captures of a batch, in a few lines at the end."""

from __future__ import annotations

import os
from typing import Literal, get_args

from imagine_deblur.cli.progress import in_words

Outcome = Literal["restored", "passed through", "failed", "skipped"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

_NAMES = 3  # named for each reason; the rest is counted
_REASONS = 20  # told for each outcome; the rest is counted


class Summary:
    """Counts outcomes, and remembers a few names for each reason.

    A million captures take no more memory than a thousand.
    """

    def __init__(self) -> None:
        self.counts: dict[Outcome, int] = dict.fromkeys(OUTCOMES, 0)
        """Captures by outcome."""
        self._reasons: dict[Outcome, dict[str, tuple[int, list[str]]]] = {o: {} for o in OUTCOMES}

    def add(self, source: str | os.PathLike[str], outcome: Outcome, reason: str = "") -> None:
        """Count a capture.

        Parameters
        ----------
        source : path
        outcome : {"restored", "passed through", "failed", "skipped"}
        reason : str
            Why it was not restored; where it begins with the file's name, that is left out, so
            that captures with one reason are told together.
        """
        self.counts[outcome] += 1
        path = os.fspath(source)
        reason = reason.removeprefix(f"{path}: ").removesuffix(f": {path!r}")
        if outcome == "restored":
            return
        reasons = self._reasons[outcome]
        if reason not in reasons and len(reasons) >= _REASONS:
            reason = "other reasons"
        count, names = reasons.get(reason, (0, []))
        if len(names) < _NAMES:
            names.append(os.path.basename(path))
        reasons[reason] = (count + 1, names)

    @property
    def total(self) -> int:
        """Captures, skipped ones too."""
        return sum(self.counts.values())

    def lines(self, seconds: float) -> list[str]:
        """Return what to print.

        Parameters
        ----------
        seconds : float
            The batch took.

        Returns
        -------
        list of str
            How many of each outcome, then a line for each reason.
        """
        counted = [f"{self.counts[o]} {o}" for o in OUTCOMES if self.counts[o]]
        captures = "1 capture" if self.total == 1 else f"{self.total} captures"
        found = [f"{captures} in {in_words(seconds)}: {', '.join(counted) or 'nothing to do'}"]
        for outcome, reasons in self._reasons.items():
            for reason, (count, names) in sorted(reasons.items(), key=lambda item: -item[1][0]):
                more = f" and {count - len(names)} more" if count > len(names) else ""
                found.append(f"  {outcome}: {', '.join(names)}{more}: {reason or 'no reason told'}")
        return found
