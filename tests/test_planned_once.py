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
def test_a_warm_frame_is_not_planned_again_and_asked_of_python_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []
    plans: list[object] = []
    run_array, frame_plan = _core.run_array, _core.FramePlan

    def counted_run(image: Any, out: Any, engine: Any, stage: Any, *rest: Any) -> Any:
        return run_array(image, out, engine, stage and Asked(stage, calls), *rest)

    def counted_plan(*values: Any, **named: Any) -> Any:
        plans.append(named)
        return frame_plan(*values, **named)

    monkeypatch.setattr(_core, "run_array", counted_run)
    monkeypatch.setattr(_core, "FramePlan", counted_plan)
    rng = np.random.default_rng(1)
    image = degrade(natural(160, 192, seed=3), PSF.defocus(2.0), noise=0.004, rng=rng)
    with Session(psf="disk:2", model="fast", threads=1, nsr=0.02) as session:
        session.restore(image)
        assert len(plans) == 1
        calls.clear()
        plans.clear()
        _, report = session.restore_with_report(image)
    assert (report.strips, report.model[:4]) == (1, "fast")
    assert calls == ["restore", "review"]
    assert plans == []


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows that Python decoded of JPEG files, reader by reader, -1 where the core read it."""
    rows: list[int] = []

    class Counted:
        def __init__(self, *values: Any, **named: Any) -> None:
            self.reader = JPEG_READER(*values, **named)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.reader, name)

        def read_rows(self, count: int) -> Any:
            rows.append(count)
            return self.reader.read_rows(count)

    def run(reader: Any, *values: Any) -> Any:
        if values[-1] is None:
            rows.append(-1)
        return RUN_JPEG(reader.reader, *values)

    monkeypatch.setattr(_core, "JpegReader", Counted)
    monkeypatch.setattr(_core, "run_jpeg", run)
    return rows


JPEG_READER, RUN_JPEG = _core.JpegReader, _core.run_jpeg


@pytest.mark.parametrize("psf", [None, "disk:2"])
def test_a_file_is_decoded_once_for_the_look_and_the_restoration(
    decoded: list[int], psf: str | None
) -> None:
    rng = np.random.default_rng(1)
    blurred = degrade(natural(320, 384, seed=3), PSF.defocus(2.0), noise=0.004, rng=rng)
    data = jpeg((np.clip(blurred, 0, 1) * 255).astype(np.uint8))
    with Session(model="wiener", threads=1, psf=psf) as session:
        for _ in range(2):
            decoded.clear()
            session.process(data, io.BytesIO())
            assert decoded == [320]


def test_a_file_in_strips_is_decoded_anew(decoded: list[int]) -> None:
    rng = np.random.default_rng(3)
    blurred = degrade(natural(320, 384, seed=3), PSF.defocus(2.0), noise=0.004, rng=rng)
    data = jpeg(np.tile(blurred, (8, 1, 1)))
    options: Any = {"psf": "disk:2", "model": "wiener", "tile": 128, "max_ram": "78MB"}
    with Session(threads=1, **options) as session:
        report = session.process(data, io.BytesIO())
    assert report.strips > 1
    assert decoded == [2560, -1]


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
