"""Nothing from outside makes the service large, slow or silent."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imagine_deblur.cli.main import main
from imagine_deblur.watch.folders import Folder
from imagine_deblur.watch.inbox import Inbox
from imagine_deblur.watch.log import LineHandler, shortened
from imagine_deblur.watch.service import EXIT_FILES, Service
from imagine_deblur.watch.waiting import WINDOW
from watchkit import QUICK, Station, capture_bytes, serving, wait_for


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


def heartbeat_text(station: Station) -> str:
    path = station.outbox / ".imagine-deblur/heartbeat.json"
    return path.read_text() if path.exists() else ""


def test_a_backlog_is_taken_up_a_window_at_a_time(station: Station) -> None:
    """Thousands of captures: the first results come at once, and beats do not stop."""
    data = capture_bytes(1, 24, 32)
    count = 6000
    for k in range(count):
        (station.inbox / f"{k:05d}.jpg").write_bytes(data)
    service = station.service(QUICK, once=False)
    ages: list[float] = []
    with serving(service):
        began = time.monotonic()
        while len(station.outputs()) < 5:
            assert time.monotonic() - began < 30
            time.sleep(0.05)
            path = station.outbox / ".imagine-deblur/heartbeat.json"
            if path.exists():
                ages.append(time.time() - path.stat().st_mtime)
        assert len(service.journal.entries) <= WINDOW
        wait_for(lambda: service.telemetry.gauges.get("queue_length", 0) > count / 2)
    assert max(ages) < 3  # beats come every 0.9 s; the machine may be loaded


def test_a_backlog_does_not_wait_between_two_windows(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames that take no time waited for the next look after every 64."""
    for k in range(3 * WINDOW):
        (station.inbox / f"{k:05d}.jpg").write_bytes(capture_bytes(1, 24, 32))
    slept: list[float] = []
    monkeypatch.setattr(Service, "_sleep", lambda self, seconds: slept.append(seconds))
    monkeypatch.setattr("imagine_deblur.watch.service._LOOK_AGAIN", 1e3)  # not amid a window
    assert station.run(QUICK, stable_polls=1) == 0
    assert len(station.outputs()) == 3 * WINDOW
    assert sum(seconds > 0 for seconds in slept) <= 1


def test_one_look_is_linear_in_time_and_bounded_in_memory(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path)
    inbox = Inbox(folder, stable_polls=1, patience=0)
    for k in range(4000):
        (tmp_path / f"{k}.jpg").write_bytes(b"x")
    look = inbox.look()
    assert len(look.fresh) == 64
    assert (look.waiting, look.unsettled) == (4000, 4000 - 64)
    look = inbox.look(finished=lambda file: True)
    assert len(look.present) == 16 * 4000
    assert len(look.finished) == 64
    assert inbox._growing == {}
    folder.close()


def test_a_file_too_large_is_accounted_for_and_not_read(station: Station) -> None:
    station.put("good.jpg", when=3e9)
    huge = station.inbox / "huge.jpg"
    huge.touch()
    os.truncate(huge, 300 << 30)
    os.utime(huge, (1000, 1000))
    started = time.monotonic()
    assert station.run(QUICK, patience=0.0, after="remove") == 0
    assert time.monotonic() - started < 30
    assert station.outputs() == ["good.jpg"]
    assert huge.exists()
    (reason,) = (station.outbox / "quarantine").glob("huge-*.reason.json")
    assert "--max-file" in json.loads(reason.read_bytes())["reason"]
    assert station.states("huge.jpg")[-1] == "quarantined"
    assert station.run(QUICK, patience=0.0) == 0
    assert len(list((station.outbox / "quarantine").iterdir())) == 1


def test_reading_ends_when_a_stop_is_asked_for(station: Station) -> None:
    """Of a large file that may be read, SIGTERM does not wait for the end."""
    large = station.inbox / "large.jpg"
    large.touch()
    os.truncate(large, 60 << 30)
    service = station.service(QUICK, once=False, patience=0.0, max_file="100GB")
    with serving(service) as thread:
        wait_for(lambda: "unmoved_seconds" in heartbeat_text(station))
        time.sleep(1.5)  # opened, tested, and reading
        started = time.monotonic()
        service.stop()
        thread.join(10)
        assert time.monotonic() - started < 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_capture_that_cannot_be_read_is_told_of_for_users(station: Station) -> None:
    station.put("a.jpg").chmod(0)
    assert station.run(QUICK) == EXIT_FILES


def test_a_capture_that_cannot_be_read_is_told_of(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    station.put("a.jpg", when=1000)
    station.put("b.jpg", when=2000)
    real = os.pread

    def pread(descriptor: int, count: int, at: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("in/a.jpg"):
            raise OSError(5, "Input/output error")
        return real(descriptor, count, at)

    monkeypatch.setattr(os, "pread", pread)
    assert station.run(QUICK, patience=0.0) == EXIT_FILES
    assert station.outputs() == ["b.jpg"]
    assert any("1 captures cannot be read" in line for line in station.log)
    monkeypatch.undo()
    assert station.run(QUICK) == 0
    assert station.outputs() == ["a.jpg", "b.jpg"]


def test_an_empty_capture_is_accounted_for(station: Station) -> None:
    station.put("empty.jpg", b"")
    assert station.run(QUICK) == 0
    assert station.report("empty.jpg")["outcome"] == "passed-through"
    assert "empty.jpg" in station.report("empty.jpg")["reason"]
    station.put("void.jpg", b"")
    assert station.run(QUICK, on_failure="quarantine") == 0
    (copy,) = (station.outbox / "quarantine").glob("void-*.jpg")
    assert copy.read_bytes() == b""


def test_what_is_no_file_is_left_alone_and_told_of_once(station: Station, tmp_path: Path) -> None:
    """A link in the inbox was passed over without a word."""
    station.put("a.jpg")
    (station.inbox / "b.jpg").symlink_to("a.jpg")
    (station.inbox / "c.jpg").mkdir()
    os.mkfifo(station.inbox / "d.jpg")
    assert station.run(QUICK) == 0
    assert station.outputs() == ["a.jpg"]
    told = [line for line in station.log if "left alone" in line]
    assert [line.split(":")[0][-5:] for line in told] == ["b.jpg", "c.jpg", "d.jpg"]


def test_waiting_counts_from_arrival_and_over_restarts(station: Station) -> None:
    station.put("a.jpg")
    time.sleep(1.2)
    assert station.run(QUICK, late_after=1.0) == 0  # it lay there before the service began
    assert station.report("a.jpg")["reason"].startswith("late")
    station.put("b.jpg")
    assert station.run(QUICK, max_pending=1) != 0  # it is seen, and held
    time.sleep(1.2)
    assert station.run(QUICK, late_after=1.0) == 0
    assert station.report("b.jpg")["reason"].startswith("late")


# ---- the log -------------------------------------------------------------------------------------


@contextmanager
def logged(write: Callable[[bytes], object]) -> Iterator[tuple[logging.Logger, LineHandler]]:
    """A logger whose lines the service's handler writes."""
    handler = LineHandler(write)
    log = logging.Logger("imagine_deblur.watch.test")
    log.addHandler(handler)
    try:
        yield log, handler
    finally:
        handler.close()


def test_names_reach_the_log_escaped() -> None:
    lines: list[bytes] = []
    with logged(lines.append) as (log, _):
        log.warning("%s: late", "evil\n\x1b[2J\u202ename\udcff.jpg")
    text = b"warning: evil\\x0a\\x1b[2J\\u202ename\\udcff.jpg: late"
    assert lines == [b"imagine-deblur watch: " + text + b"\n"]
    assert len(shortened("x" * 10_000)) < 700


def test_a_flood_of_lines_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    # However long a loaded machine takes for it: nothing is allowed anew, and the writer has time.
    monkeypatch.setattr("imagine_deblur.watch.log._PER_SECOND", 0.0)
    monkeypatch.setattr("imagine_deblur.watch.log._FLUSH", 30.0)
    lines: list[bytes] = []
    with logged(lines.append) as (log, handler):
        for _ in range(10_000):
            log.info("again")
        handler._allowance = 1.0
        log.info("last")
    assert len(lines) == 41
    assert re.search(rb"last \(\d{4} lines before this one were dropped\)", lines[-1])


def test_a_reader_that_stalls_or_goes_costs_lines_and_nothing_else() -> None:
    gate = threading.Event()
    with logged(lambda line: gate.wait(30)) as (log, _):
        started = time.monotonic()
        for _ in range(100):
            log.info("line")
        assert time.monotonic() - started < 1
        gate.set()

    def gone(line: bytes) -> None:
        raise BrokenPipeError

    with logged(gone) as (log, handler):
        log.info("line")
    assert handler.lost == 1


@pytest.mark.parametrize("how", ["closed", "stalled", "full"])
def test_the_command_works_on_without_its_log(station: Station, how: str) -> None:
    for k in range(30):
        station.put(f"{k}.jpg", b"no picture \xff\xd9")
    station.put("z.jpg")
    command = [sys.executable, "-m", "imagine_deblur", "watch", str(station.inbox)]
    command += [str(station.outbox), "--once", "--min-free", "0", "--poll", "0.01"]
    command += ["--model", "identity", "--threads", "1", "--tile", "64"]
    read, write = os.pipe()
    if how == "full":
        with open("/dev/full", "wb") as full:
            done = subprocess.run(command, stderr=full, timeout=100, check=False)
    else:
        if how == "closed":
            os.close(read)
        else:
            os.set_blocking(write, False)
            try:
                while os.write(write, b"x" * 65536):
                    pass
            except BlockingIOError:
                os.set_blocking(write, True)
        done = subprocess.run(command, stderr=write, timeout=100, check=False)
        if how == "stalled":
            os.close(read)
    os.close(write)
    assert done.returncode == 0
    assert len(station.outputs()) == 31


def test_the_command_says_as_much_as_it_was_asked_for(
    station: Station, capfd: pytest.CaptureFixture[str]
) -> None:
    for level, told in (([], True), (["-q"], False), (["--log-level", "warning"], True)):
        station.put(f"{len(level)}.jpg", b"no picture \xff\xd9")
        command = ["watch", str(station.inbox), str(station.outbox), "--once"]
        assert main([*command, "--model", "identity", "--tile", "64", *level]) == 0
        said = capfd.readouterr().err
        assert (f"warning: {len(level)}.jpg: passed-through" in said) == told, said
