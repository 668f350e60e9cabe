"""A PSF that is given is held against what the capture itself shows."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

import synthetic
from imagine_deblur import Session
from imagine_deblur.capture.analysis import analyse
from imagine_deblur.capture.cross_check import (
    WINDOW,
    as_disk_and_gaussian,
    expected,
    windows,
)
from imagine_deblur.capture.result import Analysis, Capture
from imagine_deblur.capture.ring_gain import gains_for
from imagine_deblur.capture.ring_spectra import ring_spectra
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.evaluation.metrics.fidelity import psnr
from imagine_deblur.psf.components import Disk, Gaussian, Motion
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.otf_moments import moments_of_psf
from jpegkit import jpeg

SCENE = synthetic.natural(320, 384, seed=4)
HAZE = 0.35 + 0.3 * SCENE
BLUR = PSF.defocus(4.0)
TAILS = np.exp(-np.hypot(*np.mgrid[-15:16, -15:16]) / 1.5)


def seen(scene: Any, psf: PSF = BLUR) -> Any:
    return degrade(scene, psf, noise=0.004, rng=np.random.default_rng(1))


def found(capture: Any, psf: PSF | PsfField, nsr: float | None = None) -> Analysis:
    given = Analysis(psf, "given")
    return analyse(Capture(lambda: [capture]), given, nsr=nsr, raise_unknown=False)


@pytest.mark.parametrize("scene", [SCENE, HAZE], ids=["clear", "haze"])
@pytest.mark.parametrize("model", ["wiener", "fast"])
def test_a_blur_that_the_capture_contradicts_is_not_undone(scene: Any, model: str) -> None:
    capture = seen(scene)
    with Session(psf="disk:6", model=model, threads=1) as session:
        restored, report = session.restore_with_report(capture)
        coded = session.process(jpeg(capture, 95), io.BytesIO())
    np.testing.assert_array_equal(restored, capture)
    for one in (report, coded):
        assert not one.restored
        assert one.passed_through is not None
        assert "the capture shows a defocus with a radius of " in one.passed_through
        assert "leave the PSF out" in one.passed_through


@pytest.mark.parametrize("scene", [SCENE, HAZE], ids=["clear", "haze"])
@pytest.mark.parametrize("radius", [3.8, 4.0, 4.1])
def test_the_captures_own_blur_is_undone(scene: Any, radius: float) -> None:
    capture = seen(scene)
    with Session(psf=PSF.defocus(radius), model="fast", threads=1) as session:
        restored, report = session.restore_with_report(capture)
    assert report.restored
    assert psnr(restored / 255.0, scene) > psnr(capture / 255.0, scene) + 0.3


def test_the_captures_own_blur_is_not_warned_of_without_noise() -> None:
    blur = PSF.defocus(2.0)
    capture = degrade(SCENE, blur, noise=0.0005, rng=np.random.default_rng(2))
    assert found(capture, blur).warnings == ()
    assert found(capture, PSF.defocus(1.4)).warnings != ()


def test_half_the_width_is_undone_with_a_warning() -> None:
    judged = found(seen(SCENE), PSF.defocus(2.5))
    assert judged.passed is None
    assert [w for w in judged.warnings if "is not the capture's" in w] == list(judged.warnings)
    assert judged.warnings


@pytest.mark.parametrize(
    "psf",
    [
        PSF((Motion(9.0, 30.0),)),
        PSF((Gaussian(2.5, 0.6, 20.0),)),
        PSF.sampled(TAILS / TAILS.sum()),
        PSF.defocus(9.5),
        PSF.defocus(13.0),
        PSF((Gaussian(6.0),)),
    ],
    ids=["motion", "one direction", "wide tails", "disk 9.5", "disk 13", "gauss 6"],
)
def test_a_right_blur_that_estimation_does_not_know_is_not_contradicted(psf: PSF) -> None:
    for scene in (SCENE, HAZE):
        judged = found(seen(scene, psf), psf)
        assert "the capture shows" not in " ".join([judged.passed or "", *judged.warnings])


def drawn(radius: float) -> PSF:
    """A disk of whole pixels."""
    kernel = (np.hypot(*np.mgrid[-9:10, -9:10]) <= radius) * 1.0
    return PSF.sampled(kernel / kernel.sum())


@pytest.mark.parametrize("kind", [lambda r: PSF.sampled(PSF.defocus(r).kernel()), drawn])
def test_a_wrong_kernel_is_contradicted_as_the_disk_that_it_is(kind: Any) -> None:
    for scene in (SCENE, HAZE):
        wrong = found(seen(scene), kind(6.0))
        assert "the capture shows a defocus with a radius of" in (wrong.passed or "")
        right = found(seen(scene), kind(4.0))
        assert (right.passed, right.warnings) == (None, ())


@pytest.mark.parametrize(
    "psf",
    [drawn(3.0), PSF.sampled(np.ones((7, 7)) / 49), PSF((Gaussian(2.0, 0.8, 20.0),))],
    ids=["drawn disk", "box", "slightly longer in one direction"],
)
def test_a_right_kernel_that_is_about_round_is_not_contradicted(psf: PSF) -> None:
    for scene in (SCENE, HAZE):
        judged = found(seen(scene, psf), psf)
        assert (judged.passed, judged.warnings) == (None, ())


def test_what_counts_as_a_disk_and_a_gaussian() -> None:
    cut = np.exp(-0.5 * (np.arange(-7.0, 8.0) / 4.0) ** 2)
    for psf, radius, sigma in (
        (PSF.sampled(PSF.defocus(3.0).kernel()), 3.0, 0.5),
        (drawn(7.0), 6.9, 0.0),
        (PSF.sampled(np.outer(cut, cut) / cut.sum() ** 2), 5.1, 2.4),
    ):
        alike = as_disk_and_gaussian(psf)
        assert alike is not None
        disk, gaussian = alike.components
        assert isinstance(disk, Disk)
        assert isinstance(gaussian, Gaussian)
        assert abs(disk.radius_px - radius) < 0.15
        assert abs(gaussian.sigma_px - sigma) < 0.3
    assert as_disk_and_gaussian(BLUR) is BLUR
    for other in (PSF((Motion(9.0, 30.0),)), PSF.sampled(TAILS / TAILS.sum())):
        assert as_disk_and_gaussian(other) is None


@pytest.mark.parametrize("nsr", [1e-4, 0.003, 0.02])
def test_a_ratio_of_the_users_own_does_not_save_a_wrong_blur(nsr: float) -> None:
    judged = found(seen(SCENE), PSF.defocus(6.0), nsr)
    assert "the capture shows a defocus" in (judged.passed or "")


@pytest.mark.parametrize("nsr", [0.001, 0.003, 0.3])
def test_no_ratio_is_held_against_the_captures_own_blur(nsr: float) -> None:
    for scene in (SCENE, HAZE):
        judged = found(seen(scene), BLUR, nsr)
        assert (judged.passed, judged.warnings) == (None, ())


def test_a_field_is_contradicted_where_each_of_its_cells_is() -> None:
    narrow, wide, wider = (PSF.defocus(radius) for radius in (3.9, 6.0, 6.5))
    wrong = found(seen(SCENE), PsfField(((wide, wider),)))
    assert "the capture shows a defocus" in (wrong.passed or "")
    right = found(seen(SCENE), PsfField(((narrow, wide),)))
    assert (right.passed, right.warnings) == (None, ())


def test_without_the_check_the_user_is_believed() -> None:
    with Session(psf="disk:4.8", model="wiener", reblur_check=False, threads=1) as session:
        assert session.restore_with_report(seen(SCENE))[1].restored


@pytest.mark.parametrize("radius", [2.0, 3.0, 3.6, 4.0, 4.2, 4.6])
def test_the_promise_is_what_the_linear_model_keeps(radius: float) -> None:
    capture = seen(SCENE)
    spectra = ring_spectra([capture])
    assert spectra is not None
    psf, table = PSF.defocus(radius), np.zeros(4)
    given = Analysis(psf, "given", gains=gains_for(spectra, psf, table))
    own = gains_for(spectra, BLUR, table)
    promised = expected(spectra, given, [psf], moments_of_psf(BLUR), own).given_db
    with Session(model="wiener", psf=psf, reblur_check=False, threads=1) as session:
        restored = session.restore(capture)
    kept = psnr(restored / 255.0, SCENE) - psnr(capture / 255.0, SCENE)
    assert abs(promised - kept) < 0.2 + 0.3 * abs(kept)


@pytest.mark.parametrize("shape", [(100, 5000), (384, 384), (1536, 2048, 3), (2000, 130)])
def test_parts_cover_a_frame_of_any_size(shape: tuple[int, ...]) -> None:
    parts = windows([np.zeros(shape, np.uint8)])
    assert 1 <= len(parts) <= 6
    assert all(max(part.shape[:2]) <= WINDOW for part in parts)
    assert sum(part.size for part in parts) <= np.prod(shape) * 1.2
