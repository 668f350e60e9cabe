"""The watch service: every capture ends exactly once, whatever happens around it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagine_deblur.cli import main
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.record import save_record
from imagine_deblur.session import Session
from imagine_deblur.watch.folders import Folder, InboxBusyError
from imagine_deblur.watch.inbox import Inbox
from imagine_deblur.watch.journal import Journal
from imagine_deblur.watch.service import EXIT_NO_ROOM
from imagine_deblur.watch.session import SelfCheckingSession
from watchkit import OPTIONS, Station, capture_bytes, metrics, wait_for


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


@pytest.fixture(autouse=True)
def no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that act in `Session.process` mean captures; `test_configuration` has the trials."""
    monkeypatch.setattr(SelfCheckingSession, "trial", lambda self, folder, shape: None)


def test_restores_once_with_a_report(station: Station) -> None:
    for name in ("a.jpg", "b.JPEG"):
        station.put(name)
    assert station.run() == 0
    report = station.report("a.jpg")
    assert report["outcome"] == "done"
    assert report["report"]["restored"] is True
    assert report["report"]["source"] == "a.jpg"
    before = station.inbox / "a.jpg"
    expected = io.BytesIO()
    with Session(OPTIONS) as session:
        session.process(before, expected)
    assert (station.outbox / "a.jpg").read_bytes() == expected.getvalue()
    assert (station.outbox / "b.JPEG").exists()
    lines = len(station.journal())
    assert station.run() == 0
    assert len(station.journal()) == lines
    assert station.litter() == []
    assert before.exists()


def test_arrival_order_is_kept(station: Station) -> None:
    for k, name in enumerate(("c.jpg", "a.jpg", "b.jpg")):
        station.put(name, when=1_000_000 + k)
    station.run()
    done = [e for e in station.journal() if e["state"] == "done"]
    names = {e["key"]: e["name"] for e in station.journal() if e["state"] == "seen"}
    assert [names[e["key"]] for e in done] == ["c.jpg", "a.jpg", "b.jpg"]


def test_unfinished_and_foreign_names_are_left_alone(station: Station) -> None:
    for name in ("a.jpg.part", ".b.jpg", "c.jpg.tmp", "d.txt", "e.tmp"):
        station.put(name)
    (station.inbox / "link.jpg").symlink_to(station.inbox / "d.txt")
    (station.inbox / "folder.jpg").mkdir()
    assert station.run() == 0
    assert station.outputs() == []
    assert station.journal() == []


def test_a_growing_file_waits_until_it_is_whole(station: Station) -> None:
    data = capture_bytes(1)
    folder = Folder.at(station.inbox)
    inbox = Inbox(folder, stable_polls=2, patience=60)
    path = station.put("a.jpg", data[:100])
    for _ in range(3):
        look = inbox.look()  # stable, but no end marker
        assert (look.fresh, look.unsettled, look.waiting) == ([], 1, 1)
    path.write_bytes(data)
    assert inbox.look().fresh == []
    assert [found.name for found in inbox.look().fresh] == ["a.jpg"]
    impatient = Inbox(folder, stable_polls=2, patience=0)
    path.write_bytes(data[:100])
    assert impatient.look().fresh == []
    assert len(impatient.look().fresh) == 1
    folder.close()


@pytest.mark.parametrize("on_failure", ["passthrough", "quarantine"])
def test_what_cannot_be_restored_falls_back(station: Station, on_failure: str) -> None:
    garbage = b"\xff\xd8 this is not a picture \xff\xd9"
    station.put("bad.jpg", garbage)
    station.put("good.jpg")
    assert station.run(on_failure=on_failure) == 0
    if on_failure == "passthrough":
        assert (station.outbox / "bad.jpg").read_bytes() == garbage
        assert station.report("bad.jpg")["outcome"] == "passed-through"
        assert station.report("bad.jpg")["reason"].startswith("InputImageError")
    else:
        assert station.outputs() == ["good.jpg"]
        (copy,) = (station.outbox / "quarantine").glob("bad-*.jpg")
        assert copy.read_bytes() == garbage
        reason = json.loads(copy.with_name(f"{copy.name}.reason.json").read_bytes())
        assert "InputImageError: bad.jpg" in reason["reason"]
    assert station.report("good.jpg")["outcome"] == "done"
    assert station.states("bad.jpg").count("started") == 1


def test_a_new_capture_of_an_old_name_does_not_replace_it(station: Station) -> None:
    station.put("a.jpg", capture_bytes(1))
    station.run()
    first = (station.outbox / "a.jpg").read_bytes()
    station.put("a.jpg", capture_bytes(2))
    station.run()
    assert (station.outbox / "a.jpg").read_bytes() == first
    assert len(station.outputs()) == 2
    assert all(station.report(name)["outcome"] == "done" for name in station.outputs())


def test_someone_elses_file_in_the_outbox_is_not_replaced(station: Station) -> None:
    station.outbox.mkdir()
    (station.outbox / "a.jpg").write_bytes(b"mine")
    station.put("a.jpg")
    station.run()
    assert (station.outbox / "a.jpg").read_bytes() == b"mine"
    assert len(station.outputs()) == 2


def test_long_names_still_get_their_report(station: Station) -> None:
    station.put("n" * 251 + ".jpg")
    assert station.run() == 0
    (name,) = station.outputs()
    assert station.report(name)["outcome"] == "done"


def test_remove_takes_delivered_captures_out_of_the_inbox(station: Station) -> None:
    station.put("a.jpg")
    station.put("bad.jpg", b"no picture \xff\xd9")
    station.run(after="remove", on_failure="quarantine")
    assert os.listdir(station.inbox) == []
    assert len(list((station.outbox / "quarantine").glob("bad-*.jpg"))) == 1


class Killed(BaseException):
    """The process dies here."""


def dying_at(journal_state: str, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    """Die when a state is written: before the line, or right after it."""
    real = Journal.append

    def append(self: Journal, *events: Any) -> None:
        hit = any(e["state"] == journal_state for e in events)
        if hit and not after:
            raise Killed
        real(self, *events)
        if hit:
            raise Killed

    monkeypatch.setattr(Journal, "append", append)


@pytest.mark.parametrize("state", ["seen", "started", "delivering", "done"])
@pytest.mark.parametrize("after", [False, True])
def test_dying_at_any_state_neither_loses_nor_repeats(
    station: Station, monkeypatch: pytest.MonkeyPatch, state: str, after: bool
) -> None:
    station.put("a.jpg")
    with monkeypatch.context() as patch:
        dying_at(state, patch, after=after)
        with pytest.raises(Killed):
            station.run()
    published = (station.outbox / "a.jpg").exists()
    assert published == (state == "done")
    assert station.run() == 0
    assert station.outputs() == ["a.jpg"]
    assert station.states("a.jpg").count("done") == 1
    again = (state, after) == ("started", True)
    assert station.states("a.jpg").count("started") == 1 + again
    assert station.litter() == []


def test_a_consumed_result_is_not_made_again(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    station.put("a.jpg")
    with monkeypatch.context() as patch:
        dying_at("done", patch, after=False)
        with pytest.raises(Killed):
            station.run()
    os.unlink(station.outbox / "a.jpg")  # downstream was quick
    assert station.run() == 0
    assert station.outputs() == []
    assert station.states("a.jpg")[-1] == "done"


@pytest.mark.parametrize("on_failure", ["passthrough", "quarantine"])
def test_a_capture_that_kills_twice_is_quarantined(
    station: Station, monkeypatch: pytest.MonkeyPatch, on_failure: str
) -> None:
    data = capture_bytes(1)
    station.put("poison.jpg", data, when=1000)
    station.put("good.jpg", when=2000)
    real = Session.process

    def process(self: Session, source: Any, *rest: Any, **more: Any) -> Any:
        if Path(source).read_bytes() == data:
            raise Killed
        return real(self, source, *rest, **more)

    monkeypatch.setattr(Session, "process", process)
    for _ in range(2):
        with pytest.raises(Killed):
            station.run(on_failure=on_failure)
    assert station.run(on_failure=on_failure) == 0
    (copy,) = (station.outbox / "quarantine").glob("poison-*.jpg")
    assert copy.read_bytes() == data
    assert station.states("poison.jpg")[-1] == "quarantined"
    assert station.states("poison.jpg").count("started") == 2
    assert station.report("good.jpg")["outcome"] == "done"
    assert ("poison.jpg" in station.outputs()) == (on_failure == "passthrough")


def test_a_frame_over_its_deadline_is_passed_through(station: Station) -> None:
    path = station.put("a.jpg")
    station.run(replace(OPTIONS, deadline=1e-9))
    assert (station.outbox / "a.jpg").read_bytes() == path.read_bytes()
    assert station.report("a.jpg")["reason"].startswith("late")


def test_a_capture_that_waited_too_long_is_not_restored(station: Station) -> None:
    station.put("a.jpg")
    station.run(late_after=0.0)
    assert station.report("a.jpg")["outcome"] == "passed-through"
    assert "started" not in station.states("a.jpg")


def test_back_pressure_holds_until_results_are_taken(station: Station) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        station.put(name)
    assert station.run(max_pending=2) == EXIT_NO_ROOM
    assert len(station.outputs()) == 2
    for name in station.outputs():
        os.unlink(station.outbox / name)
    assert station.run(max_pending=2) == 0
    assert len(station.outputs()) == 1


def test_the_disk_floor_holds(station: Station) -> None:
    station.put("a.jpg")
    assert station.run(min_free="900000GB") == EXIT_NO_ROOM
    assert station.outputs() == []
    assert "started" not in station.states("a.jpg")
    assert any("holding" in line for line in station.log)


def test_two_services_on_one_inbox_refuse(station: Station, tmp_path: Path) -> None:
    first = station.service(once=False)
    thread = threading.Thread(target=first.run)
    thread.start()
    try:
        wait_for(lambda: (station.outbox / ".imagine-deblur/heartbeat.json").exists())
        other = Station.__new__(Station)
        other.inbox, other.outbox = station.inbox, tmp_path / "elsewhere"
        with pytest.raises(InboxBusyError, match=str(os.getpid())):
            other.run()
        code = main(["watch", str(station.inbox), str(tmp_path / "elsewhere"), "--once"])
        assert code == 9
    finally:
        first.stop()
        thread.join(30)
    assert not thread.is_alive()
    assert other.run() == 0


def started(station: Station, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "imagine_deblur", "watch", str(station.inbox)]
    command += [str(station.outbox), "--poll", "0.02", "--min-free", "0", "--model", "wiener"]
    return subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True)


def test_sigterm_stops_and_sighup_reloads_the_psf(station: Station, tmp_path: Path) -> None:
    record = tmp_path / "lens.json"
    save_record(record, PSF.defocus(2.0), provenance={})
    service = started(station, "--psf", str(record))
    try:
        station.put("a.jpg")
        wait_for(lambda: (station.outbox / "a.jpg").exists())
        save_record(record, PSF.defocus(3.0), provenance={})
        service.send_signal(signal.SIGHUP)
        wait_for(lambda: 'event="psf_reloaded"' in metrics(station))
        station.put("b.jpg")
        wait_for(lambda: (station.outbox / "b.jpg").exists())
        record.write_text("{}")
        service.send_signal(signal.SIGHUP)
        wait_for(lambda: 'event="psf_reload_failed"' in metrics(station))
        station.put("c.jpg")
        wait_for(lambda: (station.outbox / "c.jpg").exists())
        service.send_signal(signal.SIGTERM)
        assert service.wait(30) == 0
    finally:
        service.kill()
        service.communicate()
    ids = [station.report(name)["report"]["psf"]["id"] for name in ("a.jpg", "b.jpg", "c.jpg")]
    assert ids == [PSF.defocus(2.0).id, PSF.defocus(3.0).id, PSF.defocus(3.0).id]


def test_a_second_stop_rolls_the_frame_in_hand_back(station: Station) -> None:
    station.put("a.jpg")
    service = station.service(replace(OPTIONS, tile=32))
    real = Session.process

    def process(self: Session, source: Any, target: Any, *, progress: Any) -> Any:
        service.stop()
        service.stop()
        return real(self, source, target, progress=progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "process", process)
        assert service.run() == 0
    assert station.outputs() == []
    assert station.states("a.jpg") == ["seen", "started", "seen"]
    assert station.litter() == []
    assert station.run() == 0
    assert station.states("a.jpg")[-1] == "done"


def test_one_stop_finishes_the_frame_in_hand(station: Station) -> None:
    station.put("a.jpg", when=1000)
    station.put("b.jpg", when=2000)
    service = station.service()
    real = Session.process

    def process(self: Session, *arguments: Any, **more: Any) -> Any:
        service.stop()
        return real(self, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "process", process)
        assert service.run() == 0
    assert station.outputs() == ["a.jpg"]
    assert station.states("b.jpg") == ["seen"]
