"""The package's JSON schemas, and what they say of a value."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

jsonschema = pytest.importorskip("jsonschema")


def schema_of(package: str) -> dict[str, Any]:
    """A package's report schema, which is one itself."""
    found: dict[str, Any] = json.loads(
        files(package).joinpath("report.schema.json").read_text("utf-8")
    )
    jsonschema.Draft202012Validator.check_schema(found)
    return found


def check(schema: dict[str, Any], values: object) -> None:
    """Fail where a value is not as the schema says."""
    jsonschema.Draft202012Validator(schema).validate(values)
