"""Rasters on the command line: which files they are, and how one is restored."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from imagine_deblur.errors import OptionsError
from imagine_deblur.options import Options, PsfArgument

if TYPE_CHECKING:
    from imagine_deblur.raster import RasterReport

SUFFIXES = {".tif", ".tiff", ".jp2", ".j2k", ".png", ".vrt"}
"""How names of files end that GDAL reads and no JPEG decoder does."""

IN_FOLDERS = SUFFIXES - {".png"}
"""Those that are looked for in folders: a PNG there is more often a quicklook than a scene."""


_PART = re.compile(r"[A-Za-z]\w+:(?!//)")  # DRIVER:FILE:PART, GDAL's names of parts of a file


def is_raster(source: str) -> bool:
    """Whether a source is restored as a raster: by its ending, or a path of GDAL's own."""
    if source.startswith("/vsi") or Path(source).suffix.lower() in SUFFIXES:
        return True
    return bool(_PART.match(source)) and not os.path.exists(source)


def result_beside(source: str) -> Path:
    """Return where the result of a raster lies by default: PNG stays PNG, all else is COG."""
    ending = ".png" if source.lower().endswith(".png") else ".tif"
    return Path(source).with_suffix(f".restored{ending}")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that only rasters take."""
    group = parser.add_argument_group("rasters")
    group.add_argument(
        "--bands",
        metavar="R,G,B",
        help="numbers or names of the bands that are red, green and blue; 'none': every band is "
        "restored alone; default: as the raster says",
    )
    group.add_argument(
        "--band-psf",
        action="append",
        default=[],
        metavar="BAND=PSF",
        help="the blur of one band, by number or name; may be repeated; other bands have --psf",
    )


def restore(
    parsed: argparse.Namespace,
    options: Options,
    source: str,
    target: Path,
    progress: Callable[[float], object] | None,
) -> RasterReport:
    """Restore one raster with what the command line says."""
    from imagine_deblur.raster import restore_raster
    from imagine_deblur.raster.bands import with_others

    changed = options.changed()
    changed.pop("overwrite", None)
    psf = changed.pop("psf", None)
    return restore_raster(
        source,
        target,
        psf=with_others(psf, band_psfs(parsed)),
        bands=bands(parsed),
        overwrite=options.overwrite,
        driver="PNG" if target.suffix.lower() == ".png" else "COG",
        progress=progress,
        **changed,
    )


def band_psfs(parsed: argparse.Namespace) -> dict[str | int, PsfArgument]:
    """Return what ``--band-psf`` says.

    Raises
    ------
    OptionsError
        One of them is no ``BAND=PSF``.
    """
    found: dict[str | int, PsfArgument] = {}
    for pair in parsed.band_psf:
        band, equals, value = pair.partition("=")
        if not (band and equals and value):
            raise OptionsError("--band-psf", pair, "BAND=PSF, such as nir=disk:3.2")
        found[band] = value
    return found


def bands(parsed: argparse.Namespace) -> list[str] | None:
    """Return what ``--bands`` says, None where it is not given."""
    if parsed.bands is None:
        return None
    return [] if parsed.bands == "none" else [part.strip() for part in parsed.bands.split(",")]


def in_a_line(report: RasterReport) -> str:
    """Return what was done to a raster, for people."""
    done = sum(len(group.bands) for group in report.groups if group.restored)
    return (
        f"{report.output}: {done} of {report.bands} bands of {report.dtype} restored with "
        f"{report.model}, {report.columns} x {report.rows} px in {report.windows} windows, "
        f"{report.seconds['total']:.1f} s, {report.peak_bytes / 1e6:.0f} MB peak"
    )
