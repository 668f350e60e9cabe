"""Restore out-of-focus Earth-observation captures within the limits of a payload computer."""

from __future__ import annotations

__version__ = "0.1.0"
