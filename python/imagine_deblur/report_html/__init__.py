"""Reports to look at: one HTML file for a restored capture, or an index of a batch.

The ground's side: needs the extra ``[report]``, and nothing here is imported by a restoration.
"""

from __future__ import annotations

from imagine_deblur.report_html.page import DEFAULT_MAX_BYTES, write_report
from imagine_deblur.report_html.run import Item, find_items

__all__ = ["DEFAULT_MAX_BYTES", "Item", "find_items", "write_report"]
