"""The manifest: lines that a crash tore or a disk damaged cost their item and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagine_deblur.archive.manifest import Manifest, ManifestBusyError
from imagine_deblur.support.checked_lines import decode_line, encode_line


def record(number: int, **changes: object) -> dict[str, object]:
    return {
        "source": f"/s/{number}.jpg", "output": f"{number}.jpg", "outcome": "restored",
        "options": "abc", "identity": {"size": 10, "mtime_ns": 5}, "bytes": 100 + number, **changes,
    }  # fmt: skip


def filled(path: Path, count: int = 3) -> bytes:
    with Manifest(path) as manifest:
        for number in range(count):
            manifest.append(record(number))
    return path.read_bytes()


def test_what_was_written_is_read_again(tmp_path):
    path = tmp_path / "m.jsonl"
    filled(path)
    with Manifest(path) as manifest:
        assert sorted(manifest.done) == ["0.jpg", "1.jpg", "2.jpg"]
        assert manifest.done["2.jpg"].bytes == 102
        assert manifest.damaged == 0


def test_a_line_torn_anywhere_is_cut_off(tmp_path):
    path = tmp_path / "m.jsonl"
    whole = filled(path)
    last = whole[:-1].rindex(b"\n") + 1
    for end in range(last + 1, len(whole)):
        path.write_bytes(whole[:end])
        with Manifest(path) as manifest:
            assert sorted(manifest.done) == ["0.jpg", "1.jpg"]
            assert manifest.damaged == 0
            manifest.append(record(7))
        assert path.read_bytes() == whole[:last] + encode_line(record(7))


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_costs_one_line(tmp_path, bit):
    path = tmp_path / "m.jsonl"
    whole = bytearray(filled(path))
    at = len(whole) // 2
    whole[at] ^= 1 << bit
    path.write_bytes(whole)
    with Manifest(path) as manifest:
        assert {"0.jpg", "2.jpg"} <= set(manifest.done)
        assert "1.jpg" not in manifest.done
        assert manifest.damaged >= 1


def test_the_last_line_of_an_output_counts(tmp_path):
    path = tmp_path / "m.jsonl"
    with Manifest(path) as manifest:
        manifest.append(record(1))
        manifest.append({k: v for k, v in record(1, outcome="failed").items() if k != "bytes"})
    with Manifest(path) as manifest:
        done = manifest.done["1.jpg"]
        assert (done.outcome, done.has_output, done.owned) == ("failed", False, True)


def test_two_batches_cannot_write_one_manifest(tmp_path):
    path = tmp_path / "m.jsonl"
    with Manifest(path), pytest.raises(ManifestBusyError, match="another batch"):
        Manifest(path)
    with Manifest(path):  # given back
        pass


def test_a_record_that_holds_what_looks_like_a_checksum():
    tricky = record(1, error='x","crc":"00000000"}')
    assert decode_line(encode_line(tricky)[:-1]) == tricky
