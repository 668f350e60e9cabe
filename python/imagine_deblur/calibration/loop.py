"""The calibration loop: register, match radiometry, measure, fit; again until nothing changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from imagine_deblur.calibration import families, fit, sentinel2
from imagine_deblur.calibration.extras import require
from imagine_deblur.calibration.families import Family
from imagine_deblur.calibration.fixed_point import FixedPoint
from imagine_deblur.calibration.measure import State, locate, measure, total
from imagine_deblur.calibration.pictures import Picture, Source, read_capture
from imagine_deblur.calibration.reference import Reference, read_reference
from imagine_deblur.calibration.result import CalibrationResult
from imagine_deblur.calibration.verdict import Settled, accept, conclude
from imagine_deblur.errors import CalibrationError, EstimationError, OptionsError
from imagine_deblur.psf.estimation import Estimate, estimate_psf
from imagine_deblur.psf.models import PSF

FloatArray = npt.NDArray[np.float64]

_FALLBACK_NOISE = 0.004
_FALLBACK_START = PSF.defocus(4.0)


def calibrate(
    captures: Source | Sequence[Source],
    reference: Source | Reference | Sequence[Source | Reference],
    *,
    gsd_m: tuple[float, float] = (37.0, 41.0),
    reference_gsd_m: float | None = None,
    reference_mtf_nyquist: float = sentinel2.MTF_NYQUIST,
    initial_psf: PSF | None = None,
    family: str = "disk+gaussian",
    centre: tuple[float, float] | None = None,
    extent_km: float | None = None,
    max_iterations: int = 10,
    tolerance: float = 0.005,
    names: Sequence[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> CalibrationResult:
    """Measure the PSF of an instrument from captures of places of which a sharp picture exists.

    Parameters
    ----------
    captures : path, bytes, array, or sequence of them
        Captures of one instrument in one state: JPEG or PNG files, their bytes, or (R, C, 3)
        arrays, uint8 or float32 in [0, 1]. Several are measured jointly. Give JPEG captures as
        files: their quantisation tables are needed to tell the encoder's losses from blur.
    reference : path, array, Reference, or a sequence of them
        See `reference.read_reference`; one for all captures, or one each.
    gsd_m : (float, float)
        Range of the captures' ground sample distance, metres per px.
    reference_gsd_m : float, optional
        Metres per px of the reference; by default its georeference's, or 10.
    reference_mtf_nyquist : float
        Its MTF at its Nyquist frequency, in (0, 1].
    initial_psf : PSF, optional
        A rough PSF to begin with; by default the blind estimate from the captures.
    family : str
        ``"disk+gaussian"``, ``"gaussian"``, ``"disk+ellipse"``, ``"disk+gaussian+motion"`` or
        ``"pupil+gaussian"``.
    centre, extent_km
        Rough position (latitude, longitude) and the side of the square to look in, for
        georeferenced references.
    max_iterations : int
        At most so many rounds of registration and fit.
    tolerance : float
        Relative change of the parameters at which the rounds end.
    names : sequence of str, optional
        Names of the captures in the result; by default their paths or numbers.
    progress : callable, optional
        Called with a line of text after each step.

    Returns
    -------
    CalibrationResult

    Raises
    ------
    CalibrationError
        No capture could be used, or the fit is not consistent; the message says why and
        ``residual`` holds the figure it names.
    ImportError
        The extra ``[geo]`` is not installed.
    OSError
        A file cannot be read.

    Notes
    -----
    Registration follows the seed system's idea of matching restored captures with Sentinel-2
    (Mousist, "Real-time blind defocus deblurring for Earth observation", section 3). The transfer
    function is the cross-spectrum's (see `spectrum`), divided by the reference's own.
    """
    require("cv2")
    require("scipy.optimize")
    chosen = families.family(family)
    if not 0.0 < gsd_m[0] <= gsd_m[1]:
        raise OptionsError("gsd_m", gsd_m, "two positive numbers in ascending order")
    if max_iterations < 1:
        raise OptionsError("max_iterations", max_iterations, "1 or more")
    say = progress or (lambda line: None)
    sources = _listed(captures)
    if not sources:
        raise OptionsError("captures", captures, "one capture or more")
    labels = list(names) if names is not None else [_name(s, i) for i, s in enumerate(sources)]
    if len(labels) != len(sources):
        raise OptionsError("names", names, f"{len(sources)} names")
    references = _references(
        reference,
        len(sources),
        float(np.mean(gsd_m)),
        reference_gsd_m,
        reference_mtf_nyquist,
        centre,
        extent_km,
    )
    pictures = [read_capture(s, label) for s, label in zip(sources, labels, strict=True)]
    refused: dict[str, str] = {}
    blind = _blind(pictures)
    psf = initial_psf
    if psf is None and blind is not None:
        psf = blind.psf
        say("blind estimate " + _described(psf))
    noise = blind.noise if blind is not None else _FALLBACK_NOISE
    worst: CalibrationError | None = None

    def keep(among: list[State], does: Callable[[State], None]) -> list[State]:
        """Those for which it works; the others are noted down with the reason."""
        nonlocal worst
        kept = []
        for state in among:
            try:
                does(state)
            except CalibrationError as error:
                refused[state.name], worst = str(error), error
                say(f"{state.name}: refused: {error}")
                continue
            kept.append(state)
        return kept

    states = []
    for picture, scene in zip(pictures, references, strict=True):
        try:
            state = locate(picture, scene, psf, gsd_m, noise)
        except CalibrationError as error:
            refused[picture.name], worst = str(error), error
            say(f"{picture.name}: refused: {error}")
            continue
        states.append(state)
        say(f"{picture.name}: {state.matches} matches")
    if not states:
        raise _nothing(refused, worst)
    common = min(state.size for state in states)
    for state in states:
        state.size = common  # spectra of one size add up
    start = psf if psf is not None else _FALLBACK_START
    values = np.array(chosen.start(start), dtype=np.float64)
    while True:
        settled = _settle(states, values, chosen, max_iterations, tolerance, keep, say)
        if not settled.states:
            raise _nothing(refused, worst)
        values = settled.found.values
        judge = partial(
            accept, states=settled.states, found=settled.found, chosen=chosen, gsd_range=gsd_m
        )
        kept = keep(settled.states, judge)
        if not kept:
            raise _nothing(refused, worst)
        if len(kept) == len(settled.states):
            return conclude(settled, chosen, tolerance, refused)
        states = kept  # what the others had put in is measured anew without them


def _settle(
    states: list[State],
    values: FloatArray,
    chosen: Family,
    max_iterations: int,
    tolerance: float,
    keep: Callable[[list[State], Callable[[State], None]], list[State]],
    say: Callable[[str], None],
) -> Settled:
    """Rounds of registration and fit until the parameters stop changing."""
    rounds = FixedPoint(np.array(chosen.lower), np.array(chosen.upper), np.array(chosen.scale))
    found: fit.Fit | None = None
    iterations, change = 0, np.inf
    for iterations in range(1, max_iterations + 1):
        states = keep(states, partial(measure, psf=chosen.build(values), first=iterations == 1))
        if not states:
            break
        found = fit.fit(total(states), chosen, values)
        moved = values
        values = rounds.next_values(values, found.values)
        change = _change(values, moved, chosen)
        say(f"round {iterations}: {_described(chosen.build(values))}, change {100 * change:.2f} %")
        if change < tolerance and iterations > 1 and rounds.settled:
            break
    if found is None:
        found = fit.Fit(values, np.zeros((values.size, values.size)), 1.0, np.inf, np.inf)
    return Settled(states, replace(found, values=values), iterations, change, rounds.gain)


def _listed(captures: Source | Sequence[Source]) -> list[Source]:
    if isinstance(captures, str | bytes | os.PathLike | np.ndarray):
        return [captures]
    return list(captures)


def _name(source: Source, index: int) -> str:
    if isinstance(source, np.ndarray | bytes):
        return f"capture {index}"
    return os.fspath(source)


def _references(
    reference: Source | Reference | Sequence[Source | Reference],
    count: int,
    capture_gsd_m: float,
    gsd_m: float | None,
    mtf_nyquist: float,
    centre: tuple[float, float] | None,
    extent_km: float | None,
) -> list[Reference]:
    single = isinstance(reference, str | os.PathLike | np.ndarray | Reference)
    listed: list[Any] = [reference] if single else list(reference)  # type: ignore[arg-type]
    if len(listed) not in (1, count):
        raise OptionsError("reference", f"{len(listed)} scenes", f"one, or {count}")
    read = [
        read_reference(
            one,
            capture_gsd_m=capture_gsd_m,
            gsd_m=gsd_m,
            mtf_nyquist=mtf_nyquist,
            centre=centre,
            extent_km=extent_km,
        )
        for one in listed
    ]
    return read * count if len(read) == 1 else read


def _blind(pictures: list[Picture]) -> Estimate | None:
    """Blur and noise from the captures alone; with their table where they share one."""
    tables = [picture.table for picture in pictures]
    first = tables[0]
    shared = first is not None and all(t is not None and np.array_equal(t, first) for t in tables)
    try:
        return estimate_psf([p.image for p in pictures], quantisation=first if shared else None)
    except EstimationError:
        return None


def _change(new: FloatArray, old: FloatArray, chosen: Family) -> float:
    scale = np.maximum(np.abs(new), np.array(chosen.scale))
    return float(np.max(np.abs(new - old) / scale))


def _nothing(refused: dict[str, str], worst: CalibrationError | None) -> CalibrationError:
    """The refusal of everything: of the one capture, or of all with each reason."""
    residual = worst.residual if worst is not None else None
    if len(refused) == 1:
        return CalibrationError(next(iter(refused.values())), residual=residual)
    reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
    return CalibrationError(f"no capture could be used: {reasons}", residual=residual)


def _described(psf: PSF) -> str:
    parts = []
    for component in psf.to_dict()["components"]:
        numbers = [f"{v:.3f}" for k, v in component.items() if isinstance(v, float)]
        parts.append(f"{component['kind']} {' '.join(numbers)}".strip())
    return " x ".join(parts) or "sharp"
