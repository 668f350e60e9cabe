"""What became of a batch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Failure:
    """An item without an output.

    Attributes
    ----------
    source : str
    outcome : {"failed", "quarantined"}
    error : str
    kind : str
        The exception's name.
    number : int or None
        Its ``errno``.
    """

    source: str
    outcome: str
    error: str
    kind: str
    number: int | None = None


@dataclass
class BatchSummary:
    """What became of a batch.

    Attributes
    ----------
    restored, passed_through, skipped, failed, quarantined : int
        Items. Skipped ones were done before.
    failures : list of Failure
        The first thousand; the manifest has them all.
    seconds : float
    damaged_lines : int
        Lines of the manifest that were passed over; their items were done again.
    manifest : str
    """

    manifest: str = ""
    restored: int = 0
    passed_through: int = 0
    skipped: int = 0
    failed: int = 0
    quarantined: int = 0
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    damaged_lines: int = 0

    @property
    def items(self) -> int:
        """All items of the batch."""
        done = self.restored + self.passed_through + self.skipped
        return done + self.failed + self.quarantined
