"""A batch on this machine: the same bytes from any number of workers, again and again."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from archives import OPTIONS, command, digests, lines
from imagine_deblur import process
from imagine_deblur.archive import Item, restore_archive
from imagine_deblur.archive.batch import fitting_workers
from imagine_deblur.errors import MemoryBudgetError, OptionsError
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.record import save_record
from imagine_deblur.report_html.run import find_items as items_of_report


def test_any_number_of_workers_gives_the_bytes_of_process(scenes, run, tmp_path):
    expected = tmp_path / "alone"
    expected.mkdir()
    for path in scenes.iterdir():
        process(path, expected / path.name, options=replace(OPTIONS, threads=2))
    for workers in (1, 3):
        out = tmp_path / f"w{workers}"
        summary = run(scenes, output=out, workers=workers)
        assert (summary.restored, summary.items) == (8, 8)
        assert digests(out) == digests(expected)
    assert not (out / ".imagine-deblur").exists()


def test_a_record_restores_as_it_does_alone(scenes, run, tmp_path):
    lens = tmp_path / "lens.json"
    save_record(lens, PSF.defocus(2.0))
    options = replace(OPTIONS, psf=lens)
    process(scenes / "c0.jpg", tmp_path / "alone.jpg", options=options)
    run(scenes / "c0.jpg", options=options)
    assert (tmp_path / "out/c0.jpg").read_bytes() == (tmp_path / "alone.jpg").read_bytes()
    save_record(lens, PSF.defocus(2.5))
    with pytest.raises(OptionsError, match="other options, PSF"):
        run(scenes / "c0.jpg", options=options)


def test_a_source_is_never_an_output(scenes, run, tmp_path):
    """With --overwrite a batch into its own folder had replaced every capture of it."""
    options = replace(OPTIONS, overwrite=True)
    before = digests(scenes)
    (tmp_path / "link").symlink_to(scenes)
    for output in (scenes, tmp_path / "link", scenes / "." / ".." / scenes.name):
        with pytest.raises(OptionsError, match="a file other than the sources"):
            run(scenes, output=output, options=options)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "c0.jpg").symlink_to(scenes / "c0.jpg")
    with pytest.raises(OptionsError, match="a file other than the sources"):
        run(elsewhere / "c0.jpg", output=scenes, options=options)
    assert digests(scenes) == before
    assert sorted(path.name for path in scenes.iterdir()) == sorted(before)
    stored = Item("s3://bucket/day/a.jpg", "a.jpg")
    with pytest.raises(OptionsError, match="a file other than the sources"):
        restore_archive([stored], "s3://bucket/day", options=options, manifest=tmp_path / "m")


def test_the_second_run_does_nothing(scenes, run, tmp_path):
    run(scenes)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}
    summary = run(scenes)
    assert (summary.skipped, summary.items) == (8, 8)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()} == before


def test_what_changed_is_made_again(scenes, run, tmp_path, pictures):
    run(scenes)
    whole = digests(tmp_path / "out")
    (scenes / "c0.jpg").write_bytes(pictures[1])  # a new source
    os.utime(scenes / "c0.jpg", ns=(1, 1))
    (tmp_path / "out/c2.jpg").unlink()  # an output that was lost
    (tmp_path / "out/c3.jpg").write_bytes(b"cut off")  # and one that was damaged
    summary = run(scenes)
    assert (summary.restored, summary.skipped) == (3, 5)
    now = digests(tmp_path / "out")
    assert now["c0.jpg"] == whole["c1.jpg"]
    assert {**now, "c0.jpg": whole["c0.jpg"]} == whole


def test_other_options_are_refused_before_any_work(scenes, run, tmp_path):
    run(scenes)
    with pytest.raises(OptionsError, match=r"the 8 outputs that are there already.*--overwrite"):
        run(scenes, options=replace(OPTIONS, psf="disk:3"))
    summary = run(scenes, options=replace(OPTIONS, psf="disk:3", overwrite=True))
    assert summary.restored == 8


@pytest.mark.parametrize(
    "same", [{"threads": 2}, {"max_ram": "400MB"}, {"overwrite": False}, {"nice": 3}]
)
def test_options_that_change_no_byte_do_not_count(scenes, run, same):
    run(scenes / "c0.jpg")
    assert run(scenes / "c0.jpg", options=replace(OPTIONS, **same)).skipped == 1


def test_an_output_of_somebody_else_is_kept(scenes, run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "c1.jpg").write_bytes(b"mine")
    summary = run(scenes)
    assert (summary.restored, summary.failed) == (7, 1)
    assert summary.failures[0].kind == "OutputExistsError"
    assert (out / "c1.jpg").read_bytes() == b"mine"
    assert run(scenes, skip_existing=True).failed == 1  # the manifest knows that it failed
    (out / "manifest.jsonl").unlink()
    assert run(scenes, skip_existing=True).skipped == 8


def test_an_output_without_its_line_is_recognised(scenes, run, tmp_path):
    run(scenes)
    whole = digests(tmp_path / "out")
    manifest = tmp_path / "out/manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-20])  # killed between the output and its line
    summary = run(scenes)
    assert (summary.restored, summary.skipped, summary.failed) == (1, 7, 0)
    assert digests(tmp_path / "out") == whole


def test_bad_inputs_do_not_end_the_batch(scenes, run, tmp_path):
    (scenes / "d0.jpg").write_bytes(b"no picture at all")
    (scenes / "d1.jpg").write_bytes((scenes / "c1.jpg").read_bytes()[:700])
    (scenes / "d2.jpg").write_bytes(b"")
    told: list[tuple[str, str]] = []
    summary = run(scenes, watch=lambda source, outcome, reason: told.append((source, outcome)))
    assert (summary.restored, summary.failed) == (8, 3)
    assert all(f.kind in {"InputImageError", "TruncatedJpegError"} for f in summary.failures)
    assert sorted(told)[-3:] == [(str(scenes / f"d{k}.jpg"), "failed") for k in range(3)]
    failed = [line for line in lines(tmp_path / "out") if line["outcome"] == "failed"]
    assert {line["attempts"] for line in failed} == {1}  # damage does not pass by itself
    assert set(digests(tmp_path / "out")) == {f"c{k}.jpg" for k in range(8)}


def test_a_poisoned_input_is_quarantined_and_the_rest_goes_on(scenes, run, tmp_path):
    os.mkfifo(scenes / "stuck.jpg")  # opening it never returns: its workers must be ended
    found = [*sorted(scenes.iterdir())]
    summary = run(*found, workers=2, item_seconds=3.0)
    assert (summary.restored, summary.quarantined) == (8, 1)
    assert "took over 3 s" in summary.failures[0].error
    (line,) = [line for line in lines(tmp_path / "out") if line["outcome"] == "quarantined"]
    assert line["attempts"] == 2
    again = run(*found, item_seconds=3.0)
    assert (again.skipped, again.quarantined) == (8, 1)
    assert "--retry-quarantined" in again.failures[0].error


def test_the_report_reads_the_manifest(scenes, run, tmp_path):
    (scenes / "d0.jpg").write_bytes(b"no picture at all")
    run(scenes)
    items = items_of_report(tmp_path / "out/manifest.jsonl")
    assert sorted((i.name, i.outcome) for i in items) == [
        *((f"c{k}.jpg", "restored") for k in range(8)),
        ("d0.jpg", "failed"),
    ]
    assert all(i.restored == tmp_path / "out" / i.name for i in items if i.outcome == "restored")


def test_two_inputs_of_one_name_from_two_runs_do_not_mix(scenes, run, tmp_path):
    run(scenes / "c0.jpg")
    other = tmp_path / "other"
    other.mkdir()
    (scenes / "c1.jpg").rename(other / "c0.jpg")
    with pytest.raises(OptionsError, match="an output that no other source has"):
        run(other / "c0.jpg")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": replace(OPTIONS, deadline=1.0)}, "the speed of a worker"),
        ({"workers": 0}, "from 1 to 1024"),
        ({"retries": -1}, "0 or more"),
        ({"timeout": 0.0}, "positive number of seconds"),
        ({"output": "s3://bucket/out"}, "--manifest FILE"),
    ],
)
def test_what_cannot_be_is_refused(scenes, run, changes, message):
    with pytest.raises(OptionsError, match=message):
        run(scenes, **changes)


def test_more_workers_than_memory_are_refused():
    with pytest.raises(MemoryBudgetError, match="at most"):
        fitting_workers(1000, 10**12, 1000)
    assert fitting_workers(None, 10**8, 1) == 1


def test_the_command_ends_with_the_code_of_the_first_failure(scenes, tmp_path):
    (scenes / "d0.jpg").write_bytes(b"no picture at all")
    done = command(scenes, "-o", tmp_path / "out", "--workers", "1")
    printed, said = done.communicate(timeout=120)
    assert done.returncode == 3
    counted = json.loads(printed)
    assert (counted["restored"], counted["failed"]) == (8, 1)
    assert "d0.jpg" in said
    assert "9 captures" in said
    again = command(scenes, "-o", tmp_path / "out", "--workers", "1")
    assert json.loads(again.communicate(timeout=120)[0])["skipped"] == 8
    assert again.returncode == 3
