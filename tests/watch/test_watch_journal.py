"""The journal survives what can happen to a file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from imagine_deblur.watch.journal import (
    DONE,
    SEEN,
    STARTED,
    Entry,
    Journal,
    JournalError,
    decode_line,
    encode_line,
)


def filled(path: Path, count: int) -> bytes:
    journal = Journal(path)
    for k in range(count):
        journal.append({"key": f"k{k}", "state": SEEN, "name": f"{k}.jpg", "order": k})
        journal.append({"key": f"k{k}", "state": DONE})
    journal.close()
    return path.read_bytes()


def test_every_truncation_keeps_the_whole_lines(tmp_path: Path) -> None:
    whole = filled(tmp_path / "whole", 3)
    for length in range(len(whole) + 1):
        path = tmp_path / "cut"
        path.write_bytes(whole[:length])
        journal = Journal(path)
        lines = whole[:length].count(b"\n")
        assert journal.lines == lines
        assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[:lines])
        journal.append({"key": "new", "state": SEEN})
        journal.close()
        again = Journal(path)
        assert again.lines == lines + 1
        assert again.torn == again.damaged == 0
        again.close()


def test_every_flipped_bit_of_a_line_is_noticed() -> None:
    line = encode_line({"n": 3, "key": "abc", "state": DONE})[:-1]
    for bit in range(8 * len(line)):
        damaged = bytearray(line)
        damaged[bit // 8] ^= 1 << bit % 8
        assert decode_line(bytes(damaged)) is None


def test_a_damaged_line_in_the_middle_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    lines = filled(path, 3).splitlines(keepends=True)
    lines[3] = lines[3].replace(b"done", b"dome")  # k1's end
    path.write_bytes(b"".join(lines))
    journal = Journal(path)
    assert journal.damaged == 1
    assert [journal.entries[k].state for k in ("k0", "k1", "k2")] == [DONE, SEEN, DONE]
    assert len(list(tmp_path.glob("journal.damaged-*"))) == 1
    journal.close()


def test_attempts_of_this_boot_count_and_others_do_not(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.append({"key": "a", "state": STARTED, "crashes": 1})
    journal.close()
    assert Journal(path).entries["a"].crashes == 1
    line = decode_line(path.read_bytes()[:-1])
    assert line is not None
    path.write_bytes(encode_line(line | {"boot": "another"}))
    assert Journal(path).entries["a"].crashes == 0


def test_a_full_disk_leaves_the_journal_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    before = filled(path, 1)
    journal = Journal(path)
    real = os.pwrite

    def short(descriptor: int, data: bytes, offset: int) -> int:
        if len(data) > 10:
            return real(descriptor, data[:10], offset)
        raise OSError(errno.ENOSPC, "full")

    def full(descriptor: int, data: bytes, offset: int) -> int:
        if offset > len(before):
            raise OSError(errno.ENOSPC, "full")
        return short(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="full"):
        journal.append({"key": "b", "state": SEEN})
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert "b" not in journal.entries
    journal.append({"key": "b", "state": SEEN})
    assert journal.entries["b"].state == SEEN
    journal.close()


def test_after_a_failed_flush_nothing_more_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "journal")

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "disk")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(JournalError):
        journal.append({"key": "a", "state": SEEN})
    monkeypatch.undo()
    with pytest.raises(JournalError):
        journal.append({"key": "a", "state": SEEN})
    journal.close()


def test_compaction_keeps_one_line_each_and_forgets_what_it_may(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    filled(path, 40)
    journal = Journal(path)
    journal.append({"key": "open", "state": STARTED, "crashes": 1, "order": 40})
    journal.compact(lambda entry: entry.order >= 30)
    assert journal.lines == 11
    journal.append({"key": "later", "state": SEEN, "order": journal.next_order()})
    expected = dict(journal.entries)
    journal.close()
    again = Journal(path)
    assert again.entries == expected
    assert again.entries["open"] == Entry(
        "open", state=STARTED, crashes=1, order=40, boot=again.entries["open"].boot
    )
    assert again.damaged == again.torn == 0
    again.close()
