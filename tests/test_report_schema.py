"""The JSON form of a report: one schema, in the package, that holds what is really written."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from imagine_deblur import process
from imagine_deblur.cli import main
from imagine_deblur.report import SCHEMA, Report
from imagine_deblur.session import Session
from jpegkit import jpeg
from schemakit import check, schema_of

jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return schema_of("imagine_deblur")


def plain(report: Report) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(report.as_dict()))
    return values


def test_the_schema_names_every_field_and_the_version(schema):
    names = {field.name for field in fields(Report)} - {"block_map", "error_map"}
    names |= {"blocks", "expected_error", "schema"}
    restoration = schema["$defs"]["restoration"]
    assert set(restoration["properties"]) == set(restoration["required"]) == names
    assert schema["$defs"]["schema"]["const"] == SCHEMA


def test_reports_of_all_kinds_keep_to_it(schema, capture_file, blind_capture, tmp_path):
    blind = tmp_path / "blind.jpg"
    blind.write_bytes(blind_capture)
    flat = tmp_path / "flat.jpg"
    flat.write_bytes(jpeg(np.full((300, 320, 3), 90, np.uint8)))
    reports = [
        process(capture_file, psf="disk:2.5", model="wiener"),
        process(blind),
        process(flat, model="wiener"),
        process(capture_file, model="identity", overwrite=True),
    ]
    assert [report.restored for report in reports] == [True, True, False, False]
    with Session(psf="disk:2", model="wiener") as session:
        reports.append(session.restore_with_report(np.full((64, 80), 0.5, np.float32))[1])
    for report in reports:
        check(schema, plain(report))


def test_lines_of_the_command_keep_to_it(schema, capture_file, tmp_path, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"text")
    arguments = [str(tmp_path), "--psf", "disk:2.5", "--model", "wiener", "-o", str(tmp_path / "o")]
    for _ in range(2):
        main(["process", *arguments, "--skip-existing"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("outcome", "restored") for line in lines] == [
        "failed",
        "restored",
        "failed",
        "skipped",
    ]
    for line in lines:
        check(schema, line)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schema", "imagine_deblur/report/0"),
        ("rows", -1),
        ("restored", "yes"),
        ("psf_source", "guessed"),
        ("nsr", [0]),
        ("warnings", "flat"),
        ("blocks", {"side": 32}),
    ],
)
def test_what_is_wrong_is_refused(schema, capture_file, name, value):
    good = plain(process(capture_file, psf="disk:2.5", model="wiener", overwrite=True))
    check(schema, good)
    for bad in (good | {name: value}, {k: v for k, v in good.items() if k != name}):
        with pytest.raises(jsonschema.ValidationError):
            check(schema, bad)
