"""Captures that go, disks that refuse, clocks that jump: the service goes on."""

from __future__ import annotations

import errno
import io
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imagine_deblur.cli import main
from imagine_deblur.errors import OptionsError
from imagine_deblur.session import Session
from imagine_deblur.watch.entry import VANISHED
from imagine_deblur.watch.folders import Folder
from imagine_deblur.watch.session import SelfCheckingSession
from imagine_deblur.watch.settings import WatchSettings
from imagine_deblur.watch.waiting import WaitingLine
from watchkit import OPTIONS, Station, capture_bytes, metrics, wait_for


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


@pytest.fixture(autouse=True)
def no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that act in `Session.process` mean captures; `test_configuration` has the trials."""
    monkeypatch.setattr(SelfCheckingSession, "trial", lambda self, folder, shape: None)


def test_a_capture_that_vanishes_is_accounted_for_and_may_come_back(station: Station) -> None:
    path = station.put("a.jpg", when=1000)
    real = WaitingLine.look

    def look(self: WaitingLine) -> Any:
        result = real(self)
        if path.exists() and result.fresh:
            os.rename(path, station.inbox.parent / "away.jpg")
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WaitingLine, "look", look)
        assert station.run() == 0
    assert station.states("a.jpg")[-1] == VANISHED
    assert station.outputs() == []
    os.rename(station.inbox.parent / "away.jpg", path)
    assert station.run() == 0
    assert station.states("a.jpg")[-1] == "done"


def test_a_capture_removed_while_it_is_restored_is_still_delivered(station: Station) -> None:
    path = station.put("a.jpg")
    real = Session.process

    def process(self: Session, *arguments: Any, **more: Any) -> Any:
        os.unlink(path)
        return real(self, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "process", process)
        assert station.run() == 0
    assert station.report("a.jpg")["outcome"] == "done"


def test_a_capture_written_to_while_it_is_restored_is_taken_up_anew(station: Station) -> None:
    path = station.put("a.jpg", capture_bytes(1))
    newer, calls = capture_bytes(2), []
    real = Session.process

    def process(self: Session, *arguments: Any, **more: Any) -> Any:
        report = real(self, *arguments, **more)
        if not calls:
            path.write_bytes(newer)
        calls.append(1)
        return report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "process", process)
        assert station.run() == 0
    expected = io.BytesIO()
    with Session(OPTIONS) as session:
        session.process(path, expected)
    assert [(station.outbox / n).read_bytes() for n in station.outputs()] == [expected.getvalue()]


def test_clock_jumps_change_nothing(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    real, jumps = time.time, iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: real() + (-1) ** next(jumps) * 3.2e8)
    station.put("future.jpg", when=4e9)
    station.put("past.jpg", when=1.0)
    assert station.run() == 0
    assert station.outputs() == ["future.jpg", "past.jpg"]
    assert station.run() == 0
    assert len([e for e in station.journal() if e["state"] == "done"]) == 2


def test_an_error_of_the_disk_rolls_back_and_is_tried_again(station: Station) -> None:
    station.put("a.jpg")
    real, failures = Session.process, [errno.ENOSPC, errno.EIO]

    def process(self: Session, *arguments: Any, **more: Any) -> Any:
        if failures:
            code = failures.pop()
            raise OSError(code, os.strerror(code), "disk")
        return real(self, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "process", process)
        assert station.run() == 0
    assert station.states("a.jpg").count("started") == 3
    assert station.report("a.jpg")["outcome"] == "done"


def test_a_fault_of_ours_costs_one_capture_only(station: Station) -> None:
    station.put("a.jpg", when=1000)
    station.put("b.jpg", when=2000)
    real, calls = Session.process, []

    def process(self: Session, *arguments: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError("ours")
        return real(self, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "process", process)
        assert station.run() == 0
    assert station.report("a.jpg")["reason"] == "ZeroDivisionError: ours"
    assert station.report("b.jpg")["outcome"] == "done"


def test_heartbeat_and_metrics(station: Station) -> None:
    station.put("a.jpg")
    station.run()
    beat = json.loads((station.outbox / ".imagine-deblur/heartbeat.json").read_text())
    assert beat["pid"] == os.getpid()
    assert beat["state"] == "stopped"
    text = metrics(station)
    assert 'imagine_deblur_captures_total{outcome="done"} 1\n' in text
    for line in text.splitlines():
        assert line.startswith("# ") or len(line.split(" ")) == 2


def test_memory_and_descriptors_stay_flat(station: Station, no_leaks: None) -> None:
    for k in range(8):
        station.put(f"{k}.jpg", capture_bytes(k))
    station.run()


def test_folders_that_may_not_coincide(station: Station) -> None:
    station.outbox = station.inbox
    with pytest.raises(OptionsError, match="OUTBOX"):
        station.run()
    with pytest.raises(OptionsError, match="stable_polls"):
        WatchSettings(stable_polls=0)
    with pytest.raises(OptionsError, match="patience"):
        WatchSettings(patience=float("nan"))


def test_the_command_line(station: Station) -> None:
    station.put("a.jpg")
    arguments = ["watch", str(station.inbox), str(station.outbox), "--once", "--poll", "0.01"]
    assert main([*arguments, "--psf", "disk:2.5", "--model", "wiener", "--min-free", "0"]) == 0
    with Image.open(station.outbox / "a.jpg") as image:
        assert np.asarray(image).shape == (72, 96, 3)


def test_an_outbox_that_refuses_results_makes_no_capture_poison(station: Station) -> None:
    station.put("a.jpg")
    refusals, reports = [1] * 5, [1] * 5
    real_rename, real_write, real_unlink = Folder.rename, Folder.write, Folder.unlink

    def rename(self: Folder, name: str, folder: Folder, new_name: str) -> None:
        if new_name == "a.jpg" and refusals:
            refusals.pop()
            raise OSError(errno.EROFS, "read-only", new_name)
        real_rename(self, name, folder, new_name)

    def write(self: Folder, name: str, data: bytes, **more: Any) -> None:
        if self.path.name == ".staging" and name.endswith(".json") and reports:
            reports.pop()
            raise OSError(errno.EROFS, "read-only", name)
        real_write(self, name, data, **more)

    def unlink(self: Folder, name: str) -> None:
        if self.path.name == ".staging" and reports:
            raise OSError(errno.EROFS, "read-only", name)
        real_unlink(self, name)

    service = station.service(once=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Folder, "rename", rename)
        patch.setattr(Folder, "write", write)
        patch.setattr(Folder, "unlink", unlink)
        patch.setattr("imagine_deblur.watch.service._HOLD_LONGEST", 0.01)
        patch.setattr("imagine_deblur.watch.service._HOLD_FIRST", 0.01)
        thread = threading.Thread(target=service.run)
        thread.start()
        wait_for(lambda: (station.outbox / "a.jpg").exists())
        service.stop()
        thread.join()
    assert station.report("a.jpg")["outcome"] == "done"
    assert not refusals
    assert not reports


def test_what_a_killed_service_left_is_cleared(station: Station) -> None:
    station.put("a.jpg")
    station.run()
    for folder in ("", ".staging", ".imagine-deblur", "quarantine"):
        (station.outbox / folder).mkdir(exist_ok=True)
        (station.outbox / folder / ".a.jpg.json.k3_x9abz.part").write_bytes(b"half")
    (station.outbox / "users.part").write_bytes(b"not ours")
    station.run()
    assert station.litter() == ["users.part"]
    assert station.outputs() == ["a.jpg"]
