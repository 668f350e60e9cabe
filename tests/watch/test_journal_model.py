"""The journal as a state machine, against a model that is a dictionary."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

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
    file_digest,
)
from imagine_deblur.watch.folders import Folder
from imagine_deblur.watch.journal import NAME, Journal

KEYS = st.integers(0, 7).map("k{}".format)
NEXT = {
    SEEN: (STARTED, FAILED, VANISHED),
    STARTED: (SEEN, DELIVERING, FAILED, VANISHED),
    FAILED: (DELIVERING, QUARANTINED, VANISHED),
    DELIVERING: (DONE, PASSED),
}


class JournalMachine(RuleBasedStateMachine):
    """Events, ends of the process, torn tails, flips, cuts and compactions in any order."""

    @initialize()
    def open(self) -> None:
        self.scratch = tempfile.TemporaryDirectory()
        self.folder = Folder.at(Path(self.scratch.name))
        self.journal = Journal(self.folder)
        self.states: dict[str, str] = {}
        self.finished: set[str] = set()
        self.past: dict[str, set[str]] = {}

    @rule(key=KEYS)
    def see(self, key: str) -> None:
        if key not in self.states and key not in self.finished:
            order = self.journal.next_order()
            self.journal.append({"key": key, "state": SEEN, "name": f"{key}.jpg", "order": order})
            self.states[key] = SEEN
            self.past.setdefault(key, set()).add(SEEN)

    @rule(key=KEYS, choice=st.integers(0, 3))
    def go_on(self, key: str, choice: int) -> None:
        if key in self.states:
            following = NEXT[self.states[key]]
            state = following[choice % len(following)]
            self.journal.append({"key": key, "state": state, "final": DONE})
            self.states[key] = state
            self.past[key].add(DONE if state in FINAL else state)
            if state in FINAL:
                self.finished.add(key)
            if state in (*FINAL, VANISHED):
                del self.states[key]

    @rule(tail=st.binary(max_size=40))
    def die_with_a_torn_tail(self, tail: bytes) -> None:
        self.journal.close()
        with open(self.folder.path / NAME, "ab") as file:
            file.write(tail)
        self.journal = Journal(self.folder)

    @rule(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def flip_anywhere(self, where: float, bit: int) -> None:
        """One flipped bit costs one capture one step at most."""
        before = self.known()
        self.damage(flip(where, bit))
        after = self.known()
        changed = [key for key in before | after if before.get(key) != after.get(key)]
        assert len(changed) <= 1
        self.believe(after)

    @rule(where=st.floats(0, 1, exclude_max=True))
    def cut_anywhere(self, where: float) -> None:
        """What is left of a cut journal is what it once said."""
        self.damage(cut(where))
        after = self.known()
        assert all(state in self.past[key] for key, state in after.items())
        self.believe(after)

    def damage(self, action: Callable[[bytearray], object]) -> None:
        self.journal.close()
        path = self.folder.path / NAME
        data = bytearray(path.read_bytes())
        if data:
            action(data)
            path.write_bytes(data)
        self.journal = Journal(self.folder)

    def known(self) -> dict[str, str]:
        """What the journal says of every key, finished or not."""
        told = {key: entry.state for key, entry in self.journal.entries.items()}
        return told | {key: DONE for key in self.past if self.journal.is_finished(key)}

    def believe(self, told: dict[str, str]) -> None:
        """Go on from what is left."""
        self.finished = {key for key, state in told.items() if state == DONE}
        self.states = {key: state for key, state in told.items() if state != DONE}

    @rule(keep=st.integers(0, 8))
    def compact(self, keep: int) -> None:
        there = {file_digest(_entry(key)) for key in ("k0", "k1")}
        self.journal.compact(there.__contains__, keep)
        forgotten = {key for key in self.finished if not self.journal.is_finished(key)}
        assert not forgotten & {"k0", "k1"}
        assert len(forgotten) == max(0, len(self.finished - {"k0", "k1"}) - keep)
        self.finished -= forgotten
        assert self.journal.lines == 2 * (len(self.finished) + len(self.states))

    @rule(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def flip_after_compaction(self, where: float, bit: int) -> None:
        """Both copies of everything are there, so one flipped bit costs nothing."""
        self.journal.compact(lambda file: True, 1 << 62)
        self.damage(flip(where, bit))

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "journal"):
            assert {k: e.state for k, e in self.journal.entries.items()} == self.states
            assert all(self.journal.is_finished(key) for key in self.finished)

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            self.folder.close()
            self.scratch.cleanup()


def flip(where: float, bit: int) -> Callable[[bytearray], None]:
    """Return what flips one bit, `where` of the way through."""

    def action(data: bytearray) -> None:
        data[int(where * len(data))] ^= 1 << bit

    return action


def cut(where: float) -> Callable[[bytearray], None]:
    """Return what cuts a file off."""

    def action(data: bytearray) -> None:
        del data[int(where * len(data)) :]

    return action


def _entry(key: str) -> Entry:
    return Entry(key, f"{key}.jpg")


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
