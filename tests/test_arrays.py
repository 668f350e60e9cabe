"""Arrays: what is taken, what is refused and with which cure, and 16 bits."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from imagine_deblur import Session, restore
from imagine_deblur.degradation.forward import blur
from imagine_deblur.errors import InputImageError, OptionsError, PassedThroughWarning
from imagine_deblur.psf.models import PSF
from synthetic import natural

FLAT = np.full((40, 48, 3), 0.5, np.float32)
BYTES = np.full((40, 48, 3), 90, np.uint8)


def _with(value: float) -> Any:
    image = FLAT.copy()
    image[3, 5, 1] = value
    return image


REFUSED: list[tuple[str, Any, str]] = [
    ("a list", [[1, 2], [3, 4]], r"type list.*numpy\.asarray"),
    ("bytes", b"abc", r"type bytes.*numpy\.asarray"),
    ("masked", np.ma.masked_greater(BYTES, 80), r"5760 masked samples.*filled"),
    ("NaN", _with(np.nan), r"1 samples.*NaN.*\(3, 5, 1\).*nan_to_num"),
    ("inf", _with(np.inf), r"infinite.*\(3, 5, 1\).*nan_to_num"),
    ("-inf", _with(-np.inf), r"infinite.*nan_to_num"),
    ("8 bits as floats", BYTES.astype(np.float32), r"90 to 90, outside \[0, 1\].*image / 255"),
    ("16 bits as floats", BYTES.astype(np.float32) * 256, r"outside \[0, 1\].*image / 65535"),
    ("overshoot", _with(1.02), r"0\.5 to 1\.02, outside \[0, 1\].*numpy\.clip"),
    ("below", _with(-0.01), r"-0\.01 to 0\.5, outside \[0, 1\].*numpy\.clip"),
    ("float64", FLAT.astype(np.float64), r"dtype float64.*astype\(numpy\.float32\)"),
    ("float16", FLAT.astype(np.float16), r"dtype float16.*astype\(numpy\.float32\)"),
    ("bool", BYTES > 80, r"dtype bool.*\* 255"),
    ("int16", BYTES.astype(np.int16), r"dtype int16.*full_scale"),
    ("uint32", BYTES.astype(np.uint32), r"dtype uint32.*full_scale"),
    ("complex", BYTES.astype(np.complex64), r"dtype complex64.*numpy\.abs"),
    ("object", np.array([[1, None], [2, 3]], object), r"dtype object.*numbers"),
    ("text", np.array([["a", "b"]]), r"dtype <U1.*numbers"),
    ("big-endian", BYTES.astype(">u2"), r"dtype >u2.*newbyteorder"),
    ("big-endian floats", FLAT.astype(">f4"), r"dtype >f4.*newbyteorder"),
    ("2 bands", BYTES[..., :2].copy(), r"\(40, 48, 2\).*one band after the other"),
    ("4 bands", np.zeros((40, 48, 4), np.uint8), r"\(40, 48, 4\).*\.\.\., :3"),
    ("1 band", np.zeros((40, 48, 1), np.uint8), r"\(40, 48, 1\).*\.\.\., 0"),
    ("bands first", np.zeros((3, 40, 48), np.uint8), r"\(3, 40, 48\).*moveaxis"),
    ("a line", np.zeros(8, np.uint8), r"\(8,\).*one picture after the other"),
    ("a number", np.array(3, np.uint8), r"shape \(\)"),
    ("a batch", np.zeros((2, 8, 8, 3), np.uint8), r"one picture after the other"),
    ("empty", np.zeros((0, 8), np.uint8), r"0 x 8 px.*1 to 65500"),
    ("long", np.zeros((65_501, 1), np.uint8), r"1 to 65500"),
    ("huge", np.broadcast_to(np.uint8(0), (60_000, 60_000)), r"max_pixels=268435456"),
    ("strided", np.zeros((8, 16, 3), np.uint8)[:, ::2], r"ascontiguousarray"),
    ("Fortran", np.asfortranarray(BYTES), r"ascontiguousarray"),
    ("upside down", BYTES[::-1], r"ascontiguousarray"),
]


@pytest.mark.parametrize(("image", "says"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
@pytest.mark.parametrize("psf", [None, "disk:2"])
def test_what_cannot_be_restored_is_refused_with_the_cure(image, says, psf):
    with pytest.raises(InputImageError, match=says):
        restore(image, psf=psf, model="wiener", threads=1)
    session = Session(psf=psf, model="wiener", threads=1)
    with pytest.raises(InputImageError, match=says):
        session.analyse([image])


def _read_only() -> Any:
    image = np.zeros_like(BYTES)
    image.flags.writeable = False
    return image


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ([1], r"out='list'.*empty_like"),
        (np.zeros((40, 48), np.uint8), r"\(40, 48\).*\(40, 48, 3\)"),
        (np.zeros((40, 48, 3), np.float32), "float32.*uint8"),
        (_read_only(), "read-only"),
        (np.zeros((40, 96, 3), np.uint8)[:, ::2], "C-contiguous"),
        (BYTES, "overlap"),
    ],
)
def test_an_output_that_cannot_receive_it_is_refused(out, says):
    with pytest.raises(OptionsError, match=says):
        restore(BYTES, out=out, psf="disk:2", model="wiener", threads=1)


def test_a_read_only_image_is_fine():
    image = BYTES.copy()
    image.flags.writeable = False
    np.testing.assert_array_equal(restore(image, psf="disk:2", model="wiener"), image)


@pytest.mark.parametrize("bands", [1, 3])
def test_16_bits_are_restored_in_their_precision(bands):
    psf = PSF.defocus(2.5)
    sharp = natural(96, 112, seed=7) * np.float32(0.1) + np.float32(0.4)  # 26 levels of 8 bits
    blurred = blur(sharp, psf)
    sharp, blurred = (
        a if bands == 3 else np.ascontiguousarray(a[..., 0]) for a in (sharp, blurred)
    )
    capture = np.rint(blurred * 65535).astype(np.uint16)
    options: Any = {"psf": psf, "model": "wiener", "nsr": 3e-4, "threads": 1}
    found = restore(capture, **options)
    assert found.dtype == np.uint16
    assert found.shape == capture.shape
    as_floats = restore(capture / np.float32(65535), **options)
    wanted = np.rint(as_floats * 65535)
    np.testing.assert_allclose(found, wanted, atol=1)
    # Rounding to 8 bits first costs more than 16 bits do.
    eight = restore(np.rint(blurred * 255).astype(np.uint8), **options)
    error = [np.abs(a / full - sharp).mean() for a, full in ((found, 65535), (eight, 255))]
    assert error[0] < error[1]
    out = np.zeros_like(capture)
    assert restore(capture, out=out, **options) is out
    np.testing.assert_array_equal(out, found)


def test_16_bits_pass_through_untouched():
    every = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    np.testing.assert_array_equal(restore(every, model="identity"), every)


def test_restore_warns_where_it_hands_the_capture_back():
    with pytest.warns(PassedThroughWarning, match="flat areas") as caught:
        found = restore(BYTES.repeat(4, 0).repeat(4, 1), model="wiener", threads=1)
    assert caught[0].filename == __file__
    assert found.min() == 90
    with Session(model="wiener", threads=1) as session:
        with pytest.warns(PassedThroughWarning, match="px is too small") as caught:
            session.restore(BYTES)
        assert caught[0].filename == __file__
        _, report = session.restore_with_report(BYTES)
    assert report.passed_through is not None
    assert "too small" in report.passed_through
    assert not report.restored


def test_nothing_warns_where_something_is_restored_or_nothing_was_asked_for():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        restore(BYTES, psf="disk:2", model="wiener", threads=1)
        restore(BYTES, model="identity", threads=1)
