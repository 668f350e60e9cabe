"""The optional packages that archives need, imported when they are first used."""

from __future__ import annotations

import importlib
from types import ModuleType

_EXTRA = "imagine-deblur[archive]"


def require(module: str, purpose: str) -> ModuleType:
    """Import a package of the extra ``[archive]``.

    Parameters
    ----------
    module : str
        Dotted name, such as ``"pystac"``.
    purpose : str
        What needs it, for the message.

    Raises
    ------
    ImportError
        It is not installed; the message names the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs {module.split('.')[0]}: pip install '{_EXTRA}' ({error})",
            name=module,
        ) from error
