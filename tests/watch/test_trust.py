"""Folders, links and names that somebody else made."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from imagine_deblur.errors import OptionsError
from imagine_deblur.watch.entry import DELIVERING, VANISHED
from imagine_deblur.watch.folders import Folder
from imagine_deblur.watch.inbox import Found, Inbox
from imagine_deblur.watch.journal import Journal
from imagine_deblur.watch.waiting import WaitingLine
from watchkit import QUICK, Station, capture_bytes, recorded, serving, wait_for


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


@pytest.mark.parametrize(
    ("inbox", "outbox", "told"),
    [("out-raw", "out", False), ("out/in", "out", True), ("in", "in/out", True)],
)
def test_a_vanished_capture_does_not_hold_the_queue_wherever_the_folders_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inbox: str, outbox: str, told: bool
) -> None:
    station = Station.__new__(Station)
    station.inbox, station.outbox = tmp_path / inbox, tmp_path / outbox
    station.log = recorded()
    station.inbox.mkdir(parents=True)
    gone = station.put("a.jpg", when=1000)
    station.put("b.jpg", when=2000)
    real = WaitingLine.look

    def look(self: WaitingLine) -> Any:
        result = real(self)
        if result.fresh:
            gone.unlink(missing_ok=True)
        return result

    monkeypatch.setattr(WaitingLine, "look", look)
    assert station.run(QUICK) == 0
    assert station.outputs() == ["b.jpg"]
    assert station.states("a.jpg")[-1] == VANISHED
    assert any("lies inside" in line for line in station.log) == told


def test_folders_that_may_not_be_one(tmp_path: Path) -> None:
    station = Station(tmp_path)
    station.outbox = tmp_path / "link"
    station.outbox.symlink_to(station.inbox)
    with pytest.raises(OptionsError, match="OUTBOX"):
        station.run(QUICK)
    station.outbox = tmp_path / "out"
    with pytest.raises(OptionsError, match="--state"):
        station.run(QUICK, state=station.inbox)


def test_folders_removed_while_it_works_are_made_again(station: Station) -> None:
    station.put("a.jpg")
    with serving(station.service(QUICK, once=False, state=station.inbox.parent / "state")):
        wait_for(lambda: (station.outbox / "a.jpg").exists())
        shutil.rmtree(station.outbox / ".staging")
        station.put("b.jpg")
        wait_for(lambda: (station.outbox / "b.jpg").exists())
        shutil.rmtree(station.outbox)
        station.put("c.jpg")
        wait_for(lambda: (station.outbox / "c.jpg").exists())


@pytest.mark.parametrize("moment", ["before it is looked for", "before it is renamed"])
def test_a_staged_result_that_is_removed_is_made_again(
    station: Station, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """It was taken for delivered, and its capture was removed from the inbox."""
    station.put("a.jpg")
    owner, name = (Journal, "append") if moment == "before it is looked for" else (Folder, "rename")
    real, left = getattr(owner, name), [1]

    def removing(self: Any, *arguments: Any) -> Any:
        ours = name == "append" or arguments[0].endswith(".json")  # the report goes out first
        result = real(self, *arguments)
        if ours and left and (name == "rename" or arguments[0].get("state") == DELIVERING):
            left.pop()
            shutil.rmtree(station.outbox / ".staging")
        return result

    monkeypatch.setattr(owner, name, removing)
    assert station.run(QUICK, after="remove") == 0
    assert not left
    assert station.outputs() == ["a.jpg"]
    assert station.report("a.jpg")["outcome"] == "done"
    assert os.listdir(station.inbox) == []


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("emptied", ["folder", "files", "pictures", "nothing"])
@pytest.mark.parametrize("moment", ["journalled", "renamed"])
def test_staging_emptied_and_the_process_killed_at_once(
    station: Station, monkeypatch: pytest.MonkeyPatch, emptied: str, moment: str
) -> None:
    """It counted as published: the capture was lost. What was published is not made again."""
    station.put("a.jpg")
    owner, name = (Journal, "append") if moment == "journalled" else (Folder, "rename")
    real = getattr(owner, name)

    def dying(self: Any, *arguments: Any) -> Any:
        result = real(self, *arguments)
        if name == "append" and arguments[0].get("state") == DELIVERING:
            empty()
            raise Killed
        if name == "rename" and arguments[0].endswith(".jpg"):
            os.unlink(station.outbox / "a.jpg")  # downstream was quick
            raise Killed
        return result

    def empty() -> None:
        staging = station.outbox / ".staging"
        if emptied == "folder":
            shutil.rmtree(staging)
        elif emptied != "nothing":
            for path in staging.glob("*.jpg" if emptied == "pictures" else "*"):
                path.unlink()

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, dying)
        with pytest.raises(Killed):
            station.run(QUICK, after="remove")
    assert station.run(QUICK, after="remove") == 0
    assert station.outputs() == ([] if moment == "renamed" else ["a.jpg"])
    assert os.listdir(station.inbox) == []
    assert os.listdir(station.outbox / ".staging") == []


def test_planted_links_lead_nowhere(station: Station, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for name in ("precious", "heartbeat.json", "a.jpg"):
        (foreign / name).write_text("precious")
    state = station.outbox / ".imagine-deblur"
    state.mkdir(parents=True)
    (station.outbox / ".staging").symlink_to(foreign)
    (station.outbox / "quarantine").mkdir()
    (state / "journal.jsonl").symlink_to(foreign / "precious")
    (state / "heartbeat.part").symlink_to(foreign / "precious")
    (state / "heartbeat.json").symlink_to(foreign / "heartbeat.json")
    (state / "last-good").symlink_to(foreign)
    station.put("a.jpg")
    assert station.run(QUICK) == 0
    assert {p.name: p.read_text() for p in foreign.iterdir()} == dict.fromkeys(
        ("precious", "heartbeat.json", "a.jpg"), "precious"
    )
    assert station.report("a.jpg")["outcome"] == "done"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")
def test_another_users_state_folder_is_refused(station: Station, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 4711, 4711)
    with pytest.raises(PermissionError, match="belongs to user 4711"):
        station.run(QUICK, state=state)


@pytest.mark.parametrize("kind", ["folder", "fifo", "deep", "link", "huge"])
def test_whatever_has_the_reports_name_another_name_is_taken(station: Station, kind: str) -> None:
    station.outbox.mkdir()
    path = station.outbox / "a.jpg.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "deep":
        path.write_text("[" * 200_000)
    elif kind == "huge":
        path.touch()
        os.truncate(path, 1 << 33)
    else:
        path.symlink_to("/dev/zero")
    station.put("a.jpg")
    assert station.run(QUICK) == 0
    (name,) = station.outputs()
    assert name != "a.jpg"
    assert station.report(name)["outcome"] == "done"


def test_a_capture_that_takes_the_name_meanwhile_is_not_removed(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The camera uses the name again between the look at the file and its removal."""
    path = station.put("a.jpg", capture_bytes(1))
    second = capture_bytes(2)
    real = Folder.rename

    def rename(self: Folder, name: str, folder: Folder, new_name: str) -> None:
        if new_name.startswith(".removing-") and path.exists() and not seen:
            seen.append(1)
            part = path.with_suffix(".part")
            part.write_bytes(second)
            os.replace(part, path)
        real(self, name, folder, new_name)

    seen: list[int] = []
    monkeypatch.setattr(Folder, "rename", rename)
    assert station.run(QUICK, after="remove") == 0
    assert seen
    assert len(station.outputs()) == 2
    assert os.listdir(station.inbox) == []


def test_a_removal_cut_short_is_undone(station: Station) -> None:
    data = capture_bytes(3)
    station.put(".removing-a.jpg", data)
    station.put("a.jpg", capture_bytes(4))  # the camera has used the name again
    assert station.run(QUICK, after="remove") == 0
    assert len(station.outputs()) == 2
    assert os.listdir(station.inbox) == []


def test_a_replaced_file_is_put_back(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path)
    inbox = Inbox(folder, stable_polls=1, patience=0)
    (tmp_path / "a.jpg").write_bytes(b"new")
    wrong = Found.of("a.jpg", os.stat(tmp_path / "a.jpg"))._replace(inode=1)
    assert not inbox.remove(wrong)
    assert (tmp_path / "a.jpg").read_bytes() == b"new"
    folder.close()


def test_a_capture_replaced_by_a_link_or_folder_does_not_hold_the_queue(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = station.put("a.jpg", when=1000)
    station.put("b.jpg", when=2000)
    real = WaitingLine.look

    def look(self: WaitingLine) -> Any:
        result = real(self)
        if result.fresh and path.is_file():
            path.unlink()
            path.mkdir()
        return result

    monkeypatch.setattr(WaitingLine, "look", look)
    assert station.run(QUICK) == 0
    assert station.outputs() == ["b.jpg"]


def test_no_descriptor_is_left_behind(station: Station) -> None:
    station.put("a.jpg")
    station.run(QUICK)
    before = len(os.listdir("/proc/self/fd"))
    threads = threading.active_count()
    for _ in range(3):
        station.run(QUICK, quarantine=station.inbox.parent / "q", on_failure="quarantine")
    assert len(os.listdir("/proc/self/fd")) == before
    assert threading.active_count() == threads
