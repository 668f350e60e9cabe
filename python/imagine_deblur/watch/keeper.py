"""Keeping a session that can be trusted: the newest configuration, else one that worked before.

At the start, after an uplink and when a model was lost, configurations are tried in turn: the one
that was asked for, the last one that worked, the blur estimated from each capture, and the same
with the bundled network. A configuration that is new takes effect only after a whole frame has
gone through it by the path that captures take, and one that the process died on is left alone
for a while. Where none is left, captures are passed through.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace

from imagine_deblur.options import Options
from imagine_deblur.watch.configuration import LastGood
from imagine_deblur.watch.folders import Folder
from imagine_deblur.watch.metrics import Telemetry
from imagine_deblur.watch.session import SelfCheckingSession
from imagine_deblur.watch.settings import WatchSettings
from imagine_deblur.watch.trial import try_network

_log = logging.getLogger(__name__)

ASKED, LAST_GOOD, BLIND, BUNDLED_BLIND, NONE = ORIGINS = (
    "asked for",
    "last good",
    "blind",
    "blind, bundled network",
    "none",
)

_RETEST = 20  # captures passed through between attempts to get a session back
_ASK_AGAIN = 600.0  # s until what was asked for is tried again while something else is in use
_ATTEMPTS, _PAUSE = 3, 0.2  # to open files of a configuration, and s between
_TRIAL_SHAPE = (512, 512)  # px, where no capture was seen yet


class SessionKeeper:
    """Opens, tests, loses and regains the session.

    Parameters
    ----------
    options : Options
        What was asked for.
    settings : WatchSettings
    state : Folder
    telemetry : Telemetry

    Attributes
    ----------
    session : SelfCheckingSession or None
        None: captures fall back.
    origin : str
        Which of the configurations is in use, one of `ORIGINS`.
    shape : (rows, columns)
        Of the last capture that was restored, px.
    """

    def __init__(
        self,
        options: Options,
        settings: WatchSettings,
        state: Folder,
        telemetry: Telemetry,
    ) -> None:
        self._asked, self._settings, self._state = options, settings, state
        self._telemetry = telemetry
        self._last_good = LastGood(state)
        self._born = time.monotonic()
        self._passed = 0  # captures that fell back since the session was lost
        self._since = 0.0  # when the configuration in use was opened
        self.session: SelfCheckingSession | None = None
        self.origin = NONE
        self.shape = _TRIAL_SHAPE

    def close(self) -> None:
        """Give everything back."""
        if self.session is not None:
            self.session.close()
        self.session = None
        self._last_good.close()

    def open(self) -> bool:
        """Open the first configuration that can be used; return whether there is one."""
        if self.session is not None:
            self.session.close()
        self.session, self.origin = None, NONE
        refused = ""
        for origin, options in self._configurations():
            self._telemetry.move()
            try:
                self.session = self._opened(options)
            except Exception as error:  # whatever a file from outside brings about
                reason = f"{type(error).__name__}: {error}"
                if reason != refused:
                    _log.error("configuration '%s' cannot be used: %s", origin, reason)
                refused = reason
                self._telemetry.events["configuration_refused"] += 1
                continue
            self.origin, self._passed, self._since = origin, 0, time.monotonic()
            if origin != ASKED:
                _log.warning("configuration '%s' is in use instead of the one asked for", origin)
            return True
        _log.error("no configuration can be used: captures fall back")
        return False

    def reload(self) -> None:
        """Read the PSF record and the network again, as after an uplink."""
        self._last_good.attempts.forget()
        if self.open() and self.origin == ASKED:
            self._telemetry.events["psf_reloaded"] += 1
            _log.info("configuration read again and in use")
        else:
            self._telemetry.events["psf_reload_failed"] += 1

    def lose(self, error: Exception) -> None:
        """Give up a session that cannot be trusted."""
        _log.error("the model cannot be trusted: %s", error)
        self._telemetry.events["model_lost"] += 1
        if self.session is not None:
            self.session.close()
        self.session, self.origin = None, NONE
        self._passed = 0

    def regain(self) -> bool:
        """Return whether there is a session; try for one again now and then.

        A flipped bit in memory goes away with the memory.
        """
        if self.session is not None:
            if self.origin != ASKED and time.monotonic() - self._since > _ASK_AGAIN:
                self.open()
            return self.session is not None
        self._passed += 1
        if self._passed % _RETEST != 1 or not self.open():
            return False
        self._telemetry.events["model_regained"] += 1
        return True

    def _configurations(self) -> Iterator[tuple[str, Options]]:
        yield ASKED, self._asked
        kept = self._last_good.options()
        if kept is not None:
            yield LAST_GOOD, kept
        if self._asked.psf is not None:
            yield BLIND, replace(self._asked, psf=None)
        yield (
            BUNDLED_BLIND,
            replace(self._asked, psf=None, model="auto", engine="auto", precision="f32"),
        )

    def _opened(self, options: Options) -> SelfCheckingSession:
        """Return a tested session; a disk that refuses is asked a few times."""
        for attempt in range(_ATTEMPTS):
            try:
                return self._tested(options)
            except OSError:
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(_PAUSE)
        raise AssertionError("unreachable")

    def _tested(self, options: Options) -> SelfCheckingSession:
        """Return a session that was tested as much as its novelty asks for.

        Raises
        ------
        ImagineDeblurError, OSError, MemoryError
            It cannot be used.
        """
        self._telemetry.state = "self-test"
        if self._last_good.holds(options):
            return self._made(options, known=True)
        with self._last_good.attempts.of(options, time.monotonic() - self._born):
            try_network(options)
            return self._made(options, known=False)

    def _made(self, options: Options, *, known: bool) -> SelfCheckingSession:
        session = SelfCheckingSession(
            options,
            self._state.path / "good",
            check_every=self._settings.check_every,
            golden_every=self._settings.golden_every,
            verify_outputs=self._settings.verify,
        )
        try:
            session.start()
            self._telemetry.move()
            if not known:
                self._try(session, options)
        except BaseException:
            session.close()
            raise
        self._telemetry.events.update(session.events)
        session.events.clear()
        return session

    def _try(self, session: SelfCheckingSession, options: Options) -> None:
        try:
            session.trial(self._state, self.shape)
        except OSError as error:  # the disk refused, which says nothing of the configuration
            self._telemetry.events["configuration_untried"] += 1
            _log.warning("the configuration could not be tried on a whole frame: %s", error)
            return
        if options is not self._asked:
            return
        try:
            self._last_good.keep(options, self._settings)
        except OSError as error:  # a full disk must not cost a configuration that works
            self._telemetry.events["configuration_not_kept"] += 1
            _log.warning("the configuration could not be kept: %s", error)
