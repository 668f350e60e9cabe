"""A blind estimate in a record is undone by the rules of a frame's own estimate."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import synthetic
from imagine_deblur import Session
from imagine_deblur.cli.main import main
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.errors import PsfError
from imagine_deblur.psf import PSF
from imagine_deblur.psf.components import Gaussian
from imagine_deblur.psf.distribution import GAUSSIAN_DEVIATION, PsfDistribution, RoundPart
from imagine_deblur.psf.estimation import Estimate, estimate_psf
from imagine_deblur.psf.estimation.report import save_estimate
from imagine_deblur.psf.otf_moments import FREQUENCY, moments_of_normal
from imagine_deblur.psf.record import load_record, save_record
from imagine_deblur.psf.uncertainty import moments_of_record
from jpegkit import jpeg

CAPTURE = degrade(
    synthetic.natural(288, 320, seed=4),
    PSF.defocus(3.5),
    noise=0.02,
    jpeg_quality=80,
    rng=np.random.default_rng(1),
)


@pytest.fixture(scope="module")
def estimate() -> Estimate:
    return estimate_psf(CAPTURE)


def test_a_record_holds_the_distribution(tmp_path: Path, estimate: Estimate) -> None:
    path = tmp_path / "lens.json"
    save_estimate(path, [("a.jpg", estimate)])
    record = load_record(path)
    assert record.distribution is not None
    assert record.psf == estimate.psf
    assert record.standard_errors["components[0].radius_px"] == pytest.approx(
        estimate.disk_radius_se
    )
    assert record.distribution.confidence == estimate.confidence
    known, kept = estimate.distribution.moments, record.distribution.moments
    np.testing.assert_allclose(kept.mean, known.mean, atol=1e-4)
    np.testing.assert_allclose(kept.deviation, known.deviation, atol=1e-3)
    assert moments_of_record(record) is kept
    assert path.stat().st_size < 20_000


@pytest.mark.parametrize("model", ["wiener", "fast"])
def test_a_record_restores_like_the_frame_it_came_from(
    tmp_path: Path, estimate: Estimate, model: str
) -> None:
    path = tmp_path / "lens.json"
    save_estimate(path, [("a.jpg", estimate)])
    with Session(model=model, threads=1) as blind, Session(psf=path, model=model) as record:
        first, of_frame = blind.restore_with_report(CAPTURE)
        second, of_record = record.restore_with_report(CAPTURE)
    assert of_frame.restored
    assert (of_frame.psf_source, of_record.psf_source) == ("estimated", "record")
    assert of_record.psf_confidence == of_frame.psf_confidence
    assert of_record.warnings == of_frame.warnings
    difference = np.abs(first.astype(int) - second)
    assert difference.max() <= 1, np.bincount(difference.ravel())


def test_moments_are_those_of_both_kinds_of_blur() -> None:
    """The variance is that within both kinds and that between them; Gaussians count by half."""
    sigmas, both = np.array([1.8, 2.2]), np.array([0.5, 0.5])
    alone = RoundPart(np.array([0.0]), np.array([0.6]), sigmas, both)
    disk = RoundPart(np.array([3.9, 4.1]), 0.4 * both, np.array([0.5]), np.array([1.0]))
    found = PsfDistribution((alone, disk), "round", 0.5, np.zeros(5)).moments
    gaussians = np.array([PSF((Gaussian(s),)).at(0.0, FREQUENCY) for s in sigmas])
    disks = np.array([PSF.defocus(r, 0.5).at(0.0, FREQUENCY) for r in (3.9, 4.1)])
    mean = 0.6 * gaussians.mean(0) + 0.4 * disks.mean(0)
    within = 0.6 * gaussians.var(0) * GAUSSIAN_DEVIATION**2 + 0.4 * disks.var(0)
    between = 0.6 * (gaussians.mean(0) - mean) ** 2 + 0.4 * (disks.mean(0) - mean) ** 2
    np.testing.assert_allclose(found.mean, mean, atol=1e-12)
    np.testing.assert_allclose(found.deviation**2, within + between, atol=1e-9)


def test_a_calibrated_covariance_gives_moments(tmp_path: Path) -> None:
    path = tmp_path / "lens.json"
    covariance = np.diag([0.2**2, 0.05**2])
    names = ("components[0].radius_px", "components[1].sigma_px")
    save_record(path, PSF.defocus(4.0), covariance=covariance, parameters=names)
    found = moments_of_record(load_record(path))
    exact = moments_of_normal(4.0, 0.5, covariance)
    assert found is not None
    np.testing.assert_allclose(found.mean, exact.mean, atol=0.02)
    np.testing.assert_allclose(found.deviation, exact.deviation, atol=0.02)
    save_record(path, PSF.defocus(4.0))
    assert moments_of_record(load_record(path)) is None


def test_a_shaken_record_is_left_alone_like_a_shaken_frame(
    tmp_path: Path, estimate: Estimate
) -> None:
    facts = np.array([0.2, 0.1, 0.7, 0.0, 1.0])
    shaken = PsfDistribution(estimate.distribution.parts, "shake", 0.1, facts)
    save_record(tmp_path / "lens.json", PSF.defocus(3.5), distribution=shaken)
    with Session(psf=tmp_path / "lens.json", threads=1) as session:
        restored, report = session.restore_with_report(CAPTURE)
    assert not report.restored
    np.testing.assert_array_equal(restored, CAPTURE)
    assert "neither defocus nor linear motion" in report.warnings[0]


def _document(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    part = RoundPart(np.array([3.0, 4.0]), np.array([0.25, 0.75]), np.array([0.5]), np.ones(1))
    told = PsfDistribution((part,), "round", 0.8, np.array([1.0, 0.0, 0.0, 0.0, 0.5]))
    path = tmp_path / "lens.json"
    save_record(path, PSF.defocus(3.8), distribution=told)
    return path, json.loads(path.read_text())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"family": "square"}, "distribution.family"),
        ({"confidence": 1.5}, "distribution.confidence"),
        ({"confidence": True}, "distribution.confidence"),
        ({"facts": [1, 2]}, "distribution.facts"),
        ({"facts": [0, 0, 0, 0, 10**400]}, "distribution.facts"),
        ({"parts": []}, "distribution.parts"),
        ({"parts": [{"radius_px": [1.0]}]}, "distribution.parts"),
        ({"radius_px": [3.0]}, "differ in number"),
        ({"radius_probability": [0.2, 0.2]}, "radius_probability"),
        ({"sigma_probability": [0.5]}, "sigma_probability"),
        ({"sigma_px": [-1.0]}, "sigma_px"),
        ({"colour": "red"}, "must hold"),
    ],
)
def test_a_damaged_distribution_is_named(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    path, document = _document(tmp_path)
    distribution = document["distribution"]
    ((name, value),) = change.items()
    target = distribution["parts"][0] if name in distribution["parts"][0] else distribution
    target[name] = value
    told = {k: v for k, v in distribution.items() if k != "id"}
    distribution["id"] = _digest(told)
    path.write_text(json.dumps(document))
    with pytest.raises(PsfError, match=named) as caught:
        load_record(path)
    assert str(path) in str(caught.value)


def _digest(told: dict[str, Any]) -> str:
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def test_a_flipped_digit_is_found(tmp_path: Path) -> None:
    path, _ = _document(tmp_path)
    path.write_text(path.read_text().replace("0.75", "0.74"))
    with pytest.raises(PsfError, match=r"distribution\.id.*damaged"):
        load_record(path)


def test_the_command_saves_it_and_does_not_overwrite(tmp_path: Path, capsys: Any) -> None:
    for k in range(2):
        (tmp_path / f"{k}.jpg").write_bytes(jpeg(CAPTURE, 90))
    record = tmp_path / "lens.json"
    files = [str(tmp_path / "0.jpg"), str(tmp_path / "1.jpg")]
    assert main(["psf", "estimate", *files, "-o", str(record)]) == 0
    first = load_record(record)
    assert first.distribution is not None
    assert first.provenance["captures"] == files
    capsys.readouterr()
    assert main(["psf", "estimate", files[0], "-o", str(record)]) == 7
    assert "lens.json" in (told := capsys.readouterr().err)
    assert "--overwrite" in told
    assert main(["psf", "estimate", files[0], "-o", str(record), "--overwrite"]) == 0
    assert load_record(record).provenance["captures"] == files[:1]
