"""Every setting of the watch service, its default and its range, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imagine_deblur.errors import OptionsError
from imagine_deblur.options import is_finite, parse_bytes

ON_FAILURE = ("passthrough", "quarantine")
AFTER = ("keep", "remove")


@dataclass(frozen=True)
class WatchSettings:
    """How captures are picked up, delivered and kept account of.

    Attributes
    ----------
    on_failure : {"passthrough", "quarantine"}
        What becomes of a capture that cannot be restored, or not in time: its bytes go to the
        outbox untouched, or to the quarantine with the reason.
    after : {"keep", "remove"}
        What happens to a capture in the inbox once it is delivered and the journal says so.
    state : Path or None
        Folder of the journal, heartbeat and metrics; None: ``.imagine-deblur`` in the outbox.
    quarantine : Path or None
        None: ``quarantine`` in the outbox.
    poll : float
        Seconds between looks at the inbox.
    stable_polls : int
        Looks in a row that must find the same size and modification time.
    patience : float
        Seconds to wait for the rest of a file that does not end as a JPEG does.
    max_pending : int
        Restored captures that may lie in the outbox before the service holds; 0: no limit.
    min_free : int or str
        Bytes that must stay free on the outbox's and the journal's file system.
    max_crashes : int
        Attempts in a row that may end the process before a capture counts as poison.
    late_after : float or None
        Seconds a capture may have waited; later ones are not restored but fall back.
    stop_within : float
        Seconds the frame in hand may still take after SIGTERM before it is rolled back.
    check_every : int
        Frames between checks of weights, PSF, transfer function and engine.
    golden_every : int
        Frames between self-tests of the whole session.
    verify : bool
        Compare every output with its capture before it is delivered.
    keep_records : int
        Finished captures that left the inbox and are still remembered.
    max_file : int or str
        Bytes of the largest capture that is read; larger files stay in the inbox, and the
        quarantine says why.
    hang_after : float
        Seconds without progress after which the process ends, for the supervisor to start again.
    once : bool
        Process what is there and stop.
    """

    on_failure: str = "passthrough"
    after: str = "keep"
    state: Path | None = None
    quarantine: Path | None = None
    poll: float = 0.5
    stable_polls: int = 2
    patience: float = 30.0
    max_pending: int = 0
    min_free: int | str = "64MB"
    max_crashes: int = 2
    late_after: float | None = None
    stop_within: float = 10.0
    check_every: int = 1
    golden_every: int = 64
    verify: bool = True
    keep_records: int = 5000
    max_file: int | str = "256MB"
    hang_after: float = 600.0
    once: bool = False

    def __post_init__(self) -> None:
        for field, allowed in (("on_failure", ON_FAILURE), ("after", AFTER)):
            value = getattr(self, field)
            if not isinstance(value, str) or value not in allowed:
                raise OptionsError(field, value, ", ".join(allowed))
        for field, least in (
            ("stable_polls", 1),
            ("max_pending", 0),
            ("max_crashes", 1),
            ("check_every", 1),
            ("golden_every", 1),
            ("keep_records", 0),
        ):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionsError(field, value, f"a whole number from {least}")
        for field in ("poll", "patience", "stop_within", "late_after", "hang_after"):
            value = getattr(self, field)
            optional = field == "late_after" and value is None
            if not optional and not (is_finite(value) and value >= 0):
                raise OptionsError(field, value, "seconds, 0 or more")
        if not self._holds_nothing_free:
            parse_bytes("min_free", self.min_free)
        parse_bytes("max_file", self.max_file)

    @property
    def _holds_nothing_free(self) -> bool:
        return type(self.min_free) in (int, str) and self.min_free in (0, "0")

    @property
    def min_free_bytes(self) -> int:
        """`min_free` in bytes."""
        return 0 if self._holds_nothing_free else parse_bytes("min_free", self.min_free)

    @property
    def max_file_bytes(self) -> int:
        """`max_file` in bytes."""
        return parse_bytes("max_file", self.max_file)
