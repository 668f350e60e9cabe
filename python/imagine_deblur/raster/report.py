"""What restoring a raster did."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.report import run_lengths

SCHEMA = "imagine_deblur/raster-report/1"
"""Name and version of a raster's report in JSON; `raster/report.schema.json` describes it."""


@dataclass(frozen=True)
class BandReport:
    """What became of the bands that were restored together: a colour picture, or one band.

    Attributes
    ----------
    bands : tuple of int
        Their numbers, from 1.
    names : tuple of str
        Their descriptions, or ``"band N"``.
    role : {"colour", "grey", "other"}
        "other" is what is not an image: alpha.
    restored : bool
        False when the bands were copied as they are; `reason` says why.
    reason : str
    psf : dict or None
        As JSON values, with ``id``.
    psf_source : str
        ``"estimated"``, ``"given"``, ``"record"``, ``"preset"`` or ``"none"``.
    psf_confidence : float or None
        Of an estimate, in [0, 1].
    nsr : tuple of float
        The Wiener bank's noise-to-signal ratios at Nyquist.
    model : str
        The network that was used, or ``"wiener"``.
    offset, gain : float
        The scale: ``value = offset + gain * sample`` with samples in [0, 1]. The gain is negative
        where the lowest value is white.
    margin : int
        Context each window was read with, px.
    replaced_blocks : int
        Blocks that the reblur check replaced.
    """

    bands: tuple[int, ...]
    names: tuple[str, ...]
    role: str
    restored: bool = False
    reason: str = ""
    psf: dict[str, Any] | None = None
    psf_source: str = "none"
    psf_confidence: float | None = None
    nsr: tuple[float, ...] = ()
    model: str = ""
    offset: float = 0.0
    gain: float = 1.0
    margin: int = 0
    replaced_blocks: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}


@dataclass(frozen=True)
class RasterReport:
    """Typed account of one raster; `to_dict` gives plain JSON values.

    Attributes
    ----------
    source, output : str
    driver : str
        GDAL's name of the output's format.
    rows, columns, bands : int
    dtype : str
    groups : tuple of BandReport
        Every band once.
    invalid_pixels : int
        Pixels of no data in the first group that was looked at, all kept as they were.
    windows : int
        How many the scene was cut into.
    window : (int, int)
        Rows and columns read at a time, margins included.
    engine, precision : str
        Who computed, and its arithmetic; empty where nothing was restored.
    model, model_sha256 : str, str or None
    threads : int
    seconds : dict of str to float
        Per phase: analyse, restore, write, and total.
    source_bytes, output_bytes : int
        Sizes of the files; the source's is 0 where it is not a local file.
    peak_bytes : int
        Peak resident memory of the process so far (VmHWM).
    sha256 : str
        Of the output file.
    warnings : tuple of str
    version : str
        Of imagine_deblur.
    block_map : (n, m) uint8 ndarray or None
        Of the first restored group: see `imagine_deblur.Report.block_map`.
    """

    source: str
    output: str
    driver: str
    rows: int
    columns: int
    bands: int
    dtype: str
    groups: tuple[BandReport, ...]
    invalid_pixels: int
    windows: int
    window: tuple[int, int]
    engine: str
    precision: str
    model: str
    model_sha256: str | None
    threads: int
    seconds: dict[str, float]
    source_bytes: int
    output_bytes: int
    peak_bytes: int
    sha256: str
    warnings: tuple[str, ...] = ()
    version: str = ""
    block_map: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)

    @property
    def restored(self) -> bool:
        """Whether any band was."""
        return any(group.restored for group in self.groups)

    @property
    def psf_records(self) -> dict[str, dict[str, Any]]:
        """The PSF of every restored band by its name, as JSON values with ``id``."""
        return {
            name: group.psf
            for group in self.groups
            if group.psf is not None
            for name in group.names
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`, of the form `SCHEMA`.

        The first restored group's ``psf``, ``psf_source``, ``psf_confidence`` and ``nsr`` stand at
        the top too, as in a capture's report.
        """
        plain: dict[str, Any] = {"schema": SCHEMA}
        plain |= {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        plain["groups"] = [group.to_dict() for group in self.groups]
        plain["blocks"] = run_lengths(plain.pop("block_map"))
        first = next((g for g in self.groups if g.restored), self.groups[0])
        shown = first.to_dict()
        for name in ("psf", "psf_source", "psf_confidence", "nsr"):
            plain[name] = shown[name]
        return plain | {
            "restored": self.restored,
            "passed_through": None if self.restored else first.reason,
            "replaced_blocks": sum(group.replaced_blocks for group in self.groups),
        }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
