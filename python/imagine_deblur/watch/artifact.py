"""Files the session depends on, held twice: on the disk and in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from imagine_deblur.errors import IntegrityError
from imagine_deblur.support.files import replacing
from imagine_deblur.watch.folders import read_file, write_all

LARGEST_FILE = 256 << 20
"""Bytes of a record or a network that are read; the largest bundled network has 3 MB."""


@dataclass
class Artifact:
    """A file and a copy of it in memory, each checked against the digest of the first reading.

    Attributes
    ----------
    kind : str
        ``"weights"`` or ``"psf"``.
    path : Path
        Where the session reads it.
    data : bytes
    sha256 : str
        Lower-case hex.
    moved : bool
        `path` is no longer the user's file but a good copy of it.
    """

    kind: str
    path: Path
    data: bytes
    sha256: str
    moved: bool = False

    @classmethod
    def read(cls, kind: str, path: Path) -> Artifact:
        """Read a file that is trusted now."""
        data = read_file(path, LARGEST_FILE)
        return cls(kind, path, data, hashlib.sha256(data).hexdigest())

    def disk_is_good(self) -> bool:
        """Whether the file still has its digest."""
        try:
            data = read_file(self.path, LARGEST_FILE)
            return hashlib.sha256(data).hexdigest() == self.sha256
        except OSError:
            return False

    def memory_is_good(self) -> bool:
        """Whether the copy still has its digest."""
        return hashlib.sha256(self.data).hexdigest() == self.sha256

    def recover(self, folder: Path) -> None:
        """Mend whichever copy is damaged from the other.

        A damaged file is not written over, since it may be another's: a good one is written to
        `folder` under the same name and read from there.

        Raises
        ------
        IntegrityError
            Both are damaged.
        OSError
            `folder` cannot be written.
        """
        disk, memory = self.disk_is_good(), self.memory_is_good()
        if disk and not memory:
            self.data = read_file(self.path, LARGEST_FILE)
        elif memory and not disk:
            folder.mkdir(parents=True, exist_ok=True)
            copy = folder / self.path.name
            with replacing(copy, overwrite=True) as descriptor:
                write_all(descriptor, self.data)
            self.path, self.moved = copy, True
        elif not disk:
            raise IntegrityError(f"{self.path}: the {self.kind} and the copy in memory are damaged")
