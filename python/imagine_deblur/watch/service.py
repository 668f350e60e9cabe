"""The loop: look, pick up, restore, deliver, account for it; and again."""

from __future__ import annotations

import errno
import logging
import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

from imagine_deblur.errors import OptionsError
from imagine_deblur.options import Options
from imagine_deblur.watch.capture import NO_ROOM, CaptureWorker
from imagine_deblur.watch.delivery import STAGING, Delivery
from imagine_deblur.watch.folders import Folder
from imagine_deblur.watch.inbox import Inbox
from imagine_deblur.watch.journal import Journal, JournalError
from imagine_deblur.watch.keeper import ASKED, SessionKeeper
from imagine_deblur.watch.metrics import Telemetry, notify
from imagine_deblur.watch.settings import WatchSettings
from imagine_deblur.watch.stopping import Stopped, StopRequest
from imagine_deblur.watch.waiting import WINDOW, WaitingLine, nested

EXIT_STOPPED, EXIT_MODEL, EXIT_NO_ROOM, EXIT_FILES, EXIT_BUSY, EXIT_HUNG = 0, 4, 5, 8, 9, 10
"""Exit codes beside those of the other commands."""

STATE = ".imagine-deblur"

_log = logging.getLogger(__name__)

_HOLD_FIRST, _HOLD_LONGEST = 0.2, 5.0  # seconds between attempts while the disk refuses
_MODEL_AGAIN = 30.0  # seconds between attempts to open a model while captures are held for it
_LOOK_AGAIN = 1.0  # seconds of work before the inbox is looked at again
_LOOK_SHARE = 10.0  # a look's own time, times this, passes between looks


class Service:
    """Restores what arrives in a folder.

    Parameters
    ----------
    inbox, outbox : Path
        The outbox is made when it is missing.
    settings : WatchSettings
    options : Options
        Of the restoration; with ``deadline`` a frame that takes longer falls back.
    own_process : bool
        End the process when nothing has moved for ``hang_after`` seconds.

    Notes
    -----
    It logs to ``imagine_deblur.watch``. A handler that waits for its reader holds captures up;
    `watch.log.LineHandler` never does.

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
        *,
        own_process: bool = False,
    ) -> None:
        self.settings, self.options = settings, options
        self.inbox, self.outbox = inbox, outbox
        self._stop = StopRequest(settings.stop_within)
        self._own_process = own_process
        self._held = ""
        self._hold_seconds = _HOLD_FIRST
        self._model_tried = float("-inf")

    # ---- life ---------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve until a signal, or with ``once`` until the inbox is done.

        Returns
        -------
        int
            The exit code: 0 stopped or done, 130 interrupted. With ``once`` also 4 the model
            cannot be trusted (``on_failure="quarantine"``), 5 no room, 8 a capture cannot be read.

        Raises
        ------
        InboxBusyError
            Another service has the inbox or the state folder.
        OptionsError
            Folders that may not be one.
        JournalError, OSError
            The journal or the outbox cannot be used; start again.
        """
        self._stop.take_signals()
        with ExitStack() as stack:
            stack.callback(self._stop.give_signals_back)
            self._open(stack)
            return self._serve()

    def stop(self) -> None:
        """Stop after the frame in hand, or within ``stop_within``; a second call: at once."""
        self._stop.ask()

    def _open(self, stack: ExitStack) -> None:
        """Open everything; the stack closes it again, the last first."""
        if not self.inbox.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "the inbox is not a folder", str(self.inbox))
        self._check_names()
        self._in = Folder.at(self.inbox, make=False)
        stack.callback(self._in.close)
        self._out = Folder.at(self.outbox)
        stack.callback(self._out.close)
        if self.settings.state is None:
            self._state = Folder.below(self._out, STATE)
        else:
            self._state = Folder.at(self.settings.state, private=True)
        stack.callback(self._state.close)
        self._in.lock()
        self._state.lock()
        self.telemetry = Telemetry(self._state, self.settings.hang_after, self._on_hang)
        self.telemetry.start()
        stack.callback(self._end)
        self.journal = Journal(self._state)
        stack.callback(self.journal.close)
        quarantine = self.settings.quarantine or self.outbox / "quarantine"
        self._delivery = Delivery(self._out, quarantine, self.journal)
        stack.callback(self._delivery.close)
        self._keeper = SessionKeeper(self.options, self.settings, self._state, self.telemetry)
        stack.callback(self._keeper.close)
        inbox = Inbox(
            self._in,
            stable_polls=self.settings.stable_polls,
            patience=self.settings.patience,
            window=2 * WINDOW,  # so that those whose turn is next have been looked at before
        )
        if self.settings.after == "remove":
            inbox.put_back_what_was_moved()
        self._line = WaitingLine(
            inbox,
            self.journal,
            self._delivery,
            self.telemetry,
            self.settings,
            self._tick,
        )
        self._worker = CaptureWorker(
            inbox,
            self._state,
            self.journal,
            self._delivery,
            self._keeper,
            self.telemetry,
            self.settings,
            self.options,
            self._stop,
        )

    def _check_names(self) -> None:
        """Refuse folders that may not be one, and tell of those that lie in one another."""
        quarantine = self.settings.quarantine or self.outbox / "quarantine"
        state = self.settings.state or self.outbox / STATE
        ours = {
            "OUTBOX": self.outbox,
            "--quarantine": quarantine,
            "--state": state,
            "staging folder": self.outbox / STAGING,
        }
        for name, folder in ours.items():
            if os.path.realpath(folder) == os.path.realpath(self.inbox):
                raise OptionsError(name, os.fspath(folder), "a folder other than the inbox")
        if os.path.realpath(quarantine) == os.path.realpath(self.outbox):
            raise OptionsError("--quarantine", os.fspath(quarantine), "not the outbox itself")
        if said := nested(os.fspath(self.inbox), os.fspath(self.outbox)):
            _log.warning("%s: captures and results are told apart by folder; beside each other "
                         "they cannot be mistaken", said)  # fmt: skip

    def _on_hang(self) -> None:
        if self._own_process:
            seconds, name = self.settings.hang_after, self.telemetry.in_hand
            _log.critical("nothing moved for %.0f s, capture %s: ending", seconds, name)
            time.sleep(0.2)  # the log's thread
            os._exit(EXIT_HUNG)

    def _end(self) -> None:
        self.telemetry.state = "stopped"
        self.telemetry.stop()
        notify("STOPPING=1")

    def _serve(self) -> int:
        if self.journal.torn or self.journal.damaged:
            self.telemetry.events["journal_torn_bytes"] += self.journal.torn
            self.telemetry.events["journal_damaged"] += self.journal.damaged
            _log.warning(
                "journal: %d torn bytes cut off, %d damaged stretches",
                self.journal.torn,
                self.journal.damaged,
            )
        self._delivery.clear(self._state)
        self._keeper.open()
        notify("READY=1")
        while True:
            code = self._turn()
            if code is not None:
                return code

    def _turn(self) -> int | None:
        """Look once and work off what is there; return an exit code to stop."""
        if self._stop:
            return 130 if self._stop.signal == signal.SIGINT else EXIT_STOPPED
        if self._stop.reload:
            self._stop.reload = False
            self._keeper.reload()
        if self._model_is_missing():
            if self.settings.once:
                return EXIT_MODEL
            self._wait_for_model()
            return None
        try:
            done = self._work()
        except Stopped:
            return None
        except JournalError:
            raise
        except OSError as error:
            return self._hold(error)
        self._held = ""
        self.telemetry.state = "idle"
        self._count()
        if self.settings.once and done is not None:
            return done
        busy = self.journal.entries or self._line.more
        self._sleep(0.0 if busy else max(self.settings.poll, 4 * self._line.look_seconds))
        return None

    def _work(self) -> int | None:
        """Look and restore; return the exit code for ``once``, None while something is left."""
        self._check_folders()
        look = self._line.look()
        for found in look.finished:
            self._worker.remove(found)
        work = self._line.entries()
        pause = max(_LOOK_AGAIN, _LOOK_SHARE * self._line.look_seconds)
        for entry in work:
            if self._stop or self._stop.reload or self._model_is_missing():
                return None
            if time.monotonic() - self._line.looked_at > pause:
                return None
            self._check_room()
            self._count()
            self._worker.take(entry, self._line.waited(entry))
            self._hold_seconds = _HOLD_FIRST
        if work or look.unsettled:
            return None
        if look.unreadable:
            _log.error("%d captures cannot be read", look.unreadable)
            return EXIT_FILES
        return EXIT_STOPPED

    def _tick(self) -> None:
        self.telemetry.move()
        self._stop.check_at_once()

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            self.telemetry.move()
            left = end - time.monotonic()
            if left <= 0 or self._stop or self._stop.reload:
                return
            time.sleep(min(left, 0.1))

    def _count(self) -> None:
        self._line.count()
        gauges = self.telemetry.gauges
        gauges["holding"] = float(self.telemetry.state == "holding")
        gauges["model_trusted"] = float(self._keeper.session is not None)
        gauges["configuration_asked_for"] = float(self._keeper.origin == ASKED)

    # ---- holding ------------------------------------------------------------------------------

    def _check_folders(self) -> None:
        """Follow folders that were exchanged, make again what was removed."""
        self._in.renew(make=False)
        if self._delivery.check_folders():
            self.telemetry.events["folder_made_again"] += 1
        if not self.journal.in_place():
            raise JournalError(f"{self._state.path}: the journal was removed or exchanged")

    def _check_room(self) -> None:
        floor = self.settings.min_free_bytes
        for folder in (self._out, self._state):
            if folder.free_bytes() < floor:
                raise OSError(
                    errno.ENOSPC, f"fewer than {floor} bytes free", os.fspath(folder.path)
                )
        limit = self.settings.max_pending
        if limit and self._delivery.pending(limit) >= limit:
            raise OSError(errno.EDQUOT, f"{limit} results wait", os.fspath(self.outbox))

    def _hold(self, error: OSError) -> int | None:
        """Wait for better times; nothing is in hand. With ``once``: give up when none come."""
        text = str(error)
        if text != self._held:
            _log.warning("holding: %s", text)
            self.telemetry.events["hold"] += 1
            self._held = text
        self.telemetry.state = "holding"
        self._count()
        if self.settings.once and self._hold_seconds >= 4 * _HOLD_FIRST:
            return EXIT_NO_ROOM if error.errno in NO_ROOM else EXIT_FILES
        self._sleep(self._hold_seconds)
        self._hold_seconds = min(2 * self._hold_seconds, _HOLD_LONGEST)
        return None

    def _model_is_missing(self) -> bool:
        """Whether captures must wait, since without a model they would all be quarantined."""
        return self.settings.on_failure == "quarantine" and self._keeper.session is None

    def _wait_for_model(self) -> None:
        self.telemetry.state = "holding"
        self._count()
        if time.monotonic() - self._model_tried > _MODEL_AGAIN:
            self._keeper.open()
            self._model_tried = time.monotonic()
        self._sleep(_HOLD_FIRST)
