"""A camera's description: ranges that are kept to, and errors that name the line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imagine_deblur.degradation.camera_description import CameraDescription, read_camera
from imagine_deblur.errors import OptionsError
from imagine_deblur.evaluation.described import protocol_of
from imagine_deblur.evaluation.metrics.fidelity import psnr
from synthetic import natural

CAMERA = CameraDescription("toy", (2.0, 3.0), (0.4, 0.6), (0.0, 5.0), (0.002, 0.004), (80, 90))


def test_draws_keep_to_the_ranges_and_follow_the_seed():
    draws = [CAMERA.draw(np.random.default_rng(seed)) for seed in range(200)]
    for name, low, high in (
        ("radius_px", 2, 3), ("sigma_px", 0.4, 0.6), ("length_px", 0, 5), ("noise", 0.002, 0.004),
        ("jpeg_quality", 80, 90), ("contrast", 0.7, 1.0),
    ):  # fmt: skip
        values = np.array([getattr(drawn, name) for drawn in draws])
        assert low <= values.min() < low + 0.1 * (high - low) + 1e-9, name
        assert high - 0.1 * (high - low) - 1e-9 < values.max() <= high, name
    assert draws[3] == CAMERA.draw(np.random.default_rng(3))
    kinds = {tuple(type(c).__name__ for c in drawn.psf.components) for drawn in draws}
    assert kinds == {("Disk", "Motion", "Gaussian")}
    plain = CameraDescription("plain", jpeg_quality=())
    drawn = plain.draw(np.random.default_rng(0))
    assert [type(c).__name__ for c in drawn.psf.components] == ["Gaussian"]
    assert drawn.jpeg_quality is None


def test_its_protocol_degrades_and_keeps_the_truth():
    sharp = natural(96, 120, seed=1)
    case = protocol_of(CAMERA, crop_px=64).make(sharp, 7)
    assert case.degraded.shape == case.sharp.shape == (64, 64, 3)
    assert case.params["protocol"] == "camera:toy"
    assert 2 <= case.params["radius_px"] <= 3
    assert psnr(case.degraded / np.float32(255), case.sharp) < 40
    again = protocol_of(CAMERA, crop_px=64).make(sharp, 7)
    assert np.array_equal(case.degraded, again.degraded)


def test_a_file_is_read(tmp_path: Path):
    path = tmp_path / "camera.toml"
    path.write_text('name = "cubesat_1"\nradius_px = [3, 5]\njpeg_quality = []\n')
    camera = read_camera(path)
    assert camera == CameraDescription("cubesat_1", (3.0, 5.0), jpeg_quality=())
    assert CameraDescription(**{
        key: tuple(v) if isinstance(v, list) else v for key, v in camera.to_dict().items()
    }) == camera  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("radius_px = [3, 5]", "name"),
        ('name = "a b"', "name of letters"),
        ('name = "a"\nradius = [3, 5]', "radius.*radius_px"),
        ('name = "a"\nradius_px = 3', "radius_px.*two numbers"),
        ('name = "a"\nradius_px = [5, 3]', "radius_px.*0.0 to 9.0"),
        ('name = "a"\nradius_px = [5, 30]', "radius_px.*0.0 to 9.0"),
        ('name = "a"\nradius_px = ["x", 3]', "two numbers"),
        ('name = "a"\njpeg_quality = [80.5, 90]', "two numbers"),
        ('name = "a"\nnoise = []', "noise"),
        ("name = ", "a TOML file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, said):
    path = tmp_path / "camera.toml"
    path.write_text(text)
    with pytest.raises(OptionsError, match=said):
        read_camera(path)
