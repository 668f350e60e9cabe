"""The parser of every command: help with examples, and the flags that all of them have."""

from __future__ import annotations

import argparse
from textwrap import dedent, indent
from typing import Any

from imagine_deblur.cli.logs import LEVELS

_EXAMPLES = "examples:"


class Help(argparse.HelpFormatter):
    """Help whose examples keep their lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(_EXAMPLES) else super()._fill_text(text, width, indent)


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
