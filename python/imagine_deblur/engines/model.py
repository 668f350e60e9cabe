"""Which model restores, and what it asks of the pipeline."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture.ring_gain import TRAITS, RingGains, rounded_nsr
from imagine_deblur.engines.descriptor import (
    ModelDescriptor,
    describe,
    int8_sibling,
)
from imagine_deblur.engines.mixture import shares_for
from imagine_deblur.engines.onnx_file import read_summary
from imagine_deblur.errors import EngineError
from imagine_deblur.restoration.wiener import WienerSpec

if TYPE_CHECKING:
    from imagine_deblur import _core
    from imagine_deblur.options import ModelArgument, Options

BUNDLED = ("fast", "best")
"""Networks inside the package, from the quickest to the best."""

DEFAULT_NSR = 2e-2
"""Noise-to-signal ratio of the linear model where the capture's noise is not known."""

# Memory a network takes while it runs, bytes per tile pixel, where its file does not say. Measured
# on plain networks behind a space-to-depth of 2: width 48 takes 115, width 64 takes 145, on both
# runtimes.
_WORKING_BYTES = 200


@dataclass(frozen=True)
class Model:
    """A model resolved from `Options.model`.

    Attributes
    ----------
    name : str
    descriptor : ModelDescriptor or None
        Of a network file.
    function : callable or None
        Of a Python callable.
    linear : bool
        The model is the base Wiener plane (``"wiener"``).
    """

    name: str
    descriptor: ModelDescriptor | None = None
    function: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None
    linear: bool = False

    def for_capture(self, gains: RingGains | None) -> Model:
        """Return the model as it adapts to a capture: its experts mixed for what is known of it."""
        descriptor = self.descriptor
        if descriptor is None or descriptor.experts == 1:
            return self
        traits = np.zeros(TRAITS, np.float32) if gains is None else gains.traits
        shares = shares_for(descriptor, traits)
        return replace(self, descriptor=replace(descriptor, shares=shares))

    @property
    def is_network(self) -> bool:
        """Whether something may have been invented."""
        return self.descriptor is not None or self.function is not None

    @property
    def adapts(self) -> bool:
        """Whether its planes are made for the capture's own noise, so that gains are learned."""
        bank = None if self.descriptor is None else self.descriptor.bank
        return self.linear or (bank is not None and bank.level)

    @property
    def needs_psf(self) -> bool:
        """Whether the linear stage runs."""
        return self.linear or (self.descriptor is not None and bool(self.descriptor.nsr))

    @property
    def psf_range(self) -> Mapping[str, tuple[float, float]] | None:
        """The PSFs a network was trained for, see `ModelDescriptor.psf_range`; None without one."""
        return None if self.descriptor is None else self.descriptor.psf_range

    @property
    def _takes_capture_only(self) -> bool:
        return self.is_network and not self.needs_psf

    @property
    def sha256(self) -> str | None:
        """Hash of the network file."""
        return None if self.descriptor is None else self.descriptor.sha256

    @property
    def local(self) -> bool:
        """Whether tiles with a halo are exact; otherwise they are blended."""
        if self.descriptor is not None:
            return self.descriptor.local
        return self.function is None

    @property
    def halo(self) -> int:
        """Context per side, px."""
        return 0 if self.descriptor is None else self.descriptor.halo

    @property
    def multiple_of(self) -> int:
        """What tile sides must be multiples of."""
        return 1 if self.descriptor is None else self.descriptor.multiple_of * self.scale

    @property
    def scale(self) -> int:
        """Factor by which tiles are reduced before the network and enlarged after it."""
        return 1 if self.descriptor is None else self.descriptor.scales[0]

    @property
    def fixed_side(self) -> int | None:
        """The only tile side a network that is not local takes, where its file fixes one."""
        if self.descriptor is None or self.local or self.descriptor.path.suffix == ".xml":
            return None
        rows, columns = read_summary(self.descriptor.path).inputs[0].shape[2:]
        if not isinstance(rows, int) or rows != columns:
            return None
        return rows * self.scale

    def output_bands(self, bands: int) -> int:
        """Return how many bands come back of a frame of `bands`; a grey one takes their mean."""
        if self.descriptor is not None:
            return self.descriptor.output_bands
        return bands if self.function is None else 3

    def tile_side(self, longest: int) -> int:
        """Return the longest tile side up to `longest` that the model takes."""
        if (fixed := self.fixed_side) is not None:
            return fixed
        side = longest - longest % self.multiple_of
        least = 2 * self.halo + self.multiple_of
        return max(side, least + (-least) % self.multiple_of)

    def working_bytes(self, rows: int, columns: int) -> int:
        """Return about how much memory the engine needs for a tile, beside its weights."""
        if not self.is_network:
            return 0
        known = 0 if self.descriptor is None else self.descriptor.working_bytes
        return rows * columns * (known or _WORKING_BYTES) // self.scale**2

    def wiener_spec(self, level: float | None, *, checked: bool) -> WienerSpec | None:
        """Return the planes the linear stage makes, None where it does not run.

        Parameters
        ----------
        level : float or None
            The ratio that suits the capture best. A network with a ``noise`` plane takes a bank
            whose ratios are multiples of it (`ring_gain.rounded_nsr`); another keeps those of its
            training.
        checked : bool
            The reblur check needs a base plane to fall back to, also for a network that takes none.
        """
        if self.linear or (self._takes_capture_only and checked):
            return WienerSpec((level or DEFAULT_NSR,), 0)
        bank = None if self.descriptor is None else self.descriptor.bank
        return bank.scaled(rounded_nsr(level)) if bank is not None and bank.level else bank

    def input_indices(self, bands: int, spec: WienerSpec | None) -> list[int]:
        """Return the plane each engine input reads: the capture's bands, then the bank's planes.

        Parameters
        ----------
        bands : int
            Of the frame; a grey frame's only plane stands for every colour.
        spec : WienerSpec or None

        Raises
        ------
        EngineError
            The network asks for a plane the pipeline does not make.
        """
        capture = {f"capture.{colour}": k if bands == 3 else 0 for k, colour in enumerate("rgb")}
        if self.linear:
            return [bands + band for band in range(bands)]
        if self.descriptor is None:
            return list(range(bands)) if self.function is None else list(capture.values())
        planes = dict(capture)
        if spec is not None:
            others = [n for n in spec.plane_names if n.endswith(".y") or n == "noise"]
            for k, colour in enumerate("rgb"):
                planes[f"wiener.{spec.base}.{colour}"] = bands + (k if bands == 3 else 0)
            planes |= {name: 2 * bands + k for k, name in enumerate(others)}
        missing = [name for name in self.descriptor.inputs if name not in planes]
        if missing:
            raise EngineError(
                f"model {self.name} asks for the planes {', '.join(missing)}, which the linear "
                "stage does not make",
                model=self.name,
            )
        return [planes[name] for name in self.descriptor.inputs]


IDENTITY = Model("identity")
WIENER = Model("wiener", linear=True)


def bundled_models() -> dict[str, Path]:
    """Return the networks inside the package by name."""
    folder = Path(__file__).parents[1] / "models"
    return {name: path for name in BUNDLED if (path := folder / f"{name}.onnx").exists()}


def resolve_model(argument: ModelArgument, precision: str = "f32") -> Model:
    """Return the model an option names.

    Parameters
    ----------
    argument : str, path or callable
        `Options.model`.
    precision : str
        `Options.precision`; ``"int8"`` takes a network's quantised sibling.

    Raises
    ------
    EngineError
        Neither a name nor a file, a bundled name this installation lacks, a file that is not a
        usable network, or int8 of a network that has no such sibling.
    OSError
        The file cannot be read.
    """
    if callable(argument):
        return Model(getattr(argument, "__qualname__", "callable"), function=argument)
    name = os.fspath(argument)
    bundled = bundled_models()
    if name == "auto":
        name = next(iter(bundled), "wiener")
    if name in (IDENTITY.name, WIENER.name):
        return IDENTITY if name == IDENTITY.name else WIENER
    if name in bundled:
        return _network(name, bundled[name], precision)
    if name in BUNDLED:
        raise EngineError(
            f"model {name!r} is not in this installation; it has: "
            f"{', '.join([*bundled, 'wiener', 'identity'])}",
            model=name,
        )
    if not Path(name).is_file():
        raise EngineError(
            f"model {name!r} is neither a file nor one of "
            f"{', '.join(['auto', *bundled, WIENER.name, IDENTITY.name])}: give one of these, or "
            "the path of an ONNX file",
            model=name,
        )
    return _network(Path(name).stem, Path(name), precision)


def _network(name: str, path: Path, precision: str) -> Model:
    return Model(name, descriptor=_described(path, precision))


def _described(path: Path, precision: str) -> ModelDescriptor:
    found = describe(path)
    if precision != "int8" or found.precision == "int8":
        return found
    if not int8_sibling(path).exists():
        raise EngineError(
            f"{path} has no int8 version {int8_sibling(path).name} beside it; make one with "
            "`imagine-deblur quantise`",
            model=str(path),
        )
    return describe(int8_sibling(path))


def build_engine(
    model: Model,
    options: Options,
    workers: _core.WorkerPool,
    rows: int,
    columns: int,
    bands: int,
) -> _core.Engine:
    """Open a model for tiles of one shape.

    Parameters
    ----------
    model : Model
    options : Options
        Runtime, precision and cache folder.
    workers : WorkerPool
        The core's own engine computes on them; a runtime starts as many threads of its own.
    rows, columns : int
        Of the tile, px, halo included.
    bands : int
        Of the frame; matters to models without a network.
    """
    from imagine_deblur import _core, engines

    if model.descriptor is not None:
        settings = engines.EngineSettings(
            threads=workers.worker_count,
            precision=options.precision,
            cache_directory=options.cache_dir,
            workers=workers,
            processors=tuple(_core.topology()["processors"]) if options.pin else (),
        )
        opened: Any = engines.open_engine(
            model.descriptor,
            (rows // model.scale, columns // model.scale),
            engine=options.engine,
            settings=settings,
        )
        if options.self_ensemble > 1:
            folds = options.self_ensemble if rows == columns else 4
            opened = engines.SelfEnsembleEngine(opened, folds)
        if model.scale > 1:
            opened = engines.ScaledEngine(opened, model.scale)
    elif model.function is not None:
        spec = engines.EngineSpec("callable", "f32", 3, 3, rows, columns, local=False)
        opened = engines.CallableEngine(model.function, spec)
    else:
        return _core.IdentityEngine(
            input_planes=bands, output_bands=bands, tile_rows=rows, tile_columns=columns
        )
    native: _core.Engine = engines.native(opened)
    return native
