"""A configuration that cannot be used never ends the service, and never changes what works."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import networks
from imagine_deblur.cli import main
from imagine_deblur.engines.model import bundled_models
from imagine_deblur.errors import EngineError, OptionsError
from imagine_deblur.options import Options
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.record import save_record
from imagine_deblur.session import Session
from imagine_deblur.watch import keeper, trial
from imagine_deblur.watch.configuration import ATTEMPTS, Attempts, LastGood, last_good
from imagine_deblur.watch.folders import Folder
from imagine_deblur.watch.service import EXIT_MODEL
from imagine_deblur.watch.session import SelfCheckingSession
from imagine_deblur.watch.settings import WatchSettings
from watchkit import Station, capture_bytes, serving, wait_for


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "lens.json"
    save_record(path, PSF.defocus(2.0), provenance={})
    return path


def options(record: Path | None) -> Options:
    psf = None if record is None else str(record)
    return Options(psf=psf, model="wiener", threads=1, tile=96)


def psf_of(station: Station, name: str) -> Any:
    return station.report(name)["report"]["psf_source"], (
        station.report(name)["report"]["psf"] or {}
    ).get("id")


BAD_RECORDS = {
    "empty": lambda path: path.write_text("{}"),
    "gone": lambda path: path.unlink(),
    "cut": lambda path: os.truncate(path, 40),
    "binary": lambda path: path.write_bytes(os.urandom(999)),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "fifo": lambda path: (path.unlink(), os.mkfifo(path)),
    "deep": lambda path: path.write_text("[" * 100_000),
    "link to itself": lambda path: (path.unlink(), path.symlink_to(path.name)),
}


@pytest.mark.parametrize("damage", BAD_RECORDS)
def test_a_start_with_a_bad_record_uses_the_last_good_one(
    station: Station, record: Path, damage: str
) -> None:
    station.put("a.jpg")
    assert station.run(options(record)) == 0
    BAD_RECORDS[damage](record)
    station.put("b.jpg")
    assert station.run(options(record)) == 0
    assert psf_of(station, "b.jpg") == psf_of(station, "a.jpg") == ("record", PSF.defocus(2.0).id)
    assert any("'last good' is in use" in line for line in station.log)


def test_without_a_last_good_one_the_blur_is_estimated(station: Station, record: Path) -> None:
    record.write_text("{}")
    station.put("a.jpg")
    assert station.run(options(record)) == 0
    assert psf_of(station, "a.jpg")[0] in ("estimated", "none")
    assert any("'blind' is in use" in line for line in station.log)


def test_a_flipped_last_good_one_is_not_used(station: Station, record: Path) -> None:
    station.put("a.jpg")
    station.run(options(record))
    kept = station.outbox / ".imagine-deblur/last-good/configuration.json"
    data = bytearray(kept.read_bytes())
    for at in range(0, len(data), len(data) // 25):
        damaged = bytearray(data)
        damaged[at] ^= 2
        kept.write_bytes(damaged)
        found = last_good(station.outbox / ".imagine-deblur")
        assert found is None or data[at : at + 1].isspace() or found[1].tile == 96
    kept.write_bytes(data)
    copy = next(p for p in kept.parent.iterdir() if p.name.startswith("psf-"))
    copy.write_bytes(copy.read_bytes().replace(b"2.0", b"9.0"))
    assert last_good(station.outbox / ".imagine-deblur") is None


def test_a_model_that_is_no_network_falls_to_the_bundled_one(
    station: Station, tmp_path: Path
) -> None:
    bad = tmp_path / "net.onnx"
    bad.write_bytes(b"no network")
    station.put("a.jpg")
    assert station.run(Options(model=str(bad), threads=1, tile=96)) == 0
    assert station.report("a.jpg")["outcome"] == "done"
    assert any("'blind, bundled network' is in use" in line for line in station.log)


def test_where_nothing_can_be_used_captures_are_passed_through_or_wait(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **more: Any) -> None:
        raise EngineError("none", model="none")

    path = station.put("a.jpg")
    with monkeypatch.context() as patch:
        patch.setattr(keeper, "SelfCheckingSession", refuse)
        assert station.run(options(None)) == 0
        assert (station.outbox / "a.jpg").read_bytes() == path.read_bytes()
        station.put("b.jpg")
        assert station.run(options(None), on_failure="quarantine") == EXIT_MODEL
        service = station.service(options(None), on_failure="quarantine", once=False)
        monkeypatch.setattr("imagine_deblur.watch.service._MODEL_AGAIN", 0.0)
        with serving(service) as thread:
            time.sleep(1.0)
            assert thread.is_alive()
            assert station.outputs() == ["a.jpg"]
            patch.undo()
            wait_for(lambda: (station.outbox / "b.jpg").exists())
    assert station.report("b.jpg")["outcome"] == "done"


def test_hup_with_a_record_that_fails_its_trial_leaves_the_old_one_in_use(
    station: Station, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log said that the old one stays, while the new one was in use."""
    station.put("a.jpg")
    service = station.service(options(record), once=False)
    real = SelfCheckingSession.trial

    def fail(self: SelfCheckingSession, folder: Folder, shape: tuple[int, int]) -> None:
        real(self, folder, shape)
        if self.session.options.psf == str(record) and station.outputs():
            raise EngineError("the trial failed", model="")

    monkeypatch.setattr(SelfCheckingSession, "trial", fail)
    with serving(service):
        wait_for(lambda: (station.outbox / "a.jpg").exists())
        save_record(record, PSF.defocus(3.0), provenance={})
        service._stop.reload = True
        wait_for(lambda: service.telemetry.events["psf_reload_failed"] == 1)
        station.put("b.jpg")
        wait_for(lambda: (station.outbox / "b.jpg").exists())
    assert psf_of(station, "b.jpg") == psf_of(station, "a.jpg")
    assert station.run(options(record)) == 0
    station.put("c.jpg")
    station.run(options(record))  # the next start, too
    assert psf_of(station, "c.jpg") == psf_of(station, "a.jpg")


def test_a_kernel_as_large_as_records_may_hold_restores_captures(
    station: Station, tmp_path: Path
) -> None:
    """The whole kernel went into one JPEG segment, which holds 65,533 bytes."""
    rng = np.random.default_rng(1)
    kernel = np.zeros((255, 255))
    kernel[126:129, 126:129] = 1.0
    kernel += 1e-9 * rng.random(kernel.shape)
    record = tmp_path / "large.json"
    save_record(record, PSF.sampled(kernel / kernel.sum()), provenance={})
    station.put("a.jpg", capture_bytes(1, 300, 320))
    assert station.run(Options(psf=str(record), model="wiener", threads=1, tile=320)) == 0
    report = station.report("a.jpg")
    assert report["outcome"] == "done", report["reason"]
    assert len(report["report"]["psf"]["components"][0]["kernel"]) == 255
    xmp = (station.outbox / "a.jpg").read_bytes()
    assert report["report"]["psf"]["id"].encode() in xmp


def test_options_out_of_range_use_what_worked_last(
    station: Station, record: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    station.put("a.jpg")
    assert station.run(options(record)) == 0
    station.put("b.jpg")
    arguments = ["watch", str(station.inbox), str(station.outbox), "--once", "--tile", "3"]
    assert main(arguments) == 0
    assert psf_of(station, "b.jpg") == psf_of(station, "a.jpg")
    assert "what worked last is in use" in capfd.readouterr().err
    assert main(["watch", str(station.inbox), str(station.inbox / "no"), "--tile", "3"]) == 2


def test_the_last_good_configuration_keeps_options_settings_and_files(
    tmp_path: Path, record: Path
) -> None:
    state = Folder.at(tmp_path / "state")
    kept = LastGood(state)
    asked = replace(options(record), quality=77)
    assert not kept.holds(asked)
    kept.keep(asked, WatchSettings(keep_records=7, quarantine=tmp_path / "q"))
    assert kept.holds(asked)
    assert not kept.holds(replace(asked, quality=78))
    save_record(record, PSF.defocus(5.0), provenance={})
    assert not kept.holds(asked)
    settings, found = kept.settings(), kept.options()
    assert settings is not None
    assert found is not None
    assert (settings.keep_records, settings.quarantine) == (7, tmp_path / "q")
    assert found.quality == 77
    with Session(found) as session:
        restored = tmp_path / "restored.jpg"
        (tmp_path / "a.jpg").write_bytes(capture_bytes(1))
        report = session.process(tmp_path / "a.jpg", restored)
    assert report.psf is not None
    assert report.psf["id"] == PSF.defocus(2.0).id
    kept.close()
    state.close()


def test_foreign_networks_are_tried_in_a_process_of_their_own(tmp_path: Path) -> None:
    limits = Options(max_ram="280MB", threads=1)
    good = tmp_path / "own.onnx"
    shutil.copy(bundled_models()["fast"], good)
    trial.try_network(replace(limits, model=str(good)))
    hungry = networks.hungry(tmp_path / "hungry.onnx")  # 3.9 GB for a small tile
    with pytest.raises(EngineError, match="a small frame failed"):
        trial.try_network(replace(limits, model=str(hungry)))
    endless = networks.endless(tmp_path / "endless.onnx")
    started = time.monotonic()
    with pytest.raises(EngineError, match="took it more than"):
        trial.try_network(replace(limits, model=str(endless)), seconds=8.0)
    assert time.monotonic() - started < 30
    garbage = tmp_path / "net.onnx"
    garbage.write_bytes(b"anything")
    with pytest.raises(EngineError, match="a small frame failed"):
        trial.try_network(replace(limits, model=str(garbage)))
    trial.try_network(replace(limits, model="wiener"))  # needs no trial


def test_what_the_process_dies_on_is_not_tried_for_ever(
    station: Station, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel ends it for memory, on a whole frame only: no exception is ever seen."""
    station.put("a.jpg")
    assert station.run(options(record)) == 0  # the last good one
    deadly = record.with_name("deadly.json")
    save_record(deadly, PSF.defocus(4.0), provenance={})
    real = SelfCheckingSession.trial

    def die(self: SelfCheckingSession, folder: Folder, shape: tuple[int, int]) -> None:
        if self.session.options.psf == str(deadly):
            os._exit(99)
        real(self, folder, shape)

    monkeypatch.setattr(SelfCheckingSession, "trial", die)
    station.put("b.jpg")
    starts = 0
    while "b.jpg" not in station.outputs():
        starts += 1
        pid = os.fork()
        if pid == 0:
            os._exit(station.run(options(deadly)))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == (0 if starts > 3 else 99)
    assert starts == 4
    assert psf_of(station, "b.jpg") == psf_of(station, "a.jpg")


def test_a_death_in_another_boot_or_long_ago_is_forgiven(tmp_path: Path, record: Path) -> None:
    folder = Folder.at(tmp_path / "state")
    attempts = Attempts(folder, "boot")
    (folder.path / ATTEMPTS).write_text("not ours")
    unfinished = []
    for _ in range(3):
        unfinished.append(attempts.of(options(record), 0.0))
        unfinished[-1].__enter__()
    with pytest.raises(OptionsError, match="died 3 times"), attempts.of(options(record), 599.0):
        pass
    with Attempts(folder, "another boot").of(options(record), 0.0):
        pass
    for _ in range(3):
        unfinished.append(attempts.of(options(record), 0.0))
        unfinished[-1].__enter__()
    with attempts.of(options(record), 601.0):
        pass
    with attempts.of(options(record), 0.0):  # it was survived
        pass
    for _ in range(5):  # nothing from outside that could be at fault
        unfinished.append(attempts.of(options(None), 0.0))
        unfinished[-1].__enter__()
    folder.close()


def test_hup_before_the_service_is_up_does_not_end_it(station: Station) -> None:
    station.put("a.jpg")
    command = [sys.executable, "-m", "imagine_deblur", "watch", str(station.inbox)]
    command += [str(station.outbox), "--once", "--min-free", "0", "--poll", "0.01"]
    command += ["--model", "identity", "--threads", "1", "--tile", "64"]
    process = subprocess.Popen(command)
    end = time.monotonic() + 100
    caught = f"/proc/{process.pid}/status"
    while time.monotonic() < end:  # as soon as the interpreter handles anything at all
        status = dict(x.split(":", 1) for x in Path(caught).read_text().splitlines())
        ignored = int(status["SigIgn"], 16) | int(status["SigCgt"], 16)
        if ignored >> (signal.SIGHUP - 1) & 1:
            break
    for _ in range(5):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.02)
    assert process.wait(100) == 0
    assert station.report("a.jpg")["outcome"] == "done"


def test_folders_that_would_be_wrong_still_are(station: Station) -> None:
    with pytest.raises(OptionsError):
        WatchSettings(hang_after=-1.0)
    with pytest.raises(OptionsError):
        WatchSettings(max_file="none")
    assert WatchSettings(max_file="1kB").max_file_bytes == 1000
