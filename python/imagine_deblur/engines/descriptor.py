"""What a caller needs to know about a network, kept inside the network's own file.

The exporter writes one metadata entry into the ONNX file: key ``"imagine_deblur"``, value the JSON
of `ModelDescriptor.to_json`. No side file can then disagree with the weights. A published network
without the entry is described by options (`describe`).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from imagine_deblur.engines.onnx_file import OnnxSummary, read_summary
from imagine_deblur.errors import EngineError
from imagine_deblur.restoration.wiener import WienerSpec

METADATA_KEY = "imagine_deblur"
FORMAT = "imagine-deblur-model"
VERSION = 1

CAPTURE = ("capture.r", "capture.g", "capture.b")
_PLANE = re.compile(r"capture\.[rgb]|wiener\.([0-9]{1,3})\.[rgby]|noise|quality")
_LARGEST_HALO, _LARGEST_FACTOR = 1024, 64  # px, and px: beyond any network that fits a tile
_OF_THE_FILE = ("path", "sha256", "shares")  # not written into the file


@dataclass(frozen=True)
class ModelDescriptor:
    """A network and what it expects.

    Attributes
    ----------
    name, version : str
    inputs : tuple of str
        The input planes in order: ``capture.r|g|b``, ``wiener.K.r|g|b|y`` with K an index into
        `nsr` and y the luma, ``noise``, ``quality``.
    output_bands : int
        3: the restored image in [0, 1], not clipped.
    nsr : tuple of float
        Noise-to-signal ratios of the Wiener planes; empty where the network takes none. With a
        ``noise`` plane among `inputs` they are multiples of the capture's own ratio.
    base : int
        Index into `nsr` of the restoration that the residual is added to.
    chroma : float
        Ratio of the colour differences in units of the base ratio.
    halo : int
        Context in px per side that makes tiles exact, for cores aligned to `multiple_of`; 0 for
        networks that are not local.
    multiple_of : int
        Tile rows and columns must be multiples of this.
    local : bool
        True: an output pixel depends on the pixels within `halo` only. False: blend tiles.
    input_offset : float
        Subtracted from every input sample after scaling to [0, 1].
    scales : tuple of int
        Factors by which captures may be scaled down before the network and up after it: 1 is
        native, 4 is how the published system ran.
    working_bytes : int
        Memory the network takes while it runs, bytes per pixel of its input; 0 where it was not
        measured (`imagine_deblur.engines.working_memory`).
    experts : int
        Sets of weights in the file, which are mixed once a frame (`engines.mixture`); 1: it is a
        plain network.
    precision : str
        ``"f32"``, or ``"int8"`` for a quantised network.
    psf_range : mapping of str to (float, float)
        Range of each PSF parameter seen in training, in px.
    licence : str
    training : mapping
        How it was made: data checksum, steps, figures by protocol.
    path : Path
    sha256 : str
        Of the file, lower-case hex.
    shares : tuple of float
        Of the experts, for the capture at hand; empty where there is one, or no capture yet.
    """

    name: str
    version: str = "0"
    inputs: tuple[str, ...] = CAPTURE
    output_bands: int = 3
    nsr: tuple[float, ...] = ()
    base: int = 0
    chroma: float = 1.0
    halo: int = 0
    multiple_of: int = 1
    local: bool = False
    input_offset: float = 0.0
    scales: tuple[int, ...] = (1,)
    working_bytes: int = 0
    experts: int = 1
    precision: str = "f32"
    psf_range: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    licence: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    path: Path = Path()
    sha256: str = ""
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for message in _contradictions(self):
            raise EngineError(f"model {self.name}: {message}", model=self.name)

    @property
    def base_plane(self) -> int:
        """Index into `inputs` of the red plane the residual is added to: the identity's choice."""
        wanted = f"wiener.{self.base}.r" if self.nsr else "capture.r"
        return self.inputs.index(wanted)

    @property
    def bank(self) -> WienerSpec | None:
        """The Wiener planes it takes; with a ``noise`` plane, those for a ratio of 1."""
        if not self.nsr:
            return None
        return WienerSpec(self.nsr, self.base, chroma=self.chroma, level="noise" in self.inputs)

    def to_json(self) -> str:
        """The metadata value; `path` and `sha256` belong to the file and are left out."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in _OF_THE_FILE:
            del values[name]
        values["psf_range"] = dict(self.psf_range)
        values["training"] = dict(self.training)
        return json.dumps({"format": FORMAT, "format_version": VERSION, **values}, sort_keys=True)

    def to_metadata(self) -> dict[str, str]:
        """What an exporter puts into the model's ``metadata_props``."""
        return {METADATA_KEY: self.to_json()}

    @classmethod
    def from_json(cls, text: str, *, model: str) -> ModelDescriptor:
        """Read `to_json`'s text; `model` names the file in messages.

        Raises
        ------
        EngineError
            Not such a text, of a later format version, or contradicting itself.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise EngineError(
                f"{model}: its descriptor is not JSON: {error}", model=model
            ) from None
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise EngineError(f"{model}: its descriptor is not an {FORMAT}", model=model)
        version = values.pop("format_version", None)
        if version != VERSION:
            raise EngineError(
                f"{model}: descriptor format {version}, this package reads {VERSION}; update it",
                model=model,
            )
        return cls._from_values(values, model)

    @classmethod
    def _from_values(cls, values: dict[str, Any], model: str) -> ModelDescriptor:
        known = {f.name for f in fields(cls)} - set(_OF_THE_FILE)
        unknown = sorted(set(values) - known)
        if unknown:
            raise EngineError(f"{model}: unknown descriptor fields {unknown}", model=model)
        for name in ("inputs", "nsr", "scales"):
            if isinstance(values.get(name), list):
                values[name] = tuple(values[name])
        try:
            ranges = values.get("psf_range", {})
            values["psf_range"] = {key: (float(a), float(b)) for key, (a, b) in ranges.items()}
            return cls(**values)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise EngineError(f"{model}: its descriptor is damaged: {error}", model=model) from None


def _contradictions(d: ModelDescriptor) -> list[str]:
    """What is wrong with a descriptor, in words; empty where nothing is."""
    found: list[str] = []
    sizes = (d.output_bands, d.multiple_of, d.experts, *d.scales)
    if not all(_is_int(v) and v >= 1 for v in sizes) or not _is_int(d.halo) or d.halo < 0:
        found.append("output_bands, multiple_of, experts, scales must be 1 or more, halo 0 or more")
    elif not d.scales or max(sizes) > _LARGEST_FACTOR or d.halo > _LARGEST_HALO:
        found.append(
            f"scales must have a factor, halo be at most {_LARGEST_HALO} px, and output_bands, "
            f"multiple_of, experts and scales at most {_LARGEST_FACTOR}"
        )
    elif not _is_int(d.working_bytes) or d.working_bytes < 0:
        found.append(f"working_bytes is {d.working_bytes!r}, expected 0 or more")
    elif d.local and d.halo % d.multiple_of:
        found.append(f"halo {d.halo} is not a multiple of {d.multiple_of}, so tiles are not exact")
    if not isinstance(d.local, bool):
        found.append(f"local is {d.local!r}, expected true or false")
    if not isinstance(d.input_offset, (int, float)) or not math.isfinite(d.input_offset):
        found.append(f"input_offset is {d.input_offset!r}, expected a number")
    if d.precision not in ("f32", "int8"):
        found.append(f"precision is {d.precision!r}, expected f32 or int8")
    if not all(isinstance(v, (int, float)) and 0 < v < math.inf for v in d.nsr):
        found.append(f"nsr is {d.nsr}, expected positive numbers")
    if not _is_int(d.base) or not 0 <= d.base < max(1, len(d.nsr)):
        found.append(f"base {d.base} is not an index into nsr {d.nsr}")
    if not isinstance(d.chroma, (int, float)) or not 0 < d.chroma < math.inf:
        found.append(f"chroma is {d.chroma!r}, expected a positive number")
    return found + _bad_planes(d)


def _bad_planes(d: ModelDescriptor) -> list[str]:
    if not d.inputs:
        return ["it has no input planes"]
    found = []
    for plane in d.inputs:
        match = _PLANE.fullmatch(plane) if isinstance(plane, str) else None
        if match is None:
            found.append(f"unknown input plane {plane!r}")
        elif match[1] is not None and int(match[1]) >= len(d.nsr):
            found.append(f"input plane {plane} has no ratio in nsr {d.nsr}")
    if len(set(d.inputs)) != len(d.inputs):
        found.append("an input plane is listed twice")
    return found


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def describe(model: str | os.PathLike[str], **options: Any) -> ModelDescriptor:
    """Describe a network file.

    Parameters
    ----------
    model : path
        An ONNX file, or an OpenVINO IR ``.xml`` file.
    **options
        Fields of `ModelDescriptor`. For a network without a descriptor they complete the defaults
        of published networks: three planes r, g, b in [0, 1], not local. Where the file has a
        descriptor they override it.

    Returns
    -------
    ModelDescriptor

    Raises
    ------
    EngineError
        Not a network, not one input and one output, or the planes in the file are not those
        described.
    OSError
        The file cannot be read.
    """
    path = Path(model)
    if path.suffix == ".xml":
        descriptor = ModelDescriptor(name=path.stem)
    else:
        descriptor = _from_summary(read_summary(path), path)
    unknown = sorted(set(options) - {f.name for f in fields(ModelDescriptor)})
    if unknown:
        raise EngineError(f"{path}: unknown descriptor fields {unknown}", model=str(path))
    descriptor = replace(descriptor, **options, path=path, sha256=file_sha256(path))
    if path.suffix != ".xml":
        _check_planes(read_summary(path), descriptor)
    return descriptor


def _from_summary(summary: OnnxSummary, path: Path) -> ModelDescriptor:
    text = summary.metadata.get(METADATA_KEY)
    if text is None:
        return ModelDescriptor(name=path.stem)
    return ModelDescriptor.from_json(text, model=str(path))


def _check_planes(summary: OnnxSummary, d: ModelDescriptor) -> None:
    model = str(d.path)
    if len(summary.inputs) != 1 or len(summary.outputs) != 1:
        raise EngineError(
            f"{model}: it has {len(summary.inputs)} inputs and {len(summary.outputs)} outputs, "
            "expected one of each",
            model=model,
        )
    for role, tensor, planes in (
        ("input", summary.inputs[0], len(d.inputs)),
        ("output", summary.outputs[0], d.output_bands),
    ):
        shape = tensor.shape
        # An output's shape may be left out of the file; the runtime then finds it.
        if role == "output" and not shape:
            continue
        if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != planes):
            raise EngineError(
                f"{model}: its {role} is {_shape_text(shape)}, expected 1x{planes}xROWSxCOLUMNS",
                model=model,
            )
        if not tensor.is_float32:
            raise EngineError(f"{model}: its {role} is not float32", model=model)


def _shape_text(shape: tuple[int | str, ...]) -> str:
    return "x".join(str(v) if isinstance(v, int) else "?" for v in shape) or "a scalar"


def int8_sibling(path: Path) -> Path:
    """Return where the quantised version of a network file lies: ``NAME.int8.onnx`` beside it."""
    return path.with_name(f"{path.stem}.int8.onnx")


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file in lower-case hex, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
