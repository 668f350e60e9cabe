"""The parts of the raster path against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from imagine_deblur.errors import OptionsError
from imagine_deblur.raster import required_margin
from imagine_deblur.raster.bands import group_bands, names_of
from imagine_deblur.raster.radiometry import anchored
from imagine_deblur.raster.scale import scale_of
from imagine_deblur.raster.validity import collar, fill, valid_rectangle
from imagine_deblur.raster.windows import ALIGNMENT, cut, spans


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "float64"])
def test_unchanged_samples_give_the_values_they_came_from(dtype):
    rng = np.random.default_rng(0)
    values = rng.normal(3000, 900, (3, 50, 60)).astype(dtype)
    scale = scale_of(values.ravel())
    encoded = scale.encode(values)
    assert encoded.dtype == np.float32
    assert 0 <= encoded.min() <= encoded.max() <= 1
    assert np.array_equal(scale.decode(encoded, encoded, values), values)


def test_a_change_of_a_sample_is_a_change_of_gain_values():
    values = np.arange(2000, 3000, dtype=np.uint16)
    scale = scale_of(values)
    encoded = scale.encode(values)
    moved = scale.decode(encoded + np.float32(0.1), encoded, values)
    assert np.abs(moved - (values + 0.1 * scale.gain)).max() <= 0.51
    assert scale.gain == pytest.approx(0.998 * 999 * 1.1)


def test_few_levels_are_not_blown_up():
    assert scale_of(np.array([100, 101, 102], np.uint16)).gain == 255
    assert scale_of(np.zeros(9, np.float32)).gain == 1
    assert scale_of(np.arange(4096, dtype=np.uint16), bits=12).high == 4095


def test_a_fill_continues_a_constant_and_is_the_same_in_any_window():
    rng = np.random.default_rng(1)
    valid = rng.random((160, 192)) > 0.4
    valid[:70, :90] = False
    flat = np.full((1, 160, 192), 0.3, np.float32)
    gap = fill(np.where(valid, flat, 0.9).astype(np.float32), valid)
    near = np.zeros_like(valid)
    near[80:] = near[:, 112:] = True  # from where the cells around hold valid pixels
    assert gap[0, valid] == pytest.approx(0.3)
    assert gap[0, near] == pytest.approx(0.3, abs=1e-6)
    samples = rng.random((2, 160, 192)).astype(np.float32)
    whole = fill(samples, valid)
    part = fill(samples[:, 32:, 64:], valid[32:, 64:])
    assert np.array_equal(whole[:, valid], samples[:, valid])
    inner = (slice(None), slice(128, None), slice(128, None))  # two of the largest cells inside
    assert np.array_equal(whole[inner], part[(slice(None), slice(96, None), slice(64, None))])


def test_a_collar_is_what_zeros_of_three_by_three_cover():
    values = np.full((2, 40, 50), 7)
    row, column = np.indices((40, 50))
    outside = row + 3 * column < 45
    values[:, outside] = 0
    values[:, 20, 30] = 0  # one dark pixel
    values[0, 25:30, 30:35] = 0  # one band alone
    assert np.array_equal(collar(values), outside)


def test_what_a_collar_leaves():
    valid = np.ones((400, 500), bool)
    valid[:37], valid[:, 460:] = False, False
    found = valid_rectangle(valid, 256)
    assert found == (slice(64, 400), slice(0, 436))
    assert valid_rectangle(np.zeros((400, 500), bool), 256) is None


@pytest.mark.parametrize("size", [100, 1000, 1001, 4096, 5003])
@pytest.mark.parametrize("margin", [0, 64, 200])
@pytest.mark.parametrize("core", [512, 1024])
def test_windows_cover_a_scene_once_with_their_margins(size, margin, core):
    found = spans(size, margin, core)
    assert [s.start for s in found[1:]] == [s.start + s.size for s in found[:-1]]
    assert found[0].start == 0
    assert found[-1].start + found[-1].size == size
    assert len({s.read_size for s in found}) == 1
    for span in found:
        assert span.read_start % ALIGNMENT == 0
        assert span.read_start <= max(0, span.start - margin)
        assert span.read_start + span.read_size >= min(size, span.start + span.size + margin)
        assert 0 <= span.read_start <= span.read_start + span.read_size <= size
    assert sum(w.rows.size * w.columns.size for w in cut((size, 700), margin, core)) == size * 700


def test_bands_are_named_and_grouped():
    names = names_of(["red", None, "green", "green", ""])
    assert names == ["red", "band 2", "band 3", "band 4", "band 5"]
    four = ["b", "g", "r", "nir"]
    colours = ["blue", "green", "red", "undefined"]
    assert [g.names for g in group_bands(four, colours, None)] == [("r", "g", "b"), ("nir",)]
    assert [g.names for g in group_bands(["x", "a"], ["gray", "alpha"], None)] == [("x",)]
    with pytest.raises(OptionsError, match="one of b, g, r, nir"):
        group_bands(four, colours, ["r", "g", "swir"])


def test_flat_fields_keep_their_mean_and_edges_are_left_alone():
    rng = np.random.default_rng(2)
    capture = np.full((1, 200, 160), 0.05, np.float32)
    capture[:, :, 80:] = 0.6
    capture += rng.normal(0, 0.003, capture.shape).astype(np.float32)
    row, column = np.indices((200, 160))
    bias = np.where(column < 80, 0.004, -0.002) + 0.05 * (np.abs(column - 79.5) < 6)
    valid = row > 40
    moved = anchored((capture + bias).astype(np.float32), capture, valid)
    for field in (slice(8, 64), slice(104, 152)):
        before, after = (v[0, 48:192, field].mean() for v in (capture, moved))
        assert after == pytest.approx(before, rel=1e-3)
    edge = slice(74, 86)
    unmoved = (capture + bias)[0, 100, edge]
    assert np.abs(moved[0, 100, edge] - unmoved).max() < 0.002


def test_the_margin_grows_with_the_blur_and_shrinks_with_noise():
    small, large = (required_margin(psf, nsr=0.01) for psf in ("disk:2", "disk:5"))
    assert small < large
    assert required_margin("disk:5", nsr=0.3) < large
    assert required_margin("disk:2", nsr=0.01, model="wiener") < small
    with pytest.raises(OptionsError, match="estimated"):
        required_margin(None)
