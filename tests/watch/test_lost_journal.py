"""A damaged, cut or missing journal loses nothing and doubles nothing: the reports speak."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from imagine_deblur.watch.entry import DONE
from imagine_deblur.watch.folders import Folder
from imagine_deblur.watch.journal import NAME, Journal
from watchkit import QUICK, Station, capture_bytes


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


class Killed(BaseException):
    """The process dies here."""


def journal_of(station: Station) -> Path:
    return station.outbox / ".imagine-deblur" / NAME


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def died_before(station: Station, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a service that dies when a state is about to be written."""
    real = Journal.append

    def append(self: Journal, *events: object) -> None:
        if any(event["state"] == state for event in events):  # type: ignore[index]
            raise Killed
        real(self, *events)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", append)
        with pytest.raises(Killed):
            station.run(QUICK)


def test_a_flip_in_the_first_line_of_an_unfinished_capture(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    station.put("a.jpg")
    died_before(station, "started", monkeypatch)
    flip(journal_of(station), 40)
    assert station.run(QUICK) == 0
    assert station.outputs() == ["a.jpg"]
    assert station.report("a.jpg")["outcome"] == "done"
    assert len(station.log) < 10


def test_a_flip_in_the_newline_before_the_last_line(station: Station) -> None:
    station.put("a.jpg")
    station.run(QUICK)
    data = journal_of(station).read_bytes()
    flip(journal_of(station), data.rindex(b"\n", 0, len(data) - 1))
    assert station.run(QUICK) == 0
    assert station.outputs() == ["a.jpg"]


@pytest.mark.parametrize("kept", [0.0, 0.5, None])
def test_a_cut_or_removed_journal_doubles_nothing(station: Station, kept: float | None) -> None:
    for k in range(4):
        station.put(f"{k}.jpg", capture_bytes(k))
    station.put("bad.jpg", b"no picture \xff\xd9")
    station.run(QUICK)
    before = {name: (station.outbox / name).read_bytes() for name in station.outputs()}
    assert len(before) == 5
    if kept is None:
        shutil.rmtree(journal_of(station).parent)
    else:
        size = journal_of(station).stat().st_size
        os.truncate(journal_of(station), int(kept * size))
    assert station.run(QUICK) == 0
    assert {name: (station.outbox / name).read_bytes() for name in station.outputs()} == before
    lines = len(station.journal())
    assert station.run(QUICK) == 0  # what the reports told was written down
    assert len(station.journal()) == lines


def test_a_quarantined_capture_is_known_without_the_journal(station: Station) -> None:
    station.put("bad.jpg", b"no picture \xff\xd9")
    station.run(QUICK, on_failure="quarantine")
    shutil.rmtree(journal_of(station).parent)
    assert station.run(QUICK, on_failure="quarantine") == 0
    assert len(list((station.outbox / "quarantine").glob("bad-*.jpg"))) == 1
    assert "started" not in station.states("bad.jpg")


@pytest.mark.parametrize("capture_left", [True, False])
@pytest.mark.parametrize("moment", ["before the renames", "between them", "after them"])
def test_a_delivery_cut_short_is_finished_without_the_journal(
    station: Station, monkeypatch: pytest.MonkeyPatch, moment: str, capture_left: bool
) -> None:
    path = station.put("a.jpg")
    renames_left = [{"before the renames": 0, "between them": 1, "after them": 2}[moment]]
    real = Folder.rename

    def rename(self: Folder, name: str, folder: Folder, new_name: str) -> None:
        ours = folder.path == station.outbox
        if ours and not renames_left[0]:
            raise Killed
        real(self, name, folder, new_name)
        if ours:
            renames_left[0] -= 1
            if renames_left[0] == 0 and moment == "after them":
                raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "rename", rename)
        with pytest.raises(Killed):
            station.run(QUICK)
    shutil.rmtree(journal_of(station).parent)
    if not capture_left:
        os.unlink(path)
    assert station.run(QUICK) == 0
    assert station.outputs() == ["a.jpg"]
    assert station.report("a.jpg")["outcome"] == DONE
    assert station.litter() == []


def test_results_taken_away_with_their_reports_are_not_doubled_by_one_flip(
    station: Station,
) -> None:
    for k in range(3):
        station.put(f"{k}.jpg", capture_bytes(k))
    station.run(QUICK)
    for path in station.outbox.glob("*.jp*"):
        path.unlink()
    data = journal_of(station).read_bytes()
    for at in range(0, len(data), len(data) // 12):
        journal_of(station).write_bytes(data)
        flip(journal_of(station), at)
        assert station.run(QUICK) == 0
        assert station.outputs() == []
