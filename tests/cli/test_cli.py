"""The command line: exit codes, JSON lines, folders, pipes, Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagine_deblur import __version__
from imagine_deblur.cli import main
from imagine_deblur.cli.main import exit_code
from imagine_deblur.errors import (
    CalibrationError,
    CancelledError,
    EngineError,
    EstimationError,
    InputImageError,
    MemoryBudgetError,
    OptionsError,
    OutputExistsError,
    PsfError,
    TruncatedJpegError,
)
from jpegkit import decoded, jpeg

FAST = ["--psf", "disk:2.5", "--model", "wiener", "--threads", "1"]


def run(*arguments: object) -> int:
    return main([str(a) for a in arguments])


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def command(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    full = [sys.executable, "-m", "imagine_deblur", *map(str, arguments)]
    return subprocess.Popen(full, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


# Exit codes


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OptionsError("tile", 0, "more"), 2),
        (PsfError("psf"), 2),
        (InputImageError("image"), 3),
        (TruncatedJpegError("image"), 3),
        (EngineError("engine"), 4),
        (MemoryBudgetError("memory"), 5),
        (OSError(28, "disk full"), 5),
        (EstimationError("flat", reason="flat"), 6),
        (CalibrationError("far"), 6),
        (OutputExistsError("a.jpg"), 7),
        (FileNotFoundError(2, "no file"), 8),
        (PermissionError(13, "no"), 8),
        (CancelledError("stopped"), 8),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_has_its_exit_code(error, code):
    assert exit_code(error) == code


def test_a_file_is_restored_and_reported_as_a_json_line(capture_file, capsys):
    assert run("process", capture_file, *FAST) == 0
    (report,) = lines(capsys.readouterr().out)
    assert report["output"] == str(capture_file.with_name("capture.restored.jpg"))
    assert report["restored"] is True
    assert decoded(Path(report["output"])).shape == (96, 120, 3)


def test_failures_give_their_code_and_one_line(capture_file, tmp_path, capsys):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(capture_file.read_bytes()[:900])
    taken = tmp_path / "taken.jpg"
    taken.write_bytes(b"old")
    flat = tmp_path / "flat.jpg"
    flat.write_bytes(jpeg(np.full((300, 320, 3), 90, np.uint8)))
    record = tmp_path / "lens.json"
    record.write_text("{}")
    for expected, arguments in (
        (2, [capture_file, "--psf", "disk:"]),
        (2, [capture_file, "--psf", record]),
        (2, [capture_file, *FAST, "--quality", "0"]),
        (2, [capture_file, *FAST, "--max-ram", "much"]),
        (3, [broken, *FAST]),
        (4, [capture_file, "--psf", "disk:2", "--model", broken]),
        (5, [capture_file, *FAST, "--max-ram", "1MB"]),
        (6, [flat, "--model", "wiener", "--without-information", "error"]),
        (7, [capture_file, *FAST, "-o", taken]),
        (8, [tmp_path / "none.jpg", *FAST]),
        (8, [capture_file, *FAST, "-o", tmp_path / "x" / "y.jpg"]),
        (8, [capture_file, *FAST, "--temp-dir", tmp_path / "x"]),
    ):
        code = run("process", *arguments)
        said = capsys.readouterr()
        assert code == expected, (arguments, said.err)
        assert said.err.startswith("imagine-deblur: ")
        assert len(said.err.splitlines()) == 1
        assert "Traceback" not in said.err
        told = lines(said.out)  # wrong options end before there is a capture to tell of
        assert [line["exit_code"] for line in told] == [expected] * len(told)
        assert all(line["outcome"] == "failed" for line in told)
    assert taken.read_bytes() == b"old"
    assert len(os.listdir(tmp_path)) == 5


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["process"], ["process", "a.jpg", "--threads", "many"]]
)
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_version_and_help(capsys):
    for arguments, expected in ((["--version"], __version__), (["process", "--help"], "--max-ram")):
        with pytest.raises(SystemExit) as caught:
            run(*arguments)
        assert caught.value.code == 0
        assert expected in capsys.readouterr().out


# Several files


def test_one_broken_file_does_not_stop_the_others(tmp_path, capture, capsys):
    for name in ("a.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(capture)
    (tmp_path / "b.jpg").write_bytes(capture[:900])
    out = tmp_path / "out"
    sources = [tmp_path / f"{n}.jpg" for n in "abc"]
    assert run("process", *sources, *FAST, "-o", out) == 3
    said = capsys.readouterr()
    assert [Path(r["source"]).name for r in lines(said.out)] == ["a.jpg", "b.jpg", "c.jpg"]
    assert [r.get("outcome") for r in lines(said.out)] == [None, "failed", None]
    assert "b.jpg" in said.err
    assert sorted(os.listdir(out)) == ["a.jpg", "c.jpg"]
    assert (out / "a.jpg").read_bytes() == (out / "c.jpg").read_bytes()


def test_the_first_failure_decides_the_code(tmp_path, capture, capsys):
    (tmp_path / "a.jpg").write_bytes(capture)
    (tmp_path / "b.jpg").write_bytes(b"text")
    sources = [tmp_path / "none.jpg", tmp_path / "b.jpg", tmp_path / "a.jpg"]
    assert run("process", *sources, *FAST) == 8
    told = lines(capsys.readouterr().out)
    assert [line.get("exit_code", 0) for line in told] == [8, 3, 0]


def test_a_folder_is_done_in_order_and_again_without_its_own_outputs(tmp_path, capture, capsys):
    for name in ("b.JPG", "a.jpeg", "notes.txt", "c.png"):
        (tmp_path / name).write_bytes(capture)
    for _ in range(2):
        assert run("process", tmp_path, *FAST, "--overwrite") == 0
        reports = lines(capsys.readouterr().out)
        assert [Path(r["source"]).name for r in reports] == ["a.jpeg", "b.JPG"]
    assert sorted(n for n in os.listdir(tmp_path) if "restored" in n) == [
        "a.restored.jpg",
        "b.restored.jpg",
    ]


def test_an_empty_folder_and_clashing_names_are_refused(tmp_path, capture, capsys):
    assert run("process", tmp_path, *FAST) == 8
    assert "no JPEG and no raster" in capsys.readouterr().err
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jpg").write_bytes(capture)
    arguments = [tmp_path / "x", tmp_path / "y", *FAST, "-o", tmp_path / "out"]
    assert run("process", *arguments) == 2
    assert "different names" in capsys.readouterr().err
    taken = tmp_path / "x" / "a.jpg"
    assert run("process", tmp_path / "y", *FAST, "-o", taken) == 2
    assert "a folder for more than one capture; this is a file" in capsys.readouterr().err


def test_captures_with_one_output_name_are_refused(tmp_path, capture, capsys):
    for name in ("a.jpg", "a.jpeg"):
        (tmp_path / name).write_bytes(capture)
    assert run("process", tmp_path, *FAST, "--overwrite") == 2
    assert sorted(os.listdir(tmp_path)) == ["a.jpeg", "a.jpg"]
    assert run("process", tmp_path, *FAST, "-o", tmp_path / "out") == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["a.jpeg", "a.jpg"]
    capsys.readouterr()


def test_an_output_folder_of_the_captures_themselves_is_refused(capture_file, capture, capsys):
    folder = capture_file.parent
    for extra in ([], ["--overwrite"]):
        assert run("process", folder, *FAST, "-o", folder, *extra) in (2, 7)
    assert capture_file.read_bytes() == capture
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_dry_run_writes_nothing(capture_file, capsys):
    before = sorted(os.listdir(capture_file.parent))
    assert run("process", capture_file, *FAST, "--dry-run") == 0
    (plan,) = lines(capsys.readouterr().out)
    assert plan["psf_source"] == "preset"
    assert plan["output"].endswith("capture.restored.jpg")
    assert sorted(os.listdir(capture_file.parent)) == before
    capture_file.with_name("capture.restored.jpg").write_bytes(b"old")
    assert run("process", capture_file, *FAST, "--dry-run") == 7


# Pipes


def test_standard_input_and_output_carry_the_same_bytes(capture_file, capture, monkeypatch):
    target = capture_file.with_name("out.jpg")
    assert run("process", capture_file, *FAST, "-o", target) == 0
    with command("process", "-", *FAST, "-o", "-", stdin=subprocess.PIPE) as child:
        out, said = child.communicate(capture, timeout=60)
    assert child.returncode == 0, said
    assert out == target.read_bytes()
    assert lines(said.decode())[0]["output"] is None


def test_standard_input_to_a_file_and_broken_input(tmp_path, capture, monkeypatch, capsys):
    class Input:
        def __init__(self, data: bytes) -> None:
            self.buffer = io.BytesIO(data)

    monkeypatch.setattr(sys, "stdin", Input(capture))
    assert run("process", "-", *FAST, "-o", tmp_path / "a.jpg") == 0
    assert decoded(tmp_path / "a.jpg").shape == (96, 120, 3)
    monkeypatch.setattr(sys, "stdin", Input(capture[:900]))
    assert run("process", "-", *FAST, "-o", tmp_path / "b.jpg") == 3
    monkeypatch.setattr(sys, "stdin", Input(b""))
    assert run("process", "-", *FAST, "-o", tmp_path / "b.jpg") == 3
    assert os.listdir(tmp_path) == ["a.jpg"]
    assert run("process", "-", *FAST, "--dry-run") == 2
    assert run("process", "-", tmp_path / "a.jpg", *FAST) == 2
    capsys.readouterr()


def test_a_reader_that_goes_away_costs_no_capture(tmp_path, capture):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(capture)
    with command("process", tmp_path, *FAST, "-o", tmp_path / "out") as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        said = child.stderr.read()
        code = child.wait(timeout=60)
    assert code == 0
    assert said.count(b"nobody reads the output any more; the work goes on") == 1
    assert sorted(os.listdir(tmp_path / "out")) == ["a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_files_to_write_to(tmp_path, capture, closed):
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "in" / name).write_bytes(capture)
    process = shlex.join([sys.executable, "-m", "imagine_deblur", "process"])
    flags = shlex.join([*FAST, "-o", str(tmp_path / "out")])
    folder = shlex.quote(str(tmp_path / "in"))
    done = subprocess.run(
        ["bash", "-c", f"{process} {folder} {flags} {closed}"], capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for name in ("a.jpg", "b.jpg"):
        assert (tmp_path / "out" / name).read_bytes()[:2] == b"\xff\xd8"
        decoded(tmp_path / "out" / name)
    done = subprocess.run(
        ["bash", "-c", f"{process} - {flags}/c.jpg <&-"], capture_output=True, timeout=60
    )
    assert done.returncode == 3
    assert b"empty file" in done.stderr


def test_any_name_that_a_file_may_have(tmp_path, capture):
    folder = tmp_path / "in"
    folder.mkdir()
    names = [b"-rf.jpg", b"a b.jpg", b"esc\x1b[2J.jpg", b"latin\xe9\xff.jpg", b"new\nline.jpg"]
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(capture)
    (folder / os.fsdecode(b"zero\x1b\xff.jpg")).write_bytes(b"")
    with command("process", folder, *FAST, "-o", tmp_path / "out") as child:
        lines, said = child.communicate(timeout=60)
    assert child.returncode == 3
    assert b"\x1b" not in said
    assert b"zero\\x1b\\udcff.jpg: not a JPEG but an empty file" in said
    assert sorted(os.listdir(os.fsencode(tmp_path / "out"))) == names
    reports = [json.loads(line) for line in lines.splitlines()]
    assert [os.fsencode(os.path.basename(r["source"])) for r in reports[:-1]] == names
    with command("process", tmp_path / "out" / os.fsdecode(names[3]), *FAST) as child:
        child.communicate(timeout=60)
    assert child.returncode == 0
    missing = tmp_path / os.fsdecode(b"no\xff.jpg")
    assert run("process", missing, *FAST) == 8


# Ctrl-C


def test_interrupting_a_run_leaves_nothing_and_exits_130(tmp_path):
    """SIGINT while the core computes, in tiles of a large frame."""
    source = tmp_path / "large.jpg"
    rng = np.random.default_rng(0)
    source.write_bytes(jpeg(rng.integers(90, 160, (2500, 2500, 3), np.uint8), 60))
    with command(
        "process", source, "--psf", "disk:3", "--model", "wiener", "--threads", "2"
    ) as child:
        deadline = time.monotonic() + 60
        while len(os.listdir(tmp_path)) < 2 and time.monotonic() < deadline:
            time.sleep(0.005)  # until the half-written file is there
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        asked = time.monotonic()
        out, said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    assert out == b""
    assert said.decode().splitlines() == [
        "imagine-deblur: interrupted; nothing half-written was left"
    ]
    assert os.listdir(tmp_path) == ["large.jpg"]
    assert time.monotonic() - asked < 20


# The other commands


def test_info_names_build_and_limits(capsys):
    assert run("info", "--json") == 0
    (facts,) = lines(capsys.readouterr().out)
    assert facts["version"] == __version__
    assert facts["usable_threads"] >= 1
    assert facts["memory"]["machine_bytes"] > 0
    assert facts["default_model"]
    assert run("info") == 0
    assert "compiler" in capsys.readouterr().out


def test_psf_estimate_and_show(tmp_path, blind_capture, capsys):
    source, record = tmp_path / "a.jpg", tmp_path / "lens.json"
    source.write_bytes(blind_capture)
    assert run("psf", "estimate", source, "--json", "-o", record) == 0
    found = lines(capsys.readouterr().out)[0]
    assert found["disk_radius_px"] == pytest.approx(4.0, rel=0.1)
    assert run("psf", "show", record, "--json") == 0
    assert lines(capsys.readouterr().out)[0]["mtf50_cycles_per_px"] > 0
    assert run("process", source, "--psf", record, "--model", "wiener") == 0
    assert lines(capsys.readouterr().out)[0]["psf_source"] == "record"


def test_psf_estimate_of_a_flat_capture_is_refused(tmp_path, capsys):
    source, record = tmp_path / "flat.jpg", tmp_path / "lens.json"
    source.write_bytes(jpeg(np.full((300, 320, 3), 90, np.uint8)))
    assert run("psf", "estimate", source, "--json") == 6
    assert "flat.jpg" in capsys.readouterr().err
    assert run("psf", "estimate", source, "-o", record) == 6
    assert not record.exists()


def test_demo_shows_an_improvement(tmp_path, capsys):
    arguments = ["--model", "wiener", "--rows", "256", "--columns", "320", "--radius", "4"]
    assert run("demo", "-o", tmp_path, *arguments) == 0
    said = capsys.readouterr().out
    before, after = (
        float(line.split("PSNR")[1].split()[0])
        for line in said.splitlines()
        if line.startswith(("capture ", "restored "))
    )
    assert after > before + 1
    assert {"capture.jpg", "capture.restored.jpg", "before_after.jpg"} <= set(os.listdir(tmp_path))


def test_the_package_runs_as_a_module():
    with command("--version") as child:
        out, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert out.decode().split()[-1] == __version__
