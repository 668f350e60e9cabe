"""Frames much wider than high: planned within the budget, whole and exact where they fit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from imagine_deblur import MemoryBudgetError, Session, _core
from imagine_deblur.degradation.forward import blur
from imagine_deblur.engines.model import bundled_models
from imagine_deblur.options import Options
from imagine_deblur.psf.models import PSF
from imagine_deblur.restoration.block_sums import BlockSums
from imagine_deblur.restoration.pieces import BLOCK, Piece
from imagine_deblur.restoration.reach import gap_px
from imagine_deblur.restoration.reblur_check import ReblurCheck
from imagine_deblur.support.fft_size import fast_length
from synthetic import natural
from watchkit import Station, capture_bytes

WIDEST = 65_500  # px of a JPEG
TOO_LITTLE = 100_000_000  # bytes


@pytest.fixture(scope="module")
def low(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture of the widest kind, 64 rows high, with noise that the check replaces."""
    part = np.round(255 * natural(64, 512, seed=4)).astype(np.uint8)
    frame = np.ascontiguousarray(np.tile(part, (1, -(-WIDEST // 512), 1))[:, :WIDEST])
    for left in range(0, WIDEST - 64, 1024):
        frame[:, left : left + 64] = np.indices((64, 64)).sum(axis=0)[..., None] % 2 * 255
    path = tmp_path_factory.mktemp("wide") / "low.jpg"
    path.write_bytes(_core.encode_jpeg(frame, quality=90))
    return path


@pytest.mark.skipif("fast" not in bundled_models(), reason="no network in this installation")
@pytest.mark.parametrize("options", [{}, {"nsr": 0.02}], ids=["nsr measured", "nsr given"])
def test_the_budget_that_a_refusal_names_is_enough(low, options, tmp_path):
    target = tmp_path / "out.jpg"
    with (
        Session(psf="disk:3", model="fast", threads=2, max_ram=TOO_LITTLE, **options) as session,
        pytest.raises(MemoryBudgetError) as refused,
    ):
        session.process(low, target)
    wanted = refused.value.wanted
    assert TOO_LITTLE < wanted < 200_000_000
    command = [sys.executable, "-m", "imagine_deblur", "process", str(low), "-o", str(target)]
    command += ["--psf", "disk:3", "--model", "fast", "--threads", "2", "--json"]
    command += ["--max-ram", str(wanted)]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["peak_bytes"] <= wanted


def test_the_service_passes_a_refused_frame_through(low, tmp_path):
    station = Station(tmp_path)
    station.put("low.jpg", low.read_bytes(), when=1e9)
    station.put("small.jpg", capture_bytes(3), when=2e9)
    budget = Options(psf="disk:3", model="wiener", threads=1, max_ram=TOO_LITTLE)
    assert station.run(budget) == 0
    assert station.outputs() == ["low.jpg", "small.jpg"]
    assert (station.outbox / "low.jpg").read_bytes() == low.read_bytes()
    report = station.report("low.jpg")
    assert "MemoryBudgetError" in json.dumps(report)
    assert "max_ram" in json.dumps(report)
    assert any("low.jpg" in line and "MemoryBudgetError" in line for line in station.log)
    assert "MemoryBudgetError" not in json.dumps(station.report("small.jpg"))
    assert station.states("low.jpg")[-1] == "passed-through"
    assert station.states("small.jpg")[-1] == "done"


def test_fades_of_a_wide_row_meet_without_a_seam():
    """Columns are faded some at a time; blocks on both sides of such a border are alike."""
    columns, border = 4096, 2048
    blocks = BlockSums(BLOCK, columns)
    sums = np.zeros((9, 2, columns // BLOCK))
    middle = border // BLOCK
    sums[0, :, middle - 1 : middle + 1] = 100.0  # a residual beyond any limit
    everywhere = Piece(slice(0, columns), slice(0, columns))
    blocks.take(sums, everywhere, np.ones((1, columns // BLOCK), bool))

    def planes(value: float) -> list[NDArray[np.float32]]:
        return [np.full((BLOCK, columns), value, np.float32) for _ in range(3)]

    strip = SimpleNamespace(capture=planes(0.5), linear=planes(0.25), restored=planes(0.75))
    strip.window = strip.planes = strip.finished = (0, BLOCK)
    strip.finished_columns, strip.count, strip.frame_rows = (0, columns), 1, BLOCK
    assert ReblurCheck().review(strip, 0, blocks) == 2
    restored = strip.restored[0]
    np.testing.assert_allclose(restored, restored[:, ::-1], atol=1e-7)
    inside = restored[:, border - BLOCK : border + BLOCK]
    np.testing.assert_array_equal(inside, 0.25)
    assert np.abs(np.diff(restored, axis=1)).max() < 2 / BLOCK
    far = np.abs(np.arange(columns) - border) > 2 * BLOCK
    np.testing.assert_array_equal(restored[:, far], 0.75)


@pytest.mark.parametrize(("radius", "nsr"), [(2.0, 0.02), (3.0, 0.02)])
def test_a_wide_frame_is_the_one_of_double_precision(radius, nsr):
    """Over 4,096 px too a frame that fits is transformed in one piece: no step on 0.01 %."""
    rows, psf = 97, PSF.defocus(radius)
    part = np.round(255 * blur(natural(rows, 500, seed=3), psf)).astype(np.uint8)[..., 1]
    capture = np.ascontiguousarray(np.tile(part, (1, 9)))
    with Session(psf=psf, model="wiener", nsr=nsr, threads=2) as session:
        found, report = session.restore_with_report(capture)
    assert report.strips == 1
    wanted = in_double(capture, psf, nsr)
    steps = np.abs(found.astype(int) - wanted)
    assert steps.max() <= 1
    assert np.count_nonzero(steps) <= 1e-4 * steps.size


def in_double(capture: NDArray[np.uint8], psf: PSF, nsr: float) -> NDArray[np.uint8]:
    """The Wiener filter over the whole frame in numpy's double precision."""
    gap = gap_px(psf, (nsr,), (None,))
    rows, columns = (fast_length(size + gap) for size in capture.shape)
    extended = continued(continued(capture / 255.0, columns).T, rows).T
    fy, fx = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :]
    otf = np.asarray(psf.at(fy, fx)).real
    gain = otf / (otf**2 + 4 * nsr * (fy**2 + fx**2))
    plane = np.fft.irfft2(np.fft.rfft2(extended) * gain, s=(rows, columns))
    fixed = np.rint(plane[: capture.shape[0], : capture.shape[1]] * 4096) / 4096
    return np.floor(np.clip(fixed * 255, 0, 255) + 0.5).astype(np.uint8)


def continued(plane: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Rows continued to a length: reflected at both ends, faded from one into the other."""
    count = plane.shape[1]
    extra = length - count
    place = np.arange(extra)
    fade = 0.5 - 0.5 * np.cos(np.pi * np.clip(2.0 * (place + 1) / (extra + 1) - 0.5, 0, 1))

    def reflected(index: NDArray[np.intp]) -> NDArray[np.float64]:
        folded = np.abs(index) % (2 * (count - 1))
        return plane[:, np.where(folded < count, folded, 2 * (count - 1) - folded)]

    ahead, behind = reflected(count + place), reflected(place - extra)
    return np.hstack([plane, ahead + (behind - ahead) * fade])
