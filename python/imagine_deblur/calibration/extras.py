"""The optional packages calibration needs, imported when they are first used."""

from __future__ import annotations

from types import ModuleType

from imagine_deblur.support import extras


def require(module: str) -> ModuleType:
    """Import a package of the extra ``[geo]``; see `support.extras.require`."""
    return extras.require(module, extra="geo", purpose="calibration")
