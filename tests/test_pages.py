"""Pages for people: lines that fit a screen, figures that stand in the tables beside them."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from imagine_deblur._version import VERSION

ROOT = Path(__file__).parents[1]
COLUMNS = 100
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
TABLES = sorted((ROOT / "docs" / "results").glob("*.csv"))


def prose(text: str) -> list[str]:
    """The lines of a page outside blocks of code and tables, which cannot be wrapped."""
    outside = re.sub(r"^( *)```.*?^\1```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [line for line in outside.splitlines() if not line.startswith(("|", "    "))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_stays_under_a_hundred_columns(page: Path) -> None:
    wide = [line for line in prose(page.read_text("utf-8")) if len(line) > COLUMNS]
    assert wide == []


def rows(name: str) -> list[dict[str, str]]:
    with (ROOT / "docs" / "results" / f"{name}.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_result_table_is_whole_and_linked(table: Path) -> None:
    with table.open(encoding="utf-8") as stream:
        found = list(csv.reader(stream))
    assert len(found) > 1
    assert {len(row) for row in found} == {len(found[0])}
    assert f"(results/{table.name})" in (ROOT / "docs" / "results.md").read_text("utf-8")


@pytest.mark.parametrize("model", ["fast", "best"])
def test_the_quality_table_quotes_the_full_one(model: str) -> None:
    page = (ROOT / "docs" / "results.md").read_text("utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith(f"| **`{model}`**")]
    quoted = re.findall(r"\+(\d\.\d\d) / (0\.\d{3})", line)
    table = {
        row["protocol"]: row for row in rows("protocols") if row["method"] == f"{model}, blind"
    }
    for protocol, (gain, ssim) in zip(("imagine", "imagine90"), quoted, strict=True):
        assert float(table[protocol]["gain_db"]) == float(gain)
        assert float(table[protocol]["ssim"]) == pytest.approx(float(ssim), abs=5.01e-4)


def test_the_citation_names_the_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {VERSION}\n" in citation
