"""Would SQLite keep the account of captures better than our own file? Written to find out.

The journal of the watch service as a table of SQLite (standard library, WAL, every commit flushed),
behind the interface of `imagine_deblur.watch.journal.Journal`. Rows carry a CRC-32, because SQLite
by itself does not notice a flipped bit in a value. A database that is damaged is read row by row as
far as that goes, moved aside, and written anew. What came out stands in docs/reliability.md.

    python research/sqlite_journal.py flips --trials 3000 --folder /dev/shm
    python research/sqlite_journal.py kills --kills 500
    python research/sqlite_journal.py costs --captures 20000
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/faults"))

from imagine_deblur.watch import journal as ours
from imagine_deblur.watch import service, waiting
from imagine_deblur.watch.entry import (
    DELIVERING,
    FINAL,
    GONE,
    KNOWN,
    STARTED,
    Entry,
    boot_id,
    clean_record,
    file_digest,
)
from imagine_deblur.watch.folders import Folder
from imagine_deblur.watch.journal import JournalError

NAME = "journal.db"
_TABLE = (
    "CREATE TABLE IF NOT EXISTS captures (key TEXT PRIMARY KEY, n INTEGER, state TEXT, file TEXT, "
    "facts TEXT, crc INTEGER) WITHOUT ROWID"
)


class Known:
    """Says whether a value stands in a column of finished captures."""

    def __init__(self, database: sqlite3.Connection, column: str) -> None:
        self._database = database
        self._ask = f"SELECT 1 FROM captures WHERE {column} = ? AND state = 'known'"

    def __contains__(self, value: bytes | str) -> bool:
        text = value.hex() if isinstance(value, bytes) else value
        return self._database.execute(self._ask, (text,)).fetchone() is not None

    def __len__(self) -> int:
        return self._database.execute(
            "SELECT count(*) FROM captures WHERE state = 'known'"
        ).fetchone()[0]


class SqliteJournal:
    """The account of captures in a database; the interface is `Journal`'s."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._path = folder.path / NAME
        self.boot = boot_id()
        self.entries: dict[str, Entry] = {}
        self.torn = self.damaged = 0
        self._next = self._orders = 0
        try:
            self._open()
            if self._database.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("damaged")
            rows = list(self._good_rows())
        except sqlite3.DatabaseError:
            self._salvage()
            rows = list(self._good_rows())
        for n, facts in rows:
            self._next = max(self._next, n + 1)
            entry = Entry(facts["key"])
            entry.take(facts)
            if entry.state == STARTED and entry.boot != self.boot:
                entry.crashes = max(0, entry.crashes - 1)
            if entry.name or entry.state == DELIVERING:
                self.entries[entry.key] = entry
                self._orders = max(self._orders, entry.order + 1)
        self.finished, self.files = Known(self._database, "key"), Known(self._database, "file")
        self._there = os.stat(self._path)

    @property
    def lines(self) -> int:
        return len(self.finished) + len(self.entries)

    def _open(self) -> None:
        self._database = sqlite3.connect(self._path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute("PRAGMA cache_size = -512")
        self._database.execute(_TABLE)
        self._database.execute("CREATE INDEX IF NOT EXISTS files ON captures (file)")

    def _good_rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield unfinished captures; forget rows whose checksum does not hold."""
        bad = []
        rows = self._database.execute("SELECT key, n, state, file, facts, crc FROM captures")
        for key, n, state, file, text, crc in rows:
            if _crc(key, n, state, file, text) != crc:
                bad.append(key)
            elif state != KNOWN and (facts := clean_record(json.loads(text))) is not None:
                yield n, facts
        self.damaged += len(bad)
        for key in bad:
            self._database.execute("DELETE FROM captures WHERE key = ?", (key,))

    def _salvage(self) -> None:
        """Keep the rows that can be read, in a new database."""
        kept: dict[str, tuple[Any, ...]] = {}
        for order in ("ASC", "DESC"):  # from either end up to the damaged page
            with suppress(sqlite3.Error, AttributeError):
                for row in self._database.execute(f"SELECT * FROM captures ORDER BY key {order}"):
                    with suppress(TypeError, UnicodeError):
                        if _crc(*row[:5]) == row[5]:
                            kept[row[0]] = row
        with suppress(sqlite3.Error, AttributeError):
            self._database.close()
        aside = self._folder.path / f"journal-damaged-{time.time_ns()}"
        aside.mkdir()
        for name in self._folder.names():
            if name.startswith(NAME):
                os.rename(self._folder.path / name, aside / name)
        self.damaged += 1
        self._open()
        self._database.executemany("INSERT INTO captures VALUES (?,?,?,?,?,?)", kept.values())

    def close(self) -> None:
        self._database.close()

    def in_place(self) -> bool:
        try:
            return os.path.samestat(self._there, os.stat(self._path))
        except FileNotFoundError:
            return False

    def is_finished(self, key: str) -> bool:
        return key in self.finished

    def next_order(self) -> int:
        return self._orders

    def append(self, *events: Mapping[str, Any]) -> None:
        changed: dict[str, Entry] = {}
        rows = []
        for event in events:
            key = event["key"]
            entry = Entry(key)
            known = changed.get(key) or self.entries.get(key)
            entry.take({} if known is None else known.facts())
            entry.take(event)
            if entry.state == STARTED:
                entry.boot = self.boot
            changed[key] = entry
            file = event.get("file") or (file_digest(entry).hex() if entry.name else "")
            done = entry.state in (*FINAL, KNOWN)
            state = KNOWN if done else entry.state
            text = "" if done else json.dumps(entry.facts())
            row = (key, self._next, state, file, text)
            rows.append((*row, _crc(*row)))
            self._next += 1
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(
                "INSERT OR REPLACE INTO captures VALUES (?,?,?,?,?,?)",
                [row for row in rows if row[2] not in GONE],
            )
            for row in rows:
                if row[2] in GONE:
                    self._database.execute("DELETE FROM captures WHERE key = ?", (row[0],))
            self._database.execute("COMMIT")
        except sqlite3.OperationalError as error:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise OSError(28 if "full" in str(error) else 5, str(error), NAME) from None
        except sqlite3.DatabaseError as error:
            raise JournalError(f"{NAME}: {error}") from error
        for key, entry in changed.items():
            self._orders = max(self._orders, entry.order + 1)
            if entry.state in (*GONE, KNOWN):
                self.entries.pop(key, None)
            elif key in self.entries:
                self.entries[key].take(entry.facts())
            else:
                self.entries[key] = entry

    def worth_compacting(self, remain: int) -> bool:
        return len(self.finished) > max(1000, 2 * remain)

    def compact(self, present: Callable[[bytes], bool], keep: int) -> None:
        rows = self._database.execute(
            "SELECT key, file FROM captures WHERE state='known' ORDER BY n"
        )
        gone = [(key,) for key, file in rows if not present(bytes.fromhex(file))]
        self._database.executemany(
            "DELETE FROM captures WHERE key = ?", gone[: max(0, len(gone) - keep)]
        )


def _crc(*values: Any) -> int:
    return zlib.crc32(json.dumps(values).encode())


def use() -> None:
    """Let the service use the database."""
    service.Journal = SqliteJournal  # type: ignore[misc,assignment]
    waiting.Journal = SqliteJournal  # type: ignore[misc,assignment]


def costs(kind: type, captures: int) -> None:
    """Print what a journal takes: time an event, bytes, memory, and the next start."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    path = Path(tempfile.mkdtemp(dir="/dev/shm"))
    folder = Folder.at(path)
    journal = kind(folder)
    began = time.process_time()
    for k in range(captures):
        facts = {"name": f"c{k:07d}.jpg", "size": 200_000, "mtime_ns": k, "sha256": "a" * 64}
        journal.append({"key": f"{k:032x}", "state": "seen", "order": k, **facts})
        for state in ("started", "delivering", "done"):
            journal.append({"key": f"{k:032x}", "state": state})
        if journal.worth_compacting(5000):
            journal.compact(lambda file: False, 5000)
    each = (time.process_time() - began) / captures / 4 * 1e6
    journal.close()
    began = time.process_time()
    kind(folder).close()
    start = time.process_time() - began
    size = sum(p.stat().st_size for p in path.iterdir()) / 1e6
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{kind.__name__}: {each:.0f} us of processor an event on a tmpfs, {size:.2f} MB, "
          f"{most:.0f} MB resident at most, {start:.3f} s to open", flush=True)  # fmt: skip
    shutil.rmtree(path)
    os._exit(0)


def main() -> int:
    """Run one of the campaigns, with our file and with the database."""
    import journal_flips
    import kill9

    what = sys.argv.pop(1)
    if what == "costs":
        for kind in (ours.Journal, SqliteJournal):
            costs(kind, int(sys.argv[2]))
        return 0
    campaign = {"flips": journal_flips.main, "kills": kill9.main}[what]
    print("our file", flush=True)
    campaign()
    use()
    print("SQLite", flush=True)
    campaign()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
