"""Never a picture worse than the capture without saying so: wrong blurs are not undone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import synthetic
from imagine_deblur import Session, process
from imagine_deblur.capture.growth import power_growth
from imagine_deblur.capture.policy import MOST_GROWTH
from imagine_deblur.capture.result import Analysis
from imagine_deblur.capture.ring_spectra import RING_FREQUENCY, RingSpectra
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.errors import EstimationError, PassedThroughWarning
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF
from jpegkit import decoded, jpeg

BLUR = PSF.defocus(3.0)
CAPTURE = degrade(
    synthetic.natural(288, 320, seed=4), BLUR, noise=0.004, rng=np.random.default_rng(1)
)


def _scene(psf: PSF, *, exponent: float = 2.0, noise: float = 1e-5) -> RingSpectra:
    """Spectra of a scene whose power falls as 1 / f^exponent, blurred, over a little noise."""
    power = 1e-3 / RING_FREQUENCY**exponent * psf.at(0.0, RING_FREQUENCY) ** 2 + noise
    return RingSpectra(np.stack([power] * 3), power, power, np.zeros(3))


def test_undoing_the_blur_that_was_there_gives_the_scenes_spectrum_back():
    found = Analysis(BLUR, "given", filter_nsr=3e-3)
    assert 0.7 < power_growth(_scene(BLUR), found) < 2.0


def test_a_flat_spectrum_blurred_widely_without_noise_is_no_mistake():
    """The operating point, over scenes of much fine detail: growth without anything wrong."""
    wide = PSF.defocus(6.8, 0.5)
    found = Analysis(wide, "given", filter_nsr=3e-4)
    assert 12 < power_growth(_scene(wide, exponent=1.0, noise=1e-6), found) < MOST_GROWTH


def test_undoing_a_blur_that_was_not_there_makes_what_no_scene_holds():
    for psf in (PSF.defocus(6.0), PSF.defocus(20.0), PSF.defocus(50.0)):
        found = Analysis(psf, "given", filter_nsr=3e-4)
        assert power_growth(_scene(BLUR), found) > MOST_GROWTH


def test_one_wrong_cell_of_a_field_counts():
    right, wrong = ((psf,) for psf in (BLUR, PSF.defocus(20.0)))
    fields = [PsfField((right, right)), PsfField((right, wrong))]
    grown = [power_growth(_scene(BLUR), Analysis(f, "given", filter_nsr=3e-3)) for f in fields]
    assert grown[0] < MOST_GROWTH < grown[1]


@pytest.mark.parametrize("model", ["wiener", "fast"])
@pytest.mark.parametrize("psf", ["disk:6.5", "disk:20", "disk:50"])
def test_a_wrong_blur_passes_the_capture_through_and_says_so(model, psf):
    with Session(model=model, psf=psf, threads=1) as session:
        found, report = session.restore_with_report(CAPTURE)
        np.testing.assert_array_equal(found, CAPTURE)
        assert not report.restored
        assert report.passed_through is not None
        assert "the blur is another" in report.passed_through
        with pytest.warns(PassedThroughWarning, match="the blur is another"):
            session.restore(CAPTURE)


@pytest.mark.parametrize("psf", [None, BLUR, "disk:3.1"])
@pytest.mark.parametrize("model", ["wiener", "fast"])
def test_a_right_blur_is_undone(psf, model):
    with Session(model=model, psf=psf, threads=1) as session:
        _, report = session.restore_with_report(CAPTURE)
    assert report.restored
    assert report.passed_through is None


def test_without_the_check_a_blur_that_is_given_is_undone_whatever_it_is():
    with Session(model="wiener", psf="disk:20", reblur_check=False, threads=1) as session:
        found, report = session.restore_with_report(CAPTURE)
    assert report.restored
    assert (found != CAPTURE).mean() > 0.5


def test_with_error_nothing_is_written(tmp_path: Path):
    source, output = tmp_path / "a.jpg", tmp_path / "b.jpg"
    source.write_bytes(jpeg(CAPTURE, 95))
    with pytest.raises(EstimationError, match="the blur is another") as caught:
        process(source, output, psf="disk:20", model="wiener", without_information="error")
    assert caught.value.reason == "wild"
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


def _invents(tile: Any) -> Any:
    """A network that paints stripes of its own."""
    return np.where(np.arange(tile.shape[2]) % 16 < 8, 0.1, 0.9) * np.ones_like(tile)


def test_a_frame_that_fails_the_check_on_most_blocks_is_passed_through(tmp_path: Path):
    with Session(model=_invents, psf=BLUR, threads=1) as session:
        found, report = session.restore_with_report(CAPTURE)
        np.testing.assert_array_equal(found, CAPTURE)
        assert report.passed_through is not None
        assert "blurred again, are not the capture" in report.passed_through
        data = jpeg(CAPTURE, 95)
        for output in (tmp_path / "b.jpg", io.BytesIO()):
            report = session.process(data, output)
            assert not report.restored
            kept = output.read_bytes() if isinstance(output, Path) else output.getvalue()
            difference = np.abs(decoded(kept).astype(int) - decoded(data))
            assert difference.mean() < 2  # coded once more
            assert difference.max() < 30
    with (
        Session(model=_invents, psf=BLUR, threads=1, without_information="error") as session,
        pytest.raises(EstimationError, match="blurred again"),
    ):
        session.process(data, tmp_path / "c.jpg")
    assert not (tmp_path / "c.jpg").exists()


def test_a_blur_beyond_a_networks_training_is_left_to_the_linear_model():
    wide = PSF.defocus(9.5)
    capture = degrade(
        synthetic.natural(288, 320, seed=4), wide, noise=0.004, rng=np.random.default_rng(1)
    )
    with Session(model="fast", psf=wide, threads=1) as session:
        found, report = session.restore_with_report(capture)
    with Session(model="wiener", psf=wide, threads=1) as session:
        _, linear = session.restore_with_report(capture)
    assert report.restored
    assert report.model == linear.model == "wiener"
    assert any("disk_radius_px = 9.5 is beyond the 9 px" in w for w in report.warnings)
    assert not any("beyond" in warning for warning in linear.warnings)
    assert (found != capture).mean() > 0.3


@pytest.mark.parametrize("psf", ["disk:20", "disk:50"])
@pytest.mark.parametrize("name", ["payload/iss_006.jpg", "payload/iss_029.jpg"])
def test_real_captures_keep_what_they_are(data_dir: Path, psf: str, name: str):
    capture = data_dir / "captures" / name
    report = process(capture, io.BytesIO(), psf=psf)
    assert not report.restored
    assert report.passed_through is not None
    assert process(capture, io.BytesIO()).passed_through is None
