"""Runs of any configuration, quiet and in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from imagine_deblur.train.config import TrainConfig  # noqa: E402
from imagine_deblur.train.kinds import OwnKind, PublishedKind  # noqa: E402
from imagine_deblur.train.loop import Limits  # noqa: E402
from imagine_deblur.train.published.config import PublishedConfig  # noqa: E402


def train(
    config: TrainConfig | PublishedConfig,
    data: Path,
    out: Path,
    *,
    until: int | None = None,
    **options: object,
) -> Path:
    """Train or resume up to step `until`; returns the checkpoint."""
    kind = OwnKind(config) if isinstance(config, TrainConfig) else PublishedKind(config)
    options = {"background": False, "progress": False, **options}
    checkpoint, _ = kind.train(data, out, limits=Limits(until=until), **options)
    return checkpoint
