"""STAC items of outputs: what they are, of what they were made, by what, and how well.

Fields are those of STAC 1.1 and of the extensions processing 1.2, projection 2.0, raster 2.0 and
file 2.1.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from imagine_deblur._version import VERSION
from imagine_deblur.archive.facts import Facts, read_facts
from imagine_deblur.archive.item import Item, scheme_of
from imagine_deblur.archive.settings import Settings
from imagine_deblur.psf.field import PsfField, save_field
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.record import save_record
from imagine_deblur.support.extras import require
from imagine_deblur.support.files import write_text

_EXTENSION = "https://stac-extensions.github.io/{}/schema.json"
EXTENSIONS = tuple(
    _EXTENSION.format(name)
    for name in ("processing/v1.2.0", "projection/v2.0.0", "raster/v2.0.0", "file/v2.1.0")
)
_KEPT = ("platform", "instruments", "constellation", "mission", "gsd", "license", "title")
_LEVEL = "L1"  # at the sensor, corrected radiometrically: what a restoration does to raw captures
_FIRST_SATELLITE = "1957-10-04T00:00:00Z"
_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".jpe": "image/jpeg"}
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"


@dataclass(frozen=True)
class Described:
    """A STAC item and the files that belong to it.

    Attributes
    ----------
    folder : Path
        Its own.
    document : dict
        The item as JSON values, without the checksums of `psfs` and `quality`.
    psfs : dict
        PSF by the name of its asset.
    quality : dict
        The restoration's report.
    """

    folder: Path
    document: dict[str, Any]
    psfs: dict[str, PSF | PsfField] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)


def check_packages() -> None:
    """Refuse before any work what could not be described after it.

    Raises
    ------
    MissingExtraError
        pystac or rasterio is not installed.
    """
    for module in ("pystac", "rasterio"):
        require(module, extra="archive", purpose="--stac-out")


def describe(
    item: Item, made: Path, report: dict[str, Any], size_and_sha256: tuple[int, str],
    settings: Settings,
) -> Described:  # fmt: skip
    """Return the STAC item of an output.

    Parameters
    ----------
    item : Item
    made : Path
        The finished output, not yet at its place.
    report : dict
        The restoration's, as plain values.
    size_and_sha256 : (int, str)
        Of the output.
    settings : Settings

    Raises
    ------
    MissingExtraError
        pystac or rasterio is not installed.
    """
    assert settings.stac_output is not None
    pystac = require("pystac", extra="archive", purpose="--stac-out")
    facts = read_facts(os.fspath(made), item.stac)
    identifier = str(PurePosixPath(item.output).with_suffix("")).replace("/", "_")
    given = dict((item.stac or {}).get("properties") or {})
    properties = {name: given[name] for name in _KEPT if name in given}
    if "instruments" not in properties and facts.instrument:
        properties["instruments"] = [facts.instrument]
    properties |= {
        "created": _now(),
        "processing:datetime": _now(),
        "processing:level": given.get("processing:level", _LEVEL),
        "processing:lineage": _in_words(report),
        "processing:software": {"imagine_deblur": VERSION},
        "processing:version": VERSION,
    }
    start, end = _interval(facts, given, item)
    made_item = pystac.Item(
        id=identifier,
        geometry=facts.geometry,
        bbox=None if facts.bbox is None else list(facts.bbox),
        datetime=facts.time,
        start_datetime=None if facts.time else start,
        end_datetime=None if facts.time else end,
        properties=properties,
        stac_extensions=list(EXTENSIONS),
    )
    source = item.stac_href or item.name
    made_item.add_link(pystac.Link("derived_from", source, title="what was restored"))
    target = settings.target(item.output)
    size, digest = size_and_sha256
    suffix = PurePosixPath(item.output).suffix.lower()
    asset = pystac.Asset(
        href=target,
        media_type=_TYPES.get(suffix, _COG),
        roles=["data"],
        title="the restored image",
        extra_fields={
            **facts.projection,
            "raster:sampling": "area",
            "bands": [dict(band) for band in facts.bands],
            "file:size": size,
            "file:checksum": _multihash(digest),
            **({} if facts.gsd_m is None else {"raster:spatial_resolution": facts.gsd_m}),
        },
    )
    made_item.add_asset("image", asset)
    document = made_item.to_dict(include_self_link=False, transform_hrefs=False)
    folder = Path(settings.stac_output) / PurePosixPath(item.output).with_suffix("")
    return Described(folder, document, _psfs(report), {**report, "item": identifier})


def save(described: Described) -> None:
    """Write a STAC item with its PSF records and quality figures, each complete or not there."""
    folder, document = described.folder, described.document
    folder.mkdir(parents=True, exist_ok=True)
    provenance = {"method": described.quality.get("psf_source"), "item": document["id"]}
    for name, psf in described.psfs.items():
        path = folder / f"{name}.json"
        if isinstance(psf, PsfField):
            save_field(path, psf)
        else:
            save_record(path, psf, provenance=provenance)
        document["assets"][name] = _asset(path, "the blur that was undone")
    quality = folder / "quality.json"
    write_text(quality, _json(described.quality))
    document["assets"]["quality"] = _asset(quality, "how each part was restored, and how well")
    write_text(folder / f"{folder.name}.json", _json(document))


def save_catalog(folder: Path, name: str) -> Path:
    """Write the catalog of all items below a folder; return its path.

    Raises
    ------
    OSError
    """
    pystac = require("pystac", extra="archive", purpose="--stac-out")
    catalog = pystac.Catalog(id=name, description=f"Restored by imagine_deblur {VERSION}")
    document = catalog.to_dict(include_self_link=False)
    document["links"] = [{"rel": "root", "href": "./catalog.json", "type": "application/json"}]
    for where, folders, _ in os.walk(folder):
        folders.sort()
        path = Path(where) / f"{Path(where).name}.json"
        if Path(where) != folder and path.is_file():
            href = f"./{path.relative_to(folder).as_posix()}"
            document["links"].append({"rel": "item", "href": href, "type": "application/geo+json"})
    write_text(folder / "catalog.json", _json(document))
    return folder / "catalog.json"


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1) + "\n"


def _asset(path: Path, title: str) -> dict[str, Any]:
    data = path.read_bytes()
    return {
        "href": f"./{path.name}",
        "type": "application/json",
        "roles": ["metadata"],
        "title": title,
        "file:size": len(data),
        "file:checksum": _multihash(hashlib.sha256(data).hexdigest()),
    }


def _multihash(sha256: str) -> str:
    """Return a SHA-256 as a multihash: 0x12 names the function, 0x20 its 32 bytes."""
    return f"1220{sha256}"


def _psfs(report: dict[str, Any]) -> dict[str, PSF | PsfField]:
    """Return the PSFs of a report: one, or one a group of bands."""
    found: dict[str, PSF | PsfField] = {}
    groups = report.get("groups") or [report]
    for group in groups:
        described = group.get("psf")
        if not described:
            continue
        kind = PsfField if "grid" in described else PSF
        psf = kind.from_dict({k: v for k, v in described.items() if k != "id"})
        if psf.id not in {other.id for other in found.values()}:
            found["psf" if not found else f"psf{len(found) + 1}"] = psf
    return found


def _interval(facts: Facts, given: dict[str, Any], item: Item) -> tuple[datetime, datetime]:
    """Return when an image without a date may have been taken: after Sputnik, before its file."""
    modified = datetime.now(UTC)
    if not scheme_of(item.source):
        modified = datetime.fromtimestamp(int(os.stat(item.source).st_mtime), UTC)
    return datetime.fromisoformat(_FIRST_SATELLITE), modified


def _in_words(report: dict[str, Any]) -> str:
    if not report["restored"]:
        why = "; ".join(map(str, report.get("warnings") or ())) or "no blur was found"
        return f"Passed through as captured: {why}"
    source = report.get("psf_source", "estimated")
    return f"Deblurred with the network {report['model']!r}; the PSF was {source}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
