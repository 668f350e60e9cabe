"""The images of STAC items, collections, catalogs and search results, by pystac."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from imagine_deblur.archive.item import JPEG, RASTERS, Item, path_of, scheme_of
from imagine_deblur.archive.remote import filesystem, typed
from imagine_deblur.errors import InputImageError
from imagine_deblur.support.extras import require

_IMAGES = ("image/jpeg", "image/tiff", "image/jp2", "image/png")
_NOT_DATA = {"thumbnail", "overview", "metadata"}
_ENDINGS = JPEG | RASTERS
_LARGEST = 256 << 20  # bytes of one document; a search result of 10,000 items has about 100 MB


@dataclass(frozen=True)
class Broken:
    """A document that a link leads to and that cannot be read."""

    href: str
    reason: str


@dataclass(frozen=True)
class More:
    """A search result that is one page of a longer answer."""

    href: str


Found = Item | Broken | More | tuple[str, str]
"""What a document leads to; a pair is what was passed over, and why."""


def read(href: str, assets: Sequence[str], timeout: float) -> Iterator[Found]:
    """Yield the images that a STAC document leads to.

    Parameters
    ----------
    href : str
        Of an item, a collection, a catalog or a search result (a FeatureCollection).
    assets : sequence of str
        Names of assets to take; none takes images whose role is "data", or, in items without
        roles, all images.
    timeout : float
        Seconds that a remote document may stay silent.

    Yields
    ------
    Item
        Its output is the path ``COLLECTION/ITEM/NAME`` without regard to the suffix.
    Broken, More, (str, str)
        See there.

    Raises
    ------
    InputImageError
        Not STAC.
    """
    pystac = require("pystac", extra="archive", purpose="a STAC catalog")
    text = _text(href, timeout)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputImageError(f"{href}: not JSON: {error}", path=href) from error
    kind = document.get("type") if isinstance(document, dict) else None
    io = _io(pystac, timeout)
    try:
        if kind == "FeatureCollection":
            found = iter(pystac.ItemCollection.from_dict(document).items)
            if any(link.get("rel") == "next" for link in document.get("links") or ()):
                yield More(href)
        elif kind == "Feature" and "stac_version" in document:
            found = iter([pystac.Item.from_file(_absolute(href), stac_io=io)])
        elif kind in ("Catalog", "Collection"):
            catalog = pystac.Catalog if kind == "Catalog" else pystac.Collection
            found = _below(pystac, catalog.from_file(_absolute(href), stac_io=io))
        else:
            raise InputImageError(
                f"{href}: not STAC; an item, a collection, a catalog or a search result is read",
                path=href,
            )
        for item in found:
            yield from [item] if isinstance(item, Broken) else _images(item, assets, href)
    except (*_UNREADABLE, pystac.STACError) as error:
        raise InputImageError(f"{href}: not readable as STAC: {error}", path=href) from error


_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError, RecursionError)


def _below(pystac: Any, catalog: Any) -> Iterator[Any]:
    """Yield the items of a catalog and of those below it, each catalog once, and broken links.

    pystac's own walk follows links that lead back to where they came from, without end, and ends
    at the first link that leads nowhere.
    """
    seen: set[str] = set()
    waiting = [catalog]
    while waiting:
        node = waiting.pop(0)
        place = node.get_self_href() or node.id
        if place in seen:
            continue
        seen.add(place)
        children = []
        for link in node.links:
            if link.rel not in ("item", "child"):
                continue
            try:
                target = link.resolve_stac_object(root=node.get_root()).target
            except (*_UNREADABLE, OSError, pystac.STACError) as error:
                reason = error.__cause__ or error
                text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
                yield Broken(str(link.get_absolute_href() or link.href), text)
                continue
            if link.rel == "item":
                yield target
            else:
                children.append(target)
        waiting = [*children, *waiting]


def _images(item: Any, assets: Sequence[str], document: str) -> Iterator[Found]:
    utils = require("pystac.utils", extra="archive", purpose="a STAC catalog")
    chosen = {key: item.assets[key] for key in assets if key in item.assets}
    if not assets:
        chosen = {key: a for key, a in item.assets.items() if _is_image(a) and _is_data(a)}
    if not chosen:
        wanted = " or ".join(assets) or "an image"
        yield item.get_self_href() or item.id, f"item {item.id} has no asset that is {wanted}"
        return
    stac = item.to_dict(include_self_link=False, transform_hrefs=False)
    folder = PurePosixPath(*(_plain(part) for part in (item.collection_id, item.id) if part))
    for asset in chosen.values():
        source = asset.get_absolute_href()
        if source is None:  # of a search result, whose items do not say where they are
            source = utils.make_absolute_href(asset.href, _absolute(document))
        if source.lower().startswith("file:///"):
            source = unquote(urlsplit(source).path)
        if not scheme_of(source):
            source = _there(os.path.abspath(source))
        name = PurePosixPath(path_of(source)).name
        yield Item(source, str(folder / name), stac, item.get_self_href())


def _is_image(asset: Any) -> bool:
    if not asset.media_type:
        return PurePosixPath(path_of(asset.href)).suffix.lower() in _ENDINGS
    return str(asset.media_type).lower().startswith(_IMAGES)


def _is_data(asset: Any) -> bool:
    roles = set(asset.roles or ())
    return "data" in roles or not roles & _NOT_DATA


def _plain(part: str) -> str:
    """Return an identifier as a folder's name; one with slashes or dots leads nowhere else."""
    return part.replace("/", "_").strip(".") or "_"


def _there(path: str) -> str:
    """Return a local path as it is, or without the escapes of an address where that is the file."""
    plain = unquote(path)
    return plain if not os.path.exists(path) and os.path.exists(plain) else path


def _absolute(href: str) -> str:
    return href if scheme_of(href) else os.path.abspath(href)


def _text(href: str, timeout: float) -> str:
    if not scheme_of(href):
        href = _there(href)
        if os.path.getsize(href) > _LARGEST:
            raise InputImageError(f"{href}: over {_LARGEST} bytes are no STAC document", path=href)
        with open(href, encoding="utf-8") as file:
            return file.read()
    try:
        return str(filesystem(href, timeout).cat_file(href).decode())
    except Exception as error:
        raise typed(href, error) from error


def _io(pystac: Any, timeout: float) -> Any:
    """Return pystac's reader for every scheme that sources may have."""

    class Io(pystac.stac_io.DefaultStacIO):  # type: ignore[misc]
        def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
            return _text(os.fspath(source), timeout)

    return Io()
