"""Options from a file and from the environment, in place of the defaults of the flags.

What comes first: a flag; ``IMAGINE_DEBLUR_COMMAND_OPTION``; ``IMAGINE_DEBLUR_OPTION``; the table of
the command in the file; the top of the file; the default. The top of the file and the short
variables are for the fields of `Options`, in every command that takes them all.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from imagine_deblur.cli.parser import allowed
from imagine_deblur.errors import OptionsError
from imagine_deblur.options import Options

FILE = "imagine-deblur.toml"
PREFIX = "IMAGINE_DEBLUR_"
VARIABLE = f"{PREFIX}CONFIG"

_OPTIONS = frozenset(field.name for field in fields(Options))
_NEVER = frozenset({"help", "version", "verbose", "quiet", "log_level", "config"})
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_FLAGS = (argparse._StoreTrueAction, argparse._StoreFalseAction, argparse.BooleanOptionalAction)

_log = logging.getLogger(__name__)


def apply(
    parser: argparse.ArgumentParser, arguments: Sequence[str], environment: Mapping[str, str]
) -> list[str]:
    """Change the parser's defaults to what file and environment say.

    Parameters
    ----------
    parser : ArgumentParser
        Of the whole command.
    arguments : sequence of str
        Of the command line; only ``--config`` is looked at.
    environment : mapping
        Such as `os.environ`.

    Returns
    -------
    list of str
        Where values came from: the file, the variables.

    Raises
    ------
    OptionsError
        A name that no option has, or a value that its option does not take; the error says where.
    OSError
        A file that was named cannot be read.
    """
    used: list[str] = []
    commands = dict(_leaves(parser))
    path = _path(arguments, environment)
    if path is not None:
        _from_file(path, commands)
        used.append(str(path))
    for variable, action in _variables(commands):
        if variable in environment:
            _set(action, environment[variable], variable)
            if variable not in used:
                used.append(variable)
    return used


def misspelt(
    parser: argparse.ArgumentParser, environment: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return variables that no option has the name of, each with the one that is likely meant.

    Others that begin like ours are somebody else's business.
    """
    known = {variable.removeprefix(PREFIX) for variable, _ in _variables(dict(_leaves(parser)))}
    found = []
    for variable in sorted(environment):
        name = variable.removeprefix(PREFIX)
        if variable != VARIABLE and name != variable and name not in known:
            near = difflib.get_close_matches(name, known, 1, cutoff=0.75)
            found += [(variable, PREFIX + meant) for meant in near]
    return found


def _variables(
    commands: Mapping[tuple[str, ...], argparse.ArgumentParser],
) -> Iterator[tuple[str, argparse.Action]]:
    """Yield the variable of every option that has one, the short ones of a command first."""
    for words, leaf in commands.items():
        actions = _actions(leaf)
        short = _OPTIONS if actions.keys() >= _OPTIONS else frozenset()
        prefixes = [(PREFIX, short), (f"{PREFIX}{'_'.join(words).upper()}_", actions.keys())]
        for prefix, names in prefixes:
            for name in sorted(names):
                yield prefix + name.upper(), actions[name]


def _path(arguments: Sequence[str], environment: Mapping[str, str]) -> Path | None:
    """The file to read: named by the flag, by the environment, or where the command runs."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config")
    try:
        named = early.parse_known_args(list(arguments))[0].config
    except SystemExit:  # --config without a file
        raise OptionsError("--config", None, "the name of a file") from None
    named = named if named is not None else environment.get(VARIABLE)
    if named is not None:
        return Path(named) if named else None  # an empty variable: no file at all
    return Path(FILE) if os.path.isfile(FILE) else None


def _leaves(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Yield the commands that do something, by the words that name them."""
    branches = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not branches:
        yield words, parser
    for branch in branches:
        for word, child in branch.choices.items():
            yield from _leaves(child, (*words, word))


def _actions(leaf: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The options of a command, positional arguments left out, by their names."""
    return {a.dest: a for a in leaf._actions if a.option_strings and a.dest not in _NEVER}


def _from_file(path: Path, commands: dict[tuple[str, ...], argparse.ArgumentParser]) -> None:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionsError(str(path), str(error), "a TOML file") from error
    shared = {key: value for key, value in values.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    for key in shared:
        if _name(key) not in _OPTIONS:
            tables_known = sorted({words[0] for words in commands})
            raise _unknown(path, key, [*sorted(_OPTIONS), *(f"[{t}]" for t in tables_known)])
    for leaf in commands.values():
        actions = _actions(leaf)
        if actions.keys() >= _OPTIONS:
            for key, value in shared.items():
                _set(actions[_name(key)], value, f"{path}: {key}")
    for table, content in tables.items():
        _table(path, (table,), content, commands)


def _table(
    path: Path,
    words: tuple[str, ...],
    content: Mapping[str, Any],
    commands: dict[tuple[str, ...], argparse.ArgumentParser],
) -> None:
    """Apply ``[process]``, or ``[psf]`` with its own tables such as ``[psf.estimate]``."""
    if words in commands:
        actions = _actions(commands[words])
        for key, value in content.items():
            if _name(key) not in actions:
                raise _unknown(path, f"[{'.'.join(words)}] {key}", sorted(actions))
            _set(actions[_name(key)], value, f"{path}: [{'.'.join(words)}] {key}")
        return
    deeper = {known[len(words)] for known in commands if known[: len(words)] == words}
    if not deeper:
        known = sorted({names[0] for names in commands})
        raise _unknown(path, f"[{'.'.join(words)}]", [f"[{name}]" for name in known])
    for key, value in content.items():
        if key not in deeper or not isinstance(value, dict):
            raise _unknown(path, f"[{'.'.join(words)}] {key}", sorted(deeper))
        _table(path, (*words, key), value, commands)


def _name(key: str) -> str:
    return key.replace("-", "_")


def _unknown(path: Path, key: str, known: list[str]) -> OptionsError:
    close = difflib.get_close_matches(key.split()[-1], known, n=1, cutoff=0.6)
    hint = f"is {close[0]!r} meant? " if close else ""
    what = "command" if key.startswith("[") and key.endswith("]") else "option"
    return OptionsError.from_core(
        key, f"{path}: no {what} is named {key!r}; {hint}There are: {', '.join(known)}"
    )


def _set(action: argparse.Action, value: object, where: str) -> None:
    """Make a value from a file or a variable an option's default."""
    action.default = _value(action, value, where)
    action.required = False


def _value(action: argparse.Action, value: object, where: str) -> object:
    if isinstance(action, _FLAGS):
        if isinstance(value, str) and value.lower() in _TRUE + _FALSE:
            return value.lower() in _TRUE
        if isinstance(value, bool):
            return value
        raise OptionsError(where, value, "true or false")
    if isinstance(action, argparse._AppendAction) or isinstance(action.nargs, int | str):
        many = shlex.split(value) if isinstance(value, str) else value
        if not isinstance(many, list) or (
            isinstance(action.nargs, int) and len(many) != action.nargs
        ):
            count = f"{action.nargs} values" if isinstance(action.nargs, int) else "a list"
            raise OptionsError(where, value, count)
        return [_one(action, item, where) for item in many]
    return _one(action, value, where)


def _one(action: argparse.Action, value: object, where: str) -> object:
    """One value, read as the command line reads it."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise OptionsError(where, value, "text or a number")
    kind = action.type if callable(action.type) else str
    try:
        read = kind(str(value))
    except (ValueError, TypeError):
        raise OptionsError(where, value, allowed(action)) from None
    if action.choices is not None and read not in action.choices:
        raise OptionsError(where, value, ", ".join(map(str, action.choices)))
    return read
