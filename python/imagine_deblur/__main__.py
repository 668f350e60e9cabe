"""``python -m imagine_deblur``."""

from __future__ import annotations

import sys

from imagine_deblur.cli import main

sys.exit(main())
