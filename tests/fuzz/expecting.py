"""What an accepted input must keep."""

from __future__ import annotations


class Broken(AssertionError):
    """An accepted input does not keep what it promises."""


def expect(condition: object, what: str) -> None:
    """Raise `Broken` unless a promise is kept."""
    if not condition:
        raise Broken(what)
