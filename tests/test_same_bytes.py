"""The same capture gives the same bytes whatever was restored before it."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from imagine_deblur import _core
from imagine_deblur.capture.ring_gain import RingGains
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.psf.models import PSF
from imagine_deblur.session import Session
from synthetic import natural


def capture(rows: int, columns: int, seed: int) -> bytes:
    """A JPEG of a made-up scene out of focus, (rows, columns) px, of repeated parts."""
    part = degrade(natural(128, 160, seed=seed), PSF.defocus(4.0), rng=np.random.default_rng(seed))
    picture = np.tile(part, (-(-rows // 128), -(-columns // 160), 1))
    return _core.encode_jpeg(np.ascontiguousarray(picture[:rows, :columns]), quality=92)


def restored(session: Session, data: bytes) -> tuple[bytes, int]:
    out = io.BytesIO()
    report = session.process(data, out)
    return out.getvalue(), report.strips


@pytest.mark.parametrize("max_ram", ["80MB", "110MB"])
def test_strips_and_bytes_do_not_depend_on_the_frames_before(max_ram: str) -> None:
    small, large = capture(900, 1200, 1), capture(1500, 1900, 2)
    options = {"psf": "disk:4", "model": "wiener", "threads": 1, "max_ram": max_ram}
    with Session(**options) as session:  # type: ignore[arg-type]
        alone = restored(session, small)
    with Session(**options) as session:  # type: ignore[arg-type]
        restored(session, large)
        after = restored(session, small)
    with Session(**options) as blind:  # type: ignore[arg-type]
        ballast = np.ones(30_000_000, np.uint8)  # what a process may have resident, or not
        beside = restored(blind, small)
    assert ballast.all()
    assert alone == after == beside
    assert alone[1] == (2 if max_ram == "80MB" else 1)


def test_no_frame_gets_the_filters_of_the_one_before() -> None:
    """Python gives a new object the address of one that is gone."""
    blur = PSF.defocus(2.5)
    scene = degrade(natural(160, 192, seed=3), blur, rng=np.random.default_rng(3))
    with Session(psf=blur, model="fast", threads=1) as session:
        found = session.analyse([scene])
        assert found.gains is not None

        def stage_of(gains: RingGains) -> object:
            of_frame = replace(found, gains=gains)
            return session.parts.prepare((160, 192, 3), of_frame, float32=False).stage

        gains = replace(found.gains)
        first, address = stage_of(gains), id(gains)
        del gains
        others = [replace(found.gains, alpha=found.gains.alpha + 1) for _ in range(1000)]
        same = [gains for gains in others if id(gains) == address]
        for gains in same or others[:1]:
            assert stage_of(gains) is not first
