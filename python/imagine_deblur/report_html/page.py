"""Putting a report together as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from imagine_deblur._version import VERSION
from imagine_deblur.errors import OptionsError
from imagine_deblur.report_html.frame import frame_context
from imagine_deblur.report_html.index import index_context
from imagine_deblur.report_html.run import Item, PathLike, find_items
from imagine_deblur.support.files import replacing

DEFAULT_MAX_BYTES = 12_000_000
"""Bytes of a report: below what mail servers commonly take, and a phone still opens it at once."""

_SMALLEST = 400_000
"""Bytes below which next to no picture would fit: a page without any takes about 100 kB."""

_TEXT_BYTES = 150_000  # plots, tables, style and script of one capture's page; 100 kB measured
_ROW_BYTES = 2_500  # text of an index's row; 1.6 kB measured with a warning in it

_NAME_BYTES = 200  # of 255 that a file's name may have


def write_report(
    run: PathLike,
    output: PathLike,
    *,
    captures: Sequence[PathLike] = (),
    psf: PathLike | None = None,
    each: PathLike | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    overwrite: bool = False,
) -> list[Item]:
    """Write a report of a run as one HTML file; it loads nothing from a network.

    Of one capture the file holds sliders at 1:1 and 2:1, PSF and MTF before and after, the noise
    spectrum, the map of blocks, figures and provenance. Of several it is an index to sort.

    Parameters
    ----------
    run, captures
        See `find_items`.
    output : path
    psf : path, optional
        The PSF record the run used: its covariance is drawn as the MTF's uncertainty.
    each : path, optional
        Of several captures, a folder to write the full report of each into; the index links them.
    max_bytes : int
        Of the file, 400 kB at least. Pictures are reduced until it holds them, and the page says
        by how much.
    overwrite : bool
        Replace existing reports.

    Returns
    -------
    list of Item
        What the report is about.

    Raises
    ------
    ImportError
        Jinja2 or Pillow is not installed; the message names the extra.
    OptionsError
        `max_bytes` is too small, or `output` is the run or one of its pictures.
    InputImageError, PsfError, OutputExistsError, OSError
        A file cannot be used or written.
    """
    if max_bytes < _SMALLEST:
        raise OptionsError("max_bytes", max_bytes, f"{_SMALLEST} or more")
    items = find_items(run, captures)
    target = Path(output)
    shown = (path for item in items for path in (item.capture, item.restored) if path is not None)
    if target.exists() and any(target.samefile(path) for path in (Path(run), *shown)):
        raise OptionsError("output", os.fspath(target), "a file other than what it reports on")
    record = None if psf is None else Path(psf)
    if len(items) == 1:
        _write(target, render_frame(items[0], max_bytes, record), overwrite=overwrite)
        return items
    links: dict[int, str] = {}
    if each is not None:
        folder = Path(each)
        folder.mkdir(parents=True, exist_ok=True)
        for number, item in enumerate(items):
            page = folder / f"{number:05d}-{_short(item.name)}.html"
            _write(page, render_frame(item, max_bytes, record), overwrite=overwrite)
            links[number] = quote(os.path.relpath(page, target.parent))
    limit = max(0, max_bytes - _TEXT_BYTES - _ROW_BYTES * len(items))
    context = index_context(items, limit, Path(run).resolve().name, links)
    _write(target, _render("index.html", context), overwrite=overwrite)
    return items


def render_frame(item: Item, max_bytes: int = DEFAULT_MAX_BYTES, record: Path | None = None) -> str:
    """Return the page of one capture; see `write_report`."""
    limit = max_bytes - _TEXT_BYTES
    return _render("frame.html", frame_context(item, limit, record))


@cache
def _environment() -> Any:
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError as error:
        raise ImportError(
            f"a report needs Jinja2: pip install 'imagine-deblur[report]' ({error})", name="jinja2"
        ) from error
    return Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )


def _template(name: str) -> str:
    return (files("imagine_deblur.report_html") / "templates" / name).read_text("utf-8")


def _render(template: str, context: dict[str, Any]) -> str:
    from markupsafe import Markup

    style = _template("viewer.css") + _template("style.css")
    script = _template("viewer.js") + (_template("index.js") if template == "index.html" else "")
    # Nothing but what is in this file: pictures as data, and this very style and script.
    policy = (
        "default-src 'none'; img-src data:; "
        f"style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    shared = {
        "version": VERSION,
        "policy": Markup(policy),
        "style": Markup(style),
        "script": Markup(script),
    }
    page: str = _environment().get_template(template).render({**shared, **context})
    return page


def _short(name: str) -> str:
    """A name so short that a file's name can hold more beside it."""
    return name.encode("utf-8", "backslashreplace")[:_NAME_BYTES].decode("utf-8", "ignore")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _write(path: Path, page: str, *, overwrite: bool) -> None:
    data = page.encode("utf-8", "backslashreplace")  # names of files may hold any bytes
    with replacing(path, overwrite=overwrite) as descriptor:
        at = 0
        while at < len(data):
            at += os.write(descriptor, data[at:])
