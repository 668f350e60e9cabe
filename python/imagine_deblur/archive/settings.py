"""What every worker of a batch is told, and the digest that names what shapes its outputs."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path

from imagine_deblur._version import VERSION
from imagine_deblur.archive.item import scheme_of
from imagine_deblur.archive.remote import check_scheme
from imagine_deblur.engines.model import resolve_model
from imagine_deblur.errors import OptionsError
from imagine_deblur.options import Options
from imagine_deblur.psf.presets import named_psf

STATE = ".imagine-deblur"
"""Folder below the output that holds what is not finished."""

_NO_MATTER = {"overwrite", "max_ram", "max_pixels", "temp_dir", "cache_dir", "threads"}
_NO_MATTER |= {"pin", "nice", "scheduling"}


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
    version: str = VERSION

    @property
    def remote_output(self) -> bool:
        """Whether outputs go to an object store."""
        return bool(scheme_of(self.output))

    @property
    def staging(self) -> Path:
        """Folder of outputs that are not finished, on the file system of the output."""
        return Path(self.output) / STATE / "staging"

    def worker_options(self) -> Options:
        """Return the options for a worker of this machine.

        The record lies in a file without a name, which ends with the process.
        """
        if self.record is None:
            return self.options
        descriptor = os.memfd_create("psf.json")
        os.write(descriptor, self.record)
        return replace(self.options, psf=f"/proc/{os.getpid()}/fd/{descriptor}")

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
    record = None
    if options.psf is not None and named_psf(options.psf).source == "record":
        record = Path(options.psf).read_bytes()  # type: ignore[arg-type]
    fixed = replace(options, threads=1, overwrite=True)
    digest = options_digest(fixed, record)
    if record is not None:
        fixed = replace(fixed, psf=None)
    stac = None if stac_output is None else os.path.abspath(stac_output)
    return Settings(where, fixed, digest, timeout, item_seconds, stac, record)


def options_digest(options: Options, record: bytes | None) -> str:
    """Return twelve hexadecimal digits that name what decides an output's bytes.

    The software's version, the model's weights, the PSF and every option that is no limit.

    Parameters
    ----------
    options : Options
    record : bytes or None
        The PSF record that they name.
    """
    values: dict[str, object] = {"version": VERSION}
    for field in fields(options):
        if field.name not in _NO_MATTER:
            values[field.name] = getattr(options, field.name)
    if record is not None:
        values["psf"] = hashlib.sha256(record).hexdigest()
    elif options.psf is not None:
        values["psf"] = named_psf(options.psf).psf.id
    if not callable(options.model):
        values["model"] = str(options.model)
        values["weights"] = resolve_model(options.model, options.precision).sha256
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
