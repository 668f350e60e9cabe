r"""The account of a batch: one JSON line an item, safe against torn lines.

Each line ends in the CRC-32 of what stands before it. Lines are only ever appended; of several
lines about one output the last counts. A line that a crash tore is cut off when the file is opened
again, and one that a disk damaged is passed over: its item is done again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from imagine_deblur.archive.item import Identity
from imagine_deblur.errors import ImagineDeblurError
from imagine_deblur.support.checked_lines import decode_line, encode_line

NAME = "manifest.jsonl"

_SYNC_SECONDS = 1.0  # a power cut costs at most the lines of so long


class ManifestBusyError(ImagineDeblurError, OSError):
    """Another batch writes into this output."""


@dataclass(frozen=True)
class Done:
    """What the manifest keeps in memory of an item, about 300 bytes.

    Attributes
    ----------
    outcome : {"restored", "passed through", "failed", "quarantined"}
    source : str
        Without secrets.
    identity : mapping
        See `imagine_deblur.archive.item.Identity`.
    options : str
        Digest of the options.
    bytes : int
        Size of the output, -1 where there is none.
    owned : bool
        This batch made an output, now or before: a file of that name is its own.
    """

    outcome: str
    source: str
    identity: Identity
    options: str
    bytes: int
    owned: bool

    @property
    def has_output(self) -> bool:
        """Whether the item left an output."""
        return self.bytes >= 0


def read_lines(path: Path) -> Iterator[dict[str, Any] | None]:
    """Yield the records of a manifest, None for a damaged line."""
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield decode_line(line.rstrip(b"\n"))


class Manifest:
    """The manifest of one output, open for appending.

    Parameters
    ----------
    path : Path
        Made where it is missing.

    Attributes
    ----------
    done : dict of str to Done
        By output.
    damaged : int
        Lines that were passed over.

    Raises
    ------
    ManifestBusyError
        Another batch has it open.
    OSError
        It cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: dict[str, Done] = {}
        self.damaged = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            self._lock()
            self._cut_torn_line()
            for record in read_lines(path):
                if record is None or not self._keep(record):
                    self.damaged += 1
        except BaseException:
            os.close(self._descriptor)
            raise
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Flush to the disk and let the next batch have it."""
        with suppress(OSError):
            os.fsync(self._descriptor)
        os.close(self._descriptor)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one item down.

        Raises
        ------
        OSError
            The line is not complete; what was written of it is cut off again.
        """
        line = encode_line(record)
        end = os.fstat(self._descriptor).st_size
        try:
            written = os.write(self._descriptor, line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, end)
            raise
        self._keep(record)
        if time.monotonic() - self._synced >= _SYNC_SECONDS:
            os.fsync(self._descriptor)
            self._synced = time.monotonic()

    def _keep(self, record: Mapping[str, Any]) -> bool:
        try:
            size = int(record.get("bytes", -1))
            output = str(record["output"])
            before = self.done.get(output)
            self.done[output] = Done(
                str(record["outcome"]),
                str(record["source"]),
                dict(record.get("identity", {})),
                str(record["options"]),
                size,
                size >= 0 or (before is not None and before.owned),
            )
        except (KeyError, TypeError, ValueError):
            return False
        return True

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ManifestBusyError(
                errno.EBUSY, "another batch writes into this output", str(self.path)
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise  # a file system without locks: nothing guards against a second batch

    def _cut_torn_line(self) -> None:
        size = os.fstat(self._descriptor).st_size
        at = size
        while at > 0:
            begin = max(0, at - 65_536)
            block = os.pread(self._descriptor, at - begin, begin)
            newline = block.rfind(b"\n")
            if newline >= 0:
                at = begin + newline + 1
                break
            at = begin
        if at != size:
            os.ftruncate(self._descriptor, at)
