"""The error to expect for what is not known of the blur, block by block."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import synthetic
from imagine_deblur import Session, process
from imagine_deblur.capture.blur_error import SIDE, error_map
from imagine_deblur.capture.result import Analysis
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.record import Record, save_record
from imagine_deblur.psf.uncertainty import draw_psfs, moments_of_record
from imagine_deblur.restoration.wiener import wiener
from imagine_deblur.support.colour import LUMA
from jpegkit import jpeg

NSR = 1e-2
RECORD = Record(
    PSF.defocus(3.0),
    np.diag([0.15**2, 0.05**2]),
    ("components[0].radius_px", "components[1].sigma_px"),
)
SCENE = synthetic.natural(256, 320, seed=4)
CAPTURE = degrade(SCENE, RECORD.psf, noise=0.004, rng=np.random.default_rng(1))


def _strips(image):
    return (image[top : top + SIDE] for top in range(0, image.shape[0], SIDE))


def _known(psf: PSF = RECORD.psf) -> Analysis:
    return Analysis(psf, "record", filter_nsr=NSR, moments=moments_of_record(RECORD))


def test_it_is_how_far_restorations_with_other_possible_psfs_lie_apart():
    image = CAPTURE.astype(np.float32) / np.float32(255)
    luma = (image @ np.array(LUMA, np.float32)).astype(np.float32)
    restored = np.stack([wiener(luma, psf, NSR) for psf in draw_psfs(RECORD, 40)])
    deviation = restored.std(axis=0)
    blocks = deviation.reshape(256 // SIDE, SIDE, 320 // SIDE, SIDE)
    seen = np.sqrt((blocks**2).mean(axis=(1, 3)))
    expected = error_map(_strips(CAPTURE), _known())
    assert expected is not None
    assert expected.shape == seen.shape == (8, 10)
    ratio = expected / seen
    assert 0.9 < np.median(ratio) < 1.3, ratio
    assert (np.abs(np.log(ratio)) < 0.4).mean() > 0.95, ratio
    assert np.corrcoef(np.log(expected.ravel()), np.log(seen.ravel()))[0, 1] > 0.7


def test_flat_ground_has_none_however_unsure_the_blur_is():
    flat = np.full((70, 90, 3), 90, np.uint8)
    found = error_map(_strips(flat), _known())
    assert found is not None
    assert found.shape == (3, 3)
    np.testing.assert_allclose(found, 0.0, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (33, 5), (64, 64), (70, 31)])
def test_frames_of_any_size_have_a_map(shape):
    found = error_map(_strips(CAPTURE[: shape[0], : shape[1]]), _known())
    assert found is not None
    assert found.shape == (-(-shape[0] // SIDE), -(-shape[1] // SIDE))
    assert np.isfinite(found).all()


def test_bytes_floats_and_luma_have_one_map():
    floats = CAPTURE.astype(np.float32) / np.float32(255)
    luma = np.ascontiguousarray(floats @ np.array(LUMA, np.float32))
    maps = [error_map(_strips(image), _known()) for image in (CAPTURE, floats, luma)]
    for found in maps[1:]:
        np.testing.assert_allclose(found, maps[0], rtol=1e-3, atol=1e-6)


def test_a_certain_psf_has_no_map():
    assert error_map(_strips(CAPTURE), replace(_known(), moments=None)) is None


@pytest.mark.parametrize("model", ["wiener", "fast"])
def test_reports_carry_it_where_it_is_asked_for(model: str, tmp_path: Path):
    save_record(
        tmp_path / "lens.json",
        RECORD.psf,
        covariance=RECORD.covariance,
        parameters=RECORD.parameters,
    )
    source = jpeg(CAPTURE, 92)
    report = process(source, io.BytesIO(), psf=tmp_path / "lens.json", model=model, error_map=True)
    assert report.error_map is not None
    assert report.error_map.shape == report.block_map.shape == (8, 10)
    stored = report.as_dict()["expected_error"]
    assert stored["side"] == SIDE
    np.testing.assert_allclose(stored["rows"], report.error_map, rtol=0.006)
    assert report.psf["standard_errors"] == {
        "components[0].radius_px": pytest.approx(0.15),
        "components[1].sigma_px": pytest.approx(0.05),
    }
    with Session(psf=tmp_path / "lens.json", model=model, threads=1) as session:
        _, without = session.restore_with_report(CAPTURE)
    assert without.error_map is None
    assert without.as_dict()["expected_error"] is None


def test_the_map_of_blocks_says_what_every_block_is():
    options = {"psf": RECORD.psf, "threads": 1}
    kinds = {}
    for model in ("wiener", "fast", "identity"):
        with Session(model=model, **options) as session:  # type: ignore[arg-type]
            _, report = session.restore_with_report(CAPTURE)
        kinds[model] = set(np.unique(report.block_map))
    with Session(psf="disk:20", model="fast", threads=1) as session:
        _, report = session.restore_with_report(CAPTURE)
    kinds["passed through"] = set(np.unique(report.block_map))
    assert kinds["wiener"] == {1}
    assert kinds["identity"] == kinds["passed through"] == {2}
    assert 0 in kinds["fast"]
