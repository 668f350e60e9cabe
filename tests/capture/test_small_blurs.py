"""When a small blur is left alone."""

from __future__ import annotations

import numpy as np
import pytest

import synthetic
from imagine_deblur.capture.policy import passed_if_small
from imagine_deblur.capture.result import Analysis
from imagine_deblur.psf.distribution import PsfDistribution, RoundPart
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF, Gaussian
from imagine_deblur.session import Session

SMALL = PSF((Gaussian(0.6),))  # MTF 0.17 at Nyquist


def found(psf, source, confidence):
    """What is known of a capture; an estimated blur comes with its distribution."""
    if source != "estimated":
        return Analysis(psf, source, confidence)
    one = np.ones(1)
    part = RoundPart(3 * one, one, 0.5 * one, one)
    facts = np.array([1.0, 0.0, 0.0, 0.0, 0.5])
    known = PsfDistribution((part,), "round", confidence, facts)
    return Analysis(psf, source, confidence, distribution=known)


@pytest.mark.parametrize(
    ("psf", "source", "confidence", "sharp"),
    [
        (SMALL, "estimated", 0.3, False),
        (SMALL, "estimated", 0.95, False),
        (SMALL, "given", None, False),
        (PSF((Gaussian(0.2),)), "estimated", 0.3, False),  # MTF 0.82
        (PSF((Gaussian(0.15),)), "estimated", 0.3, True),
        (PSF((Gaussian(0.3),)), "estimated", 0.95, True),
        (PSF((Gaussian(0.1),)), "given", None, True),
        (PSF.defocus(3.0), "estimated", 0.3, False),
        (PsfField(((PSF(), PSF.defocus(3.0)),)), "record", None, False),
    ],
)
def test_small_blurs_are_undone_only_where_that_helps(psf, source, confidence, sharp):
    blur = passed_if_small(found(psf, source, confidence))
    assert (blur.passed is not None) == sharp
    assert bool(blur.warnings) == sharp


def test_no_blur_stays_no_blur():
    nothing = Analysis()
    assert passed_if_small(nothing) == nothing


def test_a_sharp_capture_comes_back_as_it_was():
    scene = (255 * synthetic.natural(300, 320, seed=5)).astype(np.uint8)
    with Session(model="wiener") as session:
        found, report = session.restore_with_report(scene)
    assert not report.restored
    np.testing.assert_array_equal(found, scene)
    assert any("no blur to undo" in warning for warning in report.warnings)
