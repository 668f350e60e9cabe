"""A frame is planned once, and its file is not decoded for nothing."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from imagine_deblur import Session, _core
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.engines.model import bundled_models
from imagine_deblur.psf.models import PSF
from jpegkit import jpeg
from synthetic import natural


class Asked:
    """A linear stage that counts what the core asks of it."""

    def __init__(self, stage: Any, calls: list[str]) -> None:
        self._stage, self._calls = stage, calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._stage, name)

        def call(*values: Any) -> Any:
            self._calls.append(name)
            return method(*values)

        return call


@pytest.mark.skipif("fast" not in bundled_models(), reason="no network in this installation")
def test_a_warm_frame_is_asked_of_python_four_times(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    run_array, pipeline_bytes = _core.run_array, _core.pipeline_bytes

    def counted_run(image: Any, out: Any, engine: Any, stage: Any, *rest: Any) -> Any:
        return run_array(image, out, engine, stage and Asked(stage, calls), *rest)

    def counted_bytes(*values: Any) -> int:
        *frame, stage, options, rows = values
        return pipeline_bytes(*frame, stage and Asked(stage, calls), options, rows)

    monkeypatch.setattr(_core, "run_array", counted_run)
    monkeypatch.setattr(_core, "pipeline_bytes", counted_bytes)
    rng = np.random.default_rng(1)
    image = degrade(natural(160, 192, seed=3), PSF.defocus(2.0), noise=0.004, rng=rng)
    with Session(psf="disk:2", model="fast", threads=1, nsr=0.02) as session:
        session.restore(image)
        calls.clear()
        _, report = session.restore_with_report(image)
    assert (report.strips, report.model[:4]) == (1, "fast")
    assert sorted(calls) == ["plane_count", "restore", "review", "scratch_bytes"]


def test_a_file_is_read_once_where_nothing_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    reader = _core.JpegReader

    def counted(*values: Any, **named: Any) -> Any:
        opened.append(values)
        return reader(*values, **named)

    data = jpeg((natural(160, 192, seed=3) * 255).astype(np.uint8))
    monkeypatch.setattr(_core, "JpegReader", counted)
    given: Any = {"psf": "disk:2", "nsr": 0.02, "reblur_check": False}
    with Session(model="wiener", threads=1, **given) as session:
        session.process(data, io.BytesIO())
    assert len(opened) == 1
