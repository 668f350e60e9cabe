"""The last configuration that worked, kept beside the journal.

A configuration is the options, the settings of the service, and the files the options name: the
PSF record and a network's file. It is written once a whole frame has gone through it, and read
when a later one cannot be used: a record damaged on its way up, a network that does not load, an
option with a value out of range.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from imagine_deblur._version import VERSION
from imagine_deblur.engines.descriptor import int8_sibling
from imagine_deblur.engines.model import BUNDLED
from imagine_deblur.errors import OptionsError
from imagine_deblur.options import Options
from imagine_deblur.psf.presets import parse_preset
from imagine_deblur.watch.artifact import LARGEST_FILE
from imagine_deblur.watch.entry import boot_id
from imagine_deblur.watch.folders import Folder, read_file
from imagine_deblur.watch.settings import WatchSettings

FOLDER, NAME, ATTEMPTS = "last-good", "configuration.json", "attempts.json"

_KEPT_ATTEMPTS = 16  # configurations whose deaths are counted
_MOST_DEATHS = 3  # of the process, in one boot, while a configuration is tried
_LEFT_ALONE = 600.0  # s of service until it is tried again; four times as long after each death

_LONGEST = 1 << 20  # bytes of the configuration itself
_FILES = ("psf", "model")
_WORDS = ("auto", "wiener", "identity", *BUNDLED)
_PATHS = ("state", "quarantine")


def named_file(options: Options, field: str) -> Path | None:
    """Return the file that an option names, None where it names none."""
    value = getattr(options, field)
    if not isinstance(value, str | os.PathLike):
        return None
    text = os.fspath(value)
    if text in _WORDS if field == "model" else parse_preset(text) is not None:
        return None
    return Path(text)


class LastGood:
    """The configuration on disk.

    Parameters
    ----------
    state : Folder

    Attributes
    ----------
    attempts : Attempts
    """

    def __init__(self, state: Folder) -> None:
        self._folder = Folder.below(state, FOLDER)
        self.attempts = Attempts(self._folder, boot_id())

    def close(self) -> None:
        """Give the descriptor back."""
        self._folder.close()

    def holds(self, options: Options) -> bool:
        """Whether these options, with files of the same content, are the ones kept."""
        try:
            document = self._read()
            return document is not None and document["identity"] == _identity(options)
        except OSError:
            return False

    def keep(self, options: Options, settings: WatchSettings) -> None:
        """Write a configuration that worked.

        Options that a file cannot hold, such as a callable, are not kept, and that is no error.

        Raises
        ------
        OSError
        """
        plain = _plain(options)
        if plain is None:
            return
        files: dict[str, str] = {}
        for field, path in _files_of(options):
            data = read_file(path, LARGEST_FILE)
            files[_name_of(field, path)] = hashlib.sha256(data).hexdigest()
            self._folder.write(_name_of(field, path), data)
        document = {
            "version": VERSION,
            "identity": _identity(options),
            "options": plain,
            "settings": {f.name: _text(getattr(settings, f.name)) for f in fields(settings)},
            "files": files,
        }
        body = json.dumps(document)
        checked = {"sha256": hashlib.sha256(body.encode()).hexdigest(), "document": document}
        self._folder.write(NAME, json.dumps(checked, indent=1).encode() + b"\n")

    def options(self) -> Options | None:
        """Return the options, with their files where they are kept; None where one is damaged."""
        try:
            document = self._read()
            if document is None:
                return None
            values = dict(document["options"])
            options = _options_of(values)
            for name, digest in document["files"].items():
                data = self._folder.read(name, LARGEST_FILE)
                if hashlib.sha256(data).hexdigest() != digest:
                    return None
            for field in _FILES:
                path = named_file(options, field)
                if path is not None:
                    values[field] = os.fspath(self._folder.path / _name_of(field, path))
            return _options_of(values)
        except (OSError, LookupError, TypeError, ValueError, AttributeError, OptionsError):
            return None

    def settings(self) -> WatchSettings | None:
        """Return the settings, None where they are damaged."""
        try:
            document = self._read()
            if document is None:
                return None
            values = dict(document["settings"])
            for name in _PATHS:
                values[name] = None if values.get(name) is None else Path(values[name])
            return WatchSettings(**values)
        except (OSError, LookupError, TypeError, ValueError, AttributeError, OptionsError):
            return None

    def _read(self) -> dict[str, Any] | None:
        try:
            checked = json.loads(self._folder.read(NAME, _LONGEST))
            document = checked["document"]
            digest = hashlib.sha256(json.dumps(document).encode()).hexdigest()
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        good = digest == checked["sha256"] and isinstance(document, dict)
        return document if good else None


class Attempts:
    """What was being tried when the process died, so that it is not tried for ever.

    A network may take all memory, or never end, on a whole frame only. Then the kernel or
    ``hang_after`` ends the process, no exception is seen, and the next start would do the same.
    Somebody else may have ended it, so it gets another chance, ever more rarely.

    Parameters
    ----------
    folder : Folder
        Of the last good configuration.
    boot : str
        Name of the running boot; a machine that went down is no fault of the configuration's.
    """

    def __init__(self, folder: Folder, boot: str) -> None:
        self._folder, self._boot = folder, boot

    @contextmanager
    def of(self, options: Options, age: float) -> Iterator[None]:
        """Count an attempt that the process does not survive, where options name files.

        Parameters
        ----------
        options : Options
        age : float
            Seconds that the process has lived.

        Raises
        ------
        OptionsError
            The process died on it before, as often as it may.
        """
        if not _files_of(options):  # nothing from outside: somebody else ended the process
            yield
            return
        name, deaths = _identity(options), self._read()
        more = deaths.get(name, 0) - _MOST_DEATHS
        if more >= 0 and age < _LEFT_ALONE * 4.0 ** min(more, 9):
            raise OptionsError(
                "configuration",
                name[:12],
                f"one that the process survives: it died {deaths[name]} times while this one was "
                "tried; SIGHUP tries it again at once",
            )
        self._write(deaths | {name: deaths.get(name, 0) + 1})
        try:
            yield
        finally:
            deaths.pop(name, None)
            self._write(deaths)

    def forget(self) -> None:
        """Let everything be tried again."""
        self._write({})

    def _read(self) -> dict[str, int]:
        try:
            document = json.loads(self._folder.read(ATTEMPTS, _LONGEST))
            deaths = document["deaths"] if document["boot"] == self._boot else {}
            return {str(name): int(count) for name, count in deaths.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}

    def _write(self, deaths: Mapping[str, int]) -> None:
        latest = dict(list(deaths.items())[-_KEPT_ATTEMPTS:])
        document = {"boot": self._boot, "deaths": latest}
        with suppress(OSError):  # a full disk must not cost a configuration
            self._folder.write(ATTEMPTS, json.dumps(document).encode() + b"\n", durable=False)


def last_good(state: Path) -> tuple[WatchSettings, Options] | None:
    """Return the last configuration that worked for the service with this state folder."""
    with suppress(OSError):
        folder = Folder.at(state, make=False, private=True)
        kept = LastGood(folder)
        settings, options = kept.settings(), kept.options()
        kept.close()
        folder.close()
        if settings is not None and options is not None:
            return settings, options
    return None


def _plain(options: Options) -> dict[str, Any] | None:
    values = {f.name: _text(getattr(options, f.name)) for f in fields(options)}
    plain = all(v is None or isinstance(v, bool | int | float | str) for v in values.values())
    return values if plain else None


def _text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _options_of(values: Mapping[str, Any]) -> Options:
    known = {f.name for f in fields(Options)}
    return Options(**{name: value for name, value in values.items() if name in known})


def _identity(options: Options) -> str:
    """Return a digest of the options, the content of their files, and this version."""
    parts: list[Any] = [VERSION, sorted((_plain(options) or {}).items())]
    parts += [
        hashlib.sha256(read_file(path, LARGEST_FILE)).hexdigest() for _, path in _files_of(options)
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _files_of(options: Options) -> list[tuple[str, Path]]:
    """Return the files that options name, a network's quantised version among them."""
    found: list[tuple[str, Path]] = []
    for field in _FILES:
        path = named_file(options, field)
        if path is None:
            continue
        found.append((field, path))
        if field == "model":
            other = int8_sibling(path)
            found += [(field, other)] if other.exists() else []
    return found


def _name_of(field: str, path: Path) -> str:
    """Return the name a file is kept under; what its name tells of it stays."""
    return f"{field}-{path.name}"
