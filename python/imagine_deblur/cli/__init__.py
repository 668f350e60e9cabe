"""The command ``imagine-deblur``.

Exit codes: 0 done, be it restored or passed through with the reason; 2 wrong usage or option; 3 an
image that cannot be used; 4 a model or runtime that cannot be used; 5 not enough memory or disk; 6
too little information in the capture or, with ``--without-information error``, a result that cannot
be believed; 7 the output exists; 8 another file error; 9 another service has the inbox; 130
interrupted. With several files the others are still done, and the code is that of the first that
failed.
"""

from __future__ import annotations

from imagine_deblur.cli.main import main

__all__ = ["main"]
