"""Finding what a run left behind."""

from __future__ import annotations

import json
import shutil

import pytest

from imagine_deblur.errors import InputImageError
from imagine_deblur.report_html import find_items
from imagine_deblur.support.checked_lines import encode_line


def test_json_lines_are_one_item_a_line(run_folder):
    items = find_items(run_folder / "run.jsonl")
    assert [item.name for item in items] == [
        "scene_1.jpg",
        "scene_2.jpg",
        "scene_10.jpg",
        "broken.jpg",
    ]
    assert [item.outcome for item in items] == ["restored", "passed through", "restored", "failed"]
    assert items[0].capture == run_folder / "captures" / "scene_1.jpg"
    assert items[0].restored == run_folder / "restored" / "scene_1.jpg"
    assert items[3].reason == "not a JPEG"
    assert items[3].restored is None


def test_a_picture_takes_the_report_beside_it(run_folder, tmp_path):
    line = json.loads((run_folder / "run.jsonl").read_text().splitlines()[0])
    shutil.copy(run_folder / "restored" / "scene_1.jpg", tmp_path / "scene_1.jpg")
    (tmp_path / "scene_1.jpg.json").write_text(json.dumps(line))
    (item,) = find_items(tmp_path / "scene_1.jpg")
    assert item.restored == tmp_path / "scene_1.jpg"
    assert item.capture == run_folder / "captures" / "scene_1.jpg"
    assert item.report["model"] == "fast"


def test_the_outbox_of_watch_is_a_run(run_folder, tmp_path):
    """There a report wraps the restoration's, and the capture is named but not where it lies."""
    for line in (run_folder / "run.jsonl").read_text().splitlines()[:2]:
        report = json.loads(line)
        name = report["source"].rpartition("/")[2]
        shutil.copy(run_folder / "restored" / name, tmp_path / name)
        outer = {
            "capture": name,
            "output": name,
            "outcome": "done",
            "reason": None,
            "report": {**report, "source": None, "output": "elsewhere.jpg"},
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(outer))
    (tmp_path / "heartbeat.json").write_text('{"state": "idle"}')
    items = find_items(tmp_path, captures=[run_folder / "captures"])
    assert [item.name for item in items] == ["scene_1.jpg", "scene_2.jpg"]
    assert [item.restored for item in items] == [tmp_path / item.name for item in items]
    assert [item.capture for item in items] == [
        run_folder / "captures" / item.name for item in items
    ]
    # A result of the capture's own name is not taken for the capture.
    assert [item.capture for item in find_items(tmp_path)] == [None, None]


def test_a_moved_run_is_found_by_the_captures_folder(run_folder, tmp_path):
    line = json.loads((run_folder / "run.jsonl").read_text().splitlines()[0])
    line |= {"source": "/gone/scene_1.jpg", "output": "/gone/too/scene_1.jpg"}
    shutil.copy(run_folder / "restored" / "scene_1.jpg", tmp_path / "scene_1.jpg")
    (tmp_path / "r.json").write_text(json.dumps(line))
    (item,) = find_items(tmp_path / "r.json", captures=[run_folder / "captures"])
    assert item.restored == tmp_path / "scene_1.jpg"
    assert item.capture == run_folder / "captures" / "scene_1.jpg"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("r.json", "{", "not JSON"),
        ("r.json", '{"hello": 1}', "holds no report of a restoration"),
        ("r.jsonl", "", "holds no report of a restoration"),
    ],
)
def test_what_is_no_report_is_refused_by_name(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputImageError, match=said) as caught:
        find_items(tmp_path / name)
    assert name in str(caught.value)


def test_damaged_lines_of_a_manifest_are_passed_over_with_a_warning(run_folder, tmp_path, caplog):
    """One bad line, or one byte that is no UTF-8, had cost the report of the whole batch."""
    lines = [json.loads(line) for line in (run_folder / "run.jsonl").read_text().splitlines()]
    written = [encode_line(line) for line in lines]
    written[1] = written[1].replace(b"scene_2", b"scene_9")  # valid JSON, but not what was written
    written.insert(2, b"\xff\xfe\x00garbage\n")
    (tmp_path / "manifest.jsonl").write_bytes(b"".join(written) + b'{"source": "torn')
    items = find_items(tmp_path / "manifest.jsonl")
    assert [item.name for item in items] == ["scene_1.jpg", "scene_10.jpg", "broken.jpg"]
    assert "manifest.jsonl: 3 damaged lines passed over" in caplog.text


def test_the_last_line_of_an_output_counts(run_folder, tmp_path):
    """A batch that went on had every earlier failure in its report once more."""
    (line,) = (run_folder / "run.jsonl").read_text().splitlines()[:1]
    done = json.loads(line)
    failed = {**done, "outcome": "failed", "error": "no network", "report": None}
    other = {"source": "b.jpg", "output": None, "error": "not a JPEG"}
    path = tmp_path / "run.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in (failed, other, done, other)))
    assert [item.outcome for item in find_items(path)] == ["restored", "failed"]


def test_a_folder_without_a_run_says_what_was_looked_for(tmp_path):
    with pytest.raises(InputImageError, match="no run to report on"):
        find_items(tmp_path)
