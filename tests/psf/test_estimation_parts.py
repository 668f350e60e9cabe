"""The parts of blind estimation against closed forms."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from imagine_deblur.degradation import forward as degradation
from imagine_deblur.errors import EstimationError
from imagine_deblur.psf import PSF, Disk, Motion
from imagine_deblur.psf.estimation import directions, estimate_psf, posterior
from imagine_deblur.psf.estimation.blocks import classify, positions
from imagine_deblur.psf.estimation.quantisation_table import table_scalars
from imagine_deblur.psf.estimation.spectrum import FREQUENCY, Summary, radial, summarise


def white(shape, deviation, seed=0):
    rng = np.random.default_rng(seed)
    return (0.5 + deviation * rng.standard_normal(shape)).astype(np.float32)


def test_power_density_of_white_noise_is_its_variance():
    summary = summarise(white((640, 640), 0.05))
    assert isinstance(summary, Summary)
    inner = (FREQUENCY > 0.05) & (FREQUENCY < 0.5)
    assert np.exp(summary.curves[0][inner].mean()) == pytest.approx(0.05**2, rel=0.03)
    # The logarithm of an exponentially distributed power lies Euler's constant below its mean's.
    assert np.exp(summary.curves[1][inner].mean() + np.euler_gamma) == pytest.approx(
        0.05**2, rel=0.03
    )


def test_disk_zeros_appear_where_they_belong():
    image = degradation.blur(white((768, 768), 0.2), PSF((Disk(5.0),)))
    summary = summarise(image)
    curve = summary.curves[3]
    near = (FREQUENCY > 0.08) & (FREQUENCY < 0.17)
    assert FREQUENCY[near][np.argmin(curve[near])] == pytest.approx(0.60983 / 5.0, abs=0.006)


def test_radial_average_of_a_radial_function():
    radius = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(128)[None, :])
    inner = (FREQUENCY > 0.03) & (FREQUENCY < 0.6)
    np.testing.assert_allclose(radial(radius)[inner], FREQUENCY[inner], atol=0.003)


@pytest.mark.parametrize("angle", [0.0, 30.0, 75.0, 120.0, 165.0])
def test_direction_of_motion(angle):
    image = degradation.blur(white((640, 640), 0.2), PSF((Motion(7.0, angle),)))
    found = directions.motion_angle_deg(directions.harmonic(summarise(image).sectors))
    assert abs((found - angle + 90) % 180 - 90) < 6


def test_no_direction_in_isotropic_noise():
    second = directions.harmonic(summarise(white((640, 640), 0.2)).sectors)
    assert np.abs(second[8:48]).mean() < 0.1


def test_blocks_cover_the_frame_and_overlap_by_half():
    start = positions(400, 128)
    assert start[0] == 0
    assert start[-1] == 400 - 128
    assert np.diff(start).max() <= 64


def test_kinds_of_blocks():
    image = white((256, 1024), 0.1).clip(0.1, 0.9)
    image[:, 256:512] = 0.0
    image[:, 512:768] = 1.0
    image[:, 768:] = 0.4
    classes = classify(image, 128)
    kind = dict(zip(map(tuple, classes.origin.tolist()), classes.kind.tolist(), strict=True))
    assert kind[(64, 64)] == "scene"
    assert kind[(64, 320)] == "dark"
    assert kind[(64, 576)] == "saturated"
    assert kind[(64, 832)] == "flat"
    assert sum(classes.share(k) for k in ("scene", "dark", "saturated", "flat", "cloud")) == 1.0


def normal_histogram(centre, deviation, bins=200):
    p = np.exp(-0.5 * ((np.arange(bins) - centre) / deviation) ** 2)
    return p / p.sum()


def test_posterior_numbers_of_a_normal_distribution():
    p = normal_histogram(80.3, 7.0)
    assert posterior.centre(p, 10.0) == pytest.approx(80.3, abs=0.05)
    assert posterior.spread(p) == pytest.approx(7.0, rel=0.01)
    low, high = posterior.quantiles(p, (0.05, 0.95))
    assert low == pytest.approx(80.3 - 1.645 * 7, abs=0.1)
    assert high == pytest.approx(80.3 + 1.645 * 7, abs=0.1)
    assert posterior.mass_within(p, 80.3 - 7, 80.3 + 7) == pytest.approx(0.6827, abs=0.005)


def test_temperature_scales_the_deviation_by_its_root():
    p = normal_histogram(100.0, 6.0)
    assert posterior.spread(posterior.temper(p, 4.0)) == pytest.approx(12.0, rel=0.01)


def test_centre_follows_the_stronger_of_two_peaks():
    p = 0.6 * normal_histogram(40, 4.0) + 0.4 * normal_histogram(150, 4.0)
    assert posterior.centre(p, 10.0) == pytest.approx(40, abs=0.5)


def test_table_scalars():
    np.testing.assert_array_equal(table_scalars(None, known=False), 0)
    np.testing.assert_array_equal(table_scalars(None, known=True), [1, 0, 0, 0])
    np.testing.assert_array_equal(table_scalars(np.full((8, 8), 4), known=True), [1, 2, 2, 2])
    np.testing.assert_array_equal(table_scalars(bytes([8] * 64), known=True), [1, 3, 3, 3])


@pytest.mark.parametrize("known", [True, False], ids=["one of two refused", "all refused"])
def test_images_are_let_go_without_the_collector(known):
    """A refusal that was kept held them: 9 MB of a frame of 3 MP while it was restored."""
    images = [np.full((384, 384), 0.5, np.float32)]
    if known:
        images.append(degradation.blur(white((512, 512), 0.2), PSF((Disk(3.0),))))
    kept = [weakref.ref(image) for image in images]
    gc.disable()
    try:
        if known:
            estimate_psf(images)
        else:
            with pytest.raises(EstimationError) as refused:
                estimate_psf(images)
            del refused
        images.clear()
        assert [image() is None for image in kept] == [True] * len(kept)
    finally:
        gc.enable()
