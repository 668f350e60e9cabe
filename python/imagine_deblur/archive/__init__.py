"""Whole archives on many cores: batches, lineage in STAC, PSFs by instrument and epoch.

What one frame needs lives elsewhere; nothing here is imported by the payload's path.
"""

from __future__ import annotations

from imagine_deblur.archive.batch import restore_archive
from imagine_deblur.archive.inputs import Found, find_items
from imagine_deblur.archive.item import Item
from imagine_deblur.archive.summary import BatchSummary

__all__ = ["BatchSummary", "Found", "Item", "find_items", "restore_archive"]
