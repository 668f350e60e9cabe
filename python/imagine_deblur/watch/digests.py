"""Large sets of digests in little memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DIGEST = 16
"""Bytes of a digest: two of a million files agree by chance once in 1e26 missions."""

_FRESH = 4096  # digests kept in a plain set until they are sorted in; 0.5 MB


class DigestSet:
    """A set of digests of 16 bytes, in 16 bytes each.

    A Python set takes about 90 bytes a digest. Here they lie in one sorted array, and the latest
    few thousand in a set that is merged into it from time to time.

    Examples
    --------
    >>> found = DigestSet()
    >>> found.add(b"0123456789abcdef")
    >>> b"0123456789abcdef" in found, len(found)
    (True, 1)
    """

    def __init__(self, digests: bytes | bytearray = b"") -> None:
        self._fresh: set[bytes] = set()
        self._sorted: NDArray[np.void] = np.unique(np.frombuffer(bytes(digests), f"S{DIGEST}"))

    def __len__(self) -> int:
        return len(self._fresh) + len(self._sorted)

    def __contains__(self, digest: bytes) -> bool:
        if digest in self._fresh:
            return True
        at = int(np.searchsorted(self._sorted, np.frombuffer(digest, self._sorted.dtype)[0]))
        return at < len(self._sorted) and self._sorted[at : at + 1].tobytes() == digest

    def add(self, digest: bytes) -> None:
        """Put a digest in."""
        if digest in self:
            return
        self._fresh.add(digest)
        if len(self._fresh) >= _FRESH:
            fresh = np.frombuffer(b"".join(self._fresh), self._sorted.dtype)
            self._sorted = np.union1d(self._sorted, fresh)
            self._fresh = set()
