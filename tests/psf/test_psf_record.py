"""PSF records: round trips, and refusals that name the file and the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagine_deblur.degradation.shake import random_walk_kernel
from imagine_deblur.errors import PsfError
from imagine_deblur.psf import PSF, Disk, Gaussian, Motion, PixelAperture, Pupil, Sampled
from imagine_deblur.psf.record import load_record, parameter_names, save_record

components = st.one_of(
    st.builds(Disk, st.floats(0, 50)),
    st.builds(Gaussian, st.floats(0, 50), st.floats(0, 1), st.floats(-180, 180)),
    st.builds(Motion, st.floats(0, 50), st.floats(-180, 180)),
    st.builds(PixelAperture, st.floats(0, 1)),
    st.builds(Pupil, st.floats(-2, 2), st.floats(-2, 2), st.floats(0.1, 10)),
    st.integers(0, 99).map(lambda s: Sampled(random_walk_kernel(7, np.random.default_rng(s)))),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@settings(deadline=None, max_examples=60)
@given(
    listed=st.lists(components, max_size=3),
    gsd_m=st.none() | st.floats(0.1, 1000),
    provenance=st.dictionaries(st.text(max_size=8), json_values, max_size=3),
    seed=st.integers(0, 2**31),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    listed: list[Any],
    gsd_m: float | None,
    provenance: dict[str, Any],
    seed: int,
) -> None:
    path = tmp_path_factory.mktemp("records") / "psf.json"
    psf = PSF(tuple(listed))
    count = len(parameter_names(psf))
    half = np.random.default_rng(seed).standard_normal((count, count))
    covariance = half @ half.T
    save_record(path, psf, covariance=covariance, gsd_m=gsd_m, provenance=provenance)
    record = load_record(path)
    assert record.psf == psf
    assert record.gsd_m == gsd_m
    assert record.provenance == provenance
    assert record.covariance is not None
    np.testing.assert_array_equal(record.covariance, covariance)
    errors = [record.standard_errors[name] for name in parameter_names(psf)]
    np.testing.assert_allclose(errors, np.sqrt(np.diagonal(covariance)))
    assert [p.name for p in path.parent.iterdir()] == ["psf.json"]


def test_a_part_of_the_parameters(tmp_path: Path) -> None:
    path = tmp_path / "psf.json"
    psf = PSF.defocus(5.0)
    save_record(path, psf, covariance=[[0.01]], parameters=["components[0].radius_px"])
    assert load_record(path).standard_errors == {"components[0].radius_px": 0.1}
    save_record(path, psf)
    assert load_record(path).standard_errors == {}
    assert parameter_names(psf)[:2] == ("components[0].radius_px", "components[1].sigma_px")


def test_the_released_version_1_is_still_read() -> None:
    path = Path(__file__).parents[1] / "data" / "psf_record_v1.json"
    record = load_record(path)
    assert record.psf == PSF((Disk(6.8), Gaussian(0.5)))
    assert record.gsd_m == 39.0
    assert record.standard_errors["components[0].radius_px"] == pytest.approx(0.05)


def _change(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        document = document[name]
    document[last] = value


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("format", "other", "'format'"),
        ("version", 3, "'version' is 3; this software reads 1, 2"),
        ("version", True, "'version' is True"),
        ("psf", [], "'psf'"),
        ("psf.components", {}, "'components'"),
        ("psf.components", [{"kind": "disk", "radius_px": -1}], "radius_px"),
        ("psf.components", [{"kind": "disk", "radius_px": True}], "radius_px"),
        ("psf.components", [{"kind": "disk", "radius": 1}], "radius"),
        ("psf.components", [{"kind": "sampled", "kernel": [[1], [2, 3]]}], r"components\[0\]"),
        ("id", "000000000000", "'id'"),
        ("gsd_m", "39", "'gsd_m'"),
        ("gsd_m", -1, "'gsd_m'"),
        ("covariance", [], "'covariance'"),
        ("covariance.matrix", [[1.0]], "'covariance.matrix'"),
        ("covariance.matrix", [[1.0, 2.0], [0.0, 1.0]], "not symmetric"),
        ("covariance.matrix", [[1.0, 2.0], [2.0, 1.0]], "negative eigenvalue"),
        ("covariance.matrix", [["a", 0], [0, 1]], "'covariance.matrix'"),
        ("covariance.parameters", ["a", "b"], "'a'"),
        ("covariance.parameters", [1, 2], "'covariance.parameters'"),
        ("provenance", 3, "'provenance'"),
        ("colour", "red", "'colour'"),
    ],
)
def test_damage_is_named(tmp_path: Path, field: str, value: Any, named: str) -> None:
    path = tmp_path / "psf.json"
    names = ["components[0].radius_px", "components[1].sigma_px"]
    save_record(path, PSF.defocus(5.0), covariance=np.eye(2), parameters=names)
    document = json.loads(path.read_text())
    _change(document, field, value)
    path.write_text(json.dumps(document))
    with pytest.raises(PsfError, match=named) as caught:
        load_record(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "NaN", '{"format": NaN}', "\xff\xfe", "[" * 100_000, "9" * 5000]
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "psf.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(PsfError, match=r"psf\.json"):
        load_record(path)


def test_missing_files_stay_os_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_record(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError):
        save_record(tmp_path / "none" / "psf.json", PSF())


def test_what_cannot_be_recorded_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "psf.json"
    for arguments in (
        {"gsd_m": float("nan")},
        {"covariance": np.eye(3)},
        {"provenance": {"when": object()}},
        {"provenance": {"residual": float("nan")}},
    ):
        with pytest.raises(PsfError):
            save_record(path, PSF.defocus(3.0), **arguments)
    assert list(tmp_path.iterdir()) == []
