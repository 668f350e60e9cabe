"""One JSON object a capture: what was done, why it failed, or why it was left alone."""

from __future__ import annotations

import json
import os
from typing import Any

from imagine_deblur.cli.exit_codes import exit_code, told
from imagine_deblur.report import SCHEMA, Report


def restored_line(report: Report) -> str:
    """Return the line of a capture that was restored or passed through."""
    return json.dumps(report.as_dict())


def failed_line(source: str | os.PathLike[str] | None, error: BaseException) -> str:
    """Return the line of a capture that could not be restored.

    Parameters
    ----------
    source : path or None
        None for standard input.
    error : BaseException
        What ended it; its class is ``kind``.
    """
    values: dict[str, Any] = {
        "schema": SCHEMA,
        "source": None if source is None else os.fspath(source),
        "outcome": "failed",
        "kind": type(error).__name__,
        "error": told(error),
        "exit_code": exit_code(error),
    }
    return json.dumps(values)


def skipped_line(
    source: str | os.PathLike[str], output: str | os.PathLike[str], reason: str
) -> str:
    """Return the line of a capture that was left alone.

    Parameters
    ----------
    source, output : path
        The capture, and where its result would lie.
    reason : str
    """
    values: dict[str, Any] = {
        "schema": SCHEMA,
        "source": os.fspath(source),
        "outcome": "skipped",
        "output": os.fspath(output),
        "reason": reason,
    }
    return json.dumps(values)
