"""Optional packages, imported when they are first used."""

from __future__ import annotations

import importlib
from types import ModuleType

from imagine_deblur.errors import MissingExtraError


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import a package of an extra.

    Parameters
    ----------
    module : str
        Dotted name, such as ``"cv2"`` or ``"scipy.optimize"``.
    extra : str
        The extra that brings it, such as ``"raster"``.
    purpose : str
        What needs it, the subject of the message: ``"calibration"``.

    Raises
    ------
    MissingExtraError
        It is not installed; the message names the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs {module.split('.')[0]}: "
            f"pip install 'imagine-deblur[{extra}]' ({error})",
            name=module,
        ) from error
