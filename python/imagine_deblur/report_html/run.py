"""What a run left behind: which capture became which restoration, and what was reported of it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagine_deblur.errors import InputImageError
from imagine_deblur.support.checked_lines import decode_line

_log = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]

_PICTURES = {".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".jp2", ".png"}
_LINES = {".jsonl", ".ndjson"}
_CHECKED = b'"crc":'
_LARGEST_DOCUMENT = 512 << 20  # bytes; a manifest of a million items takes about half of it


@dataclass(frozen=True)
class Item:
    """One capture of a run.

    Attributes
    ----------
    name : str
        The capture's file name.
    capture, restored : Path or None
        Where they lie; None where they were not found.
    report : dict
        What the restoration reported (see `imagine_deblur.Report.as_dict`), empty where nothing
        was.
    outcome : {"restored", "passed through", "failed"}
    reason : str
        Why it was not restored.
    """

    name: str
    capture: Path | None
    restored: Path | None
    report: dict[str, Any] = field(default_factory=dict)
    outcome: str = "restored"
    reason: str = ""


def find_items(run: PathLike, captures: Sequence[PathLike] = ()) -> list[Item]:
    """Return the captures of a run.

    Parameters
    ----------
    run : path
        A restored picture with its JSON report beside it (``NAME.jpg.json`` or ``NAME.json``), a
        JSON report, JSON lines as ``process --json`` prints them or a batch writes them, or a
        folder of any of these, such as the outbox of ``watch``.
    captures : sequence of path, optional
        Captures, or folders that hold them, where the reports do not say where they lie.

    Returns
    -------
    list of Item
        In the order of the manifest, or of their names.

    Raises
    ------
    InputImageError
        Nothing there is of a run; the message says what was looked for.
    OSError
        A file cannot be read.
    """
    path = Path(run)
    places = [Path(place) for place in captures]
    if path.is_dir():
        items = list(_folder(path, places))
    elif path.suffix.lower() in _PICTURES:
        items = [_picture(path, places)]
    else:
        items = [_item(entry, path.parent, places) for entry in _entries(path)]
    if not items:
        raise InputImageError(
            f"{path}: no run to report on; a restored picture, its JSON report, JSON lines of "
            "'process --json' or a batch, or a folder of them"
        )
    return items


def _folder(folder: Path, places: list[Path]) -> Iterator[Item]:
    seen: set[Path] = set()
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if path.suffix.lower() not in {".json", *_LINES} or name.startswith("."):
            continue
        for entry in _entries(path, lenient=True):
            item = _item(entry, folder, places)
            if item.restored is None or item.restored not in seen:
                yield item
            if item.restored is not None:
                seen.add(item.restored)


def _picture(path: Path, places: list[Path]) -> Item:
    """A restored picture that was named, with its report where there is one."""
    if not path.is_file():
        raise FileNotFoundError(2, os.strerror(2), os.fspath(path))
    for beside in (path.with_name(f"{path.name}.json"), path.with_suffix(".json")):
        if beside.is_file():
            entries = _entries(beside)
            own = [e for e in entries if Path(_text(e, "output")).name == path.name] or entries
            if own:
                return _item({**own[0], "output": os.fspath(path)}, path.parent, places)
    name = path.name.replace(".restored.", ".")
    capture = _found(name, path.parent, places, restored=path)
    return Item(name, capture, path, outcome="restored")


def _entries(path: Path, *, lenient: bool = False) -> list[dict[str, Any]]:
    """The reports in a file: one object, a list of them, or one a line."""
    if path.stat().st_size > _LARGEST_DOCUMENT:
        raise InputImageError(f"{path}: {path.stat().st_size} bytes is too large for a report")
    values, damaged = _parsed(path.read_bytes())
    if damaged and not values:
        if lenient:
            return []
        raise InputImageError(f"{path}: not JSON, nor a JSON object a line")
    reports = [v for v in values if isinstance(v, dict) and _is_report(v)]
    if not reports and not lenient:
        raise InputImageError(f"{path}: holds no report of a restoration")
    if reports and damaged:
        _log.warning("%s: %d damaged lines passed over", path, damaged)
    return _last_of_each(reports)


def _parsed(data: bytes) -> tuple[list[Any], int]:
    """The values in a file, and how many of its lines hold none."""
    try:
        value = json.loads(data)
    except ValueError:
        lines = [line for line in data.split(b"\n") if line.strip()]
        found = [value for line in lines if (value := _of_line(line)) is not None]
        return found, len(lines) - len(found)
    if isinstance(value, dict) and isinstance(value.get("items"), list):
        return list(value["items"]), 0
    return value if isinstance(value, list) else [value], 0


def _of_line(line: bytes) -> Any:
    """The value of a line, None where it is damaged; those of a batch have a checksum."""
    if _CHECKED in line:
        return decode_line(line)
    try:
        return json.loads(line)
    except ValueError:
        return None


def _last_of_each(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last report of each output: a batch that went on has several of what had failed."""
    last = {_text(r, "output") or _text(r, "source") or _text(r, "capture"): r for r in reports}
    return list(last.values())


def _is_report(value: Mapping[str, Any]) -> bool:
    """Whether an object tells of a capture: a picture made of a picture, or why there is none.

    A capture that was skipped has its report elsewhere, from the run that made its result.
    """
    if _text(value, "outcome") == "skipped":
        return False
    named = any(_text(value, key) for key in ("source", "capture"))
    return named and bool(
        _text(value, "output") or _text(value, "error") or _text(value, "outcome")
    )


def _item(entry: Mapping[str, Any], folder: Path, places: list[Path]) -> Item:
    nested = entry.get("report")  # the outbox of `watch` and a batch wrap the report
    report = {**entry, **nested} if isinstance(nested, dict) else dict(entry)
    report.pop("report", None)
    source = _text(entry, "source") or _text(entry, "capture") or _text(report, "source")
    output = _text(entry, "output") or _text(report, "output")
    restored = _found(output, folder, []) if output else None
    capture = _found(source, folder, places, restored=restored)
    reason = _text(entry, "error") or _text(entry, "reason")
    warnings = report.get("warnings")
    if not reason and isinstance(warnings, list | tuple) and report.get("restored") is False:
        reason = "; ".join(str(w) for w in warnings)
    outcome = "restored"
    if restored is None and (reason or _text(entry, "error")):
        outcome = "failed"
    elif report.get("restored") is False or "passed" in _text(entry, "outcome"):
        outcome = "passed through"
    return Item(Path(source).name, capture, restored, report, outcome, reason)


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def _found(
    name: str, folder: Path, places: Sequence[Path], *, restored: Path | None = None
) -> Path | None:
    """The file a report names: as it says, beside the report, or in one of the places."""
    plain = Path(name).name
    candidates = [place / plain if place.is_dir() else place for place in places]
    candidates = [c for c in candidates if c.name == plain or len(places) == 1 == len(candidates)]
    candidates += [Path(name), folder / name, folder / plain]
    for candidate in candidates:
        if candidate.is_file() and (restored is None or not _same(candidate, restored)):
            return candidate
    return None


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
