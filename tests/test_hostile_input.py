"""What fuzzing found in records, presets, options and settings, and a seeded run of the fuzzer.

Each input is either accepted or refused with a typed error; see tests/fuzz/fuzz_python.py.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutations import mutated
from targets import TARGETS, kept, seeds

from imagine_deblur.errors import OptionsError, PsfError
from imagine_deblur.options import Options, parse_bytes
from imagine_deblur.psf import PSF, Disk, Gaussian, Pupil
from imagine_deblur.psf.field import PsfField, is_field, load_field, save_field
from imagine_deblur.psf.models import MAX_COMPONENTS
from imagine_deblur.psf.presets import MAX_EXTENT_PX, named_psf
from imagine_deblur.psf.record import load_record, save_record
from imagine_deblur.watch.settings import WatchSettings


@pytest.mark.parametrize("target", list(TARGETS))
def test_a_seeded_run_finds_nothing(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chance, pool = random.Random(20), seeds(target) + kept(target)
    for data in pool:
        TARGETS[target](data)
    for _ in range(100):
        TARGETS[target](mutated(chance.choice(pool), chance))


def _record(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "psf.json"
    save_record(path, PSF.defocus(5.0), covariance=np.eye(4))
    document = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("gsd_m", 10**400, "'gsd_m'"),
        ("covariance", {"parameters": ["components[0].radius_px"], "matrix": [[10**400]]}, "rows"),
        (
            "covariance",
            {"parameters": ["components[0].radius_px"], "matrix": [[-1e-12]]},
            "negative variance",
        ),
        ("psf", {"components": [{"kind": "sampled", "kernel": [[10**400]]}]}, r"components\[0\]"),
    ],
)
def test_numbers_beyond_a_float_are_refused(
    tmp_path: Path, field: str, value: Any, named: str
) -> None:
    with pytest.raises(PsfError, match=named):
        load_record(_record(tmp_path, **{field: value}))


def test_large_covariances_are_read(tmp_path: Path) -> None:
    matrix = (1e300 * np.eye(4)).tolist()
    names = json.loads(_record(tmp_path).read_text())["covariance"]["parameters"]
    path = _record(tmp_path, covariance={"parameters": names, "matrix": matrix})
    assert load_record(path).standard_errors["components[0].radius_px"] == pytest.approx(1e150)


@pytest.mark.parametrize("grid", ["ab", ["ab"], [[1]], [[[]]], [["a"]], {"a": 1}, [{"a": 1}]])
def test_grids_of_anything_else_are_refused(tmp_path: Path, grid: Any) -> None:
    path = tmp_path / "field.json"
    save_field(path, PsfField(((PSF.defocus(3.0),),)))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"grid": grid}))
    with pytest.raises(PsfError, match=r"field\.json"):
        load_field(path)


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, "NaN", " " * (9 << 20)])
def test_what_is_no_document_is_no_field(tmp_path: Path, text: str) -> None:
    path = tmp_path / "field.json"
    path.write_text(text)
    assert not is_field(path)
    for read in (load_field, load_record, named_psf):
        with pytest.raises(PsfError, match=r"field\.json"):
            read(path)


@pytest.mark.parametrize(
    "psf",
    [
        PSF((Gaussian(1000.0),)),
        PSF((Disk(200.0), Disk(200.0))),
        PSF((Pupil(5.0, 1.0, 0.01),)),
        PSF((Disk(0.1),) * (MAX_COMPONENTS + 1)),
        PSF.sampled(np.eye(515) / 515),
    ],
)
def test_blurs_that_would_take_any_memory_are_refused(tmp_path: Path, psf: PSF) -> None:
    save_field(tmp_path / "field.json", PsfField(((PSF(), psf),)))
    for given in (psf, tmp_path / "field.json"):
        with pytest.raises(PsfError, match=rf"{MAX_EXTENT_PX} px|{MAX_COMPONENTS}"):
            named_psf(given)


def test_a_record_of_many_components_is_refused_before_they_are_weighed(tmp_path: Path) -> None:
    path = tmp_path / "many.json"
    save_record(path, PSF((Disk(1.0),) * 500))
    with pytest.raises(PsfError, match=f"500 entries, at most {MAX_COMPONENTS}"):
        load_record(path)


def test_a_quality_that_is_an_array_is_refused() -> None:
    with pytest.raises(OptionsError, match="quality"):
        Options(quality=np.zeros(3))  # type: ignore[arg-type]


@pytest.mark.parametrize("waves", [(13.0, 0.0), (0.0, -4.0)])
def test_pupils_that_would_take_minutes_are_refused(waves: tuple[float, float]) -> None:
    with pytest.raises(PsfError, match="waves"):
        Pupil(*waves, 1.0)


def test_a_blur_of_another_kind_is_refused() -> None:
    with pytest.raises(PsfError, match="psf=3"):
        named_psf(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("nsr", "0.1"),
        ("nsr", 10**400),
        ("nsr", True),
        ("deadline", [1.0]),
        ("deadline", np.ones(3)),
        ("max_ram", 1.5),
        ("max_ram", None),
        ("max_ram", True),
        ("max_ram", 2**63),
        ("max_ram", "9" * 400 + "MB"),
        ("engine", np.array(["auto", "auto"])),
        ("self_ensemble", np.ones(2)),
        ("self_ensemble", True),
    ],
)
def test_options_of_another_type_are_refused(field: str, value: Any) -> None:
    with pytest.raises(OptionsError) as caught:
        Options(**{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("poll", "1"),
        ("patience", 10**400),
        ("late_after", [1]),
        ("min_free", 0.5),
        ("min_free", np.zeros(2)),
        ("on_failure", np.array(["passthrough"] * 2)),
    ],
)
def test_settings_of_another_type_are_refused(field: str, value: Any) -> None:
    with pytest.raises(OptionsError) as caught:
        WatchSettings(**{field: value})
    assert caught.value.field == field


def test_sizes_that_are_right_stay_right() -> None:
    assert parse_bytes("max_ram", 2**63 - 1) == 2**63 - 1
    assert parse_bytes("max_ram", "1.5GiB") == 3 << 29
    assert Options(nsr=np.float32(0.5)).nsr == 0.5
    assert WatchSettings(min_free="0").min_free_bytes == 0
