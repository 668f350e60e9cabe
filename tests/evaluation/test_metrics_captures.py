"""The measures on real captures, on pictures whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from imagine_deblur.evaluation.metrics.blobs import find_blobs, points, rims
from imagine_deblur.evaluation.metrics.edges import edge_rise, find_edges
from imagine_deblur.evaluation.metrics.profiles import smooth

ROW, COLUMN = np.mgrid[:160, :160].astype(np.float64)


def step(sigma):
    plane = np.where(ROW * 0.9 + COLUMN * 0.4359 > 105.0, 0.7, 0.2)
    return smooth(plane, sigma)


def lamps(sigma, places, height=0.5):
    plane = np.full(ROW.shape, 0.2)
    for row, column in places:
        plane += height * np.exp(-((ROW - row) ** 2 + (COLUMN - column) ** 2) / (2 * sigma**2))
    return plane


@pytest.mark.parametrize("sigma", [1.2, 2.0])
def test_the_rise_of_a_gaussian_edge(sigma):
    picture = step(sigma)
    edges = find_edges(picture)
    assert len(edges) >= 3
    assert edge_rise(picture, edges) == pytest.approx(2.563 * sigma, rel=0.08)


def test_the_rise_is_measured_where_the_capture_has_its_edges():
    edges = find_edges(step(2.5))
    assert edge_rise(step(1.0), edges) < 0.6 * edge_rise(step(2.5), edges)


def test_neither_ramps_nor_saturated_steps_are_edges():
    assert len(find_edges(0.1 + 0.7 * ROW / 160)) == 0
    assert len(find_edges(np.where(ROW > 80, 1.0, 0.3))) == 0
    assert np.isnan(edge_rise(step(1.0), find_edges(np.full((80, 80), 0.5))))


def test_blobs_are_counted_and_rims_are_seen():
    places = [(50, 50), (100, 110), (120, 40)]
    clouds = lamps(3.0, places)
    blobs = find_blobs(clouds)
    assert sorted((b.row, b.column) for b in blobs) == sorted(places)
    assert all(b.height == pytest.approx(0.5, abs=0.06) for b in blobs)
    assert rims(clouds, blobs) == 0.0
    ringed = clouds - 0.2 * (lamps(7.0, places[:1]) - 0.2) * 2
    assert rims(ringed, blobs) == pytest.approx(1 / 3)
    assert np.isnan(rims(clouds, []))


def test_points_are_found_missed_and_invented():
    truth = lamps(1.0, [(60, 60), (60, 64), (110, 100)])
    capture = lamps(2.5, [(60, 62), (110, 100)])
    blobs = find_blobs(capture)
    assert len(blobs) == 2
    exact = points(truth, truth, blobs)
    assert (exact.precision, exact.recall) == (1.0, 1.0)
    assert exact.real == 3
    blurred = points(capture, truth, blobs)
    assert blurred.found == 1
    invented = points(truth + lamps(1.0, [(110, 104)]) - 0.2, truth, blobs)
    assert invented.precision == pytest.approx(3 / 4)
    assert invented.recall == 1.0
