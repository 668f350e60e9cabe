"""PSF components and their products against closed forms."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagine_deblur.degradation.shake import random_walk_kernel
from imagine_deblur.errors import PsfError
from imagine_deblur.psf import PSF, Disk, Gaussian, Motion, PixelAperture, Sampled
from imagine_deblur.psf.jinc import jinc

DISK_FIRST_ZERO = 0.6098350  # 3.8317060 / (2 pi), cycles/px for R = 1

ONE_OF_EACH = [
    PSF(),
    PSF((Disk(3.3),)),
    PSF((Gaussian(1.7),)),
    PSF((Gaussian(2.0, 0.5, 30.0),)),
    PSF((Motion(9.0, 33.0),)),
    PSF((PixelAperture(0.9),)),
    PSF.sampled(random_walk_kernel(15, np.random.default_rng(3))),
    PSF.defocus(4.2) * PSF((Motion(5.0, 100.0),)),
]


@pytest.mark.parametrize("psf", ONE_OF_EACH)
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (31, 17), (48, 64)])
def test_otf_is_one_at_zero_frequency_and_a_half_plane(psf: PSF, rows: int, columns: int) -> None:
    otf = psf.otf(rows, columns)
    assert otf.shape == (rows, columns // 2 + 1)
    assert otf.dtype == np.complex64
    assert otf[0, 0] == pytest.approx(1.0, abs=1e-6)
    assert np.abs(otf).max() <= 1.0 + 1e-6


@pytest.mark.parametrize("psf", ONE_OF_EACH)
def test_half_plane_equals_the_outer_grid(psf: PSF) -> None:
    for rows, columns in ((31, 20), (1, 1), (2, 5), (700, 301)):  # the last takes several blocks
        grid = psf.transfer(np.fft.fftfreq(rows), np.fft.rfftfreq(columns))
        np.testing.assert_allclose(psf.half_plane(rows, columns), grid, atol=1e-6)


def test_the_half_plane_is_real_for_symmetric_kernels() -> None:
    rng = np.random.default_rng(0)
    box = PSF.sampled(np.full((3, 3), 1 / 9))
    for psf in (PSF.defocus(3.0), PSF((Motion(5.0, 20.0),)), box):
        assert psf.half_plane(8, 8).dtype == np.float32
    skew = PSF.sampled(random_walk_kernel(9, rng))
    assert not skew.symmetric
    assert skew.half_plane(8, 8).dtype == np.complex64


def test_the_half_plane_takes_little_more_than_itself() -> None:
    psf = PSF.defocus(6.0)
    psf.half_plane(8, 8)  # the table of the disk's transform is made once
    tracemalloc.start()
    result = psf.half_plane(1536, 2048)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < result.nbytes + (10 << 20)


@pytest.mark.parametrize("psf", ONE_OF_EACH)
def test_kernel_is_a_centred_unit_kernel(psf: PSF) -> None:
    kernel = psf.kernel()
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0.0
    assert kernel.sum() == pytest.approx(1.0, abs=1e-12)


def test_jinc_agrees_with_scipy() -> None:
    special = pytest.importorskip("scipy.special")
    x = np.linspace(1e-9, 500.0, 100_001)
    np.testing.assert_allclose(jinc(x), 2 * special.j1(x) / x, atol=1e-10)


@pytest.mark.parametrize("radius", [1.5, 3.0, 6.8, 8.0])
def test_disk_first_zero(radius: float) -> None:
    zero = DISK_FIRST_ZERO / radius
    below, at, above = PSF((Disk(radius),)).transfer([0.0], [0.99 * zero, zero, 1.01 * zero])[0]
    assert at == pytest.approx(0.0, abs=1e-6)
    assert below > 0.0 > above


def test_gaussian_widths_add_in_quadrature() -> None:
    product = PSF((Gaussian(3.0),)) * PSF((Gaussian(4.0),))
    single = PSF((Gaussian(5.0),))
    np.testing.assert_allclose(product.otf(64, 64), single.otf(64, 64), atol=1e-6)
    offset = np.arange(51) - 25
    profile = product.kernel(51).sum(axis=0)
    assert np.sqrt((profile * offset**2).sum()) == pytest.approx(5.0, abs=0.01)


def test_gaussian_kernel_is_the_gaussian() -> None:
    offset = np.arange(25) - 12
    profile = np.exp(-0.5 * (offset / 2.0) ** 2)
    expected = np.outer(profile, profile)
    np.testing.assert_allclose(
        PSF((Gaussian(2.0),)).kernel(25), expected / expected.sum(), atol=1e-8
    )


def test_disk_kernel_second_moment() -> None:
    # A uniform disk of radius R has the variance R^2 / 4 along each axis.
    psf = PSF((Disk(8.0), Gaussian(1.0)))
    kernel = psf.kernel(41)
    offset = np.arange(41) - 20
    variance = (kernel.sum(axis=0) * offset**2).sum()
    assert variance == pytest.approx(8.0**2 / 4 + 1.0, rel=0.01)


def test_elliptical_gaussian_has_its_axes() -> None:
    kernel = PSF((Gaussian(3.0, 0.5, 90.0),)).kernel(41)
    offset = np.arange(41) - 20
    assert (kernel.sum(axis=1) * offset**2).sum() == pytest.approx(9.0, rel=0.01)  # down: major
    assert (kernel.sum(axis=0) * offset**2).sum() == pytest.approx(2.25, rel=0.01)


def test_motion_runs_along_its_angle() -> None:
    kernel = PSF((Motion(11.0, 45.0), Gaussian(0.7))).kernel(17)
    # Counter-clockwise on screen: up to the right, so rows and columns vary against each other.
    offset = np.arange(17) - 8
    assert offset @ kernel @ offset == pytest.approx(-(11.0**2) / 24, rel=0.02)
    flat_kernel = PSF((Motion(11.0, 0.0), Gaussian(0.7))).kernel(17)
    variance = (flat_kernel.sum(axis=0) * offset**2).sum()
    assert variance == pytest.approx(11.0**2 / 12 + 0.49, rel=0.02)


def test_sampled_otf_is_the_dft_of_the_centred_kernel() -> None:
    kernel = random_walk_kernel(9, np.random.default_rng(1))
    plane = np.zeros((32, 40))
    plane[:9, :9] = kernel
    plane = np.roll(plane, (-4, -4), axis=(0, 1))
    np.testing.assert_allclose(PSF.sampled(kernel).otf(32, 40), np.fft.rfft2(plane), atol=1e-6)


def test_sampled_kernel_comes_back() -> None:
    kernel = random_walk_kernel(9, np.random.default_rng(2))
    np.testing.assert_allclose(PSF.sampled(kernel).kernel(), kernel, atol=1e-12)
    np.testing.assert_allclose(PSF.sampled(kernel).kernel(13)[2:-2, 2:-2], kernel, atol=1e-12)


def test_support_of_a_gaussian() -> None:
    # Energy within r of a 2-D Gaussian: 1 - exp(-r^2 / 2 s^2); 99.9 % within 3.717 s.
    assert PSF((Gaussian(3.0),)).support_px(0.999) in (11, 12)
    assert PSF().support_px() == 0


@pytest.mark.parametrize("seed", range(8))
def test_random_walk_kernels_fit_and_are_seeded(seed: int) -> None:
    kernel = random_walk_kernel(25, np.random.default_rng(seed))
    assert kernel.sum() == pytest.approx(1.0)
    assert kernel.min() >= 0.0
    np.testing.assert_array_equal(kernel, random_walk_kernel(25, np.random.default_rng(seed)))
    offset = np.arange(25) - 12
    assert abs((kernel.sum(axis=0) * offset).sum()) < 4.0


components = st.one_of(
    st.builds(Disk, st.floats(0, 50)),
    st.builds(Gaussian, st.floats(0, 50), st.floats(0, 1), st.floats(-180, 180)),
    st.builds(Motion, st.floats(0, 50), st.floats(-180, 180)),
    st.builds(PixelAperture, st.floats(0, 1)),
    st.builds(
        lambda size, seed: Sampled(random_walk_kernel(size, np.random.default_rng(seed))),
        st.sampled_from([5, 9]),
        st.integers(0, 99),
    ),
)


@given(st.lists(components, max_size=4))
def test_dictionary_round_trip(listed: list[Disk]) -> None:
    psf = PSF(tuple(listed))
    again = PSF.from_dict(psf.to_dict())
    assert again == psf
    assert again.id == psf.id
    assert len(psf.id) == 12


def test_different_psfs_have_different_ids() -> None:
    assert PSF.defocus(4.0).id != PSF.defocus(4.0000001).id


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Disk(-1.0), "radius_px"),
        (lambda: Disk(float("nan")), "radius_px"),
        (lambda: Gaussian(1.0, 2.0), "axis_ratio"),
        (lambda: Motion(-2.0, 0.0), "length_px"),
        (lambda: PixelAperture(1.5), "fill"),
        (lambda: Sampled(np.ones((4, 4)) / 16), "odd"),
        (lambda: Sampled(np.ones((3, 3))), "sums to 9"),
        (lambda: Sampled(np.array([[2.0, -1.0, 0.0]] * 3)), "negative"),
        (lambda: PSF(("disk",)), "not a component"),  # type: ignore[arg-type]
        (lambda: PSF().kernel(4), "odd"),
        (lambda: PSF().otf(0, 4), "no spectrum"),
        (lambda: PSF.from_dict({}), "components"),
        (lambda: PSF.from_dict({"components": [{"kind": "disc"}]}), r"components\[0\]"),
        (lambda: PSF.from_dict({"components": [{"kind": "disk"}]}), "radius_px"),
        (lambda: PSF.from_dict({"components": [{"kind": "disk", "radius_px": "3"}]}), "radius_px"),
    ],
)
def test_refusals_name_the_field(make: object, named: str) -> None:
    with pytest.raises(PsfError, match=named):
        make()  # type: ignore[operator]
