"""The whole calibration on simulated captures: what it finds, what it refuses, what it writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imagine_deblur.calibration import calibrate, calibrate_files, geometry, simulate
from imagine_deblur.errors import CalibrationError, OptionsError
from imagine_deblur.evaluation.metrics.psf import mnc
from imagine_deblur.psf import PSF, Disk, Gaussian
from imagine_deblur.psf.record import load_record
from synthetic import natural

pytest.importorskip("cv2", reason="the extra [geo] is not installed")
pytest.importorskip("rasterio", reason="the extra [geo] is not installed")
pytest.importorskip("scipy", reason="the extra [geo] is not installed")

SHAPE = (210, 280)
MTF = 0.22


def scene(seed: int = 3) -> NDArray[np.float32]:
    """Ground with enough hard-edged fields to recognise."""
    rng = np.random.default_rng(seed)
    image = natural(1500, 1500, seed)
    for _ in range(700):
        top, left = rng.integers(0, 1450, 2)
        height, width = rng.integers(10, 90, 2)
        patch = image[top : top + height, left : left + width]
        patch += rng.uniform(-0.18, 0.18, 3).astype(np.float32)
    return np.clip(image, 0.02, 0.9)


@pytest.fixture(scope="module")
def ground() -> NDArray[np.float32]:
    return scene()


@pytest.fixture(scope="module")
def reference(ground: NDArray[np.float32]) -> NDArray[np.uint8]:
    return simulate.reference_of(ground, MTF, np.random.default_rng(0))


def taken(ground: NDArray[np.float32], psf: PSF, seed: int, **options: object) -> simulate.Truth:
    rng = np.random.default_rng(seed)
    view = simulate.view(SHAPE, 3.9, 137.0, 6.0, 30.0, (740.0, 765.0))
    return simulate.capture_of(ground, view, SHAPE, psf, rng, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def clear(ground: NDArray[np.float32]) -> simulate.Truth:
    return taken(ground, PSF.defocus(3.7), 1)


def test_a_rotated_tilted_noisy_jpeg_capture_gives_its_psf_and_place(
    ground: NDArray[np.float32], reference: NDArray[np.uint8], tmp_path: Path
) -> None:
    truth = taken(ground, PSF.defocus(3.7), 1, cloud=0.15)
    lines: list[str] = []
    found = calibrate(truth.capture, reference, progress=lines.append)
    assert found.values[0] == pytest.approx(3.7, rel=0.02)
    assert mnc(found.psf.kernel(25), truth.psf.kernel(25)) >= 0.98
    one = found.captures[0]
    assert geometry.distance(one.homography, truth.homography, SHAPE) <= 0.5
    expected = geometry.describe(truth.homography, SHAPE, 10.0)
    assert found.gsd_m == pytest.approx(expected.gsd_m, rel=2e-3)
    assert found.rotation_deg == pytest.approx(expected.rotation_deg, abs=0.2)
    assert found.registration_rms_px <= 0.5
    assert found.coherence > 0.5
    assert found.converged
    assert one.cloud > 0.0
    assert all(error > 0.0 for error in found.standard_errors.values())
    assert any("round 1" in line for line in lines)
    assert "radius_px" in found.summary()

    path = tmp_path / "lens.json"
    found.save(path)
    record = load_record(path)
    assert record.psf == found.psf
    assert record.gsd_m == pytest.approx(found.gsd_m)
    assert record.parameters == ("components[0].radius_px", "components[1].sigma_px")
    np.testing.assert_allclose(record.covariance, found.covariance)
    assert record.provenance["calibration"]["captures"][0]["name"] == "capture 0"
    assert json.loads(json.dumps(found.to_dict())) == record.provenance["calibration"]


def test_captures_are_measured_jointly_and_a_stranger_is_left_out(
    ground: NDArray[np.float32],
    reference: NDArray[np.uint8],
    clear: simulate.Truth,
    tmp_path: Path,
) -> None:
    assert isinstance(clear.capture, bytes)
    stranger = taken(scene(8), PSF.defocus(3.7), 4)
    assert isinstance(stranger.capture, bytes)
    files = []
    for name, data in (("a.jpg", clear.capture), ("elsewhere.jpg", stranger.capture)):
        files.append(tmp_path / name)
        files[-1].write_bytes(data)
    picture = tmp_path / "reference.png"
    Image.fromarray(reference).save(picture)
    output = tmp_path / "lens.json"
    found = calibrate_files(files, picture, output, initial_psf=PSF.defocus(3.5))
    assert [Path(one.name).name for one in found.captures] == ["a.jpg"]
    assert [Path(name).name for name in found.refused] == ["elsewhere.jpg"]
    assert found.values[0] == pytest.approx(3.7, rel=0.02)
    assert load_record(output).psf == found.psf


def test_jpeg_losses_are_not_taken_for_blur(
    ground: NDArray[np.float32], reference: NDArray[np.uint8]
) -> None:
    """The same capture without its quantisation table looks blurred more than it is."""
    truth = taken(ground, PSF.defocus(3.7), 6, jpeg_quality=60)
    assert isinstance(truth.capture, bytes)
    start = PSF.defocus(3.7)
    aware = calibrate(truth.capture, reference, initial_psf=start)
    decoded = simulate.jpeg_decode(truth.capture)
    unaware = calibrate(decoded, reference, initial_psf=start)

    def spread(values: NDArray[np.float64]) -> float:
        return float(values[0] ** 2 / 4.0 + values[1] ** 2)

    true = 3.7**2 / 4.0 + 0.25
    assert spread(unaware.values) > true + 0.1
    assert abs(spread(aware.values) - true) < 0.5 * abs(spread(unaware.values) - true)


def test_the_gaussian_family(ground: NDArray[np.float32], reference: NDArray[np.uint8]) -> None:
    truth = taken(ground, PSF((Gaussian(1.8),)), 5, jpeg_quality=None, noise=0.003)
    found = calibrate(
        truth.capture, reference, family="gaussian", initial_psf=PSF((Gaussian(1.6),))
    )
    assert found.parameters == ("components[0].sigma_px",)
    assert found.values[0] == pytest.approx(1.8, rel=0.02)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("mirrored", "too few matches"),
        ("elsewhere", "too few matches"),
        ("gsd", "too few matches"),
        ("flat", "too few matches"),
        ("cloud", "too few matches|cloud"),
        ("small", "too small"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_a_reason(
    case: str,
    message: str,
    ground: NDArray[np.float32],
    reference: NDArray[np.uint8],
    clear: simulate.Truth,
) -> None:
    assert isinstance(clear.capture, bytes)
    capture: bytes | NDArray[np.uint8] = clear.capture
    gsd = (37.0, 41.0)
    if case == "mirrored":
        capture = simulate.mirrored(clear)
    elif case == "elsewhere":
        capture = taken(scene(9), PSF.defocus(3.7), 1).capture
    elif case == "gsd":
        gsd = (60.0, 80.0)
    elif case == "flat":
        grey = np.random.default_rng(0).normal(110.0, 2.0, (*SHAPE, 3))
        capture = grey.astype(np.uint8)
    elif case == "cloud":
        capture = taken(ground, PSF.defocus(3.7), 1, cloud=0.93).capture
    else:
        capture = simulate.jpeg_decode(clear.capture)[:80, :80].copy()
    with pytest.raises(CalibrationError, match=message) as caught:
        calibrate(capture, reference, gsd_m=gsd, initial_psf=PSF.defocus(3.7))
    assert caught.value.residual is not None


def test_captures_of_two_instruments_are_refused(
    ground: NDArray[np.float32], reference: NDArray[np.uint8]
) -> None:
    captures = [taken(ground, PSF.defocus(radius), 3).capture for radius in (2.5, 4.5)]
    with pytest.raises(CalibrationError, match="one instrument in one state") as caught:
        calibrate(captures, reference, initial_psf=PSF.defocus(3.5))
    assert caught.value.residual is not None
    assert caught.value.residual > 0.1


def test_a_family_that_does_not_describe_the_blur_is_refused(
    ground: NDArray[np.float32], reference: NDArray[np.uint8]
) -> None:
    """A strong disk's transfer function changes sign; a Gaussian's cannot."""
    truth = taken(ground, PSF((Disk(5.0),)), 2, jpeg_quality=None, noise=0.002)
    with pytest.raises(CalibrationError, match="inconsistent fit") as caught:
        calibrate(truth.capture, reference, family="gaussian", initial_psf=PSF.defocus(5.0))
    assert caught.value.residual is not None


@pytest.mark.parametrize(
    "options",
    [
        {"family": "square"},
        {"gsd_m": (41.0, 37.0)},
        {"max_iterations": 0},
        {"reference_mtf_nyquist": 0.0},
        {"names": ["a", "b"]},
    ],
)
def test_impossible_options_are_refused(
    options: dict[str, object], reference: NDArray[np.uint8], clear: simulate.Truth
) -> None:
    with pytest.raises(OptionsError):
        calibrate(clear.capture, reference, **options)  # type: ignore[arg-type]


def test_importing_calibration_brings_none_of_its_packages() -> None:
    code = (
        "import sys, imagine_deblur.calibration\n"
        "heavy = {'cv2', 'rasterio', 'scipy', 'matplotlib', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"pip install 'imagine-deblur\[geo\]'"):
        calibrate(np.zeros((200, 200, 3), np.uint8), np.zeros((900, 900, 3), np.uint8))


def test_on_a_real_scene(data_dir: Path) -> None:
    with Image.open(data_dir / "val/satellite/landsat_lava_coast.png") as picture:
        image = np.asarray(picture.convert("RGB"), dtype=np.float32) / np.float32(255)
    ground = simulate.enlarge(np.ascontiguousarray(image), 2)
    rng = np.random.default_rng(21)
    reference = simulate.reference_of(ground, MTF, rng)
    shape = (300, 400)
    view = simulate.view(shape, 4.0, -62.0, 8.0, 110.0, (1180.0, 900.0))
    truth = simulate.capture_of(ground, view, shape, PSF.defocus(5.0), rng, cloud=0.1)
    found = calibrate(truth.capture, reference)
    assert mnc(found.psf.kernel(29), truth.psf.kernel(29)) >= 0.98
    assert geometry.distance(found.captures[0].homography, view, shape) <= 0.5
