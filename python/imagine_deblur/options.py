"""Every option of a restoration, its default and its range, in one place."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.engines.self_ensemble import FOLDS
from imagine_deblur.errors import OptionsError
from imagine_deblur.psf.field import PsfField
from imagine_deblur.psf.models import PSF

ENGINES = ("auto", "builtin", "openvino", "onnxruntime")
PRECISIONS = ("f32", "bf16", "int8", "auto")
SUBSAMPLINGS = ("keep", "4:4:4", "4:2:2", "4:2:0")
SCHEDULINGS = ("normal", "batch", "idle")
WITHOUT_INFORMATION = ("passthrough", "error")

ModelArgument = str | os.PathLike[str] | Callable[[NDArray[np.float32]], NDArray[np.float32]]
PsfArgument = PSF | PsfField | NDArray[Any] | str | os.PathLike[str] | None

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def parse_bytes(field: str, value: int | str) -> int:
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
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmg]i?)?b?\s*", value.lower())
        if match:
            result = float(match[1]) * _UNITS[match[2] or ""]
    if 1 <= result < 2**63:
        return int(result)
    raise OptionsError(field, value, "a positive number of bytes such as 300000000 or '300MB'")


def is_finite(value: object) -> bool:
    """Whether a value is a real number that a float can hold."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond any float
        return False


@dataclass(frozen=True)
class Options:
    """How frames are restored and written.

    Attributes
    ----------
    psf : PSF, PsfField, (K, K) ndarray, path, preset name or None
        The blur. An array is a sampled kernel, a path a record (JSON) of a PSF or of a grid of
        PSFs over the field. A preset is
        ``"disk:R"`` or ``"disk:R,SIGMA"`` with lengths in px, or ``"gauss:SIGMA"``. None estimates
        it from the capture itself.
    model : str, path or callable
        ``"auto"``: the bundled network, chosen by `deadline`; ``"fast"``, ``"best"``: that one;
        ``"wiener"``: the linear stage alone; ``"identity"``: nothing, for tests; a path: an ONNX
        file; a callable: takes and returns float32 tiles of (3, rows, columns) in [0, 1]. Beside a
        network ``NAME.onnx``, ``NAME.clean.onnx`` restores clean captures (`exposure.is_clean`).
    engine : {"auto", "builtin", "openvino", "onnxruntime"}
        Who computes the network; ``"auto"`` takes the core's own engine for the bundled networks in
        f32, else OpenVINO where it is installed.
    precision : {"f32", "bf16", "int8", "auto"}
        Arithmetic of the network; ``"auto"`` is the quickest that changes no picture visibly: f32
        where the core computes the network itself, else bf16 where the CPU has it. ``"int8"`` takes
        the network's quantised sibling: bundled, or ``NAME.int8.onnx`` beside ``NAME.onnx``.
    nsr : float or None
        Noise-to-signal power ratio at Nyquist; None: as found in the capture.
    tile : int
        Longest side of the tiles an engine sees, px, halo included. The default cuts 2048 x 1536
        into cores of 512 with the bundled networks' halo.
    overlap : int
        Blend margin of models that are not local, px.
    guard : bool
        Check every block against the capture and replace what it does not support. Needs the
        blur: networks that take only the capture's planes are checked where `psf` is given.
    without_information : {"passthrough", "error"}
        What to do when the blur cannot be estimated: write the capture as it is, with a warning,
        or raise `EstimationError`.
    ensemble : {1, 4, 8}
        Average the network over so many flips and turns of its tiles, at so many times the cost;
        8 needs square tiles and is 4 where they are not.
    deadline : float or None
        Seconds a frame may take; with ``model="auto"`` the best choice of network and ensemble
        that is expected to meet it.
    quality : int
        JPEG quality of the output, 1 to 100.
    subsampling : {"keep", "4:4:4", "4:2:2", "4:2:0"}
        Of the output; ``"keep"`` takes the capture's where it is one of these, else 4:2:0.
    progressive : bool
        Write a progressive JPEG; needs memory for the whole frame's coefficients.
    overwrite : bool
        Replace an existing output.
    salvage : bool
        Restore what a damaged JPEG still holds instead of raising.
    max_ram : int or str
        Bytes the process may take, interpreter and runtime included; what a larger program
        around this package held before the session began is not counted.
    max_pixels : int
        Largest frame accepted.
    temp_dir : path or None
        Folder of the buffer pool's unlinked file; None: TMPDIR, /var/tmp or /tmp.
    threads : int or None
        Threads to compute with; None: the cores this process may really use.
    pin : bool
        Pin worker threads to cores where permitted.
    nice : int
        Niceness added to worker threads, 0 to 19.
    scheduling : {"normal", "batch", "idle"}
        Linux scheduling class of worker threads.
    cache_dir : path or None
        Where OpenVINO keeps compiled networks.
    """

    psf: PsfArgument = None
    model: ModelArgument = "auto"
    engine: str = "auto"
    precision: str = "f32"
    nsr: float | None = None
    tile: int = 544
    overlap: int = 32
    guard: bool = True
    without_information: str = "passthrough"
    ensemble: int = 1
    deadline: float | None = None
    quality: int = 95
    subsampling: str = "keep"
    progressive: bool = False
    overwrite: bool = False
    salvage: bool = False
    max_ram: int | str = "300MB"
    max_pixels: int = 268_435_456
    temp_dir: str | os.PathLike[str] | None = None
    threads: int | None = None
    pin: bool = False
    nice: int = 0
    scheduling: str = "normal"
    cache_dir: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        self._one_of("engine", ENGINES)
        self._one_of("precision", PRECISIONS)
        self._one_of("subsampling", SUBSAMPLINGS)
        self._one_of("scheduling", SCHEDULINGS)
        self._one_of("without_information", WITHOUT_INFORMATION)
        if type(self.ensemble) is not int or self.ensemble not in FOLDS:
            raise OptionsError("ensemble", self.ensemble, "1, 4 or 8")
        self._between("quality", 1, 100)
        self._between("tile", 32, 65_500)
        self._between("overlap", 0, 1024)
        self._between("nice", 0, 19)
        self._between("max_pixels", 1, 2**32)
        if self.threads is not None:
            self._between("threads", 1, 1024)
        for field in ("nsr", "deadline"):
            value = getattr(self, field)
            if value is not None and not (is_finite(value) and value > 0):
                raise OptionsError(field, value, "a positive number, or None")
        parse_bytes("max_ram", self.max_ram)

    def _one_of(self, field: str, allowed: tuple[str, ...]) -> None:
        value = getattr(self, field)
        if not isinstance(value, str) or value not in allowed:
            raise OptionsError(field, value, ", ".join(allowed))

    def _between(self, field: str, low: int, high: int) -> None:
        value = getattr(self, field)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise OptionsError(field, value, f"a whole number from {low} to {high}")

    @property
    def ram_bytes(self) -> int:
        """`max_ram` in bytes."""
        return parse_bytes("max_ram", self.max_ram)
