"""What every worker of a batch is told, and the digest that names what shapes its outputs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from imagine_deblur._version import VERSION
from imagine_deblur.archive.item import scheme_of
from imagine_deblur.archive.remote import check_scheme
from imagine_deblur.engines.model import resolve_model
from imagine_deblur.errors import OptionsError
from imagine_deblur.options import Options, PsfArgument
from imagine_deblur.psf.presets import named_psf

if TYPE_CHECKING:
    from imagine_deblur.raster.bands import BandsArgument

STATE = ".imagine-deblur"
"""Folder below the output that holds what is not finished."""

_NO_MATTER = {"overwrite", "max_ram", "max_pixels", "temp_dir", "cache_dir", "threads"}
_NO_MATTER |= {"pin", "nice", "scheduling"}

BandPsfs = Mapping[int | str, PsfArgument]


@dataclass(frozen=True)
class Settings:
    """Plain values that travel to every worker.

    Attributes
    ----------
    output : str
        An absolute folder, or a URL without a slash at its end.
    options : Options
        One thread; without a record's path.
    digest : str
        See `options_digest`.
    timeout : float
        Seconds that a remote file may stay silent.
    item_seconds : float
        Seconds that one item may take before its worker is ended.
    stac_output : str or None
        Folder of the STAC items.
    record : bytes or None
        The PSF record that the options name.
    bands : tuple of int or str, or None
        See `imagine_deblur.raster.restore_raster`.
    band_psf : tuple of (int or str, PSF argument or bytes)
        Blur of single bands of rasters; bytes are those of a record.
    version : str
        Of imagine_deblur where the batch was started; workers of another one refuse.
    """

    output: str
    options: Options
    digest: str
    timeout: float = 60.0
    item_seconds: float = 7200.0
    stac_output: str | None = None
    record: bytes | None = None
    bands: tuple[int | str, ...] | None = None
    band_psf: tuple[tuple[int | str, PsfArgument | bytes], ...] = ()
    version: str = VERSION

    @property
    def remote_output(self) -> bool:
        """Whether outputs go to an object store."""
        return bool(scheme_of(self.output))

    @property
    def staging(self) -> Path:
        """Folder of outputs that are not finished, on the file system of the output."""
        return Path(self.output) / STATE / "staging"

    def on_worker(self) -> Settings:
        """Return the settings for a worker of this machine.

        Records lie in files without a name, which end with the process.
        """
        options = self.options
        if self.record is not None:
            options = replace(options, psf=_in_memory(self.record))
        by_band = tuple(
            (band, _in_memory(psf) if isinstance(psf, bytes) else psf)
            for band, psf in self.band_psf
        )
        return replace(self, options=options, band_psf=by_band)

    def target(self, output: str) -> str:
        """Return the path or address of an item's output."""
        return f"{self.output}/{output}"


def make_settings(
    output: str | os.PathLike[str],
    options: Options,
    *,
    timeout: float = 60.0,
    item_seconds: float = 7200.0,
    stac_output: str | os.PathLike[str] | None = None,
    bands: BandsArgument = None,
    band_psf: BandPsfs | None = None,
) -> Settings:
    """Return the settings of a batch.

    A PSF record is read here, once: every worker restores with the same one, whether or not it can
    see the file, and a record that is replaced in the middle changes nothing.

    Raises
    ------
    OptionsError
        An option that makes outputs depend on how fast a machine is, or a bad number.
    PsfError, EngineError, InputImageError
        The PSF, the model or the output's scheme cannot be used.
    """
    if options.deadline is not None:
        raise OptionsError(
            "deadline", options.deadline, "nothing in a batch: with it the speed of a worker "
            "chooses the network, and two runs would differ"
        )  # fmt: skip
    for name, value in (("timeout", timeout), ("item_seconds", item_seconds)):
        if not 0.0 < value < 1e7:
            raise OptionsError(name, value, "a positive number of seconds")
    where = os.fspath(output)
    check_scheme(where)
    where = where.rstrip("/") if scheme_of(where) else os.path.abspath(where)
    record = _record_of(options.psf)
    by_band = tuple((band, _record_of(psf) or psf) for band, psf in (band_psf or {}).items())
    chosen = None if bands is None else tuple(bands)
    fixed = replace(options, threads=1, overwrite=True)
    digest = options_digest(fixed, record, chosen, by_band)
    if record is not None:
        fixed = replace(fixed, psf=None)
    stac = None if stac_output is None else os.path.abspath(stac_output)
    return Settings(
        where, fixed, digest, timeout, item_seconds, stac, record, bands=chosen, band_psf=by_band
    )


def _record_of(psf: PsfArgument) -> bytes | None:
    """The bytes of the record that names a PSF, None where no record does."""
    if psf is None or named_psf(psf).source != "record":
        return None
    return Path(psf).read_bytes()  # type: ignore[arg-type]


def _in_memory(record: bytes) -> str:
    """The path of a file without a name that holds a record."""
    descriptor = os.memfd_create("psf.json")
    os.write(descriptor, record)
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def _psf_digest(psf: PsfArgument | bytes) -> str | None:
    """What names a blur: a record's bytes, or the PSF itself."""
    if isinstance(psf, bytes):
        return hashlib.sha256(psf).hexdigest()
    return None if psf is None else named_psf(psf).psf.id


def options_digest(
    options: Options,
    record: bytes | None,
    bands: tuple[int | str, ...] | None = None,
    band_psf: tuple[tuple[int | str, PsfArgument | bytes], ...] = (),
) -> str:
    """Return twelve hexadecimal digits that name what decides an output's bytes.

    The software's version, the model's weights, the PSF and every option that is no limit.

    Parameters
    ----------
    options : Options
    record : bytes or None
        The PSF record that they name.
    bands, band_psf
        See `Settings`.
    """
    values: dict[str, object] = {"version": VERSION}
    for field in fields(options):
        if field.name not in _NO_MATTER:
            values[field.name] = getattr(options, field.name)
    values["psf"] = _psf_digest(options.psf if record is None else record)
    if bands is not None:
        values["bands"] = bands
    if band_psf:
        values["band_psf"] = [(band, _psf_digest(psf)) for band, psf in band_psf]
    if not callable(options.model):
        values["model"] = str(options.model)
        values["weights"] = resolve_model(options.model, options.precision).sha256
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
