"""Frozen dataclasses from plain values: how every training configuration is read.

Unknown keys and wrong types are errors, so that a misspelt option cannot silently do nothing.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from imagine_deblur.errors import OptionsError

T = TypeVar("T")

#: The configurations that are part of the package.
FOLDER = Path(__file__).with_name("configs")


def build(kind: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """A dataclass from nested plain values.

    Parameters
    ----------
    kind : type
        A dataclass whose fields are numbers, strings, dataclasses or tuples of one of these.
    values : mapping
        Its fields by name; those left out have their defaults.
    where : str
        What to put before a field's name in an error.

    Raises
    ------
    OptionsError
        For an unknown key, a value of the wrong type, or one the dataclass itself refuses.
    """
    hints = typing.get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{where}{key}"
        if key not in hints:
            raise OptionsError(name, value, "one of " + ", ".join(sorted(hints)))
        arguments[key] = _convert(hints[key], value, name)
    return kind(**arguments)


def _convert(hint: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise OptionsError(name, value, "a table")
        return build(typing.cast("type[Any]", hint), value, name + ".")
    if typing.get_origin(hint) is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise OptionsError(name, value, "a list")
        item = typing.get_args(hint)[0]
        return tuple(_convert(item, entry, name) for entry in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise OptionsError(name, value, f"a value of type {hint.__name__}")
    return value


def read(config: str | os.PathLike[str]) -> dict[str, Any]:
    """The values of a TOML file, or of the shipped configuration of that name.

    Raises
    ------
    OptionsError
        If there is neither.
    """
    path = Path(config)
    if not path.is_file():
        named = shipped()
        if os.fspath(config) not in named:
            raise OptionsError("config", os.fspath(config), "a file, or " + ", ".join(named))
        path = named[os.fspath(config)]
    with path.open("rb") as stream:
        return tomllib.load(stream)


def shipped() -> dict[str, Path]:
    """The configurations in the package by name: our networks', then the published systems'."""
    return {
        path.stem: path
        for folder in (FOLDER, FOLDER / "published")
        for path in sorted(folder.glob("*.toml"))
    }


def assigned(values: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """A copy of nested plain values with ``"section.key=value"`` assignments applied.

    Parameters
    ----------
    values : mapping
        Of a whole configuration; only keys that are there can be assigned to.
    assignments : sequence of str
        The value in TOML notation. An entry of a list is named by its number:
        ``"phases.0.steps=100"``.

    Raises
    ------
    OptionsError
        For an assignment that has no value or names nothing.
    """
    changed = copy.deepcopy(dict(values))
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        *sections, last = key.strip().split(".")
        table: Any = changed
        try:
            for section in sections:
                table = table[section] if isinstance(table, dict) else table[int(section)]
            if not separator or last not in table:
                raise KeyError(last)
            table[last] = tomllib.loads(f"value = {text}")["value"]
        except (KeyError, IndexError, ValueError, TypeError):
            raise OptionsError("set", assignment, "section.key=value with known names") from None
    return changed
