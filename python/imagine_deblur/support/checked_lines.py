"""Lines of JSON that each carry their own checksum, so that a torn or damaged one is known."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

_LINE = re.compile(rb'(\{.*),"crc":"([0-9a-f]{8})"\}', re.DOTALL)


def encode_line(record: Mapping[str, Any]) -> bytes:
    """Return the line of a record, CRC-32 and newline included.

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
    return record if isinstance(record, dict) else None
