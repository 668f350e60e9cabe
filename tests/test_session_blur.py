"""How a session learns the blur: given, by record or preset, blind, or not at all."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest

from imagine_deblur import Session, process, restore
from imagine_deblur.errors import (
    EstimationError,
    PsfError,
)
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.record import save_record
from jpegkit import decoded, jpeg

BLUR = PSF.defocus(2.5)


def test_every_way_to_name_a_psf_gives_the_same(scene, tmp_path):
    record = tmp_path / "lens.json"
    save_record(record, BLUR, provenance={"by": "test"})
    expected = restore(scene, psf=BLUR, model="wiener")
    for psf in ("disk:2.5", "disk:2.5,0.5", record, str(record)):
        np.testing.assert_array_equal(restore(scene, psf=psf, model="wiener"), expected)
    sampled = restore(scene, psf=BLUR.kernel(), model="wiener")
    assert np.abs(sampled.astype(int) - expected).mean() < 3


@pytest.mark.parametrize(
    ("psf", "source"), [("disk:2", "preset"), (BLUR, "given"), (BLUR.kernel(), "given")]
)
def test_the_report_names_the_source_of_the_psf(scene, psf, source):
    with Session(psf=psf, model="wiener") as session:
        _, report = session.restore_with_report(scene)
    assert report.psf_source == source
    assert report.psf is not None
    assert report.psf["id"]
    assert report.nsr == (2e-2,)
    assert report.restored


@pytest.mark.parametrize(
    ("psf", "says"),
    [
        ("disk:", "preset"),
        ("disk:-3", "preset"),
        ("disk:2,0.5,1", "preset"),
        ("gauss:two", "preset"),
        ("missing.json", "preset"),
        (np.zeros((4, 4)), "odd"),
        (np.full((3, 3), -1.0), "negative"),
    ],
)
def test_wrong_psfs_are_refused_before_anything_runs(psf, says):
    with pytest.raises(PsfError, match=says):
        Session(psf=psf)


def test_a_damaged_record_is_named(tmp_path):
    record = tmp_path / "lens.json"
    record.write_text('{"format": "imagine-deblur-psf", "version": 1')
    with pytest.raises(PsfError, match=r"lens\.json"):
        Session(psf=record)


def test_blind_finds_the_radius_and_restores(blind_capture):
    target = io.BytesIO()
    report = process(blind_capture, target, model="wiener")
    assert report.psf_source == "estimated"
    assert report.psf_confidence is not None
    assert 0 <= report.psf_confidence <= 1
    disks = [c for c in report.psf["components"] if c["kind"] == "disk"]
    assert disks[0]["radius_px"] == pytest.approx(4.0, rel=0.1)
    assert report.seconds["estimate"] > 0
    assert decoded(target.getvalue()).std() > decoded(blind_capture).std()


@pytest.mark.parametrize("value", [0, 93, 255])
def test_a_capture_that_tells_nothing_is_passed_through_or_refused(value):
    image = np.full((300, 320, 3), value, np.uint8)
    with Session(model="wiener") as session:
        found, report = session.restore_with_report(image)
    np.testing.assert_array_equal(found, image)
    assert not report.restored
    assert report.psf is None
    assert any("passed through" in warning for warning in report.warnings)
    with pytest.raises(EstimationError) as caught:
        restore(image, model="wiener", without_information="error")
    assert caught.value.reason in {"flat", "dark", "saturated"}


@pytest.mark.parametrize(
    ("family", "other", "restored"),
    [("round", 0.05, True), ("round", 0.2, True), ("round", 0.4, False), ("shake", 0.9, False)],
)
@pytest.mark.parametrize("model", ["wiener", "fast"])
def test_a_blur_that_is_of_another_kind_is_left(
    monkeypatch, blind_capture, model, family, other, restored
):
    from imagine_deblur.psf import estimation

    real = estimation.estimate_psf

    def changed(*arguments, **named):
        found = real(*arguments, **named)
        facts = np.where(np.arange(5) == 2, other, found.distribution.facts)
        told = dataclasses.replace(found.distribution, family=family, facts=facts)
        return dataclasses.replace(found, distribution=told)

    monkeypatch.setattr(estimation, "estimate_psf", changed)
    report = process(blind_capture, target := io.BytesIO(), model=model)
    assert report.restored == restored
    assert (other > 0.1) == any("neither defocus nor linear" in w for w in report.warnings)
    if restored and other > 0.1:  # by the learned gains alone, which still deblur
        assert report.psf is None
        assert report.replaced_blocks == 0
        assert decoded(target.getvalue()).std() > 1.01 * decoded(blind_capture).std()
        report = process(blind_capture, io.BytesIO(), model=model, nsr=0.01)
        assert not report.restored


def test_tiny_frames_are_passed_through_blind():
    for size in ((1, 1), (3, 8), (40, 40)):
        image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
        with Session(model="wiener") as session:
            found, report = session.restore_with_report(image)
        np.testing.assert_array_equal(found, image)
        assert not report.restored


def test_refused_estimates_leave_no_file_with_error(tmp_path):
    source = tmp_path / "flat.jpg"
    source.write_bytes(jpeg(np.full((300, 320, 3), 90, np.uint8)))
    with pytest.raises(EstimationError):
        process(source, model="wiener", without_information="error")
    assert list(tmp_path.iterdir()) == [source]
