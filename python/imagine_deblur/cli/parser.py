"""The parser of every command: help with examples, and the flags that all of them have."""

from __future__ import annotations

import argparse
import difflib
from textwrap import dedent, indent
from typing import Any, NoReturn

from imagine_deblur.cli.logs import LEVELS

_EXAMPLES = "examples:"


class Help(argparse.HelpFormatter):
    """Help whose examples keep their lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(_EXAMPLES) else super()._fill_text(text, width, indent)


def allowed(action: argparse.Action) -> str:
    """Return in words what an option takes, for messages."""
    if action.type in (int, float):
        return "a whole number" if action.type is int else "a number"
    return action.help or "another value"


class Parser(argparse.ArgumentParser):
    """A parser with ``-v``, ``-q``, ``--log-level`` and ``--config``.

    They may stand before a command's name or after it.

    Parameters
    ----------
    examples : str
        Lines for the end of the help: a command and, behind ``#``, what it does.
    **settings
        As `argparse.ArgumentParser`.
    """

    def __init__(self, *, examples: str = "", **settings: Any) -> None:
        settings.setdefault("formatter_class", Help)
        if examples:
            settings["epilog"] = f"{_EXAMPLES}\n{indent(dedent(examples).strip(), '  ')}"
        super().__init__(**settings)
        left_out: Any = argparse.SUPPRESS  # so that a command's default is not taken for an answer
        self.add_argument(
            "-v",
            "--verbose",
            action="store_true",
            default=left_out,
            help="tell more, as --log-level debug",
        )
        self.add_argument(
            "-q",
            "--quiet",
            action="store_true",
            default=left_out,
            help="errors only: no progress, no summary, no warnings; as --log-level error",
        )
        self.add_argument(
            "--log-level",
            choices=LEVELS,
            default=left_out,
            help="the least important messages shown on standard error (default: info)",
        )
        self.add_argument(
            "--config",
            metavar="FILE",
            default=left_out,
            help="take options from this file (default: IMAGINE_DEBLUR_CONFIG, else "
            "imagine-deblur.toml where the command runs); flags and environment come first",
        )

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        # As a path an empty text is the folder one is in. A command gets to hear of all its words.
        if not arg_string and action.nargs != argparse.PARSER and action.dest != "config":
            raise argparse.ArgumentError(action, "is empty; a variable that is not set?")
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError:  # its message names the function that reads the value
            words = f"{arg_string!r} is not allowed; allowed: {allowed(action)}"
            raise argparse.ArgumentError(action, words) from None


def leaf_of(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> argparse.ArgumentParser:
    """Return the parser of the command that was chosen."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return leaf_of(action.choices[getattr(parsed, action.dest)], parsed)
    return parser


def refuse_unknown(leaf: argparse.ArgumentParser, unknown: list[str]) -> NoReturn:
    """End with the usage of a command, what it does not know, and what is likely meant."""
    known = [flag for action in leaf._actions for flag in action.option_strings]
    hints = []
    for word in unknown:
        near = difflib.get_close_matches(word.partition("=")[0], known, 1, cutoff=0.75)
        hints += [f"is {near[0]} meant?"] if word.startswith("--") and near else []
    leaf.error("; ".join([f"unrecognized arguments: {' '.join(unknown)}", *hints]))
