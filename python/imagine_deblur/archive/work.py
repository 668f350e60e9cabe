"""What a worker does with one item: fetch, restore, check, put into place."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from imagine_deblur._version import VERSION
from imagine_deblur.archive import remote
from imagine_deblur.archive.item import Identity, Item, is_jpeg_name, scheme_of
from imagine_deblur.archive.settings import Settings
from imagine_deblur.errors import (
    EngineError,
    ImagineDeblurError,
    InputImageError,
    MemoryBudgetError,
    OptionsError,
    OutputExistsError,
    PsfError,
)
from imagine_deblur.options import Options
from imagine_deblur.session import Session
from imagine_deblur.support.files import publish

UNCHANGED = "unchanged"

_JPEG = b"\xff\xd8\xff"
_READ = 1 << 20
_LASTING = (
    InputImageError, PsfError, EngineError, MemoryBudgetError, OptionsError, OutputExistsError,
    ImportError, FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError,
)  # fmt: skip

_kept = threading.local()


@dataclass(frozen=True)
class Task:
    """One attempt at an item.

    Attributes
    ----------
    item : Item
    replace : bool
        An output that exists is ours, or may be replaced.
    known : mapping or None
        Identity of the source when its output was made; where it is still the same, nothing is to
        be done.
    """

    item: Item
    replace: bool = False
    known: Identity | None = None


@lru_cache(maxsize=4)
def _unpacked(packed: bytes) -> Settings:
    settings = pickle.loads(packed)
    assert isinstance(settings, Settings)
    return settings.on_worker()


def restore(task: Task, packed: bytes) -> dict[str, Any]:
    """Restore one item; what goes wrong is told, not raised.

    Parameters
    ----------
    task : Task
    packed : bytes
        `Settings`, pickled once for the whole batch: a worker unpacks them once, and knows its
        warm session again.

    Returns
    -------
    dict
        Plain JSON values. ``outcome``: ``"restored"``, ``"passed through"``, ``"failed"`` or
        `UNCHANGED`; with the first two ``bytes``, ``sha256`` and ``report``; with a failure
        ``error``, ``kind`` (the exception's name), ``errno`` and ``lasting`` (another attempt will
        not succeed); always ``seconds``, and ``identity`` where it could be read.
    """
    started = time.monotonic()
    settings = _unpacked(packed)
    found: dict[str, Any] = {}
    try:
        if settings.version != VERSION:
            raise EngineError(
                f"this worker has imagine_deblur {VERSION}, the batch {settings.version}; install "
                "the same version everywhere"
            )
        with _time_limit(settings.item_seconds):
            found |= _restore(task, settings, found)
    except (ImagineDeblurError, OSError, MemoryError, ImportError) as error:
        found |= _failure(error, task.item)
    found["seconds"] = round(time.monotonic() - started, 4)
    return found


def restore_item(source: str, target: Path, settings: Settings) -> dict[str, Any]:
    """Restore a local file, a JPEG or any raster, into another; return its report as plain values.

    Parameters
    ----------
    source : str
    target : Path
    settings : Settings
        Of this worker, see `Settings.on_worker`.

    Raises
    ------
    ImagineDeblurError, OSError
        See `imagine_deblur.Session.process` and `imagine_deblur.raster.restore_raster`.
    """
    wants_jpeg = is_jpeg_name(target.name)
    if wants_jpeg and not _is_jpeg(source):
        raise InputImageError(f"{source}: a JPEG by its name, but not by its content", path=source)
    if wants_jpeg:
        return _session(settings.options).process(source, target).as_dict()
    from imagine_deblur.raster import restore_raster
    from imagine_deblur.raster.bands import with_others

    changed = settings.options.changed()
    changed["psf"] = with_others(settings.options.psf, dict(settings.band_psf))
    return restore_raster(source, target, bands=settings.bands, **changed).to_dict()


def _is_jpeg(source: str) -> bool:
    with open(source, "rb") as file:
        return file.read(len(_JPEG)) == _JPEG


def _restore(task: Task, settings: Settings, found: dict[str, Any]) -> dict[str, Any]:
    item = task.item
    found["identity"] = dict(remote.identity(item.source, settings.timeout))
    if task.known is not None and task.known == found["identity"]:
        return {"outcome": UNCHANGED}
    target = settings.target(item.output)
    folder, seconds = settings.options.temp_dir, settings.timeout
    with (
        _staged(settings, item) as staged,
        local_source(item, folder, seconds, found["identity"]) as source,
    ):
        report = restore_item(source, staged, settings)
        report |= {"source": item.name, "output": target}
        size, digest = _measure(staged)
        described = None
        if settings.stac_output is not None:
            from imagine_deblur.archive import lineage

            described = lineage.describe(item, staged, report, (size, digest), settings)
        _put(staged, target, digest, task, settings)
        if described is not None:
            lineage.save(described)
    outcome = "restored" if report["restored"] else "passed through"
    return {"outcome": outcome, "bytes": size, "sha256": digest, "report": _short(report)}


@contextmanager
def local_source(
    item: Item,
    folder: str | os.PathLike[str] | None,
    timeout: float,
    found: Identity | None = None,
) -> Iterator[str]:
    """Yield the path of a local file with the source's bytes.

    What is fetched lies in a file without a name, which vanishes with its worker however that ends.

    Parameters
    ----------
    item : Item
    folder : path, optional
        Where fetched files lie; default: the temporary folder.
    timeout : float
        See `Settings.timeout`.
    found : mapping, optional
        The source's identity, where it is known already.

    Yields
    ------
    str
        A path; of a remote source larger than the folder's disk, the name by which GDAL reads it
        piece by piece.
    """
    if not scheme_of(item.source):
        yield item.source
        return
    folder = folder or tempfile.gettempdir()
    known = found or remote.identity(item.source, timeout)
    space = os.statvfs(folder)
    if int(known.get("size", 0)) > space.f_bavail * space.f_frsize:
        yield remote.gdal_path(item.source)
        return
    with tempfile.TemporaryFile(dir=folder) as file:
        path = f"/proc/{os.getpid()}/fd/{file.fileno()}"
        remote.fetch(item.source, Path(path), timeout, known)
        yield path


@contextmanager
def _staged(settings: Settings, item: Item) -> Iterator[Path]:
    """Yield where the output is made, on the file system where it will lie."""
    name = uuid.uuid4().hex + Path(item.output).suffix
    if settings.remote_output:
        folder = settings.options.temp_dir or None
        with tempfile.TemporaryDirectory(prefix="imagine-deblur-", dir=folder) as private:
            yield Path(private) / name
        return
    settings.staging.mkdir(parents=True, exist_ok=True)
    path = settings.staging / name
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _put(staged: Path, target: str, digest: str, task: Task, settings: Settings) -> None:
    """Give a finished output its name.

    An output that is there already and is not known to be ours is kept. Where it has the very
    bytes that were just made, it is ours: a batch was ended between the output and its line in
    the manifest.
    """
    if settings.remote_output:
        if not task.replace and remote.exists(target, settings.timeout):
            raise OutputExistsError(target)
        remote.put(staged, target, settings.timeout)
        return
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        publish(staged, path, overwrite=task.replace)
    except OutputExistsError:
        if not path.is_file() or _measure(path)[1] != digest:
            raise


def _measure(path: Path) -> tuple[int, str]:
    """Return size and SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ):
            digest.update(block)
        return file.tell(), digest.hexdigest()


def _session(options: Options) -> Session:
    """Return this thread's session, kept warm from item to item."""
    session: Session | None = getattr(_kept, "session", None)
    if session is None or _kept.options is not options:
        if session is not None:
            session.close()
        session = Session(options)
        _kept.session, _kept.options = session, options
    return session


def _failure(error: BaseException, item: Item) -> dict[str, Any]:
    told = str(error)
    if isinstance(error, OSError) and error.strerror:  # without its number and with one name
        told = error.strerror.removeprefix(f"{error.filename}: ")
        told = f"{error.filename}: {told}" if isinstance(error.filename, str) else told
    text = re.sub(r"/proc/\d+/fd/\d+", lambda _: item.name, told)
    return {
        "outcome": "failed",
        "error": text or type(error).__name__,
        "kind": type(error).__name__,
        "errno": getattr(error, "errno", None),
        "lasting": isinstance(error, _LASTING),
    }


_REPORTED = (
    "rows", "columns", "bands", "dtype", "driver", "restored", "model", "engine", "precision",
    "psf", "psf_source", "psf_confidence", "nsr", "replaced_blocks", "peak_bytes", "warnings",
    "version",
)  # fmt: skip


def _short(report: dict[str, Any]) -> dict[str, Any]:
    """Return what the manifest keeps of a report, under 1 kB: a year has millions of lines."""
    short = {name: report[name] for name in _REPORTED if name in report}
    return short | {"seconds": {"total": round(report["seconds"]["total"], 4)}}


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """End this process when the block takes longer: a stuck decoder cannot be stopped otherwise."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
