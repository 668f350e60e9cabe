"""Traces of JPEG in samples, and when a small estimated blur is left alone."""

from __future__ import annotations

import numpy as np
import pytest

import synthetic
from imagine_deblur.capture.compression import shows_jpeg
from imagine_deblur.capture.policy import passed_if_small
from imagine_deblur.capture.result import Analysis
from imagine_deblur.degradation.forward import degrade, jpeg_decode, jpeg_encode
from imagine_deblur.psf.distribution import PsfDistribution, RoundPart
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF, Gaussian
from imagine_deblur.session import Session

SMALL = PSF((Gaussian(0.6),))  # MTF 0.17 at Nyquist


@pytest.fixture(scope="module")
def plain():
    scene = synthetic.natural(384, 400, seed=11)
    return degrade(scene, SMALL, noise=0.002, rng=np.random.default_rng(3))


def found(psf, source, confidence):
    """What is known of a capture; an estimated blur comes with its distribution."""
    if source != "estimated":
        return Analysis(psf, source, confidence)
    one = np.ones(1)
    part = RoundPart(3 * one, one, 0.5 * one, one)
    facts = np.array([1.0, 0.0, 0.0, 0.0, 0.5])
    known = PsfDistribution((part,), "round", confidence, facts)
    return Analysis(psf, source, confidence, distribution=known)


def coded(samples, quality):
    return jpeg_decode(jpeg_encode(samples, quality))


@pytest.mark.parametrize("quality", [75, 85, 92, 97])
def test_the_lattice_of_jpeg_is_seen(plain, quality):
    decoded = coded(plain, quality)
    assert shows_jpeg([decoded])
    assert shows_jpeg([decoded[3:, 5:]])
    assert shows_jpeg([decoded.astype(np.float32) / np.float32(255)])
    assert shows_jpeg([plain, decoded])


def test_samples_that_never_were_jpeg_show_none(plain):
    assert not shows_jpeg([plain])
    assert not shows_jpeg([plain.astype(np.float32) / np.float32(255)])
    assert not shows_jpeg([plain[..., 1]])


def test_a_blur_after_decoding_takes_the_lattice_away(plain):
    decoded = coded(plain, 90).astype(np.float32) / np.float32(255)
    blurred = degrade(decoded, PSF((Gaussian(1.0),)), rng=np.random.default_rng(4))
    assert not shows_jpeg([blurred])


@pytest.mark.parametrize("shape", [(40, 40, 3), (300, 300, 3)])
def test_where_nothing_can_be_told_jpeg_is_assumed(shape):
    assert shows_jpeg([np.full(shape, 90, np.uint8)])


@pytest.mark.parametrize(
    ("psf", "source", "confidence", "was_coded", "sharp"),
    [
        (SMALL, "estimated", 0.3, False, False),
        (SMALL, "estimated", 0.3, True, True),
        (SMALL, "estimated", 0.95, True, False),
        (SMALL, "given", None, True, False),
        (PSF((Gaussian(0.2),)), "estimated", 0.3, False, False),  # MTF 0.82
        (PSF((Gaussian(0.2),)), "estimated", 0.3, True, True),
        (PSF((Gaussian(0.15),)), "estimated", 0.3, False, True),
        (PSF((Gaussian(0.3),)), "estimated", 0.95, False, True),
        (PSF((Gaussian(0.1),)), "given", None, False, True),
        (PSF.defocus(3.0), "estimated", 0.3, True, False),
        (PsfField(((PSF(), PSF.defocus(3.0)),)), "record", None, True, False),
    ],
)
def test_small_blurs_are_undone_only_where_that_helps(psf, source, confidence, was_coded, sharp):
    blur = passed_if_small(found(psf, source, confidence), lambda: was_coded)
    assert (blur.passed is not None) == sharp
    assert bool(blur.warnings) == sharp


def test_the_samples_are_asked_where_it_is_not_known(plain):
    unsure = found(SMALL, "estimated", 0.3)
    assert passed_if_small(unsure, lambda: shows_jpeg([plain])).passed is None
    assert passed_if_small(unsure, lambda: shows_jpeg([coded(plain, 90)])).passed


def test_no_blur_stays_no_blur():
    nothing = Analysis()
    assert passed_if_small(nothing, lambda: True) == nothing


def test_a_sharp_capture_comes_back_as_it_was():
    scene = (255 * synthetic.natural(300, 320, seed=5)).astype(np.uint8)
    with Session(model="wiener") as session:
        found, report = session.restore_with_report(scene)
    assert not report.restored
    np.testing.assert_array_equal(found, scene)
    assert any("no blur to undo" in warning for warning in report.warnings)
