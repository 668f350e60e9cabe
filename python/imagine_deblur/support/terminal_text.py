"""Texts from outside, file names above all, on their way to a terminal or a log."""

from __future__ import annotations


def escaped(text: str, *, keep: str = "") -> str:
    r"""Return a text without characters that do something to a terminal or begin a new line.

    Parameters
    ----------
    text : str
    keep : str
        Characters that stay as they are.

    Examples
    --------
    >>> print(escaped("a\x1b[2Jb\nc"))
    a\x1b[2Jb\x0ac
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _code(c) for c in text)


def _code(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
