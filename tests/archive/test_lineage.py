"""STAC items of outputs, held against the schemas that ship with the standard."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from imagine_deblur.archive.facts import read_facts, stac_time
from imagine_deblur.archive.inputs import find_items
from imagine_deblur.archive.lineage import EXTENSIONS
from imagine_deblur.psf.record import load_record
from jpegkit import jpeg, tagged

pystac = pytest.importorskip("pystac")
rasterio = pytest.importorskip("rasterio")
jsonschema = pytest.importorskip("jsonschema")
referencing = pytest.importorskip("referencing")

#: Referred to by STAC's schemas and not part of them; any value passes.
_ELSEWHERE = (
    "https://geojson.org/schema/Feature.json",
    "https://geojson.org/schema/Geometry.json",
    "https://proj.org/schemas/v0.7/projjson.schema.json",
)


@pytest.fixture(scope="session")
def check(data_dir: Path) -> Any:
    """Hold a document against a schema by the beginning of its ``$id``."""
    folder = data_dir / "stac-schemas"
    if not folder.is_dir():
        pytest.skip(f"no STAC schemas in {folder}")
    schemas = {}
    for path in folder.glob("*.json"):
        # They are of the last beta, which differs from 1.1.0 in its name.
        schema = json.loads(re.sub(r'("const": "1\.1\.0)-beta\.1"', r'\1"', path.read_text()))
        schemas[schema["$id"].rstrip("#")] = schema
        if path.name == "common.json":  # its own $id has no dot
            schemas[schema["$id"].replace("commonjson", "common.json")] = schema
    known = referencing.jsonschema.DRAFT7
    registry = referencing.Registry().with_resources(
        [(name, known.create_resource(schema)) for name, schema in schemas.items()]
        + [(name, known.create_resource({})) for name in _ELSEWHERE]
    )

    def check(document: dict[str, Any], beginning: str) -> None:
        (schema,) = [s for name, s in schemas.items() if name.startswith(beginning)]
        validator = jsonschema.Draft7Validator(
            schema, registry=registry, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER
        )
        validator.validate(document)

    return check


def core(name: str) -> str:
    return f"https://schemas.stacspec.org/v1.1.0-beta.1/{name}-spec/json-schema/{name}.json"


@pytest.fixture
def item_of(scenes: Path, run: Any, tmp_path: Path) -> Any:
    """Restore inputs with ``--stac-out`` and read one item."""

    def item_of(name: str, *inputs: str | Path) -> dict[str, Any]:
        run(*(inputs or [scenes]), stac_output=tmp_path / "stac", recursive=True)
        stem = Path(name).name
        return json.loads((tmp_path / "stac" / name / f"{stem}.json").read_text())

    return item_of


def test_items_pass_the_schemas(check, item_of):
    item = item_of("c0")
    check(item, core("item"))
    for extension in EXTENSIONS:
        check(item, extension)
    assert item["properties"]["processing:software"].keys() == {"imagine_deblur"}
    assert item["properties"]["processing:level"] == "L1"


def test_a_schema_refuses_what_is_wrong(check, item_of):
    item = item_of("c0")
    item["assets"]["image"]["file:checksum"] = "no multihash"
    with pytest.raises(jsonschema.ValidationError):
        check(item, "https://stac-extensions.github.io/file/v2.1.0")


def test_checksums_hold(item_of, tmp_path):
    item = item_of("c0")
    folder = tmp_path / "stac/c0"
    for asset in item["assets"].values():
        data = (folder / asset["href"]).read_bytes()
        assert asset["file:checksum"] == f"1220{hashlib.sha256(data).hexdigest()}"
        assert asset["file:size"] == len(data)
    assert load_record(folder / item["assets"]["psf"]["href"]).psf.components[0].radius_px == 2.0
    quality = json.loads((folder / item["assets"]["quality"]["href"]).read_text())
    assert quality["restored"] is True


def test_the_catalog_is_read_by_pystac(check, item_of, tmp_path):
    item_of("c0")
    check(json.loads((tmp_path / "stac/catalog.json").read_text()), core("catalog"))
    catalog = pystac.Catalog.from_file(str(tmp_path / "stac/catalog.json"))
    assert sorted(item.id for item in catalog.get_items()) == [f"c{k}" for k in range(8)]


def test_a_capture_s_own_word(tmp_path, pictures, item_of):
    import numpy as np

    folder = tmp_path / "tagged"
    folder.mkdir()
    image = np.zeros((64, 64, 3), np.uint8)
    (folder / "e.jpg").write_bytes(jpeg(image, exif=tagged()))
    facts = read_facts(str(folder / "e.jpg"))
    assert facts.geometry is not None
    assert facts.geometry["type"] == "Point"
    item = item_of("e", folder)
    assert item["geometry"] == facts.geometry
    assert item["links"][0] == {
        "rel": "derived_from", "href": str(folder / "e.jpg"), "title": "what was restored",
    }  # fmt: skip


def test_without_a_date_the_interval_is_honest(check, item_of):
    properties = item_of("c0")["properties"]
    assert properties["datetime"] is None
    assert properties["start_datetime"] == "1957-10-04T00:00:00Z"


def test_a_source_s_item_is_inherited_and_linked(check, item_of, scenes, tmp_path):
    source = {
        "type": "Feature", "stac_version": "1.0.0", "id": "scene-7", "links": [],
        "geometry": {"type": "Point", "coordinates": [10.0, 50.0]}, "bbox": [10, 50, 10, 50],
        "properties": {"datetime": "2024-02-12T10:00:00Z", "platform": "iss",
                       "instruments": ["eye"], "gsd": 39.0, "processing:level": "L1C"},
        "assets": {"data": {"href": str(scenes / "c3.jpg"), "type": "image/jpeg"}},
    }  # fmt: skip
    path = tmp_path / "scene-7.json"
    path.write_text(json.dumps(source))
    item = item_of("scene-7/c3", path)
    check(item, core("item"))
    assert item["geometry"]["coordinates"] == [10.0, 50.0]
    assert item["properties"]["platform"] == "iss"
    assert item["properties"]["processing:level"] == "L1C"
    assert item["links"][0]["href"] == str(path)


def test_times_of_items():
    noon = datetime(2024, 2, 12, 12, tzinfo=UTC)
    assert stac_time({"datetime": "2024-02-12T12:00:00Z"}) == noon
    interval = {"start_datetime": "2024-02-12T11:00:00Z", "end_datetime": "2024-02-12T13:00:00Z"}
    assert stac_time({"datetime": None, **interval}) == noon
    assert stac_time({}) is None


def test_a_georeferenced_file_s_own_word(tmp_path):
    import numpy as np

    path = str(tmp_path / "g.tif")
    transform = rasterio.Affine(10, 0, 500_000, 0, -10, 5_500_000)
    with rasterio.open(
        path, "w", driver="GTiff", height=40, width=60, count=2, dtype="uint16", crs="EPSG:32633",
        transform=transform, nodata=0,
    ) as image:  # fmt: skip
        image.write(np.ones((2, 40, 60), np.uint16))
        image.descriptions = ("red", "nir")
        image.update_tags(TIFFTAG_DATETIME="2024:02:12 10:00:00")
    facts = read_facts(path)
    assert facts.projection["proj:code"] == "EPSG:32633"
    assert facts.projection["proj:transform"] == [10, 0, 500_000, 0, -10, 5_500_000]
    assert facts.gsd_m == 10
    assert [band["name"] for band in facts.bands] == ["red", "nir"]
    assert facts.bands[0] == {"name": "red", "data_type": "uint16", "nodata": 0.0}
    assert facts.time == datetime(2024, 2, 12, 10, tzinfo=UTC)
    west, south, east, north = facts.bbox
    assert west == pytest.approx(15.0, abs=0.01)
    assert (east - west, north - south) == pytest.approx((600 / 71_700, 400 / 111_200), rel=0.02)


def test_an_item_is_found_again_as_input(item_of, tmp_path):
    item_of("c0")
    found = find_items([str(tmp_path / "stac/c0/c0.json")])
    assert [item.source for item in found.items] == [str(tmp_path / "out/c0.jpg")]
