"""Which captures files and folders on the command line mean, and where their results go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imagine_deblur.cli.rasters import IN_FOLDERS, is_raster, result_beside
from imagine_deblur.errors import OptionsError

SUFFIXES = {".jpg", ".jpeg", ".jpe"}
_RESTORED = ".restored."  # in the name of a result that lies beside its capture


@dataclass(frozen=True)
class Job:
    """A capture and where its result goes.

    Attributes
    ----------
    source : str
    target : Path or None
        None: beside the capture, ``NAME.restored.jpg``, of a raster ``NAME.restored.tif``.
    """

    source: str
    target: Path | None

    @property
    def result(self) -> Path:
        """Where the result will lie."""
        if self.target is not None:
            return self.target
        if is_raster(self.source):
            return result_beside(self.source)
        return Path(self.source).with_suffix(".restored.jpg")


@dataclass(frozen=True)
class Found:
    """What the sources mean.

    Attributes
    ----------
    jobs : list of Job
        In order of the sources, in folders in order of their names.
    passed_over : list of (str, str)
        Files and folders in the folders that are no captures, with the reason.
    """

    jobs: list[Job] = field(default_factory=list)
    passed_over: list[tuple[str, str]] = field(default_factory=list)


def find_captures(sources: list[str], output: str | None, *, recursive: bool = False) -> Found:
    """Return the captures to restore.

    Parameters
    ----------
    sources : list of str
        Files and folders.
    output : str or None
        A file for one capture, else a folder, made where it is missing; None: beside the captures.
    recursive : bool
        Go into sub-folders; below `output` results lie in folders of the same names.

    Raises
    ------
    OptionsError
        Two captures would have the same result; standard input or output beside files.
    FileNotFoundError
        A folder holds no captures.
    """
    if "-" in sources:
        raise OptionsError("source", "-", "standard input alone, without other files")
    if output == "-":
        raise OptionsError("--output", "-", "standard output only for standard input")
    found = Found()
    named: list[tuple[str, Path]] = []  # capture, and its path below the output folder
    folders = False
    for source in sources:
        if not os.path.isdir(source):
            named.append((source, Path(Path(source).name)))
            continue
        folders = True
        inside = [
            (path, Path(path).relative_to(source))
            for path in _walk(source, output, recursive, found.passed_over)
        ]
        if not inside:
            deeper = "" if recursive else " (-r looks into sub-folders)"
            raise FileNotFoundError(f"{source}: no JPEG and no raster in this folder{deeper}")
        named += inside
    named = list(dict.fromkeys(named))
    if output is None:
        found.jobs.extend(Job(name, None) for name, _ in named)
        _refuse_twins(found.jobs, "source", "captures whose names differ before the suffix")
        return found
    target = Path(output)
    if len(sources) == 1 and not folders and not target.is_dir():
        found.jobs.append(Job(named[0][0], target))
        return found
    if target.exists() and not target.is_dir():
        raise OptionsError("--output", output, "a folder for more than one capture; this is a file")
    found.jobs.extend(Job(name, target / below) for name, below in named)
    _refuse_twins(found.jobs, "--output", "folders whose files have different names")
    for folder in {job.result.parent for job in found.jobs} | {target}:
        folder.mkdir(parents=True, exist_ok=True)
    return found


def _walk(
    folder: str, output: str | None, recursive: bool, passed_over: list[tuple[str, str]]
) -> Iterator[str]:
    """Yield the captures in a folder and name what is none; links to folders are not followed."""
    deeper: list[str] = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir():
            deeper.append(entry.path)
        elif Path(entry.name).suffix.lower() not in SUFFIXES | IN_FOLDERS:
            passed_over.append((entry.path, "neither a JPEG nor a raster by its name"))
        elif _RESTORED in entry.name:
            passed_over.append((entry.path, "a result of an earlier run by its name"))
        elif not entry.is_file():
            passed_over.append((entry.path, "not a file"))
        else:
            yield entry.path
    for path in deeper:
        if not recursive:
            passed_over.append((path, "a folder; -r looks into it"))
        elif os.path.islink(path):
            passed_over.append((path, "a link to a folder"))
        elif output is not None and os.path.isdir(output) and os.path.samefile(path, output):
            passed_over.append((path, "the output folder"))
        else:
            yield from _walk(path, output, recursive, passed_over)


def _refuse_twins(jobs: list[Job], name: str, allowed: str) -> None:
    """Refuse captures that would write the same file."""
    taken: dict[Path, str] = {}
    for job in jobs:
        other = taken.setdefault(job.result, job.source)
        if other != job.source:
            value = os.fspath(job.result)
            raise OptionsError(name, value, f"{allowed} ({other} and {job.source})")
