"""Quality without a truth: `niqe` and `brisque`. Lower is better; neither is a gate alone."""

from __future__ import annotations

from imagine_deblur.evaluation.metrics.brisque import brisque
from imagine_deblur.evaluation.metrics.niqe import niqe

__all__ = ["brisque", "niqe"]
