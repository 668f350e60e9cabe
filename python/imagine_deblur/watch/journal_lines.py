"""Lines of the journal: JSON with a checksum each, found again inside damaged stretches."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, BinaryIO

from imagine_deblur.watch.entry import clean_record

_LINE = re.compile(rb'(\{.*),"crc":"([0-9a-f]{8})"\}', re.DOTALL)
_BEGINNING = b'{"n":'
_LONGEST_LINE = 1 << 16  # bytes; the longest of ours, of a name of 255 bytes, has under 4 kB


def encode_line(record: Mapping[str, Any]) -> bytes:
    """Return the journal line of a record, checksum and newline included.

    Examples
    --------
    >>> decode_line(encode_line({"key": "k", "state": "seen"})[:-1])
    {'key': 'k', 'state': 'seen'}
    """
    body = json.dumps(record, separators=(",", ":"), ensure_ascii=True)[:-1].encode()
    return body + b',"crc":"%08x"}\n' % zlib.crc32(body)


def decode_line(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line without its newline, None where it is damaged."""
    match = _LINE.fullmatch(line)
    if match is None or zlib.crc32(match[1]) != int(match[2], 16):
        return None
    try:
        record = json.loads(match[1] + b"}")
    except (ValueError, RecursionError):
        return None
    return clean_record(record)


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
