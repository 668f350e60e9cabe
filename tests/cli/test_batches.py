"""Batches on a terminal: what is found, how far it is, what became of it."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagine_deblur.cli import main
from imagine_deblur.cli.captures import find_captures
from imagine_deblur.cli.progress import STATUS, BatchProgress, in_words
from imagine_deblur.cli.summary import Summary
from imagine_deblur.errors import OptionsError
from jpegkit import jpeg

FAST = ["--psf", "disk:2.5", "--model", "wiener", "--threads", "1"]


def run(*arguments: object) -> int:
    return main([str(a) for a in arguments])


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def captures(tmp_path: Path, capture: bytes) -> Path:
    """Three captures, one of them damaged, one in a sub-folder, and a file of another kind."""
    folder = tmp_path / "captures"
    (folder / "pass2").mkdir(parents=True)
    for name in ("a.jpg", "pass2/a.jpg"):
        (folder / name).write_bytes(capture)
    (folder / "b.jpg").write_bytes(capture[:900])
    (folder / "notes.txt").write_text("seen from orbit")
    return folder


class Terminal:
    """Makes pytest's captured streams look like a terminal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for stream in (sys.stdout, sys.stderr):
            monkeypatch.setattr(stream, "isatty", lambda: True)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"), (3600, "1 h 00 min")],
)
def test_durations_are_told_in_words(seconds, words):
    assert in_words(seconds) == words


def test_progress_counts_rate_and_time_left():
    now = [100.0]
    progress = BatchProgress(10, visible=False, clock=lambda: now[0])
    assert progress.text() == "0 of 10"
    for _ in range(3):
        progress.finished(worked=False)  # results that are there take no time and give no rate
    assert progress.rate is None
    now[0] += 4
    progress.finished()
    progress.finished()
    assert progress.text() == "5 of 10, 2.0 s each, 10.0 s left"
    progress.at("f.jpg", 0.5)
    assert progress.rate == pytest.approx(2.5 / 4)
    assert progress.seconds_left == pytest.approx(4.5 / (2.5 / 4))
    assert BatchProgress(None, visible=False).text() == "0 done"


def test_the_line_goes_away_and_is_cut_to_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    now = [0.0]
    with BatchProgress(2, visible=True, clock=lambda: now[0]) as progress:
        for step in range(5):
            now[0] += 1
            progress.at("a capture of a very long name.jpg", step / 5)
    drawn = capsys.readouterr().err.split("\r")
    assert "0 of 2" in drawn[1]
    assert max(len(line) for line in drawn) < 40
    assert drawn[-2].strip() == drawn[-1] == ""
    STATUS.clear()
    assert capsys.readouterr().err == ""


def test_the_summary_groups_reasons_and_forgets_names():
    summary = Summary()
    for i in range(1000):
        summary.add(f"x/{i}.jpg", "failed", f"x/{i}.jpg: not a JPEG")
    summary.add("y.jpg", "restored", "what is restored needs no reason")
    summary.add("z.jpg", "passed through", "flat")
    assert summary.lines(61) == [
        "1002 captures in 1 min 01 s: 1 restored, 1 passed through, 1000 failed",
        "  passed through: z.jpg: flat",
        "  failed: 0.jpg, 1.jpg, 2.jpg and 997 more: not a JPEG",
    ]
    for i in range(1000):
        summary.add(f"{i}.jpg", "skipped", f"reason {i}")
    said = summary.lines(1)
    assert len(said) == 3 + 21
    assert "  skipped: 20.jpg, 21.jpg, 22.jpg and 977 more: other reasons" in said


def test_folders_are_searched_in_order_and_what_is_passed_over_is_named(captures, tmp_path):
    (captures / "c.restored.jpg").write_bytes(b"")
    os.symlink(captures, captures / "pass2" / "loop")
    found = find_captures([str(captures)], str(tmp_path / "out"), recursive=True)
    assert [job.source for job in found.jobs] == [
        str(captures / name) for name in ("a.jpg", "b.jpg", "pass2/a.jpg")
    ]
    assert [job.target for job in found.jobs] == [
        tmp_path / "out" / name for name in ("a.jpg", "b.jpg", "pass2/a.jpg")
    ]
    assert found.passed_over == [
        (str(captures / "c.restored.jpg"), "a result of an earlier run by its name"),
        (str(captures / "notes.txt"), "neither a JPEG nor a raster by its name"),
        (str(captures / "pass2" / "loop"), "a link to a folder"),
    ]
    flat = find_captures([str(captures)], None)
    assert [job.result.name for job in flat.jobs] == ["a.restored.jpg", "b.restored.jpg"]
    assert (str(captures / "pass2"), "a folder; -r looks into it") in flat.passed_over


def test_an_output_folder_inside_the_captures_is_not_searched(captures):
    arguments = [captures, "-r", "-o", captures / "out", *FAST]
    assert run("process", *arguments) == 3
    made = sorted(str(p.relative_to(captures / "out")) for p in (captures / "out").rglob("*.jpg"))
    assert made == ["a.jpg", "pass2/a.jpg"]
    again = find_captures([str(captures)], str(captures / "out"), recursive=True)
    assert len(again.jobs) == 3


def test_names_that_clash_are_told(captures, tmp_path):
    sources = [str(captures / "a.jpg"), str(captures / "pass2" / "a.jpg")]
    with pytest.raises(OptionsError, match="pass2"):
        find_captures(sources, str(tmp_path / "out"))
    (job,) = find_captures([sources[0], sources[0]], str(tmp_path / "out")).jobs
    assert job.source == sources[0]


def test_a_batch_ends_with_a_summary_and_a_line_for_every_capture(captures, tmp_path, capsys):
    assert run("process", captures, "-r", "-o", tmp_path / "out", *FAST) == 3
    said = capsys.readouterr()
    first, failed, second = lines(said.out)
    assert first["schema"] == failed["schema"] == "imagine_deblur/report/1"
    assert (first["restored"], second["restored"]) == (True, True)
    assert failed["source"].endswith("b.jpg")
    assert (failed["outcome"], failed["kind"], failed["exit_code"]) == (
        "failed",
        "TruncatedJpegError",
        3,
    )
    assert (
        "passed over in the folders: notes.txt (neither a JPEG nor a raster by its name)"
        in said.err
    )
    assert "3 captures in " in said.err
    assert ": 2 restored, 1 failed\n" in said.err
    assert "failed: b.jpg: " in said.err


def test_a_batch_goes_on_where_it_stopped(captures, tmp_path, capsys):
    arguments = ["process", captures, "-r", "-o", tmp_path / "out", *FAST, "--skip-existing"]
    assert run(*arguments) == 3
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.jpg")}
    capsys.readouterr()
    assert run(*arguments) == 3
    said = capsys.readouterr()
    outcomes = [line["outcome"] for line in lines(said.out)]
    assert outcomes == ["skipped", "failed", "skipped"]
    assert "2 skipped" in said.err
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.jpg")} == before
    assert run(*arguments, "--overwrite") == 2


def test_a_terminal_shows_how_far_it_is(captures, tmp_path, capsys, monkeypatch):
    Terminal(monkeypatch)
    assert run("process", captures, "-r", "-o", tmp_path / "out", *FAST) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert "0 of 3" in said.err
    assert run("process", captures / "a.jpg", *FAST) == 0
    assert capsys.readouterr().out.startswith(f"{captures / 'a.restored.jpg'}: wiener on ")


def test_messages_are_as_many_as_asked_for(captures, tmp_path, capsys):
    out = tmp_path / "out"
    for flags, wanted, unwanted in (
        (["-q"], ["b.jpg"], ["captures in", "passed over", "warning"]),
        (["-v"], ["of 3, ", "captures in", "passed over"], []),
        (["--log-level", "error", "-v"], ["b.jpg"], ["captures in", "of 3, "]),
        ([], ["captures in"], ["of 3, "]),
    ):
        run("process", captures, "-r", "-o", out, *FAST, "--overwrite", *flags)
        said = capsys.readouterr().err
        assert all(text in said for text in wanted), (flags, said)
        assert not any(text in said for text in unwanted), (flags, said)
    assert run("-q", "process", captures, "-o", out, *FAST, "--skip-existing") == 3
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_logging_is_left_to_a_program_around_the_package(capture_file):
    import imagine_deblur

    root = logging.getLogger("imagine_deblur")
    before = list(root.handlers)
    imagine_deblur.process(capture_file, psf="disk:2.5", model="wiener")
    assert root.handlers == before


def test_the_summary_says_why_a_capture_was_passed_through(tmp_path, capture, capsys):
    (tmp_path / "flat.jpg").write_bytes(jpeg(np.full((300, 320, 3), 90, np.uint8)))
    (tmp_path / "good.jpg").write_bytes(capture)
    arguments = ["--model", "wiener", "--threads", "1", "-o", tmp_path / "out"]
    assert run("process", tmp_path / "flat.jpg", tmp_path / "good.jpg", *arguments) == 0
    said = capsys.readouterr()
    passed = lines(said.out)[0]["passed_through"]
    assert "flat" in passed
    assert f"passed through: flat.jpg: {passed}" in said.err
