"""Blind estimation on scenes made here: dead leaves, whose statistics resemble natural scenes'."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from imagine_deblur.degradation import forward as degradation
from imagine_deblur.errors import EstimationError, InputImageError, OptionsError
from imagine_deblur.psf import PSF, Disk, Gaussian, Motion
from imagine_deblur.psf.estimation import (
    DecodedCapture,
    estimate_psf,
    report_lines,
    report_records,
    succeeded,
)


def dead_leaves(rows: int, columns: int, seed: int) -> np.ndarray:
    """Opaque disks of power-law radii falling on each other (Lee, Mumford & Huang 2001)."""
    rng = np.random.default_rng(seed)
    scale = 2  # drawn finer, then averaged: edges without stairs
    canvas = np.zeros((rows * scale, columns * scale, 3), np.float32)
    count = int(0.05 * rows * columns)
    radius = scale * 1.5 / np.sqrt(rng.uniform((1.5 / 60) ** 2, 1.0, count))
    centre = rng.uniform(0, 1, (count, 2)) * [rows * scale, columns * scale]
    colour = rng.beta(2, 3, (count, 1)) + 0.05 * rng.standard_normal((count, 3))
    for r, (y, x), c in zip(radius, centre, colour, strict=True):
        top, bottom = max(int(y - r), 0), min(int(y + r) + 2, canvas.shape[0])
        left, right = max(int(x - r), 0), min(int(x + r) + 2, canvas.shape[1])
        dy = np.arange(top, bottom)[:, None] - y
        dx = np.arange(left, right)[None, :] - x
        canvas[top:bottom, left:right][dy * dy + dx * dx <= r * r] = c
    fine = canvas.reshape(rows, scale, columns, scale, 3).mean(axis=(1, 3))
    return np.clip(fine, 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def scenes() -> list[np.ndarray]:
    return [dead_leaves(400, 400, seed) for seed in range(4)]


def capture(scene: np.ndarray, psf: PSF, seed: int = 0, quality: int | None = 90) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return degradation.degrade(scene, psf, noise=0.004, jpeg_quality=quality, rng=rng)


@pytest.mark.parametrize("radius", [2.2, 3.5, 5.0, 6.8, 8.0])
def test_disk_radius(scenes, radius):
    for i, scene in enumerate(scenes):
        found = estimate_psf(capture(scene, PSF.defocus(radius), i))
        assert found.disk_radius_px == pytest.approx(radius, rel=0.05)
        assert found.confidence > 0.5
        assert found.covariance.shape == (2, 2)
        assert np.linalg.eigvalsh(found.covariance).min() > 0


@pytest.mark.parametrize("sigma", [1.5, 2.5])
def test_gaussian_alone_gives_its_transfer_function(scenes, sigma):
    truth = PSF((Gaussian(sigma),))
    f = np.linspace(0, 0.3, 31)
    for i, scene in enumerate(scenes):
        found = estimate_psf(capture(scene, truth, i)).psf
        difference = found.transfer([0.0], f).real - truth.transfer([0.0], f).real
        assert np.abs(difference).max() < 0.17


def test_sharp_scene_gives_almost_the_identity(scenes):
    for i, scene in enumerate(scenes):
        found = estimate_psf(capture(scene, PSF(()), i))
        assert found.disk_radius_px < 0.6
        assert found.psf.otf(64, 64).real[:, :17].min() > 0.5


def test_motion_is_recognised(scenes):
    truth = PSF((Motion(9.0, 40.0), Gaussian(0.5)))
    for i, scene in enumerate(scenes):
        found = estimate_psf(capture(scene, truth, i))
        assert found.motion is not None
        assert found.motion.length_px == pytest.approx(9.0, rel=0.25)
        assert abs((found.motion.angle_deg - 40.0 + 90) % 180 - 90) < 10
        assert found.confidence < 0.3
        assert found.psf.components[0] == found.motion


def test_an_unknown_kernel_is_not_undone(scenes):
    found = estimate_psf(capture(scenes[0], PSF.defocus(4.0)))
    assert found.family == "round"
    assert dataclasses.replace(found, family="shake").psf == PSF(())


def test_joint_estimate_is_better_and_says_so(scenes):
    captures = [capture(s, PSF.defocus(4.4), i) for i, s in enumerate(scenes)]
    joint = estimate_psf(captures)
    singles = [estimate_psf(c) for c in captures]
    assert joint.captures == 4
    assert joint.disk_radius_px == pytest.approx(4.4, rel=0.02)
    assert joint.disk_radius_se <= max(s.disk_radius_se for s in singles)


def test_captures_of_different_blurs_are_not_pooled(scenes):
    captures = [capture(s, PSF.defocus(r)) for s, r in zip(scenes, (2.5, 7.0), strict=False)]
    with pytest.raises(EstimationError, match="differ") as caught:
        estimate_psf(captures)
    assert caught.value.reason == "inconsistent"
    records = report_records([DecodedCapture(str(i), c) for i, c in enumerate(captures)])
    assert records[-1]["refused"] == "inconsistent"


def test_same_input_same_answer_and_types_agree(scenes):
    image = capture(scenes[0], PSF.defocus(3.0))
    first, second = estimate_psf(image), estimate_psf(image.copy())
    assert first.to_dict() == second.to_dict()
    as_float = estimate_psf(image.astype(np.float32) / 255)
    assert as_float.disk_radius_px == pytest.approx(first.disk_radius_px, rel=1e-3)


def test_grey_frame(scenes):
    image = capture(scenes[0], PSF.defocus(4.0))
    grey = np.round(image @ [0.299, 0.587, 0.114]).astype(np.uint8)
    assert estimate_psf(grey).disk_radius_px == pytest.approx(4.0, rel=0.05)


def test_flat_dark_and_saturated_areas_are_left_out(scenes):
    image = capture(scenes[1], PSF.defocus(4.0), quality=None)
    patched = np.zeros((800, 800, 3), np.uint8)
    patched[:400, :400] = image
    patched[:400, 400:] = 120
    patched[400:, :400] = 255
    found = estimate_psf(patched)
    assert found.disk_radius_px == pytest.approx(4.0, rel=0.08)
    assert found.kinds["dark"] > 0.1
    assert found.kinds["saturated"] > 0.1
    assert found.kinds["flat"] > 0.05


def test_glints_everywhere_do_not_prevent_an_estimate(scenes):
    image = capture(scenes[2], PSF.defocus(4.0), quality=None).copy()
    for top in range(0, 400, 40):  # 9 px of every 40 x 40: a few percent of every block
        for left in range(0, 400, 40):
            image[top : top + 9, left : left + 9] = 255
    with_glints = estimate_psf(image)
    assert with_glints.kinds["scene"] > 0.9
    assert estimate_psf(capture(scenes[2], PSF.defocus(4.0))).kinds["saturated"] == 0.0


def noise_frame() -> np.ndarray:
    rng = np.random.default_rng(3)
    return (128 + 4 * rng.standard_normal((400, 400, 3))).round().astype(np.uint8)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.full((400, 400, 3), 128, np.uint8), "flat"),
        (np.zeros((400, 400, 3), np.uint8), "dark"),
        (np.full((400, 400, 3), 255, np.uint8), "saturated"),
        (np.full((400, 400, 3), 225, np.uint8), "cloud"),
        (np.zeros((90, 400, 3), np.uint8), "small"),
        (noise_frame(), "flat"),
    ],
    ids=["flat", "dark", "saturated", "cloud", "small", "noise"],
)
def test_refusals_name_their_reason(image, reason):
    with pytest.raises(EstimationError) as caught:
        estimate_psf(image)
    assert caught.value.reason == reason


def test_wrong_arguments():
    with pytest.raises(InputImageError, match="float64"):
        estimate_psf(np.zeros((400, 400)))
    with pytest.raises(OptionsError, match="one image or more"):
        estimate_psf([])
    with pytest.raises(InputImageError, match="NaN or infinite"):
        estimate_psf(np.full((400, 400), np.nan, np.float32))
    with pytest.raises(OptionsError, match="quantisation"):
        estimate_psf(np.zeros((400, 400), np.uint8), quantisation=np.zeros((8, 8)))


def test_memory_of_a_large_frame_is_bounded(scenes):
    image = np.tile(capture(scenes[0], PSF.defocus(4.0)), (4, 6, 1))[:1536, :2048]
    estimate_psf(image)  # tables and weights are loaded once
    tracemalloc.start()
    try:
        estimate_psf(image)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6e6


def test_run_time_needs_numpy_alone():
    code = (
        "import sys, numpy; import imagine_deblur.psf.estimation as e;"
        "from imagine_deblur.psf.estimation.network import bundled; bundled();"
        "bad = {'scipy', 'torch', 'onnxruntime', 'PIL'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_report_of_several_captures(scenes):
    captures = [
        DecodedCapture("a.jpg", capture(scenes[0], PSF((Disk(3.0), Gaussian(0.5))))),
        DecodedCapture("b.jpg", capture(scenes[1], PSF((Disk(3.0), Gaussian(0.5))))),
    ]
    records = report_records(captures)
    assert [r["file"] for r in records] == ["a.jpg", "b.jpg", "(joint)"]
    assert records[2]["captures"] == 2
    assert succeeded(records)
    wanted = {
        "disk_radius_px",
        "gaussian_sigma_px",
        "disk_radius_se",
        "gaussian_sigma_se",
        "noise",
        "confidence",
    }
    for line in report_lines(captures, as_json=True):
        assert wanted <= set(json.loads(line))
    assert f"{records[0]['disk_radius_px']:.3f}" in report_lines(captures)[1]


def test_report_of_a_refused_capture(scenes):
    flat = DecodedCapture("flat.jpg", np.full((200, 200, 3), 99, np.uint8))
    good = DecodedCapture("good.jpg", capture(scenes[0], PSF.defocus(3.0)))
    records = report_records([flat, good])
    assert records[0]["refused"] == "flat"
    assert len(records) == 2
    assert not succeeded(records)
    assert not succeeded([])
    assert "refused (flat)" in report_lines([flat])[1]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_kernel_counts_as_cut_where_that_can_be_seen(seed: int) -> None:
    scene = dead_leaves(320, 384, seed)
    line = np.exp(-0.5 * ((np.arange(15) - 7) / 3.5) ** 2)
    kernel = np.outer(line, line)
    rng = np.random.default_rng(seed)
    cut = degradation.degrade(scene, PSF.sampled(kernel / kernel.sum()), noise=0.0005, rng=rng)
    assert estimate_psf(cut).truncated
    disk = degradation.degrade(scene, PSF.defocus(1.2), noise=0.006, jpeg_quality=85, rng=rng)
    found = estimate_psf(disk)
    assert found.psf.isotropic  # undone with everything that is held possible
    assert not found.truncated
