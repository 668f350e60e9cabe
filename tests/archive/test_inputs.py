"""From names to items: what is found, what is passed over, what is refused and why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from imagine_deblur.archive.inputs import find_items, output_name
from imagine_deblur.archive.item import without_secrets
from imagine_deblur.archive.remote import gdal_path
from imagine_deblur.cli import main
from imagine_deblur.errors import InputImageError, OptionsError
from jpegkit import jpeg


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    for name in ("a.jpg", "b.tif", "notes.txt", "day1/c.jp2", "day2/c.jp2", "day2/.hidden.jpg"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def outputs(found) -> list[str]:
    return [item.output for item in found.items]


def test_a_folder_and_what_is_passed_over(tree):
    found = find_items([str(tree)])
    assert outputs(found) == ["a.jpg", "b.tif"]
    assert dict(found.passed_over) == {
        str(tree / "notes.txt"): "not an image by its name",
        str(tree / "day1"): "a folder; -r looks into it",
        str(tree / "day2"): "a folder; -r looks into it",
    }


def test_sub_folders_are_kept(tree):
    found = find_items([str(tree)], recursive=True)
    assert outputs(found) == ["a.jpg", "b.tif", "day1/c.tif", "day2/c.tif"]


def test_the_output_is_not_looked_into(tree):
    found = find_items([str(tree)], recursive=True, output=str(tree / "day2"))
    assert outputs(found) == ["a.jpg", "b.tif", "day1/c.tif"]


def test_patterns_keep_the_folders_below_their_first_wildcard(tree):
    assert outputs(find_items([f"{tree}/day*/c.jp2"])) == ["day1/c.tif", "day2/c.tif"]
    assert outputs(find_items([f"{tree}/**/*.jp2"])) == ["day1/c.tif", "day2/c.tif"]


def test_a_list(tree, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"# two days\n{tree}/a.jpg\n\n{tree}/day1/*\n")
    assert outputs(find_items([f"@{listed}"])) == ["a.jpg", "c.tif"]
    assert outputs(find_items([], lists=[str(listed)])) == ["a.jpg", "c.tif"]


def test_a_list_of_another_system(tree, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_bytes(f"\ufeff{tree}/a.jpg\r\n{tree}/b.tif\r\n".encode())
    assert outputs(find_items([f"@{listed}"])) == ["a.jpg", "b.tif"]


def test_a_list_names_its_line(tree, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{tree}/a.jpg\n{tree}/gone.jpg\n")
    with pytest.raises(InputImageError, match=r"list\.txt, line 2: .*gone\.jpg"):
        find_items([f"@{listed}"])


def test_a_source_named_twice_is_one_item(tree):
    assert len(find_items([f"{tree}/a.jpg", f"{tree}/a*"]).items) == 1


def test_two_sources_of_one_output_are_refused(tree):
    with pytest.raises(OptionsError, match=r"day1/c\.jp2 and .*day2/c\.jp2 would both have it"):
        find_items([f"{tree}/day1/c.jp2", f"{tree}/day2/c.jp2"])
    shutil.copy(tree / "day1" / "c.jp2", tree / "day1" / "c.png")
    with pytest.raises(OptionsError, match="would both have it: restore them into two outputs"):
        find_items([f"{tree}/day1"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gs://bucket/a.tif", "scheme 'gs' is not read; local paths, s3://, https://"),
        ("https://host/folder/", "cannot be listed"),
        ("*.nothing", "no file matches"),
    ],
)
def test_what_means_nothing_is_refused(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputImageError, match=message):
        find_items([name])


def test_a_missing_file_is_an_os_error():
    with pytest.raises(FileNotFoundError):
        find_items(["/nowhere/a.tif"])


def test_an_empty_folder_says_that_r_goes_deeper(tmp_path):
    with pytest.raises(InputImageError, match="-r looks into sub-folders"):
        find_items([str(tmp_path)])


def test_json_that_is_not_stac(tmp_path):
    pytest.importorskip("pystac")
    other = tmp_path / "x.json"
    other.write_text('{"type": "Polygon"}')
    with pytest.raises(InputImageError, match="not STAC"):
        find_items([str(other)])
    other.write_text("{")
    with pytest.raises(InputImageError, match="not JSON"):
        find_items([str(other)])


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A catalog of a collection of two items, written by hand."""
    root = tmp_path / "stac"

    def item(name: str, roles: list[str]) -> dict:
        return {
            "type": "Feature", "stac_version": "1.0.0", "id": name, "collection": "eye",
            "geometry": None, "properties": {"datetime": "2024-02-12T10:00:00Z"}, "links": [],
            "assets": {
                "image": {"href": "./image.tif", "type": "image/tiff; application=geotiff",
                          "roles": roles},
                "preview": {"href": "./preview.png", "type": "image/png", "roles": ["thumbnail"]},
                "notes": {"href": "./notes.txt", "type": "text/plain"},
            },
        }  # fmt: skip

    links = [{"rel": "item", "href": f"./{n}/{n}.json"} for n in ("one", "two")]
    documents = {
        "catalog.json": {
            "type": "Catalog", "stac_version": "1.0.0", "id": "all", "description": "all",
            "links": [{"rel": "child", "href": "./eye/collection.json"}],
        },
        "eye/collection.json": {
            "type": "Collection", "stac_version": "1.0.0", "id": "eye", "description": "eye",
            "license": "other", "links": links, "extent": {
                "spatial": {"bbox": [[-180, -90, 180, 90]]},
                "temporal": {"interval": [["2024-01-01T00:00:00Z", None]]}},
        },
        "eye/one/one.json": item("one", ["data"]),
        "eye/two/two.json": item("two", []),
    }  # fmt: skip
    for name, document in documents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
    return root


@pytest.mark.parametrize("name", ["catalog.json", "eye/collection.json"])
def test_catalogs_and_collections(catalog, name):
    pytest.importorskip("pystac")
    found = find_items([str(catalog / name)])
    assert outputs(found) == ["eye/one/image.tif", "eye/two/image.tif"]
    assert [item.source for item in found.items] == [
        str(catalog / f"eye/{n}/image.tif") for n in ("one", "two")
    ]
    assert found.items[0].stac_href == str(catalog / "eye/one/one.json")
    assert found.items[0].stac["properties"]["datetime"].startswith("2024-02-12T10:00:00")


def test_an_item_and_a_named_asset(catalog):
    pytest.importorskip("pystac")
    one = str(catalog / "eye/one/one.json")
    assert outputs(find_items([one])) == ["eye/one/image.tif"]
    assert outputs(find_items([one], assets=["preview"])) == ["eye/one/preview.tif"]
    with pytest.raises(InputImageError, match="item one has no asset that is nir"):
        find_items([one], assets=["nir"])
    pattern = str(catalog / "eye/*/*.json")
    assert outputs(find_items([pattern])) == ["eye/one/image.tif", "eye/two/image.tif"]


def test_a_search_result(catalog, tmp_path):
    pytest.importorskip("pystac")
    feature = json.loads((catalog / "eye/one/one.json").read_text())
    feature["assets"]["image"]["href"] = "s3://bucket/one/image.tif"
    result = tmp_path / "search.json"
    result.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    (item,) = find_items([str(result)]).items
    assert (item.source, item.output) == ("s3://bucket/one/image.tif", "eye/one/image.tif")


def test_a_search_result_of_files_beside_it_and_its_next_page(catalog, tmp_path):
    """Their addresses had been looked for below the current folder, the rest of it nowhere."""
    pytest.importorskip("pystac")
    feature = json.loads((catalog / "eye/one/one.json").read_text())
    result = catalog / "search.json"
    links = [{"rel": "next", "href": "https://host/search?page=2"}]
    document = {"type": "FeatureCollection", "features": [feature], "links": links}
    result.write_text(json.dumps(document))
    found = find_items([str(result)])
    assert [item.source for item in found.items] == [str(catalog / "image.tif")]
    assert found.more == [str(result)]


@pytest.mark.parametrize("text", [None, "{", "{}", '{"type": "Feature", "stac_version": "1.0.0"}'])
def test_one_broken_link_does_not_cost_the_archive(catalog, tmp_path, text):
    pytest.importorskip("pystac")
    broken = catalog / "eye/one/one.json"
    broken.unlink() if text is None else broken.write_text(text)
    found = find_items([str(catalog / "catalog.json")])
    assert outputs(found) == ["eye/two/image.tif"]
    ((href, reason),) = found.broken
    assert href == str(broken)
    assert reason
    (catalog / "eye/two/two.json").unlink()
    with pytest.raises(InputImageError, match=r"two\.json: No such file"):
        find_items([str(catalog / "catalog.json")])


def test_a_broken_link_is_told_and_gives_the_exit_code(catalog, tmp_path, capsys):
    pytest.importorskip("pystac")
    image = catalog / "eye/two/image.tif"
    image.with_suffix(".jpg").write_bytes(jpeg(np.full((64, 64, 3), 90, np.uint8), 90))
    document = catalog / "eye/two/two.json"
    document.write_text(document.read_text().replace("image.tif", "image.jpg"))
    (catalog / "eye/one/one.json").unlink()
    asked = ["-o", str(tmp_path / "out"), "--workers", "1", "--model", "identity"]
    assert main(["batch", str(catalog / "catalog.json"), *asked]) == 3
    assert "one.json: No such file or directory" in capsys.readouterr().err
    assert (tmp_path / "out/eye/two/image.jpg").exists()


def test_assets_without_a_type_are_known_by_their_names(catalog):
    pytest.importorskip("pystac")
    one = catalog / "eye/one/one.json"
    document = json.loads(one.read_text())
    document["assets"] = {k: {"href": f"./{k}"} for k in ("a.tif", "b.jpg", "c.txt")}
    one.write_text(json.dumps(document))
    assert outputs(find_items([str(one)])) == ["eye/one/a.tif", "eye/one/b.jpg"]


def test_signs_of_addresses_in_names_of_files(catalog, tmp_path):
    """Escapes of an address name a local file; in a plain name # and ? are letters."""
    pytest.importorskip("pystac")
    one = catalog / "eye/one/one.json"
    one.write_text(one.read_text().replace("./image.tif", "./a%201%23.tif"))
    (one.parent / "a 1#.tif").touch()
    (item,) = find_items([str(one)]).items
    assert (item.source, item.output) == (str(one.parent / "a 1#.tif"), "eye/one/a 1#.tif")
    (tmp_path / "b#2?.jpg").touch()
    assert outputs(find_items([f"{tmp_path}/*.jpg"])) == ["b#2?.jpg"]


def linked(path: Path, name: str, *links: tuple[str, str]) -> None:
    """Write a catalog with these links."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = [{"rel": rel, "href": href} for rel, href in links]
    head = {"type": "Catalog", "stac_version": "1.0.0", "id": name, "description": name}
    path.write_text(json.dumps(head | {"links": found}))


def test_catalogs_that_lead_back_to_themselves(catalog, tmp_path):
    """They ended in a traceback."""
    pytest.importorskip("pystac")
    one = str(catalog / "eye/one/one.json")
    linked(
        tmp_path / "c/catalog.json",
        "root",
        ("child", "d/catalog.json"),
        ("child", "./catalog.json"),
    )
    linked(tmp_path / "c/d/catalog.json", "d", ("child", "../catalog.json"), ("item", one))
    assert outputs(find_items([str(tmp_path / "c/catalog.json")])) == ["eye/one/image.tif"]


def test_a_file_address_is_a_local_path(catalog, tmp_path):
    pytest.importorskip("pystac")
    feature = json.loads((catalog / "eye/one/one.json").read_text())
    feature["assets"]["image"]["href"] = "file:///data/a%20b.tif"
    place = tmp_path / "file.json"
    place.write_text(json.dumps(feature))
    assert [item.source for item in find_items([str(place)]).items] == ["/data/a b.tif"]


def test_json_without_a_bottom_is_refused(tmp_path):
    place = tmp_path / "deep.json"
    place.write_text("[" * 100_000)
    with pytest.raises(InputImageError, match=r"deep\.json: not JSON"):
        find_items([str(place)])


def test_a_signature_is_not_part_of_a_name():
    signed = "https://u:p@host/a.tif?id=3&X-Amz-Signature=aa&X-Amz-Expires=60&sig=b&se=c"
    assert without_secrets(signed) == "https://host/a.tif?id=3"
    assert without_secrets("/data/a?sig=1.tif") == "/data/a?sig=1.tif"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("s3://b/a.tif", "/vsis3/b/a.tif"),
        ("https://h/a.tif", "/vsicurl/https://h/a.tif"),
        ("/d/a.tif", "/d/a.tif"),
    ],
)
def test_names_for_gdal(source, name):
    assert gdal_path(source) == name


@pytest.mark.parametrize(
    ("path", "name"),
    [("a.PNG", "a.tif"), ("a.tiff", "a.tiff"), ("a", "a.tif"), ("a.v2", "a.v2.tif")],
)
def test_names_of_outputs(path, name):
    assert output_name(path) == name
