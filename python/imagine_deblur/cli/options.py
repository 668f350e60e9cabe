"""The flags of the command line, made from the fields of `Options`."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace

from imagine_deblur.options import Options


def flag(name: str, default: object) -> str:
    """Return the flag of an option: ``--no-NAME`` where it is on by default."""
    dashed = name.replace("_", "-")
    return f"--no-{dashed}" if default is True else f"--{dashed}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags that fill `Options`."""
    groups: dict[str, argparse._ArgumentGroup] = {}
    for field in fields(Options):
        about, default = field.metadata, field.default
        name = about["group"]
        if name not in groups:
            groups[name] = parser.add_argument_group(name)
        text = about["help"].replace("%", "%%")
        if isinstance(default, bool):
            groups[name].add_argument(
                flag(field.name, default),
                dest=field.name,
                action="store_false" if default else "store_true",
                help=f"do not {text}" if default else text,
            )
            continue
        if about["between"] is not None:
            low, high = about["between"]
            text += f"; {low} to {high}"
        if default is not None:
            text += f" (default: {default})"
        groups[name].add_argument(
            flag(field.name, default),
            dest=field.name,
            type=about["kind"],
            choices=about["choices"],
            metavar=about["metavar"],
            default=default,
            help=text,
        )


def options_from(parsed: argparse.Namespace) -> Options:
    """Return the options the flags ask for."""
    return Options(**{field.name: getattr(parsed, field.name) for field in fields(Options)})


def be_polite(options: Options) -> Options:
    """Lower the whole process as asked, since it is ours, and return what is left to ask for.

    Threads inherit both from the one that starts them, so a session need not ask again.
    """
    if options.nice or options.scheduling != "normal":
        from imagine_deblur import _core

        _core.make_this_thread_polite(options.nice, options.scheduling)
    return replace(options, nice=0, scheduling="normal")
