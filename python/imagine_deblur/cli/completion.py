"""``imagine-deblur completion``: what a shell needs to complete our commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

SHELLS = ("bash", "zsh", "tcsh")


def add_parser(commands: Any, whole: Callable[[], argparse.ArgumentParser]) -> None:
    """Add the command to the parser.

    Parameters
    ----------
    commands
        What `add_subparsers` returned.
    whole : callable
        Gives the parser of the whole command.
    """
    parser = commands.add_parser(
        "completion",
        help="print a script that completes commands and options in a shell",
        description="Print a script that completes commands and options in a shell. Needs the "
        "extra [completion].",
        examples="""
        eval "$(imagine-deblur completion bash)"    # in this shell
        imagine-deblur completion bash | sudo tee /etc/bash_completion.d/imagine-deblur
        """,
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=lambda parsed: _print(whole(), parsed.shell))


def _print(parser: argparse.ArgumentParser, shell: str) -> int:
    try:
        import shtab
    except ImportError:
        raise ImportError(
            "completion needs shtab: pip install 'imagine-deblur[completion]'"
        ) from None
    print(shtab.complete(parser, shell))
    return 0
