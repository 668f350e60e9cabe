"""The JSON form of a raster's report: one schema, in the package, that holds what is written."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rasterkit
from imagine_deblur.cli import main
from imagine_deblur.raster import restore_raster
from imagine_deblur.raster.report import SCHEMA, BandReport, RasterReport
from schemakit import check, schema_of

jsonschema = pytest.importorskip("jsonschema")
rasterio = pytest.importorskip("rasterio", reason="pip install '.[raster]'")

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return schema_of("imagine_deblur.raster")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    values = rasterkit.as_type(rasterkit.blurred(rasterkit.scene(200, 232, 4)), "uint16", high=4000)
    return rasterkit.write(tmp_path / "scene.tif", values, photometric="RGB")


def test_the_schema_names_every_field_and_the_version(schema):
    shown = {"schema", "restored", "passed_through", "replaced_blocks", "blocks"}
    shown |= {"psf", "psf_source", "psf_confidence", "nsr"}
    names = {field.name for field in fields(RasterReport)} - {"block_map"} | shown
    assert set(schema["properties"]) == set(schema["required"]) == names
    group = schema["$defs"]["group"]
    parts = {field.name for field in fields(BandReport)}
    assert set(group["properties"]) == set(group["required"]) == parts
    assert schema["properties"]["schema"]["const"] == SCHEMA


def test_reports_of_all_kinds_keep_to_it(schema, source, tmp_path):
    flat = rasterkit.write(tmp_path / "flat.tif", np.full((1, 200, 200), 7, np.int16))
    void = rasterkit.write(tmp_path / "void.tif", np.zeros((1, 200, 200), np.float32), nodata=0)
    reports = [
        restore_raster(source, tmp_path / "a.tif", psf="disk:3", threads=1),
        restore_raster(flat, tmp_path / "b.tif"),
        restore_raster(void, tmp_path / "c.tif"),
    ]
    assert [report.restored for report in reports] == [True, False, False]
    for report in reports:
        plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
        check(schema, plain)
        assert (plain["passed_through"] is None) == report.restored


def test_the_line_of_the_command_keeps_to_it(schema, source, tmp_path, capsys):
    out = str(tmp_path / "out.tif")
    assert main(["process", str(source), "-o", out, "--psf", "disk:3", "--model", "wiener"]) == 0
    check(schema, json.loads(capsys.readouterr().out))


@pytest.mark.parametrize(
    ("name", "value"),
    [("schema", "imagine_deblur/report/1"), ("rows", 0), ("groups", []), ("window", [1])],
)
def test_what_is_wrong_is_refused(schema, source, tmp_path, name, value):
    report = restore_raster(source, tmp_path / "out.tif", psf="disk:3", model="wiener")
    good = json.loads(json.dumps(report.to_dict()))
    check(schema, good)
    for bad in (good | {name: value}, {k: v for k, v in good.items() if k != name}):
        with pytest.raises(jsonschema.ValidationError):
            check(schema, bad)
