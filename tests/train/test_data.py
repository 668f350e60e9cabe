"""Scenes, recipe, groups and the pool: seeded, in range, and true to the forward model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra [train]")

from imagine_deblur.capture.ring_gain import TRAITS, gains_for
from imagine_deblur.capture.ring_spectra import ring_spectra
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.errors import InputImageError
from imagine_deblur.psf import PSF, Disk, Gaussian, Sampled
from imagine_deblur.restoration.wiener import WienerSpec, wiener_planes
from imagine_deblur.train import recipe
from imagine_deblur.train.captures import (
    MODES,
    SceneFiles,
    clouded,
    draw_capture,
    draw_mode,
    uneven_blur,
)
from imagine_deblur.train.config import TrainConfig
from imagine_deblur.train.planes import believed, crop_corners, input_planes, make_group
from imagine_deblur.train.pool import CropPool
from imagine_deblur.train.scenes import Scenes, checksum
from synthetic import made_up_scene, natural

SPEC = WienerSpec((1e-1, 1e-2, 1e-3), 1)
LEVELLED = WienerSpec((8.0, 1.0, 0.125), 1, level=True)


def test_group_is_a_function_of_seed_and_index(tiny_config: TrainConfig, scenes_dir: Path) -> None:
    scenes = SceneFiles(scenes_dir / "train")
    group, traits = make_group(5, 1, scenes, tiny_config.data, SPEC)
    assert group.shape == (4, 11, 32, 32)
    assert group.dtype == np.float16
    assert np.isfinite(group).all()
    assert traits.shape == (TRAITS,)
    np.testing.assert_array_equal(group, make_group(5, 1, scenes, tiny_config.data, SPEC)[0])
    assert not np.array_equal(group, make_group(6, 1, scenes, tiny_config.data, SPEC)[0])
    assert not np.array_equal(group, make_group(5, 2, scenes, tiny_config.data, SPEC)[0])


def test_capture_and_truth_of_a_group_belong_together(
    tiny_config: TrainConfig, scenes_dir: Path
) -> None:
    """The local mean of capture, base plane and truth agree: blur moves and adds nothing.

    All but black scenes are left out: noise that is cut at zero brightens their captures.
    """
    scenes = SceneFiles(scenes_dir / "train")
    compared = 0
    for index in range(12):
        group = make_group(index, 1, scenes, tiny_config.data, SPEC)[0].astype(np.float32)
        capture, base, sharp = group[:, :3], group[:, 3:6], group[:, -3:]
        if sharp.mean() < 0.04 - 0.5:
            continue
        compared += 1
        spread = sharp.std() + 0.02
        assert abs(float((capture - sharp).mean())) < 0.3 * spread
        assert abs(float((base - capture).mean())) < 0.3 * spread
    assert compared >= 8


def test_input_planes_are_capture_then_bank() -> None:
    rng = np.random.default_rng(0)
    capture = rng.integers(90, 160, (40, 44, 3)).astype(np.uint8)
    psf = PSF.defocus(2.0)
    planes = input_planes(capture, psf, SPEC, None)
    image = capture.astype(np.float32) / np.float32(255)
    np.testing.assert_allclose(planes[:3] + 0.5, np.moveaxis(image, -1, 0), atol=1e-6)
    np.testing.assert_allclose(planes[3:] + 0.5, wiener_planes(image, psf, SPEC), atol=1e-6)


@pytest.mark.parametrize("mode", sorted(MODES))
def test_every_kind_of_capture_is_believed_as_a_restoration_would(mode: str) -> None:
    rng = np.random.default_rng(sorted(MODES).index(mode))
    scene = made_up_scene(260, 270, 3).astype(np.float32) / np.float32(255)
    for _ in range(3):
        capture = draw_capture(scene, mode, rng)
        assert capture.degraded.dtype == np.uint8
        assert capture.degraded.shape == capture.sharp.shape
        assert 0.0 <= capture.sharp.min() <= capture.sharp.max() <= 1.0
        psf, gains = believed(capture, rng)
        planes = input_planes(capture.degraded, psf, LEVELLED, gains)
        assert np.isfinite(planes).all()
        if gains is not None:
            assert np.isfinite(gains.traits).all()
            assert gains.directed == (not psf.isotropic)


def test_an_uneven_defocus_keeps_the_light_and_differs_from_a_disk() -> None:
    point = np.zeros((64, 64, 3), np.float32)
    point[32, 32] = 1.0
    middles = []
    for seed in range(30):
        psf = uneven_blur(point, 6.0, 1.0, np.random.default_rng(seed))
        np.testing.assert_allclose(psf.sum(axis=(0, 1)), 1.0, atol=1e-4)
        assert psf.min() > -2e-4
        middles.append(float(psf[31:34, 31:34].mean() * np.pi * 6.0**2))
    assert min(middles) < 0.8
    assert max(middles) > 1.2


def test_clouds_are_small_and_brighter_than_the_ground() -> None:
    scene = made_up_scene(260, 270, 3).astype(np.float32) / np.float32(255)
    brighter = 0
    for seed in range(10):
        changed = clouded(scene, np.random.default_rng(seed))
        assert changed.dtype == np.float32
        assert 0.0 <= changed.min() <= changed.max() <= 1.0
        ground, cloud = np.quantile(changed.mean(axis=2), (0.5, 0.998))
        brighter += cloud > ground + 0.1
    assert brighter >= 8


def test_recipe_covers_its_ranges() -> None:
    rng = np.random.default_rng(0)
    radii, sigmas, kinds, noises, qualities, errors = [], [], set(), [], [], []
    camera = []
    for _ in range(3000):
        chosen = recipe.draw(rng, operating=False, radius_error=0.015, sigma_error=0.05)
        kinds.add(tuple(c.kind for c in chosen.psf.components))
        (camera if chosen.camera_sigma else noises).append(chosen.noise)
        qualities.append(chosen.jpeg_quality)
        for true, guess in zip(chosen.psf.components, chosen.believed.components, strict=True):
            if isinstance(true, Disk) and isinstance(guess, Disk):
                radii.append(true.radius_px)
                if true.radius_px:
                    errors.append(guess.radius_px / true.radius_px - 1.0)
            if isinstance(true, Gaussian):
                sigmas.append(true.sigma_px)
    assert max(radii) <= recipe.RADIUS_MAX_PX
    assert min(radii) < 0.5
    assert max(radii) > 8.3
    assert max(sigmas) <= recipe.SIGMA_MAX_PX
    assert np.std(errors) == pytest.approx(0.015, rel=0.15)
    assert {0.0, 0.002, 0.006} <= set(noises)
    assert max(noises) <= recipe.NOISE_MAX < max(camera) <= recipe.CAMERA_NOISE_MAX
    assert len(camera) == pytest.approx(3000 * recipe.CAMERA_SHARE, rel=0.2)
    assert None in qualities
    held = [q for q in qualities if q is not None]
    assert min(held) >= 70
    assert max(held) <= 98
    assert ("disk", "gaussian") in kinds
    assert ("sampled",) in kinds
    assert ("motion", "gaussian") in kinds


def test_a_cameras_grain_is_coloured_and_keeps_its_amplitude() -> None:
    sharp = np.full((128, 128, 3), 0.5, np.float32)
    nothing = PSF((Gaussian(0.05),))
    white, coloured = (
        recipe.Draw(nothing, nothing, 0.03, None, sigma).capture(sharp, np.random.default_rng(2))
        for sigma in (0.0, 0.8)
    )
    assert coloured.std() == pytest.approx(white.std(), rel=0.05)
    neighbours = [
        np.corrcoef(c[:, 1:, 0].ravel(), c[:, :-1, 0].ravel())[0, 1] for c in (white, coloured)
    ]
    assert abs(neighbours[0]) < 0.05
    assert neighbours[1] > 0.4


def test_planes_follow_the_captures_own_noise() -> None:
    rng = np.random.default_rng(3)
    scene = natural(256, 256, seed=4)
    psf, table = PSF.defocus(4.0), np.zeros(4, np.float32)
    levels = []
    for s in (0.0, 0.01, 0.05):
        capture = degrade(scene, psf, noise=s, rng=rng)
        spectra = ring_spectra([capture])
        assert spectra is not None
        gains = gains_for(spectra, psf, table)
        levels.append(float(input_planes(capture, psf, LEVELLED, gains)[-1, 0, 0]))
    assert -0.5 <= levels[0] < levels[1] < levels[2] <= 0.5


def test_operating_point_is_near_the_protocol() -> None:
    rng = np.random.default_rng(1)
    draws = [
        recipe.draw(rng, operating=True, radius_error=0.0, sigma_error=0.0) for _ in range(400)
    ]
    radii = [d.psf.components[0].radius_px for d in draws]
    assert np.mean(radii) == pytest.approx(recipe.OPERATING_RADIUS_PX, abs=0.1)
    assert all(d.psf.to_dict() == d.believed.to_dict() for d in draws)
    assert np.mean([d.noise == 0.0 and d.jpeg_quality is None for d in draws]) > 0.35


def test_truncated_gaussian_is_the_protocols_kernel() -> None:
    (component,) = recipe._truncated_gaussian(2.0).components
    assert isinstance(component, Sampled)
    kernel = component.kernel
    assert kernel.shape == (15, 15)
    assert kernel[7, 9] / kernel[7, 7] == pytest.approx(np.exp(-0.5))


def test_changed_scenes_stay_in_range() -> None:
    rng = np.random.default_rng(2)
    image = rng.random((24, 20, 3)).astype(np.float32)
    for number in range(200):
        changed = recipe.change_scene(image, rng, operating=bool(number % 2))
        assert changed.dtype == np.float32
        assert changed.shape == image.shape
        assert 0.0 <= changed.min() <= changed.max() <= 1.0


def test_crop_corners_cover_the_axis() -> None:
    rng = np.random.default_rng(3)
    for length in (128, 200, 351, 384, 400):
        for _ in range(20):
            corners = crop_corners(length, 128, 3, rng)
            assert corners.min() >= 0
            assert corners.max() + 128 <= length
            assert corners[0] <= (length - 384) / 2 + 8 or length < 384


def test_kinds_of_scene_and_capture_keep_their_shares(scenes_dir: Path) -> None:
    scenes, rng = SceneFiles(scenes_dir / "train"), np.random.default_rng(4)
    modes = [draw_mode(rng) for _ in range(2000)]
    assert np.mean([mode.startswith("camera") for mode in modes]) == pytest.approx(
        MODES["camera"] + MODES["camera-low"] + MODES["camera-any"], abs=0.04
    )
    kinds = [scenes.draw_kind(rng, "defocus") for _ in range(500)]
    assert np.mean([kind == "aerial" for kind in kinds]) == pytest.approx(0.35, abs=0.07)


def test_folder_without_usable_images(tmp_path: Path) -> None:
    with pytest.raises(InputImageError, match="no scenes"):
        SceneFiles(tmp_path)
    with pytest.raises(InputImageError, match="no image"):
        Scenes(tmp_path, region=64, smallest=32)


def test_checksum_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"one")
    first = checksum(tmp_path)
    (tmp_path / "a.png").write_bytes(b"two")
    second = checksum(tmp_path)
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    assert len({first, second, checksum(tmp_path)}) == 3


def test_pool_batches_do_not_depend_on_where_one_starts(
    tiny_config: TrainConfig, scenes_dir: Path, tmp_path: Path
) -> None:
    def pool(folder: str, step: int = 0) -> CropPool:
        return CropPool(
            tmp_path / folder,
            tiny_config,
            scenes_dir / "train",
            training_checksum="x",
            step=step,
            background=False,
        )

    one = pool("one")
    batches = [one.batch(step) for step in range(20)]
    late = pool("two", step=13)
    for step in range(13, 20):
        for mine, theirs in zip(late.batch(step), batches[step], strict=True):
            np.testing.assert_array_equal(mine, theirs)
    # The ring has moved on by step 19; a run that resumes before that makes the lost groups again.
    again = pool("one", step=2)
    np.testing.assert_array_equal(again.batch(2)[0], batches[2][0])


def test_pool_of_other_images_is_dropped(
    tiny_config: TrainConfig, scenes_dir: Path, tmp_path: Path
) -> None:
    def pool(mark: str) -> CropPool:
        return CropPool(
            tmp_path, tiny_config, scenes_dir / "train", training_checksum=mark, background=False
        )

    first = pool("x")
    expected = first.batch(0)[0]
    first._ring.crops[:] = 0
    assert float(np.abs(pool("x").batch(0)[0]).max()) == 0.0  # reused as it is
    np.testing.assert_array_equal(pool("y").batch(0)[0], expected)  # made again
