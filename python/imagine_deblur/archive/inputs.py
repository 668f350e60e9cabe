"""From what a user names to items: paths, folders, patterns, lists, STAC, local and remote."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from imagine_deblur.archive import stac_inputs
from imagine_deblur.archive.item import JPEG, RASTERS, Item, path_of, scheme_of, without_secrets
from imagine_deblur.archive.remote import check_scheme, filesystem, typed
from imagine_deblur.errors import InputImageError, OptionsError

_SUFFIXES = JPEG | RASTERS
_PATTERN = re.compile(r"[*?\[]")


@dataclass
class Found:
    """What inputs mean.

    Attributes
    ----------
    items : list of Item
        In the order of the inputs, within folders by name.
    passed_over : list of (str, str)
        Files that are no images, with the reason.
    broken : list of (str, str)
        Documents that STAC links lead to and that cannot be read, with the reason.
    more : list of str
        Search results that are pages of a longer answer, of which the others are not here.
    """

    items: list[Item] = field(default_factory=list)
    passed_over: list[tuple[str, str]] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    more: list[str] = field(default_factory=list)


def find_items(
    inputs: Sequence[str],
    *,
    lists: Sequence[str] = (),
    recursive: bool = False,
    assets: Sequence[str] = (),
    output: str | None = None,
    timeout: float = 60.0,
) -> Found:
    """Return the items that inputs mean.

    Parameters
    ----------
    inputs : sequence of str
        Files, folders, patterns with ``*``, ``?``, ``[..]`` and ``**``, ``@LIST`` for a text file
        with one input a line, STAC items, collections, catalogs and search results (JSON); local
        paths, ``s3://`` and ``https://``. Folders of object stores end in ``/``.
    lists : sequence of str
        Text files with one input a line.
    recursive : bool
        Go into sub-folders.
    assets : sequence of str
        Names of the assets of STAC items to restore; default: images whose role is "data".
    output : str, optional
        A folder below the inputs that is not looked into.
    timeout : float
        Seconds that a remote listing may stay silent.

    Raises
    ------
    InputImageError
        An input means nothing; the message says what was looked for.
    OptionsError
        Two sources would have the same output.
    OSError
    """
    found = Found()
    walker = _Walker(found, recursive, tuple(assets), output, timeout)
    for name in inputs:
        walker.add(name)
    for name in lists:
        walker.add_list(name)
    if not found.items:
        why = (*found.broken, *found.passed_over)[:3]
        passed = "; ".join(f"{path}: {reason}" for path, reason in why)
        raise InputImageError(f"no images in {', '.join(inputs) or lists[0]}: {passed or 'empty'}")
    sources: dict[str, Item] = {}
    outputs: dict[str, str] = {}
    for item in found.items:
        sources.setdefault(item.source, item)
    for item in sources.values():
        other = outputs.setdefault(item.output, item.name)
        if other != item.name:
            cure = "restore them into two outputs"
            if PurePosixPath(other).parent != PurePosixPath(item.name).parent:
                cure = f"name their common folder with -r, or {cure}"
            raise OptionsError(
                "output", item.output, f"one source each; {other} and {item.name} would both have "
                f"it: {cure}"
            )  # fmt: skip
    found.items = list(sources.values())
    return found


def output_name(path: str) -> str:
    """Return the name of an output: JPEG stays JPEG, everything else becomes a GeoTIFF.

    Examples
    --------
    >>> output_name("a/scene.jp2"), output_name("a/capture.JPG")
    ('a/scene.tif', 'a/capture.JPG')
    """
    pure = PurePosixPath(path)
    if pure.suffix.lower() in JPEG | {".tif", ".tiff"}:
        return str(pure)
    return str(pure.with_suffix(".tif")) if pure.suffix.lower() in _SUFFIXES else f"{pure}.tif"


class _Walker:
    """Adds what inputs mean to a `Found`."""

    def __init__(
        self,
        found: Found,
        recursive: bool,
        assets: tuple[str, ...],
        output: str | None,
        timeout: float,
    ) -> None:
        self._found, self._recursive, self._assets = found, recursive, assets
        self._output, self._timeout = output, timeout

    def add(self, name: str) -> None:
        """Add what one input means."""
        check_scheme(name)
        if scheme_of(name):
            self._add_remote(name)
        elif os.path.isdir(name):
            self._add_folder(name)
        elif os.path.exists(name):
            self._add_file(name)
        elif name.startswith("@"):
            self.add_list(name[1:])
        elif _PATTERN.search(name):
            self._add_pattern(name)
        else:
            raise FileNotFoundError(2, os.strerror(2), name)

    def add_list(self, path: str) -> None:
        """Add the inputs of a text file: one a line, empty ones and those after # are left out."""
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                name = line.strip()
                if not name or name.startswith("#"):
                    continue
                try:
                    self.add(name)
                except (OSError, InputImageError) as error:
                    told = getattr(error, "strerror", None)
                    words = f"{name}: {told}" if told else error
                    raise InputImageError(f"{path}, line {number}: {words}", path=path) from error

    def _add_file(self, name: str) -> None:
        if name.lower().endswith((".json", ".geojson")):
            self._add_stac(name)
            return
        path = os.path.abspath(name)
        self._found.items.append(Item(path, output_name(os.path.basename(path))))

    def _add_folder(self, name: str) -> None:
        count = len(self._found.items)
        root = os.path.abspath(name)
        for path in self._walk(root):
            below = Path(path).relative_to(root).as_posix()
            self._found.items.append(Item(path, output_name(below)))
        if len(self._found.items) == count:
            deeper = "" if self._recursive else " (-r looks into sub-folders)"
            raise InputImageError(f"{name}: no images in this folder{deeper}", path=name)

    def _walk(self, folder: str) -> Iterator[str]:
        deeper: list[str] = []
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                deeper.append(entry.path)
            elif Path(entry.name).suffix.lower() in _SUFFIXES and entry.is_file():
                yield entry.path
            else:
                self._found.passed_over.append((entry.path, "not an image by its name"))
        for path in deeper:
            if self._output is not None and os.path.abspath(self._output) == path:
                continue
            if not self._recursive:
                self._found.passed_over.append((path, "a folder; -r looks into it"))
            elif os.path.islink(path):
                self._found.passed_over.append((path, "a link to a folder"))
            else:
                yield from self._walk(path)

    def _add_pattern(self, pattern: str) -> None:
        paths = sorted(glob.glob(pattern, recursive=True))
        if not paths:
            raise InputImageError(f"{pattern}: no file matches this pattern", path=pattern)
        self._add_matches(pattern, [os.path.abspath(p) for p in paths if os.path.isfile(p)])

    def _add_matches(self, pattern: str, paths: list[str]) -> None:
        """Add what a pattern matched; outputs keep the folders below its first wildcard."""
        fixed = pattern[: _PATTERN.search(pattern).start()]  # type: ignore[union-attr]
        root = fixed.rpartition("/")[0]
        if not scheme_of(pattern):
            root = os.path.abspath(root or ".")
        for path in paths:
            if pattern.endswith((".json", ".geojson")):
                self._add_stac(path)
                continue
            if PurePosixPath(path_of(path)).suffix.lower() not in _SUFFIXES:
                self._found.passed_over.append((path, "not an image by its name"))
                continue
            below = path.removeprefix(root).lstrip("/")
            self._found.items.append(Item(path, output_name(below)))

    def _add_remote(self, url: str) -> None:
        path = urlsplit(url).path
        if path.lower().endswith((".json", ".geojson")):
            self._add_stac(url)
        elif scheme_of(url) == "s3" and (_PATTERN.search(url) or url.endswith("/")):
            self._add_listing(url)
        elif url.endswith("/"):
            raise InputImageError(
                f"{without_secrets(url)}: a folder of a web server cannot be listed; name files, "
                "a list of them (@LIST) or a STAC catalog",
                path=url,
            )
        else:
            self._found.items.append(Item(url, output_name(PurePosixPath(path).name)))

    def _add_listing(self, url: str) -> None:
        pattern = url
        if url.endswith("/"):
            pattern = f"{url}**" if self._recursive else f"{url}*"
        files = filesystem(url, self._timeout)
        try:
            matches = sorted(f"s3://{path}" for path in files.glob(pattern))
        except Exception as error:
            raise typed(url, error) from error
        if not matches:
            raise InputImageError(f"{url}: nothing there matches", path=url)
        self._add_matches(pattern, matches)

    def _add_stac(self, href: str) -> None:
        for entry in stac_inputs.read(href, self._assets, self._timeout):
            if isinstance(entry, Item):
                output = output_name(entry.output)
                self._found.items.append(Item(entry.source, output, entry.stac, entry.stac_href))
            elif isinstance(entry, stac_inputs.Broken):
                self._found.broken.append((entry.href, entry.reason))
            elif isinstance(entry, stac_inputs.More):
                self._found.more.append(entry.href)
            else:
                self._found.passed_over.append(entry)
