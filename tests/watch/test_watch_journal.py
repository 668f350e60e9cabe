"""The journal survives what can happen to a file."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from imagine_deblur.support.checked_lines import encode_line
from imagine_deblur.watch.entry import DELIVERING, DONE, SEEN, STARTED, Entry, file_digest
from imagine_deblur.watch.folders import Folder
from imagine_deblur.watch.journal import NAME, Journal, JournalError
from imagine_deblur.watch.journal_lines import decode_line


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder.at(tmp_path / "state")
    yield folder
    folder.close()


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that open thousands of journals do not ask for the disk each time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def seen(k: int, **more: object) -> dict[str, object]:
    return {"key": f"k{k}", "state": SEEN, "name": f"{k}.jpg", "order": k, "size": 9, **more}


def filled(folder: Folder, count: int) -> bytes:
    """Write a journal of captures that were seen and done; return its bytes."""
    journal = Journal(folder)
    for k in range(count):
        journal.append(seen(k))
        journal.append({"key": f"k{k}", "state": DONE})
    journal.close()
    return (folder.path / NAME).read_bytes()


def reopened(folder: Folder, data: bytes) -> Journal:
    (folder.path / NAME).write_bytes(data)
    return Journal(folder)


def test_every_truncation_keeps_the_whole_records(folder: Folder, unsynced: None) -> None:
    whole = filled(folder, 3)
    lines = whole.splitlines()
    for length in range(len(whole) + 1):
        journal = reopened(folder, whole[:length])
        kept = whole[:length].split(b"\n")
        count = len(kept) - 1 + (kept[-1] in lines)
        assert journal.lines == count
        assert (folder.path / NAME).read_bytes() == b"".join(x + b"\n" for x in lines[:count])
        journal.append({"key": "new", "state": SEEN, "name": "new"})
        journal.close()
        again = Journal(folder)
        assert again.lines == count + 1
        assert again.torn == again.damaged == 0
        again.close()


def test_every_flipped_bit_of_a_line_is_noticed() -> None:
    line = encode_line({"n": 3, "key": "abc", "state": DONE})[:-1]
    for bit in range(8 * len(line)):
        damaged = bytearray(line)
        damaged[bit // 8] ^= 1 << bit % 8
        assert decode_line(bytes(damaged)) is None


def test_no_flipped_bit_costs_more_than_one_step(folder: Folder, unsynced: None) -> None:
    """Every bit of a journal in turn: other captures are as they were, this one a step behind."""
    journal = Journal(folder)
    journal.append(seen(0))
    journal.append({"key": "k0", "state": STARTED, "crashes": 1})
    journal.append({"key": "k0", "state": DELIVERING, "output": "0.jpg", "final": DONE})
    journal.append(seen(1))
    journal.append({"key": "k0", "state": DONE})
    journal.append({"key": "k1", "state": STARTED, "crashes": 1})
    journal.close()
    data = (folder.path / NAME).read_bytes()
    for bit in range(0, 8 * len(data), 13):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        journal = reopened(folder, bytes(damaged))
        first = journal.entries.get("k0")
        if first is not None:  # the last step is lost, and the one before leads to the same end
            assert (first.state, first.output, first.final) == (DELIVERING, "0.jpg", DONE)
        else:
            assert journal.is_finished("k0")
        assert journal.entries["k1"].name == "1.jpg"
        assert journal.entries["k1"].state in (SEEN, STARTED)
        journal.close()


def test_a_flip_after_compaction_costs_nothing(folder: Folder, unsynced: None) -> None:
    filled(folder, 6)
    journal = Journal(folder)
    journal.append(seen(9))
    journal.compact(lambda file: True, keep=0)
    journal.close()
    data = (folder.path / NAME).read_bytes()
    for bit in range(0, 8 * len(data), 41):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        journal = reopened(folder, bytes(damaged))
        assert all(journal.is_finished(f"k{k}") for k in range(6))
        assert len(journal.files) == 6
        assert list(journal.entries) == ["k9"]
        journal.close()


def test_a_damaged_stretch_is_kept_for_people_and_told_of_once(folder: Folder) -> None:
    lines = filled(folder, 3).splitlines(keepends=True)
    lines[3] = lines[3].replace(b"done", b"dome")  # k1's end
    for _ in range(5):
        journal = reopened(folder, b"".join(lines))
        assert journal.damaged == 1
        assert journal.entries["k1"].state == SEEN
        assert not journal.is_finished("k1")
        journal.close()
        again = Journal(folder)
        assert again.damaged == 0
        again.close()
    assert len(list(folder.path.glob("journal.damaged-*"))) == 2


def test_what_is_no_file_of_ours_is_moved_aside(folder: Folder) -> None:
    target = folder.path.parent / "precious"
    target.write_text("not to be truncated")
    (folder.path / NAME).symlink_to(target)
    Journal(folder).close()
    assert target.read_text() == "not to be truncated"
    os.unlink(folder.path / NAME)
    os.mkfifo(folder.path / NAME)
    Journal(folder).close()
    assert len(list(folder.path.glob("*.foreign-*"))) == 2


def test_attempts_of_this_boot_count_and_others_do_not(folder: Folder) -> None:
    journal = Journal(folder)
    journal.append(seen(0, state=STARTED, crashes=1))
    journal.close()
    again = Journal(folder)
    assert again.entries["k0"].crashes == 1
    again.close()
    line = decode_line((folder.path / NAME).read_bytes()[:-1])
    assert line is not None
    other = reopened(folder, encode_line(line | {"boot": "another"}))
    assert other.entries["k0"].crashes == 0
    other.close()


def test_a_full_disk_leaves_the_journal_as_it_was(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = filled(folder, 1)
    journal = Journal(folder)
    real = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        if offset > len(before):
            raise OSError(errno.ENOSPC, "full")
        return real(descriptor, data[:10], offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="full"):
        journal.append(seen(5))
    monkeypatch.undo()
    assert (folder.path / NAME).read_bytes() == before
    assert "k5" not in journal.entries
    journal.append(seen(5))
    assert journal.entries["k5"].state == SEEN
    journal.close()


def test_after_a_failed_flush_nothing_more_is_written(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(folder)

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "disk")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(JournalError):
        journal.append(seen(0))
    monkeypatch.undo()
    with pytest.raises(JournalError):
        journal.append(seen(0))
    journal.close()


def test_compaction_forgets_what_it_may_and_keeps_the_rest(folder: Folder) -> None:
    filled(folder, 40)
    journal = Journal(folder)
    journal.append(seen(40, state=STARTED, crashes=1))
    there = {file_digest(entry) for entry in entries(range(3))}
    journal.compact(there.__contains__, keep=10)
    assert journal.lines == 2 * (3 + 10 + 1)
    journal.append(seen(41, order=journal.next_order()))
    expected = dict(journal.entries)
    journal.close()
    again = Journal(folder)
    assert again.entries == expected
    assert again.next_order() == 42
    remembered = [k for k in range(40) if again.is_finished(f"k{k}")]
    assert remembered == [0, 1, 2, *range(30, 40)]
    assert len(again.files) == 13
    assert again.damaged == again.torn == 0
    again.close()


def entries(numbers: Iterable[int]) -> Iterator[Entry]:
    for k in numbers:
        entry = Entry(f"k{k}")
        entry.take(seen(k))
        yield entry


def test_the_first_journals_are_read(folder: Folder) -> None:
    """Their later lines named neither capture nor file."""
    old = [
        seen(0, sha256="x", mtime_ns=1, inode=2, ctime_ns=3),
        {"key": "k0", "state": STARTED, "crashes": 1, "boot": ""},
        {"key": "k0", "state": DONE, "crashes": 0, "staged": ""},
        seen(1),
        {"key": "k1", "state": "failed", "vanished": True, "crashes": 0},
        seen(2),
    ]
    data = b"".join(encode_line({"n": n, "t": "", **r}) for n, r in enumerate(old))
    journal = reopened(folder, data)
    assert list(journal.entries) == ["k2"]
    journal.compact(lambda file: True, keep=0)
    journal.close()
    again = Journal(folder)
    assert again.is_finished("k0")
    assert not again.is_finished("k1")
    assert list(again.entries) == ["k2"]
    again.close()


@pytest.mark.parametrize("first", [True, False])
def test_an_aged_journal_is_taken_over_in_little_memory(folder: Folder, first: bool) -> None:
    """140,000 captures that were never forgotten took 300 MB before the first heartbeat."""
    count = 15_000
    with open(folder.path / NAME, "wb") as file:
        for k in range(count):
            facts = seen(k, sha256="0" * 64, mtime_ns=10**18 + k, inode=k, ctime_ns=10**18 + k)
            for state in (SEEN, STARTED, DELIVERING, DONE):
                named = facts if state == SEEN or not first else {"key": f"k{k}"}
                file.write(encode_line({"n": 0, "t": "", **named, "state": state}))
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from imagine_deblur.watch.folders import Folder\n"
        "from imagine_deblur.watch.journal import Journal\n"
        "most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = most()\n"
        "journal = Journal(Folder.at(Path(sys.argv[1])))\n"
        "journal.compact(lambda file: False, 100)\n"
        "print(most() - before, len(journal.finished), journal.lines)\n"
    )
    command = [sys.executable, "-c", script, str(folder.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    grown, finished, lines = map(int, done.stdout.split())
    assert (finished, lines) == (100, 200)
    assert grown < 12_000  # kB; 160 bytes a capture, and the pieces a file is read in


def test_memory_and_lines_do_not_grow_with_what_has_passed(folder: Folder, unsynced: None) -> None:
    """The real threshold and the real compaction, with ten captures to be remembered."""
    journal = Journal(folder)
    most = 0
    for k in range(1500):
        for event in (seen(k), {"state": STARTED}, {"state": DELIVERING}, {"state": DONE}):
            journal.append({**event, "key": f"k{k}"})
        if journal.worth_compacting(10):
            journal.compact(lambda file: False, keep=10)
        most = max(most, journal.lines)
    assert most <= 1004
    assert len(journal.finished) <= 260
    journal.close()
