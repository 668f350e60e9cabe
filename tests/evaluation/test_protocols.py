"""Protocols: names, seeds, ranges and the order of scenes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import synthetic
from imagine_deblur.degradation.forward import blur, quantise
from imagine_deblur.errors import OptionsError
from imagine_deblur.evaluation.protocols import (
    PROTOCOLS,
    central_crop,
    load_scene,
    protocol,
    scale_contrast,
    truncated_gaussian,
)

NAMES = [
    "gauss", "gauss+", "defocus", "defocus+", "defocus75",
    "imagine", "imagine90", "motion", "shake", "spin", "camera", "camera-low",
]  # fmt: skip
SCENE = synthetic.natural(72, 80, seed=4)


def test_the_names_are_the_documents() -> None:
    assert list(PROTOCOLS) == NAMES
    with pytest.raises(OptionsError, match="defocus75"):
        protocol("defocus99")


@pytest.mark.parametrize("name", NAMES)
def test_cases_are_seeded_by_their_index(name: str) -> None:
    first, again, other = (PROTOCOLS[name].make(SCENE, i) for i in (3, 3, 4))
    np.testing.assert_array_equal(first.degraded, again.degraded)
    assert first.params == again.params
    assert first.degraded.dtype == np.uint8
    assert first.degraded.shape == first.sharp.shape
    if name != "imagine":  # nothing random in it
        assert (first.degraded != other.degraded).any()


@pytest.mark.parametrize(
    ("name", "key", "low", "high"),
    [
        ("gauss", "sigma_px", 0.2, 4.0),
        ("gauss+", "sigma_px", 1.0, 4.0),
        ("defocus", "radius_px", 2.0, 8.0),
        ("defocus+", "radius_px", 2.0, 8.0),
        ("defocus+", "jpeg_quality", 85, 97),
        ("motion", "length_px", 3.0, 15.0),
        ("motion", "angle_deg", 0.0, 180.0),
        ("spin", "spin_deg", 0.2, 1.0),
        ("camera", "radius_px", 2.0, 7.0),
        ("camera-low", "contrast", 0.15, 0.5),
        ("camera-low", "jpeg_quality", 75, 95),
    ],
)
def test_parameters_fill_their_range(name: str, key: str, low: float, high: float) -> None:
    tiny = SCENE[:16, :16]
    drawn = np.array([PROTOCOLS[name].make(tiny, i).params[key] for i in range(120)])
    assert low <= drawn.min() < low + 0.15 * (high - low)
    assert high - 0.15 * (high - low) < drawn.max() <= high


def test_defocus_is_a_disk_times_a_narrow_gaussian() -> None:
    case = PROTOCOLS["defocus"].make(SCENE, 0)
    assert case.psf is not None
    noiseless = blur(case.sharp, case.psf)
    error = case.degraded.astype(np.float32) / 255 - noiseless
    assert error.std() < 0.003  # noise 0.002 * sqrt(y + 0.1) and rounding


def test_gauss_is_rounding_only_within_15x15() -> None:
    case = PROTOCOLS["gauss"].make(SCENE, 1)
    assert case.psf == truncated_gaussian(case.params["sigma_px"], 15)
    np.testing.assert_array_equal(case.degraded, quantise(blur(SCENE, case.psf)))
    assert truncated_gaussian(4.0, 15).kernel().shape == (15, 15)


def test_imagine_scales_contrast_and_crops_the_centre() -> None:
    scene = synthetic.natural(530, 600, seed=2)
    case = PROTOCOLS["imagine"].make(scene, 0)
    assert case.sharp.shape == (512, 512, 3)
    centre = scene[9:521, 44:556]
    np.testing.assert_array_equal(central_crop(scene, 512), centre)
    np.testing.assert_allclose(
        case.sharp.std(axis=(0, 1)), 0.7 * centre.std(axis=(0, 1)), rtol=1e-3
    )
    np.testing.assert_allclose(case.sharp.mean(axis=(0, 1)), centre.mean(axis=(0, 1)), atol=1e-5)
    assert scale_contrast(scene, 1.0) == pytest.approx(scene, abs=1e-6)


def test_importing_needs_numpy_alone() -> None:
    modules = [
        "evaluation.protocols",
        "evaluation.metrics.fidelity",
        "evaluation.metrics.brisque",
        "evaluation.metrics.niqe_eo",
        "psf.record",
    ]
    code = "import sys\n" + "".join(f"import imagine_deblur.{name}\n" for name in modules)
    code += "print([m for m in ('PIL', 'scipy', 'torch', 'skimage', 'cv2') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_scenes_are_sorted_aerial_first(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("satellite/b.png", "aerial/c.png", "aerial/a.png", "aerial/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".png":
            Image.fromarray(quantise(SCENE)).save(path)
        else:
            path.write_text("not a picture")
    found = [p.relative_to(tmp_path).as_posix() for p in PROTOCOLS["gauss"].images(tmp_path)]
    assert found == ["aerial/a.png", "aerial/c.png", "satellite/b.png"]
    assert [p.name for p in PROTOCOLS["imagine"].images(tmp_path)] == ["b.png"]
    assert [p.name for p in PROTOCOLS["imagine"].images(tmp_path / "aerial")] == ["a.png", "c.png"]
    scene = load_scene(tmp_path / "aerial" / "a.png")
    assert scene.dtype == np.float32
    np.testing.assert_array_equal(quantise(scene), quantise(SCENE))
    with pytest.raises(FileNotFoundError):
        PROTOCOLS["gauss"].images(tmp_path / "none")


def test_space_station_scenes_come_last_and_move_no_seed(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("satellite/b.png", "aerial/a.png", "iss/c.png", "iss/d.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(quantise(SCENE)).save(path)
    found = [(s.scene_set, s.index, s.path.name) for s in PROTOCOLS["gauss"].scenes(tmp_path)]
    assert found == [
        ("aerial", 0, "a.png"),
        ("satellite", 1, "b.png"),
        ("iss", 2, "c.png"),
        ("iss", 3, "d.png"),
    ]
    of_imagine = [(s.scene_set, s.index) for s in PROTOCOLS["imagine"].scenes(tmp_path)]
    assert of_imagine == [("satellite", 0), ("iss", 1), ("iss", 2)]
    alone = PROTOCOLS["gauss"].scenes(tmp_path / "iss")
    assert [(s.scene_set, s.index) for s in alone] == [("all", 0), ("all", 1)]


def test_a_camera_blurs_light_and_its_truth_has_its_tone() -> None:
    case = PROTOCOLS["camera"].make(SCENE, 5)
    assert case.psf is not None
    delivered = case.degraded.astype(np.float32) / 255
    tone = abs(delivered.mean() - case.sharp.mean())
    assert tone < 0.02 < abs(SCENE.mean() - case.sharp.mean())
    low = PROTOCOLS["camera-low"].make(SCENE, 5)
    assert low.sharp.std() < 0.55 * case.sharp.std()
