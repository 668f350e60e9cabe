"""Lines of the journal: JSON with a checksum each, found again inside damaged stretches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, BinaryIO

from imagine_deblur.support import checked_lines
from imagine_deblur.watch.entry import clean_record

_BEGINNING = b'{"n":'
_LONGEST_LINE = 1 << 16  # bytes; the longest of ours, of a name of 255 bytes, has under 4 kB


def decode_line(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line without its newline, None where it is damaged or no event."""
    record = checked_lines.decode_line(line)
    return None if record is None else clean_record(record)


def read_records(file: BinaryIO) -> Iterator[tuple[dict[str, Any] | None, int]]:
    """Yield (record, where it ends) of a file in constant memory; None for a damaged stretch."""
    at = 0
    while line := file.readline(_LONGEST_LINE):
        begin, at = at, at + len(line)
        body = line.removesuffix(b"\n")
        if not body:
            continue
        record = decode_line(body)
        if record is not None:
            yield record, at
            continue
        # The newline between two records may be what was hit: look for each one's beginning.
        yield None, begin
        starts = [m.start() for m in re.finditer(re.escape(_BEGINNING), body)]
        for start, after in pairwise([*starts, len(body) + 1]):
            for end in (after - 1, after):
                record = decode_line(body[start:end])
                if record is not None:
                    yield record, begin + end
                    break
