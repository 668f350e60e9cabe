"""Bringing one capture to its end: restored, passed through, or isolated with the reason."""

from __future__ import annotations

import errno
import logging
import time
from collections import Counter
from contextlib import ExitStack
from typing import Any

from imagine_deblur.errors import (
    CancelledError,
    EngineError,
    ImagineDeblurError,
    IntegrityError,
)
from imagine_deblur.options import Options
from imagine_deblur.watch import inbox as inboxes
from imagine_deblur.watch.delivery import Delivery, UnreadableError
from imagine_deblur.watch.entry import (
    DELIVERING,
    DONE,
    FAILED,
    FINAL,
    PASSED,
    QUARANTINED,
    SEEN,
    STARTED,
    VANISHED,
    Entry,
)
from imagine_deblur.watch.folders import Folder
from imagine_deblur.watch.inbox import Found, Inbox
from imagine_deblur.watch.journal import Journal, JournalError
from imagine_deblur.watch.keeper import SessionKeeper
from imagine_deblur.watch.metrics import Telemetry
from imagine_deblur.watch.settings import WatchSettings
from imagine_deblur.watch.stopping import Stopped, StopRequest

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

_log = logging.getLogger(__name__)

_OWN_FAULTS = 3  # file errors of one capture, while a probe succeeds, before it falls back
_LONGEST_REASON = 500  # characters of an error that go into journal and report


class _Late(Exception):
    """The frame in hand exceeded its deadline."""


class _Changed(Exception):
    """The capture was written to while it was restored."""


class CaptureWorker:
    """Restores captures one after the other, or delivers their own bytes.

    Parameters
    ----------
    inbox : Inbox
    state : Folder
    journal : Journal
    delivery : Delivery
    keeper : SessionKeeper
    telemetry : Telemetry
    settings : WatchSettings
    options : Options
    stop : StopRequest
    """

    def __init__(
        self,
        inbox: Inbox,
        state: Folder,
        journal: Journal,
        delivery: Delivery,
        keeper: SessionKeeper,
        telemetry: Telemetry,
        settings: WatchSettings,
        options: Options,
        stop: StopRequest,
    ) -> None:
        self._inbox, self._state, self._journal = inbox, state, journal
        self._delivery, self._keeper, self._telemetry = delivery, keeper, telemetry
        self._settings, self._options = settings, options
        self._stop = stop
        self._faults: Counter[str] = Counter()

    def take(self, entry: Entry, waited: float) -> None:
        """Bring one capture to its end, or leave it as it was and raise `OSError`.

        Parameters
        ----------
        entry : Entry
        waited : float
            Seconds since it arrived.
        """
        self._telemetry.state, self._telemetry.in_hand = "working", entry.name
        self._telemetry.move()
        started = time.perf_counter()
        try:
            if entry.state == DELIVERING:
                self._delivery.resume(entry)
                self._telemetry.events["resumed"] += 1
            else:
                self._work(entry, waited)
        except Stopped:
            self._roll_back(entry, "stopped")
            return
        except _Changed:
            self._vanish(entry, "it was written to while it was restored")
            return
        except JournalError:
            raise
        except OSError as error:
            if entry.state == STARTED:  # its result could not be delivered: no crash
                self._delivery.unstage(entry)
                self._roll_back(entry, str(error))
            raise
        finally:
            self._telemetry.in_hand = None
            self._telemetry.frame_seconds += time.perf_counter() - started
        if entry.state in FINAL:
            self._finish(entry)

    def _finish(self, entry: Entry) -> None:
        self._faults.pop(entry.key, None)
        self._telemetry.outcomes[entry.state] += 1
        self._telemetry.gauges["last_outcome_timestamp_seconds"] = time.time()
        if entry.state != DONE:
            _log.warning("%s: %s: %s", entry.name, entry.state, entry.reason)
        self.remove(file_of(entry))

    def remove(self, found: Found) -> None:
        """Take a finished capture out of the inbox, where that is asked for and possible."""
        if self._settings.after != "remove" or found.size > self._settings.max_file_bytes:
            return
        try:
            self._inbox.remove(found)
        except OSError as error:
            if not self._telemetry.events["remove_failed"]:
                _log.error("%s: cannot be removed from the inbox: %s", found.name, error)
            self._telemetry.events["remove_failed"] += 1

    def _work(self, entry: Entry, waited: float) -> None:
        if entry.size > self._settings.max_file_bytes:
            limit = self._settings.max_file_bytes
            reason = f"it has {entry.size} bytes, more than the {limit} of --max-file: not read"
            self._isolate(entry, None, reason)
            return
        with ExitStack() as holding:
            try:
                descriptor = holding.enter_context(self._inbox.opened(file_of(entry)))
            except OSError as error:
                if not self._inbox.folder.in_place():
                    raise
                # Replaced, or no longer readable: the next look takes up what is there now.
                self._inbox.refuse(file_of(entry))
                self._vanish(entry, f"gone from the inbox before its turn: {error.strerror}")
                return
            self._work_on(entry, descriptor, waited)

    def _vanish(self, entry: Entry, reason: str) -> None:
        self._journal.append({"key": entry.key, "state": VANISHED, "crashes": 0, "reason": reason})
        self._faults.pop(entry.key, None)
        self._telemetry.outcomes[VANISHED] += 1
        _log.warning("%s: %s", entry.name, reason)

    def _work_on(self, entry: Entry, descriptor: int, waited: float) -> None:
        limit = self._settings.late_after
        if entry.state == FAILED:
            self._fall_back(entry, descriptor, entry.reason)
        elif entry.state == STARTED and entry.crashes >= self._settings.max_crashes:
            reason = f"poison: the process died on it {entry.crashes} times in a row"
            self._fall_back(entry, descriptor, reason, poison=True)
        elif limit is not None and waited > limit:
            self._fall_back(entry, descriptor, f"late: it had waited {waited:.1f} s")
        elif not self._keeper.regain():
            self._fall_back(entry, descriptor, "the model cannot be trusted")
        else:
            self._restore(entry, descriptor)

    def _restore(self, entry: Entry, descriptor: int) -> None:
        session = self._keeper.session
        assert session is not None
        event = {"key": entry.key, "state": STARTED, "reason": ""}
        self._journal.append(event | {"crashes": entry.crashes + 1})
        source = f"/proc/self/fd/{descriptor}"
        before = Counter(session.events)
        started = time.monotonic()

        def progress(fraction: float) -> None:
            self._telemetry.move()
            deadline = self._options.deadline
            if deadline is not None and time.monotonic() - started > deadline:
                raise _Late
            self._stop.check()

        try:
            target = self._delivery.staging.via(self._delivery.staged(entry))
            report = session.restore(source, target, progress=progress).as_dict()
            if not inboxes.same_file(descriptor, file_of(entry)):
                raise _Changed
        except (Stopped, _Changed):
            self._delivery.unstage(entry)
            raise
        except _Late:
            self._fail(entry, descriptor, f"late: over {self._options.deadline} s")
            return
        except IntegrityError as error:
            self._keeper.lose(error)
            self._fail(entry, descriptor, f"integrity: {error}")
            return
        except (ImagineDeblurError, MemoryError) as error:
            if isinstance(error, CancelledError):
                raise
            if isinstance(error, EngineError):
                self._keeper.lose(error)
            self._fail(entry, descriptor, _said(error, source, entry.name))
            return
        except OSError as error:
            self._refused(entry, error)
            self._fail(entry, descriptor, _said(error, source, entry.name))
            return
        except Exception as error:  # a fault of ours must not cost the captures that follow
            session.close()
            self._fail(entry, descriptor, f"{type(error).__name__}: {error}")
            return
        finally:
            found = session.events - before
            self._telemetry.events.update(found)
        self._keeper.shape = report["rows"], report["columns"]
        report |= {"source": entry.name, "output": None}
        self._delivery.deliver(entry, {"report": report, "integrity": dict(found)}, final=DONE)

    def _refused(self, entry: Entry, error: OSError) -> None:
        """The disk refused something: undo and raise, unless the capture itself is at fault."""
        self._delivery.unstage(entry)
        self._faults[entry.key] += 1
        self._telemetry.events["io_error"] += 1
        self._roll_back(entry, str(error))
        if self._faults[entry.key] < _OWN_FAULTS or error.errno in NO_ROOM:
            raise error
        self._delivery.probe(self._state)  # raises where the disk is at fault after all

    def _roll_back(self, entry: Entry, why: str) -> None:
        self._telemetry.events["rolled_back"] += 1
        entry.state, entry.crashes = SEEN, 0  # even where the journal cannot be told now
        self._journal.append({"key": entry.key, "state": SEEN, "crashes": 0, "why": why})

    def _fail(self, entry: Entry, descriptor: int, reason: str) -> None:
        reason = reason[:_LONGEST_REASON]
        self._delivery.unstage(entry)
        self._journal.append({"key": entry.key, "state": FAILED, "crashes": 0, "reason": reason})
        self._fall_back(entry, descriptor, reason)

    def _fall_back(
        self, entry: Entry, descriptor: int, reason: str, *, poison: bool = False
    ) -> None:
        """Deliver or isolate the capture's own bytes."""
        facts: dict[str, Any] = {"report": None}
        try:
            if self._settings.on_failure == "quarantine":
                self._isolate(entry, descriptor, reason)
                return
            if poison:
                name = self._delivery.isolate(entry, descriptor, reason, final=False)
                facts["quarantined_as"] = name
            self._delivery.stage_copy(entry, descriptor)
        except UnreadableError as error:
            self._faults[entry.key] += 1
            if self._faults[entry.key] < _OWN_FAULTS:
                raise OSError(errno.EIO, str(error), entry.name) from None
            self._isolate(entry, None, f"{reason}; {error}"[:_LONGEST_REASON])
            return
        final = QUARANTINED if poison else PASSED
        self._delivery.deliver(entry, facts, final=final, reason=reason)

    def _isolate(self, entry: Entry, descriptor: int | None, reason: str) -> None:
        self._delivery.isolate(entry, descriptor, reason, final=True)
        event = {"key": entry.key, "state": QUARANTINED, "crashes": 0, "reason": reason}
        self._journal.append(event)


def file_of(entry: Entry) -> Found:
    """Return the file that a capture was when it was seen."""
    return Found(entry.name, entry.size, entry.mtime_ns, entry.inode, entry.ctime_ns)


def _said(error: BaseException, source: str, name: str) -> str:
    """Return an error's words with the capture's own name."""
    return f"{type(error).__name__}: {error}".replace(source, name)
