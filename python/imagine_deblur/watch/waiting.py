"""The queue: captures from their first sight to their turn."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from imagine_deblur.watch import inbox as inboxes
from imagine_deblur.watch.delivery import Delivery
from imagine_deblur.watch.digests import DigestSet
from imagine_deblur.watch.entry import DELIVERING, SEEN, Entry, file_digest
from imagine_deblur.watch.inbox import Found, Inbox, Look
from imagine_deblur.watch.journal import Journal, JournalError, known_again
from imagine_deblur.watch.metrics import Telemetry
from imagine_deblur.watch.settings import WatchSettings

_log = logging.getLogger(__name__)

WINDOW = 64
"""Captures in the queue at a time; the rest waits in the inbox, whatever its number."""


class WaitingLine:
    """Takes up captures from the inbox in the order they came, a bounded number at a time.

    Parameters
    ----------
    inbox : Inbox
    journal : Journal
    delivery : Delivery
    telemetry : Telemetry
    settings : WatchSettings
    tick : callable
        Called between files and megabytes; what it raises ends the look.
    """

    def __init__(
        self,
        inbox: Inbox,
        journal: Journal,
        delivery: Delivery,
        telemetry: Telemetry,
        settings: WatchSettings,
        tick: Callable[[], object],
    ) -> None:
        self._inbox, self._journal, self._delivery = inbox, journal, delivery
        self._telemetry, self._settings = telemetry, settings
        self._tick = tick
        self.looked_at, self.look_seconds = float("-inf"), 0.0
        self._left_alone: set[str] = set()  # told of already
        self.more = False  # complete captures that the last look had no room for

    def look(self) -> Look:
        """Look at the inbox and take up what there is room for.

        Raises
        ------
        OSError
            The inbox cannot be read, or the journal not be written.
        """
        started = time.monotonic()
        entries = self._journal.entries
        taken = {file_digest(entry) for entry in entries.values() if entry.name}
        look = self._inbox.look(self._journal.files.__contains__, taken.__contains__, self._tick)
        for name in sorted(set(look.no_files) - self._left_alone):
            _log.warning("%s: a link, a folder or a pipe, not a file: left alone", name)
        self._left_alone = set(look.no_files)
        self._compact(look)
        room = WINDOW - len(entries)
        self.more = len(look.fresh) > room
        fresh: dict[str, dict[str, Any]] = {}
        for found in look.fresh[: max(0, room)]:
            self._tick()
            event = self._identify(found)
            if event is None:
                look.unreadable += 1
            elif event:
                fresh.setdefault(event["key"], event)
        if fresh:
            order = self._journal.next_order()
            self._journal.append(*({**e, "order": order + i} for i, e in enumerate(fresh.values())))
            self._telemetry.events["seen"] += len(fresh)
        self._telemetry.gauges["queue_length"] = look.waiting
        self._telemetry.gauges["unreadable"] = look.unreadable
        now = time.monotonic()
        self.looked_at, self.look_seconds = now, now - started
        return look

    def entries(self) -> list[Entry]:
        """Return the captures whose turn has come, in order."""
        return sorted(self._journal.entries.values(), key=lambda entry: entry.order)

    def waited(self, entry: Entry) -> float:
        """Return the seconds since a capture arrived, or since boot where it came before."""
        now = _since_boot()
        return now - (entry.arrived if entry.arrived_boot == self._journal.boot else 0.0)

    def _identify(self, found: Found) -> dict[str, Any] | None:
        """Return the event that takes a capture up, {} for a known one, None for an unreadable."""
        digest = ""
        try:
            if found.size <= self._settings.max_file_bytes:
                with self._inbox.opened(found) as descriptor:
                    digest = inboxes.sha256_of(descriptor, self._tick)
                    if not inboxes.same_file(descriptor, found):
                        return {}  # still being written; the next look sees the change
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._telemetry.events["unreadable"] += 1
            self._inbox.refuse(found)
            _log.warning("%s: cannot be read, tried again: %s", found.name, error)
            return None
        entry = _entry_of(inboxes.key_of(found, digest), found, digest, self._journal.boot)
        if self._journal.is_finished(entry.key):
            # The same capture under a new inode: moved away and back, or copied with its times.
            self._journal.append(known_again(entry))
            return {}
        known = self._journal.entries.get(entry.key)
        if known is not None:
            return {**known.facts(), **found._asdict()}
        return entry.facts() | (self._told_by_reports(entry) or {"state": SEEN})

    def _told_by_reports(self, entry: Entry) -> dict[str, Any] | None:
        event = self._delivery.witness(entry)
        if event is not None:
            how = "taken up again" if event["state"] == DELIVERING else "not made again"
            _log.warning("%s: unknown to the journal, but its report is there: %s", entry.name, how)
            self._telemetry.events["told_by_report"] += 1
        return event

    def _compact(self, look: Look) -> None:
        """Shorten the journal; just after a look, when what lies in the inbox is known."""
        keep = self._settings.keep_records
        if not self._journal.worth_compacting(keep + len(look.present) // 16):
            return
        try:
            self._journal.compact(DigestSet(look.present).__contains__, keep)
        except JournalError:
            raise
        except OSError:
            self._telemetry.events["compaction_failed"] += 1
            return
        self._telemetry.events["compaction"] += 1

    def count(self) -> None:
        """Put the queue's figures where the metrics are."""
        waiting = [self.waited(entry) for entry in self._journal.entries.values()]
        self._telemetry.gauges["oldest_waiting_seconds"] = max(waiting, default=0.0)
        self._telemetry.gauges["journal_lines"] = self._journal.lines


def _entry_of(key: str, found: Found, digest: str, boot: str) -> Entry:
    # The file's own time tells how long it lay there before it was first seen. A clock that was
    # set meanwhile can make that wrong, but never longer than the machine has been running.
    now = _since_boot()
    lay = min(max(0.0, time.time() - found.ctime_ns / 1e9), now)
    return Entry(key, *found, sha256=digest, arrived=now - lay, arrived_boot=boot)


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def nested(inbox: str, outbox: str) -> str:
    """Return how one of two folders lies in the other, in words; empty where it does not."""
    inbox, outbox = os.path.realpath(inbox), os.path.realpath(outbox)
    common = os.path.commonpath([inbox, outbox])
    if common == outbox:
        return f"the inbox {inbox} lies inside the outbox {outbox}"
    if common == inbox:
        return f"the outbox {outbox} lies inside the inbox {inbox}"
    return ""
