"""Coding a restoration: quality, the capture's own tables, and files that stay within a size."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest

from imagine_deblur import _core, process
from imagine_deblur.coding import FINER, Coding, choose_coding
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.errors import OptionsError, OutputExistsError
from imagine_deblur.evaluation.metrics.fidelity import psnr
from imagine_deblur.psf.models import PSF
from imagine_deblur.report import Report
from imagine_deblur.session import Session
from jpegkit import decoded, jpeg
from synthetic import natural

PSF_PRESET = "disk:2.5"


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture of quality 70."""
    rng = np.random.default_rng(3)
    blurred = degrade(natural(192, 240, seed=3), PSF.defocus(2.5), noise=0.003, rng=rng)
    path = tmp_path_factory.mktemp("coding") / "coarse.jpg"
    path.write_bytes(jpeg(blurred, 70))
    return path


def tables(data: bytes | Path) -> list[np.ndarray]:
    source = data if isinstance(data, bytes) else os.fspath(data)
    return list(_core.JpegReader(source).info["quantisation"])


def restored(source: Path, **changes) -> tuple[bytes, Report]:
    out = io.BytesIO()
    report = process(source, out, psf=PSF_PRESET, model="wiener", threads=1, **changes)
    return out.getvalue(), report


# Tables


def test_tables_are_written_as_given_and_read_back():
    image = natural(64, 80, seed=1)
    luma = np.arange(1, 65, dtype=np.uint16).reshape(8, 8)
    chroma = np.full((8, 8), 200, np.uint16)
    for given, expected in (
        ([luma, chroma], [luma, chroma, chroma]),
        ([luma], [luma, luma, luma]),
    ):
        coded = _core.encode_jpeg((image * 255).astype(np.uint8), quantisation=given)
        assert np.array_equal(tables(coded), expected)
    assert _core.nearest_quality(tables(jpeg(np.zeros((8, 8, 3), np.uint8), 83))) == 83


@pytest.mark.parametrize(
    "bad",
    [
        [np.zeros((8, 8), np.uint16)],
        [np.full((8, 8), 256, np.uint16)],
        [np.ones((8, 8), np.uint16)] * 3,
        [np.ones(64, np.uint16)],
    ],
)
def test_tables_that_no_baseline_file_holds_are_refused(bad):
    with pytest.raises(OptionsError, match="quantisation"):
        _core.encode_jpeg(np.zeros((8, 8, 3), np.uint8), quantisation=bad)


def test_auto_takes_the_captures_tables_finer_where_it_was_restored(coarse):
    own = tables(coarse)
    data, report = restored(coarse, quality="auto")
    expected = np.clip(np.rint(np.array(own) * FINER), 1, 255)
    assert np.array_equal(tables(data), expected)
    assert 70 < report.quality < 95
    assert report.output_bytes == len(data) < len(restored(coarse)[0])


def test_a_capture_that_is_passed_through_keeps_its_tables(tmp_path):
    flat = tmp_path / "flat.jpg"
    flat.write_bytes(jpeg(np.full((300, 320, 3), 90, np.uint8), 60))
    report = process(flat, model="wiener", threads=1, quality="auto")
    assert (report.restored, report.quality) == (False, 60)
    assert np.array_equal(tables(Path(report.output)), tables(flat))


def test_auto_without_tables_to_follow_is_the_standard_quality():
    info = {"components": 3, "quantisation": []}
    assert choose_coding("auto", info, restored=True) == Coding(95)
    damaged = {"components": 3, "quantisation": [np.zeros((8, 8), np.uint16)] * 3}
    assert choose_coding("auto", damaged, restored=True) == Coding(95)
    cmyk = {"components": 4, "quantisation": [np.ones((8, 8), np.uint16)] * 4}
    assert choose_coding("auto", cmyk, restored=True) == Coding(95)


# Size


@pytest.mark.parametrize("limit", [60_000, 14_000, 9_000, 5_000])
def test_a_file_is_never_larger_than_allowed(coarse, limit, tmp_path):
    data, report = restored(coarse, max_bytes=limit)
    assert len(data) == report.output_bytes <= limit
    target = tmp_path / "out.jpg"
    report = process(
        coarse, target, psf=PSF_PRESET, model="wiener", threads=1, max_bytes=f"{limit}B"
    )
    assert target.stat().st_size == report.output_bytes == len(data)
    assert target.read_bytes() == data
    if report.quality < 95:
        whole, _ = restored(coarse, quality=100, subsampling="4:4:4")
        larger = _core.encode_jpeg(decoded(io.BytesIO(whole)), quality=report.quality + 1)
        assert len(larger) > limit - 2000  # metadata and provenance take the rest


def test_what_fits_differs_from_a_file_without_limit_by_rounding_alone(coarse):
    free, _ = restored(coarse)
    limited, report = restored(coarse, max_bytes="1MB")
    assert report.quality == 95
    assert tables(limited)[0].tolist() == tables(free)[0].tolist()
    one, other = decoded(io.BytesIO(free)), decoded(io.BytesIO(limited))
    assert psnr(one / np.float32(255), other / np.float32(255)) > 45
    assert abs(len(free) - len(limited)) < 0.02 * len(free)


def test_a_limit_that_nothing_meets_names_the_cure_and_leaves_nothing(coarse, tmp_path):
    target = tmp_path / "out.jpg"
    with pytest.raises(OptionsError, match=r"at least \d+ bytes.*allow more"):
        process(coarse, target, psf=PSF_PRESET, model="wiener", threads=1, max_bytes=900)
    assert os.listdir(tmp_path) == []


def test_metadata_comes_through_once_and_an_output_is_kept(capture_file, tmp_path):
    target = tmp_path / "out.jpg"
    with Session(psf=PSF_PRESET, model="wiener", threads=1, max_bytes=20_000) as session:
        session.process(capture_file, target)
        limited = _core.JpegReader(os.fspath(target)).metadata
        with pytest.raises(OutputExistsError):
            session.process(capture_file, target)
    free, _ = restored(capture_file)
    assert limited == _core.JpegReader(free).metadata


@pytest.mark.parametrize(
    "changes", [{"quality": "fine"}, {"quality": 0}, {"quality": True}, {"max_bytes": "little"}]
)
def test_what_is_no_quality_or_size_is_refused(capture_file, changes):
    with pytest.raises(OptionsError, match=next(iter(changes))):
        process(capture_file, **changes)
