"""The optional packages that archives need, imported when they are first used."""

from __future__ import annotations

from types import ModuleType

from imagine_deblur.support import extras


def require(module: str, purpose: str) -> ModuleType:
    """Import a package of the extra ``[archive]``; see `support.extras.require`."""
    return extras.require(module, extra="archive", purpose=purpose)
