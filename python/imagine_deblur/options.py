# ruff: noqa: RUF009 (`_option` is a dataclass field by another name)
"""Every option once: its default, its range, its help.

The command line (`cli.options`), the keywords of `process`, `restore` and `Session`, and the
reference in the documentation come from the fields of `Options`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.errors import OptionsError
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF

ENGINES = ("auto", "winograd", "openvino", "onnxruntime")
PRECISIONS = ("f32", "bf16", "int8", "auto")
SUBSAMPLINGS = ("keep", "4:4:4", "4:2:2", "4:2:0")
SCHEDULINGS = ("normal", "batch", "idle")
WITHOUT_INFORMATION = ("passthrough", "error")
FOLDS = (1, 4, 8)
"""How many flips and turns a self-ensemble may average."""

ModelArgument = str | os.PathLike[str] | Callable[[NDArray[np.float32]], NDArray[np.float32]]
PsfArgument = PSF | PsfField | NDArray[Any] | str | os.PathLike[str] | None
PathArgument = str | os.PathLike[str] | None

_UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}

LEAST_RAM = 10_000
"""Smallest `Options.max_ram`. The interpreter alone takes thousands of times as much: a number like
300 was meant to have a unit."""


def parse_bytes(name: str, value: int | str) -> int:
    """Return a number of bytes given as a number or as text such as ``"300MB"`` or ``"1.5GiB"``.

    Raises
    ------
    OptionsError
        Not a number of bytes, or not positive.

    Examples
    --------
    >>> parse_bytes("max_ram", "300MB")
    300000000
    """
    result: float = 0
    if isinstance(value, int) and not isinstance(value, bool):
        result = value
    elif isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]i?)?b?\s*", value.lower())
        if match:
            result = float(match[1]) * _UNITS[match[2] or ""]
    if 1 <= result < 2**63:
        return int(result)
    raise OptionsError(name, value, "a positive number of bytes such as 300000000 or '300MB'")


def is_finite(value: object) -> bool:
    """Whether a value is a real number that a float can hold."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond any float
        return False


def _option(
    default: Any,
    text: str,
    group: str,
    *,
    choices: tuple[Any, ...] | None = None,
    between: tuple[int, int] | None = None,
    metavar: str | None = None,
    kind: Callable[[str], Any] = str,
) -> Any:
    """Return a field of `Options`; `kind` reads its value from the command line."""
    about = {"help": text, "group": group, "choices": choices, "between": between}
    return field(default=default, metadata={**about, "metavar": metavar, "kind": kind})


def whole_number_or_auto(text: str) -> int | str:
    """Return what a text means."""
    return text if text == "auto" else int(text)


_BLUR, _OUTPUT, _LIMITS = "blur and model", "output", "limits"


@dataclass(frozen=True)
class Options:
    """How frames are restored and written."""

    psf: PsfArgument = _option(
        None,
        "the blur: a record of a PSF or of a grid of PSFs over the field (JSON), a preset "
        "'disk:R', 'disk:R,SIGMA' or 'gauss:SIGMA' in px, in Python also a PSF or a sampled "
        "(K, K) kernel; default: estimated from the capture",
        _BLUR,
        metavar="PSF",
    )
    model: ModelArgument = _option(
        "auto",
        "'auto': the bundled network, chosen by the deadline; 'fast', 'best': that one; 'wiener': "
        "the linear stage alone; 'identity': nothing, for tests; an ONNX file; in Python also a "
        "callable that takes and returns float32 tiles of (3, rows, columns) in [0, 1]",
        _BLUR,
        metavar="MODEL",
    )
    engine: str = _option(
        "auto",
        "who computes the network; 'auto': the core's Winograd engine for the bundled networks in "
        "f32, else OpenVINO where it is installed, else ONNX Runtime",
        _BLUR,
        choices=ENGINES,
    )
    precision: str = _option(
        "f32",
        "arithmetic of the network; 'auto': the quickest that changes no picture visibly; 'int8': "
        "the network's quantised sibling NAME.int8.onnx",
        _BLUR,
        choices=PRECISIONS,
    )
    nsr: float | None = _option(
        None,
        "noise-to-signal power ratio at Nyquist's frequency; default: as found in the capture",
        _BLUR,
        metavar="RATIO",
        kind=float,
    )
    reblur_check: bool = _option(
        True,
        "blur the result again, compare it with the capture block by block, and replace what the "
        "capture does not support; lift dark rims round bright things; pass the capture through "
        "where most of it is replaced, where no scene is like what undoing the blur would give, or "
        "where the capture shows another blur",
        _BLUR,
    )
    error_map: bool = _option(
        False,
        "put into the report, for each block of 32 px, the error to expect for what is not known "
        "of the blur",
        _BLUR,
    )
    without_information: str = _option(
        "passthrough",
        "when the blur cannot be estimated, or what comes out cannot be believed: write the "
        "capture as it is with a warning, or fail",
        _BLUR,
        choices=WITHOUT_INFORMATION,
    )
    self_ensemble: int = _option(
        1,
        "average the network over so many flips and turns of its tiles, at so many times the "
        "cost; 8 needs square tiles and is 4 where they are not",
        _BLUR,
        choices=FOLDS,
        kind=int,
    )
    deadline: float | None = _option(
        None,
        "seconds a frame may take; with the model 'auto' the best network that should meet it",
        _BLUR,
        metavar="SECONDS",
        kind=float,
    )
    quality: int | Literal["auto"] = _option(
        95,
        "JPEG quality of the output, 1 to 100; 'auto': the capture's own tables, as much finer as "
        "the coder needs to leave the gain alone",
        _OUTPUT,
        metavar="N",
        kind=whole_number_or_auto,
    )
    max_bytes: int | str | None = _option(
        None,
        "largest output file; its quality is lowered as far as that takes, and reported",
        _OUTPUT,
        metavar="BYTES",
    )
    subsampling: str = _option(
        "keep",
        "chroma subsampling of the output; 'keep': the capture's where it is one of these",
        _OUTPUT,
        choices=SUBSAMPLINGS,
    )
    progressive: bool = _option(
        False,
        "write a progressive JPEG; needs memory for the whole frame's coefficients",
        _OUTPUT,
    )
    overwrite: bool = _option(False, "replace an existing output", _OUTPUT)
    salvage: bool = _option(
        False, "restore what a damaged JPEG still holds instead of failing", _OUTPUT
    )
    max_ram: int | str = _option(
        "300MB",
        "bytes the process may take, interpreter and runtime included; what a larger program "
        "around this package held before is not counted",
        _LIMITS,
        metavar="BYTES",
    )
    max_pixels: int = _option(
        268_435_456,
        "largest frame accepted, px",
        _LIMITS,
        between=(1, 2**32),
        metavar="N",
        kind=int,
    )
    temp_dir: PathArgument = _option(
        None,
        "folder of the buffer pool's unlinked file; default: TMPDIR, /var/tmp or /tmp",
        _LIMITS,
        metavar="DIR",
    )
    cache_dir: PathArgument = _option(
        None, "where OpenVINO keeps compiled networks; default: nowhere", _LIMITS, metavar="DIR"
    )
    threads: int | None = _option(
        None,
        "threads to compute with; default: the cores this process may really use",
        _LIMITS,
        between=(1, 1024),
        metavar="N",
        kind=int,
    )
    pin: bool = _option(False, "pin worker threads to cores where permitted", _LIMITS)
    nice: int = _option(
        0, "niceness added to worker threads", _LIMITS, between=(0, 19), metavar="N", kind=int
    )
    scheduling: str = _option(
        "normal", "Linux scheduling class of worker threads", _LIMITS, choices=SCHEDULINGS
    )
    tile: int = _option(
        544,
        "longest side of the tiles an engine sees, px, halo included; the default cuts "
        "2048 x 1536 into cores of up to 512 px with the bundled networks' halo",
        _LIMITS,
        between=(32, 65_500),
        metavar="PX",
        kind=int,
    )
    overlap: int = _option(
        32,
        "blend margin of models that are not local, px",
        _LIMITS,
        between=(0, 1024),
        metavar="PX",
        kind=int,
    )

    def __post_init__(self) -> None:
        for about in fields(self):
            value, choices = getattr(self, about.name), about.metadata["choices"]
            between = about.metadata["between"]
            if choices is not None and (
                type(value) is not type(about.default) or value not in choices
            ):
                raise OptionsError(about.name, value, ", ".join(map(str, choices)))
            if between is not None and not (value is None and about.default is None):
                _check_between(about.name, value, *between)
        for name in ("nsr", "deadline"):
            value = getattr(self, name)
            if value is not None and not (is_finite(value) and value > 0):
                raise OptionsError(name, value, "a positive number, or None")
        if self.ram_bytes < LEAST_RAM:
            raise OptionsError(
                "max_ram",
                self.max_ram,
                "at least 10kB; a number without a unit is bytes, so 300 megabytes are '300MB'",
            )
        if self.max_bytes is not None:
            parse_bytes("max_bytes", self.max_bytes)
        if not (isinstance(self.quality, str) and self.quality == "auto"):
            _check_between("quality", self.quality, 1, 100)

    def changed(self) -> dict[str, Any]:
        """Return the options that have another value than by default."""
        found = {about.name: getattr(self, about.name) for about in fields(self)}
        defaults = {about.name: about.default for about in fields(self)}
        return {
            name: value
            for name, value in found.items()
            if isinstance(value, np.ndarray) or value != defaults[name]
        }

    @property
    def ram_bytes(self) -> int:
        """`max_ram` in bytes."""
        return parse_bytes("max_ram", self.max_ram)


def _check_between(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise OptionsError(name, value, f"a whole number from {low} to {high}")


class OptionChanges(TypedDict, total=False):
    """The fields of `Options` as keywords, for type checkers.

    A test compares names and types with those of `Options`.
    """

    psf: PsfArgument
    model: ModelArgument
    engine: str
    precision: str
    nsr: float | None
    reblur_check: bool
    error_map: bool
    without_information: str
    self_ensemble: int
    deadline: float | None
    quality: int | Literal["auto"]
    max_bytes: int | str | None
    subsampling: str
    progressive: bool
    overwrite: bool
    salvage: bool
    max_ram: int | str
    max_pixels: int
    temp_dir: PathArgument
    cache_dir: PathArgument
    threads: int | None
    pin: bool
    nice: int
    scheduling: str
    tile: int
    overlap: int
