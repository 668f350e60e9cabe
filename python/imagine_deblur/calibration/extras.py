"""The optional packages calibration needs, imported when they are first used."""

from __future__ import annotations

import importlib
from types import ModuleType

_EXTRA = "imagine-deblur[geo]"


def require(module: str) -> ModuleType:
    """Import a package of the extra ``[geo]``.

    Parameters
    ----------
    module : str
        Dotted name, such as ``"cv2"`` or ``"scipy.optimize"``.

    Raises
    ------
    ImportError
        It is not installed; the message names the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"calibration needs {module.split('.')[0]}: pip install '{_EXTRA}' ({error})",
            name=module,
        ) from error
