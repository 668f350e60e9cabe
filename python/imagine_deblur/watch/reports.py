"""Reports beside results: their names, what they hold, and what the journal takes from them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from imagine_deblur.watch.entry import DELIVERING, DONE, PASSED, QUARANTINED, Entry, is_name
from imagine_deblur.watch.folders import Folder

_LONGEST_NAME = 200  # bytes, so that suffixes of ours still fit
_LONGEST_REPORT = 4 << 20  # bytes; a whole kernel of 255 x 255 takes 1.5 MB
_OUTCOMES = (DONE, PASSED, QUARANTINED)


def as_delivering(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the journal's event for a delivery that this report tells of."""
    return {
        "key": report["key"],
        "name": report["capture"],
        "state": DELIVERING,
        "output": report["output"],
        "staged": f"{report['key']}.jpg",
        "final": report["outcome"],
        "reason": report.get("reason") or "",
        "output_sha256": report["output_sha256"],
        "crashes": 0,
    }


def meagre_report(entry: Entry) -> dict[str, Any]:
    """What the journal knows, where the report itself is lost."""
    return {
        "capture": entry.name,
        "key": entry.key,
        "capture_sha256": entry.sha256,
        "output_sha256": entry.output_sha256,
        "outcome": entry.final,
        "reason": entry.reason or None,
        "report": None,
    }


def names_for(entry: Entry) -> tuple[str, ...]:
    """Names a capture's result may have, the best first."""
    tagged = with_tag(entry.name, entry.key)
    plain = entry.name if len(os.fsencode(entry.name)) <= _LONGEST_NAME else tagged
    return plain, tagged, with_tag(entry.name, entry.key, digits=32)


def with_tag(name: str, key: str, digits: int = 8) -> str:
    """Return a capture's name with a part of its key, no longer than names may be."""
    stem, dot, suffix = name.rpartition(".")
    short = os.fsdecode(os.fsencode(stem)[: _LONGEST_NAME - 48])
    return f"{short}-{key[:digits]}{dot}{suffix}"


def read_json(folder: Folder, name: str) -> dict[str, Any] | None:
    """Return a JSON object of ours, None for anything else that may have its name."""
    try:
        value = json.loads(folder.read(name, _LONGEST_REPORT))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_report(folder: Folder, name: str) -> dict[str, Any] | None:
    """Return a report of ours, None for anything else that may have its name."""
    report = read_json(folder, name)
    texts = ("key", "capture", "output", "output_sha256", "outcome")
    if report is None or not all(isinstance(report.get(t), str) for t in texts):
        return None
    names = (report["capture"], report["output"], report["key"])
    return report if report["outcome"] in _OUTCOMES and all(map(is_name, names)) else None


def write_json(folder: Folder, name: str, value: Mapping[str, Any]) -> None:
    """Write a JSON object, flushed to the disk."""
    folder.write(name, json.dumps(value, indent=1).encode() + b"\n")
