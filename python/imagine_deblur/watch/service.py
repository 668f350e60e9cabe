"""The loop: look, pick up, restore, deliver, account for it; and again."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from imagine_deblur.errors import (
    CancelledError,
    EngineError,
    ImagineDeblurError,
    IntegrityError,
    OptionsError,
)
from imagine_deblur.options import Options
from imagine_deblur.watch import inbox as inboxes
from imagine_deblur.watch.delivery import Delivery
from imagine_deblur.watch.inbox import FolderLock, Found, Inbox
from imagine_deblur.watch.journal import (
    DELIVERING,
    DONE,
    FAILED,
    PASSED,
    QUARANTINED,
    SEEN,
    STARTED,
    Entry,
    Journal,
    JournalError,
)
from imagine_deblur.watch.metrics import Telemetry, notify
from imagine_deblur.watch.session import GuardedSession
from imagine_deblur.watch.settings import WatchSettings

EXIT_STOPPED, EXIT_MODEL, EXIT_NO_ROOM, EXIT_FILES, EXIT_BUSY = 0, 4, 5, 8, 9
"""Exit codes beside those of the other commands."""

_HOLD_FIRST, _HOLD_LONGEST = 0.2, 5.0  # seconds between attempts while the disk refuses
_OWN_FAULTS = 3  # file errors of one capture, while a probe succeeds, before it falls back
_RETEST = 20  # captures passed through between attempts to get the model back
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class _Late(Exception):
    """The frame in hand exceeded its deadline."""


class _Stopped(Exception):
    """The frame in hand exceeded the time that SIGTERM left it."""


class _Changed(Exception):
    """The capture was written to while it was restored."""


class Service:
    """Restores what arrives in a folder.

    Parameters
    ----------
    inbox, outbox : Path
        The outbox is made when it is missing.
    settings : WatchSettings
    options : Options
        Of the restoration; with ``deadline`` a frame that takes longer falls back.
    log : callable, optional
        Receives one line an event; default: standard error.

    Examples
    --------
    >>> service = Service(Path("in"), Path("out"), WatchSettings(once=True), Options())
    >>> code = service.run()  # doctest: +SKIP
    """

    def __init__(
        self,
        inbox: Path,
        outbox: Path,
        settings: WatchSettings,
        options: Options,
        log: Callable[[str], object] | None = None,
    ) -> None:
        self.settings, self.options = settings, options
        self.inbox, self.outbox = inbox, outbox
        self.state_folder = settings.state or outbox / ".imagine-deblur"
        self._log = log or (lambda line: print(f"imagine-deblur watch: {line}", file=sys.stderr))
        self._inbox = Inbox(inbox, stable_polls=settings.stable_polls, patience=settings.patience)
        self._by_file: dict[Found, str] = {}
        self._waiting_since: dict[str, float] = {}
        self._faults: Counter[str] = Counter()
        self._stop_asked: float | None = None
        self._stop_signals = 0
        self._stop_signal = 0
        self._reload_asked = False
        self._held = ""
        self._hold_seconds = _HOLD_FIRST
        self._no_room = False
        self._blind_flight = 0  # captures passed through since the model was lost; 0: it is there
        self._guarded: GuardedSession | None = None
        self._locks: list[FolderLock] = []

    # ---- life ---------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve until a signal, or with ``once`` until the inbox is done.

        Returns
        -------
        int
            The exit code: 0 stopped or done, 130 interrupted, 4 the model cannot be trusted
            (only with ``on_failure="quarantine"``), 5 no room (only with ``once``).

        Raises
        ------
        InboxBusyError
            Another service has the inbox or the state folder.
        OptionsError
            Folders inside one another that may not be.
        JournalError, OSError
            The journal or the outbox cannot be used; start again.
        """
        self._check_folders()
        with suppress(FileExistsError):
            self.outbox.mkdir(parents=True)
        self.state_folder.mkdir(parents=True, exist_ok=True)
        handlers = self._take_signals()
        try:
            self._locks = [FolderLock(self.inbox), FolderLock(self.state_folder)]
            self.telemetry = Telemetry(self.state_folder)
            self.journal = Journal(self.state_folder / "journal.jsonl")
            try:
                return self._serve()
            finally:
                self._end()
        finally:
            for lock in self._locks:
                lock.release()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _check_folders(self) -> None:
        inbox, outbox = self.inbox.resolve(), self.outbox.resolve()
        quarantine = (self.settings.quarantine or outbox / "quarantine").resolve()
        for name, folder in (("OUTBOX", outbox), ("--quarantine", quarantine)):
            if folder == inbox:
                raise OptionsError(name, os.fspath(folder), "a folder other than the inbox")
        if quarantine == outbox:
            raise OptionsError("--quarantine", os.fspath(quarantine), "not the outbox itself")
        if not inbox.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "the inbox is not a folder", str(self.inbox))

    def _take_signals(self) -> dict[int, Any]:
        try:
            return {
                number: signal.signal(number, handler)
                for number, handler in (
                    (signal.SIGTERM, self._on_stop),
                    (signal.SIGINT, self._on_stop),
                    (signal.SIGHUP, self._on_reload),
                )
            }
        except ValueError:
            return {}  # not the main thread: whoever runs us calls stop()

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop_signal = number
        self.stop()

    def _on_reload(self, number: int, frame: FrameType | None) -> None:
        self._reload_asked = True

    def stop(self) -> None:
        """Stop after the frame in hand, or within ``stop_within``; a second call: at once."""
        self._stop_signals += 1
        if self._stop_asked is None:
            self._stop_asked = time.monotonic()

    def _end(self) -> None:
        self.telemetry.state = "stopped"
        self._count()
        self.telemetry.beat(force=True)
        notify("STOPPING=1")
        if self._guarded is not None:
            self._guarded.close()
        self.journal.close()

    def _serve(self) -> int:
        self._delivery = Delivery(
            self.outbox, self.settings.quarantine or self.outbox / "quarantine", self.journal
        )
        if self.journal.torn or self.journal.damaged:
            self.telemetry.events["journal_torn_bytes"] += self.journal.torn
            self.telemetry.events["journal_damaged_lines"] += self.journal.damaged
            self._log(
                f"journal: {self.journal.torn} torn bytes cut off, {self.journal.damaged} damaged "
                "lines ignored"
            )
        for entry in self.journal.entries.values():
            self._by_file[_found(entry)] = entry.key
        self._delivery.clear_staging()
        self.telemetry.beat(force=True)
        if not self._open_model():
            return EXIT_MODEL
        notify("READY=1")
        while True:
            code = self._turn()
            if code is not None:
                return code

    def _turn(self) -> int | None:
        """Look once and work off what is there; return an exit code to stop."""
        if self._stop_asked is not None:
            return 130 if self._stop_signal == signal.SIGINT else EXIT_STOPPED
        if self._reload_asked:
            self._reload()
        try:
            work = self._look()
            for entry in work:
                if self._stop_asked is not None or self._reload_asked:
                    return None
                self._check_room()
                self._count(len(work))
                self._take(entry)
                self._hold_seconds, self._no_room = _HOLD_FIRST, False
                if self._blind_flight and self.settings.on_failure == "quarantine":
                    return EXIT_MODEL
            self._compact()
        except JournalError:
            raise
        except OSError as error:
            return self._hold(error)
        self._held = ""
        self.telemetry.state = "idle"
        self._count(0)
        self.telemetry.beat()
        if self.settings.once and not work and not self._inbox.unsettled:
            return EXIT_STOPPED
        self._sleep(self.settings.poll if not work else 0.0)
        return None

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._stop_asked is not None or self._reload_asked:
                return
            time.sleep(min(left, 0.1))
            self.telemetry.beat()

    # ---- holding ------------------------------------------------------------------------------

    def _check_room(self) -> None:
        floor = self.settings.min_free_bytes
        for folder in (self.outbox, self.state_folder):
            room = os.statvfs(folder)
            if room.f_bavail * room.f_frsize < floor:
                raise OSError(errno.ENOSPC, f"fewer than {floor} bytes free", os.fspath(folder))
        limit = self.settings.max_pending
        if limit and self._delivery.pending() >= limit:
            raise OSError(errno.EDQUOT, f"{limit} results wait", os.fspath(self.outbox))

    def _hold(self, error: OSError) -> int | None:
        """Wait for better times; nothing is in hand. With ``once``: give up when none come."""
        text = str(error)
        if text != self._held:
            self._log(f"holding: {text}")
            self.telemetry.events["hold"] += 1
            self._held = text
        self.telemetry.state = "holding"
        self._no_room = error.errno in _NO_ROOM
        self._count()
        self.telemetry.beat(force=True)
        if self.settings.once and self._hold_seconds >= 4 * _HOLD_FIRST:
            return EXIT_NO_ROOM if self._no_room else EXIT_FILES
        self._sleep(self._hold_seconds)
        self._hold_seconds = min(2 * self._hold_seconds, _HOLD_LONGEST)
        return None

    # ---- what is to be done -------------------------------------------------------------------

    def _look(self) -> list[Entry]:
        """Return unfinished captures in the order they arrived."""
        if not self._locks[0].still_there():
            self._locks[0].release()
            self._locks[0] = FolderLock(self.inbox)
        fresh: list[tuple[Found, str]] = []
        present: set[str] = set()
        for found in self._inbox.look():
            key = self._by_file.get(found)
            if key is None:
                key = self._identify(found, fresh)
            if key is not None:
                present.add(key)
        if fresh:
            self._note(fresh)
        entries = self.journal.entries
        self._present = present
        for key in present:
            entry = entries[key]
            if entry.state in (DONE, PASSED, QUARANTINED):
                self._remove(entry)
        todo = [
            entry
            for entry in entries.values()
            if entry.state == DELIVERING
            or (entry.state in (SEEN, STARTED, FAILED) and not entry.vanished)
            or (entry.vanished and entry.key in present)
        ]
        return sorted(todo, key=lambda entry: entry.order)

    def _identify(self, found: Found, fresh: list[tuple[Found, str]]) -> str | None:
        try:
            with inboxes.opened(self.inbox, found, found.name) as descriptor:
                digest = inboxes.sha256_of(descriptor)
                if not inboxes.same_file(descriptor, found):
                    return None  # still being written; the next look sees the change
        except FileNotFoundError:
            return None
        except OSError as error:
            self.telemetry.events["unreadable"] += 1
            if self._held != str(error):
                self._log(f"{found.name}: cannot be read, tried again: {error}")
                self._held = str(error)
            return None
        key = inboxes.key_of(found, digest)
        known = self.journal.entries.get(key)
        if known is None:
            if all(k != key for _, k in fresh_keys(fresh)):
                fresh.append((found, digest))
        else:
            # The same capture under a new inode: moved away and back, or copied with its times.
            known.inode, known.ctime_ns = found.inode, found.ctime_ns
        self._by_file[found] = key
        return key

    def _note(self, fresh: list[tuple[Found, str]]) -> None:
        order = self.journal.next_order()
        events = [
            {
                "key": inboxes.key_of(found, digest),
                "state": SEEN,
                "order": order + i,
                "sha256": digest,
                **asdict(found),
            }
            for i, (found, digest) in enumerate(fresh)
        ]
        try:
            self.journal.append(*events)
        except OSError:
            for found, _ in fresh:
                self._by_file.pop(found, None)
            raise
        now = time.monotonic()
        self._waiting_since |= {str(event["key"]): now for event in events}
        self.telemetry.events["seen"] += len(events)

    def _remove(self, entry: Entry) -> None:
        """Take a finished capture out of the inbox, where that is asked for."""
        if self.settings.after != "remove":
            return
        path = self.inbox / entry.name
        with suppress(FileNotFoundError):
            status = os.lstat(path)
            if Found.of(entry.name, status) == _found(entry):
                os.unlink(path)

    def _compact(self) -> None:
        if not self.journal.worth_compacting():
            return
        gone = [e for e in self.journal.entries.values() if e.finished]
        gone = [e for e in gone if e.key not in self._present]
        gone.sort(key=lambda e: e.order)
        forgotten = {e.key for e in gone[: max(0, len(gone) - self.settings.keep_records)]}
        try:
            self.journal.compact(lambda entry: entry.key not in forgotten)
        except JournalError:
            raise
        except OSError:
            self.telemetry.events["compaction_failed"] += 1
            return
        self._by_file = {f: k for f, k in self._by_file.items() if k in self.journal.entries}
        self.telemetry.events["compaction"] += 1

    # ---- one capture --------------------------------------------------------------------------

    def _take(self, entry: Entry) -> None:
        """Bring one capture to its end, or leave it as it was and raise `OSError`."""
        self.telemetry.state, self.telemetry.in_hand = "working", entry.name
        started = time.perf_counter()
        try:
            if entry.state == DELIVERING:
                self._delivery.resume(entry)
                self.telemetry.events["resumed"] += 1
            else:
                self._work(entry)
        except _Stopped:
            self._roll_back(entry, "stopped")
            return
        except _Changed:
            self._vanish(entry, "it was written to while it was restored")
            return
        except JournalError:
            raise
        except OSError as error:
            if entry.state == STARTED:  # its result could not be delivered: no crash
                self._unstage(self._delivery.staged(entry))
                self._roll_back(entry, str(error))
            raise
        finally:
            self.telemetry.in_hand = None
            self.telemetry.frame_seconds += time.perf_counter() - started
        self._finish(entry)

    def _finish(self, entry: Entry) -> None:
        self._faults.pop(entry.key, None)
        self._waiting_since.pop(entry.key, None)
        if entry.state in (DONE, PASSED, QUARANTINED):
            self.telemetry.outcomes[entry.state] += 1
            self.telemetry.gauges["last_outcome_timestamp_seconds"] = time.time()
            if entry.state != DONE:
                self._log(f"{entry.name}: {entry.state}: {entry.reason}")
            self._remove(entry)

    def _work(self, entry: Entry) -> None:
        try:
            opened = inboxes.opened(self.inbox, _found(entry), entry.name)
            with opened as descriptor:
                self._work_on(entry, descriptor)
        except FileNotFoundError as error:
            if os.path.lexists(self.inbox) and not self._is_ours(error):
                self._vanish(entry, "gone from the inbox, or replaced, before its turn")
                return
            raise

    def _is_ours(self, error: FileNotFoundError) -> bool:
        """Whether a missing file is the outbox's or the journal's."""
        name = os.fspath(error.filename) if error.filename else ""
        folders = (self.outbox, self.state_folder)
        return isinstance(name, str) and any(name.startswith(os.fspath(f)) for f in folders)

    def _vanish(self, entry: Entry, reason: str) -> None:
        event = {"key": entry.key, "state": FAILED, "vanished": True, "crashes": 0}
        self.journal.append(event | {"reason": reason})
        self.telemetry.outcomes["vanished"] += 1
        self._log(f"{entry.name}: {reason}")
        self._by_file.pop(_found(entry), None)

    def _work_on(self, entry: Entry, descriptor: int) -> None:
        limit = self.settings.late_after
        waited = time.monotonic() - self._waiting_since.setdefault(entry.key, time.monotonic())
        if entry.state == FAILED and not entry.vanished:
            self._fall_back(entry, descriptor, entry.reason)
        elif entry.state == STARTED and entry.crashes >= self.settings.max_crashes:
            reason = f"poison: the process died on it {entry.crashes} times in a row"
            self._fall_back(entry, descriptor, reason, poison=True)
        elif limit is not None and waited > limit:
            self._fall_back(entry, descriptor, f"late: it had waited {waited:.1f} s")
        elif self._guarded is None and not self._regain_model():
            self._blind_flight += 1
            self._fall_back(entry, descriptor, "the model cannot be trusted")
        else:
            self._restore(entry, descriptor)

    def _restore(self, entry: Entry, descriptor: int) -> None:
        assert self._guarded is not None
        event = {"key": entry.key, "state": STARTED, "vanished": False, "reason": ""}
        self.journal.append(event | {"crashes": entry.crashes + 1})
        staged = self._delivery.staged(entry)
        source = f"/proc/self/fd/{descriptor}"
        before = Counter(self._guarded.events)
        started = time.monotonic()

        def progress(fraction: float) -> None:
            self.telemetry.beat()
            now = time.monotonic()
            if self.options.deadline is not None and now - started > self.options.deadline:
                raise _Late
            if self._stop_asked is not None and (
                self._stop_signals > 1 or now - self._stop_asked > self.settings.stop_within
            ):
                raise _Stopped

        try:
            report = self._guarded.restore(source, staged, progress=progress).as_dict()
            if not inboxes.same_file(descriptor, _found(entry)):
                raise _Changed
        except (_Stopped, _Changed):
            self._unstage(staged)
            raise
        except _Late:
            self._fail(entry, descriptor, f"late: over {self.options.deadline} s")
            return
        except IntegrityError as error:
            self._lose_model(error)
            self._fail(entry, descriptor, f"integrity: {error}")
            return
        except (ImagineDeblurError, MemoryError) as error:
            if isinstance(error, CancelledError):
                raise
            if isinstance(error, EngineError):
                self._lose_model(error)
            self._fail(entry, descriptor, _said(error, source, entry.name))
            return
        except OSError as error:
            self._refused(entry, error)
            self._fail(entry, descriptor, _said(error, source, entry.name))
            return
        except Exception as error:  # a fault of ours must not cost the captures that follow
            self._guarded.close()
            self._fail(entry, descriptor, f"{type(error).__name__}: {error}")
            return
        finally:
            found = self._guarded.events - before if self._guarded else Counter[str]()
            self.telemetry.events.update(found)
        report |= {"source": entry.name, "output": None}
        self._delivery.deliver(
            entry, staged, {"report": report, "integrity": dict(found)}, final=DONE
        )

    def _refused(self, entry: Entry, error: OSError) -> None:
        """The disk refused something: undo and raise, unless the capture itself is at fault."""
        self._unstage(self._delivery.staged(entry))
        self._faults[entry.key] += 1
        self.telemetry.events["io_error"] += 1
        self._roll_back(entry, str(error))
        if self._faults[entry.key] < _OWN_FAULTS or error.errno in _NO_ROOM:
            raise error
        self._delivery.probe()  # raises where the disk is at fault after all

    def _roll_back(self, entry: Entry, why: str) -> None:
        self.telemetry.events["rolled_back"] += 1
        entry.state, entry.crashes = SEEN, 0  # even where the journal cannot be told now
        self.journal.append({"key": entry.key, "state": SEEN, "crashes": 0, "why": why})

    def _unstage(self, staged: Path) -> None:
        with suppress(OSError):  # on a read-only disk even a missing file cannot be removed
            os.unlink(staged)

    def _fail(self, entry: Entry, descriptor: int, reason: str) -> None:
        self._unstage(self._delivery.staged(entry))
        self.journal.append({"key": entry.key, "state": FAILED, "crashes": 0, "reason": reason})
        self._fall_back(entry, descriptor, reason)

    def _fall_back(
        self, entry: Entry, descriptor: int, reason: str, *, poison: bool = False
    ) -> None:
        """Deliver or isolate the capture's own bytes."""
        passing = self.settings.on_failure == "passthrough"
        facts: dict[str, Any] = {"report": None}
        if poison or not passing:
            facts["quarantined_as"] = self._delivery.isolate(entry, descriptor, reason)
        if passing:
            final = QUARANTINED if poison else PASSED
            staged = self._delivery.stage_copy(entry, descriptor)
            self._delivery.deliver(entry, staged, facts, final=final, reason=reason)
        else:
            event = {"key": entry.key, "state": QUARANTINED, "crashes": 0, "reason": reason}
            self.journal.append(event)

    # ---- the model ----------------------------------------------------------------------------

    def _open_model(self) -> bool:
        """Open and self-test; False where the service should end, the reason logged."""
        try:
            self._guarded = self._tested_session()
        except (IntegrityError, EngineError) as error:
            self._lose_model(error)
            return self.settings.on_failure == "passthrough"
        return True

    def _tested_session(self) -> GuardedSession:
        self.telemetry.state = "self-test"
        guarded = GuardedSession(
            self.options,
            self.state_folder / "good",
            check_every=self.settings.check_every,
            golden_every=self.settings.golden_every,
            verify_outputs=self.settings.verify,
        )
        guarded.start()
        self.telemetry.events.update(guarded.events)
        guarded.events.clear()
        return guarded

    def _lose_model(self, error: Exception) -> None:
        self._log(f"the model cannot be trusted: {error}")
        self.telemetry.events["model_lost"] += 1
        if self._guarded is not None:
            self._guarded.close()
        self._guarded = None
        self._blind_flight = 1

    def _regain_model(self) -> bool:
        """Try again now and then; a flipped bit in memory goes away with the memory."""
        if self._blind_flight % _RETEST != 1:
            return False
        try:
            self._guarded = self._tested_session()
        except (ImagineDeblurError, OSError) as error:
            self._log(f"the model still cannot be trusted: {error}")
            return False
        self._blind_flight = 0
        self.telemetry.events["model_regained"] += 1
        return True

    def _reload(self) -> None:
        self._reload_asked = False
        if self._guarded is None:
            return
        try:
            self._guarded.reload_psf()
            self._guarded.start()
        except (ImagineDeblurError, OSError) as error:
            self.telemetry.events["psf_reload_failed"] += 1
            self._log(f"the PSF record was not reloaded, the old one stays: {error}")
            return
        self.telemetry.events["psf_reloaded"] += 1
        self._log("PSF record reloaded")

    def _count(self, queue: int | None = None) -> None:
        if queue is not None:
            self.telemetry.gauges["queue_length"] = queue
        waiting = self._waiting_since.values()
        oldest = time.monotonic() - min(waiting) if waiting else 0.0
        self.telemetry.gauges["oldest_waiting_seconds"] = oldest
        self.telemetry.gauges["holding"] = float(self.telemetry.state == "holding")
        self.telemetry.gauges["model_trusted"] = float(self._guarded is not None)
        self.telemetry.gauges["journal_lines"] = self.journal.lines


def fresh_keys(fresh: list[tuple[Found, str]]) -> list[tuple[Found, str]]:
    """Return files with their keys instead of their digests."""
    return [(found, inboxes.key_of(found, digest)) for found, digest in fresh]


def _found(entry: Entry) -> Found:
    return Found(entry.name, entry.size, entry.mtime_ns, entry.inode, entry.ctime_ns)


def _said(error: BaseException, source: str, name: str) -> str:
    """Return an error's words with the capture's own name."""
    return f"{type(error).__name__}: {error}".replace(source, name)
