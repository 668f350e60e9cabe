"""One source of an archive and where its restoration goes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

REMOTE = ("s3", "https", "http")
"""Schemes that are read; everything without a scheme is a local path."""

JPEG = frozenset({".jpg", ".jpeg", ".jpe"})
"""Endings of the names of JPEG files; a capture stays one, other images become GeoTIFF."""

RASTERS = frozenset({".tif", ".tiff", ".jp2", ".j2k", ".png"})
"""Endings of the names of other images."""

Identity = Mapping[str, int | str]
"""What tells one version of a file from another: ``size`` in bytes with ``mtime_ns`` (local),
``etag`` or ``modified`` (remote)."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")

# What signed addresses carry: of S3 (AWS Signature 2 and 4), CloudFront, Azure and common gateways.
_SECRET = re.compile(
    r"x-amz-.*|x-goog-.*|awsaccesskeyid|signature|expires|policy|key-pair-id|token|access_token|"
    r"api_key|apikey|sig|se|st|sp|sv|sr|skoid|sktid|skt|ske|sks|skv",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Item:
    """One source.

    Attributes
    ----------
    source : str
        An absolute path, or a URL.
    output : str
        Where the restoration goes, relative to the batch's output, ``/`` between folders.
    stac : dict or None
        The STAC item that the source is an asset of, as JSON values.
    stac_href : str or None
        Where that item was read.
    """

    source: str
    output: str
    stac: dict[str, Any] | None = None
    stac_href: str | None = None

    @property
    def name(self) -> str:
        """The source as it may be written down, see `without_secrets`."""
        return without_secrets(self.source)


def is_jpeg_name(name: str) -> bool:
    """Whether a file is a JPEG by its name."""
    return name[name.rfind(".") :].lower() in JPEG


def scheme_of(source: str) -> str:
    """Return the scheme of a URL in lower case, empty for a local path.

    Examples
    --------
    >>> scheme_of("s3://bucket/a.tif"), scheme_of("/data/a.tif")
    ('s3', '')
    """
    match = _SCHEME.match(source)
    return match[1].lower() if match else ""


def path_of(source: str) -> str:
    """Return the path of a source: that of a URL is without its query, a local one is all of it.

    Examples
    --------
    >>> path_of("https://host/a.tif?id=3"), path_of("/data/a#1?.tif")
    ('/a.tif', '/data/a#1?.tif')
    """
    return urlsplit(source).path if scheme_of(source) else source


def without_secrets(source: str) -> str:
    """Return a source without password and signature.

    A signed address is good for an hour and opens the file to whoever reads it. The manifest
    keeps the part that names the file, so that the next signature names the same one.

    Examples
    --------
    >>> without_secrets("https://me:pw@host/a.tif?id=3&X-Amz-Signature=ab")
    'https://host/a.tif?id=3'
    """
    if not scheme_of(source):
        return source
    parts = urlsplit(source)
    kept = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if not _SECRET.fullmatch(name)
    ]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, urlencode(kept), ""))
