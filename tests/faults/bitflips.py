"""Flip single bits in weights, PSF, transfer function and planes; see what reaches the outbox.

Every trial flips one bit, restores a small capture with the guarded session that the watch service
uses, and holds the output against the one an undisturbed session gives:

masked      the same bytes, nothing noticed
small       other bytes, mean difference at most 1 step of 8 bits, nothing noticed
recovered   noticed, mended, and the same bytes in the end
detected    noticed and refused: the service would pass the capture through untouched
silent      mean difference above 1 step in a result that was handed on

    python tests/faults/bitflips.py --flips 10000 --seed 1
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import signal
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common import RADIUS, capture, folder, interval
from imagine_deblur import _core
from imagine_deblur.engines.descriptor import describe
from imagine_deblur.engines.model import build_engine, bundled_models
from imagine_deblur.errors import ImagineDeblurError
from imagine_deblur.options import Options
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.record import save_record
from imagine_deblur.restoration.stage import WienerStage
from imagine_deblur.watch.session import SelfCheckingSession

KINDS = ("masked", "small", "recovered", "detected", "silent")
SHARES = {
    "weights file": ("network", 0.4),
    "weights in the runtime": ("network", 0.8),
    "PSF record file": ("wiener", 0.8),
    "PSF in memory": ("wiener", 0.6),
    "transfer function": ("wiener", 1.0),
    "capture planes": ("wiener", 1.0),
    "spectrum": ("wiener", 2.5),
    "linear planes": ("wiener", 1.0),
    "spectrum, network": ("network", 0.3),
    "linear planes, network": ("network", 0.1),
    "restored planes, network": ("network", 0.1),
}


class Timeout(Exception):
    """A trial took too long: the supervisor's watchdog would have acted."""


class Bench:
    """One guarded session and the captures it restores."""

    def __init__(
        self, base: Path, model: str, chance: random.Random, size: tuple[int, int]
    ) -> None:
        self.chance = chance
        self.base = base / model
        self.base.mkdir()
        self.record = self.base / "lens.json"
        save_record(self.record, PSF.defocus(RADIUS), provenance={"from": "campaign"})
        self.record_data = self.record.read_bytes()
        self.weights: Path | None = None
        name = "wiener"
        if model == "network":
            source = bundled_models()["fast"]
            self.weights = self.base / "fast.onnx"
            self.weights.write_bytes(source.read_bytes())
            self.weights_data = self.weights.read_bytes()
            self.spans = weight_spans(self.weights)
            name = str(self.weights)
        self.options = Options(psf=str(self.record), model=name, threads=1, nsr=0.02, tile=192)
        self.captures: list[Path] = []
        self.references: list[bytes] = []
        self.open()
        for k in range(4):
            path = self.base / f"{k}.jpg"
            path.write_bytes(capture(100 + k, *size))
            self.captures.append(path)
            self.references.append(self.restore(k))
        self.blocks = self.count_blocks()
        assert not self.guarded.events, self.guarded.events

    def open(self) -> None:
        """Start a session from undamaged files."""
        self.record.write_bytes(self.record_data)
        if self.weights is not None:
            self.weights.write_bytes(self.weights_data)
        self.guarded = SelfCheckingSession(self.options, self.base / "good")
        self.guarded.start()
        if self.captures:
            self.restore(0)  # the engine and the transfer function of these frames are warm

    def restore_files(self) -> None:
        """Undo what a trial did to files; the session has mended itself."""
        self.record.write_bytes(self.record_data)
        for artifact in self.guarded.artifacts:
            artifact.path = self.record if artifact.kind == "psf" else self.weights or artifact.path
            artifact.moved = False
        if self.weights is not None:
            self.weights.write_bytes(self.weights_data)

    def restore(self, k: int) -> bytes:
        """Restore a capture and return the output's bytes."""
        output = self.base / "output.jpg"
        self.guarded.restore(str(self.captures[k]), output)
        return output.read_bytes()

    def trial(self, target: str) -> tuple[str, float]:
        """Flip one bit; return what came of it and the mean difference in 8-bit steps."""
        k = self.chance.randrange(len(self.captures))
        self.guarded.events.clear()
        undo: list[Callable[[], None]] = []
        signal.setitimer(signal.ITIMER_PROF, 60)
        try:
            self.inject(target, undo)
            output = self.restore(k)
        except (ImagineDeblurError, OSError, ArithmeticError, ValueError, MemoryError, Timeout):
            signal.setitimer(signal.ITIMER_PROF, 0)
            for action in undo:
                action()
            self.guarded.close()
            self.open()
            return "detected", math.nan
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        for action in undo:
            action()
        noticed = any(n != "reloaded" for n in self.guarded.events)
        if noticed:
            self.restore_files()
        if output == self.references[k]:
            return ("recovered" if noticed else "masked"), 0.0
        found, wanted = (decoded(data) for data in (output, self.references[k]))
        difference = float(np.abs(found - wanted).mean())
        return ("small" if difference <= 1.0 else "silent"), difference

    # ---- where bits flip ------------------------------------------------------------------------

    def inject(self, target: str, undo: list[Callable[[], None]]) -> None:
        """Flip one bit of a target, now or when the frame gets there."""
        if target == "weights file":
            self.flip_file(self.weights)
        elif target == "PSF record file":
            self.flip_file(self.record)
        elif target == "weights in the runtime":
            self.plant_engine()
        elif target == "PSF in memory":
            self.at_stage(undo, self.flip_psf, early=self.chance.random() < 0.5)
        elif target == "transfer function":
            self.at_stage(undo, self.flip_otf, early=self.chance.random() < 0.5)
        elif target.startswith("capture planes"):
            self.in_strip(undo, "restore", before=lambda strip: self.flip_planes(strip.capture))
        elif target.startswith("linear planes"):
            self.in_strip(undo, "restore", after=lambda strip: self.flip_planes(strip.linear))
        elif target.startswith("restored planes"):
            self.in_strip(undo, "review", before=lambda strip: self.flip_planes(strip.restored))
        elif target.startswith("spectrum"):
            self.in_spectrum(undo)
        else:
            raise KeyError(target)

    def flip_file(self, path: Path | None) -> None:
        assert path is not None
        data = bytearray(path.read_bytes())
        bit = self.chance.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)

    def plant_engine(self) -> None:
        """Replace the warm engine by one whose weights differ in one bit."""
        assert self.weights is not None
        data = bytearray(self.weights_data)
        start, length = self.chance.choices(self.spans, [n for _, n in self.spans])[0]
        bit = self.chance.randrange(8 * length)
        data[start + bit // 8] ^= 1 << bit % 8
        damaged = self.base / "damaged.onnx"
        damaged.write_bytes(data)
        session = self.guarded.session
        if session.parts.engine is None:
            self.restore(0)
        assert session.parts.engine is not None
        key = session.parts.engine[0]
        model: Any = key[0]
        rows, columns, bands = key[-3:]
        descriptor = replace(describe(str(damaged)), shares=model.descriptor.shares)
        planted = replace(model, descriptor=descriptor)
        engine = build_engine(planted, self.options, _core.WorkerPool(1), rows, columns, bands or 3)  # type: ignore[arg-type, call-overload]
        session.parts._engine = (key, engine)

    def flip_psf(self) -> None:
        given = self.guarded.session.given
        assert given is not None
        component = self.chance.choice(given.psf.components)  # type: ignore[union-attr]
        field = "radius_px" if hasattr(component, "radius_px") else "sigma_px"
        bits = struct.unpack("<Q", struct.pack("<d", getattr(component, field)))[0]
        value = struct.unpack("<d", struct.pack("<Q", bits ^ 1 << self.chance.randrange(64)))[0]
        object.__setattr__(component, field, value)

    def flip_otf(self) -> None:
        stage = self.guarded.session.parts.stage
        if stage is not None and stage.otf is not None:
            self.flip_array(stage.otf.values)

    def flip_planes(self, planes: list[Any]) -> None:
        self.flip_array(self.chance.choice(planes))

    def flip_array(self, array: Any) -> None:
        index = self.chance.randrange(array.size)
        where = np.unravel_index(index, array.shape)
        item = bytearray(array[where].tobytes())
        bit = self.chance.randrange(8 * len(item))
        item[bit // 8] ^= 1 << bit % 8
        array[where] = np.frombuffer(bytes(item), array.dtype)[0]

    # ---- when they flip -------------------------------------------------------------------------

    def at_stage(
        self, undo: list[Callable[[], None]], action: Callable[[], None], *, early: bool
    ) -> None:
        if early:
            action()
        else:
            self.in_strip(undo, "restore", before=lambda strip: action())

    def in_strip(
        self,
        undo: list[Callable[[], None]],
        method: str,
        before: Callable[[Any], None] | None = None,
        after: Callable[[Any], None] | None = None,
    ) -> None:
        """Act once, around the next call of a stage's method."""
        real = getattr(WienerStage, method)
        pending = [True]

        def wrapped(stage: WienerStage, strip: Any) -> Any:
            mine = pending.pop() if pending else False
            if mine and before is not None:
                before(strip)
            result = real(stage, strip)
            if mine and after is not None:
                after(strip)
            return result

        setattr(WienerStage, method, wrapped)
        undo.append(lambda: setattr(WienerStage, method, real))

    def in_spectrum(self, undo: list[Callable[[], None]]) -> None:
        """Flip a bit of one of the two spectra at a random moment of the linear stage."""
        moment = self.chance.randrange(self.blocks)

        def act(number: int, scratch: Any) -> None:
            if number == moment:
                halves = np.array_split(scratch.view(np.uint64), 2)
                self.flip_array(halves[number % 2])

        self.at_block(undo, act)

    def at_block(self, undo: list[Callable[[], None]], action: Callable[[int, Any], None]) -> None:
        """Call `action` with its number and the spectra after each block of each transform."""
        done = itertools.count()
        WienerStage.after_block = staticmethod(lambda scratch: action(next(done), scratch))  # type: ignore[assignment]

        def back() -> None:
            WienerStage.after_block = None

        undo.append(back)

    def count_blocks(self) -> int:
        """Return how many blocks of transforms a frame takes."""
        undo: list[Callable[[], None]] = []
        numbers: list[int] = []
        self.at_block(undo, lambda number, _: numbers.append(number))
        self.restore(0)
        undo[0]()
        return len(numbers)


def without_sums() -> None:
    """Let guarded sessions run as plain ones do, without sums over spectra."""
    real = SelfCheckingSession._open

    def opened(mine: SelfCheckingSession, changes: dict[str, Any]) -> Any:
        session = real(mine, changes)
        session.parts.check_spectra = False
        return session

    SelfCheckingSession._open = opened  # type: ignore[method-assign]


def weight_spans(path: Path) -> list[tuple[int, int]]:
    """Return where the raw weights lie in a network file: (first byte, length)."""
    import onnx

    data, spans = path.read_bytes(), []
    for tensor in onnx.load(path).graph.initializer:
        if tensor.raw_data and len(tensor.raw_data) >= 64:
            spans.append((data.index(tensor.raw_data), len(tensor.raw_data)))
    return spans


def decoded(data: bytes) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a JPEG's samples."""
    reader = _core.JpegReader(data)
    return reader.read_rows(reader.info["rows"]).astype(np.float32)


def on_alarm(number: int, frame: object) -> None:
    raise Timeout


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after so long")
    parser.add_argument("--only", help="one target")
    parser.add_argument("--size", type=int, nargs=2, default=(96, 128), metavar=("ROWS", "COLUMNS"))
    parser.add_argument("--no-sums", action="store_true", help="without the sums over spectra")
    arguments = parser.parse_args()
    if arguments.no_sums:
        without_sums()
    signal.signal(signal.SIGPROF, on_alarm)
    chance = random.Random(arguments.seed)
    names = [arguments.only] if arguments.only else list(SHARES)
    weights = [SHARES[name][1] for name in names]
    table: dict[str, Counter[str]] = {name: Counter() for name in names}
    noticed: Counter[str] = Counter()
    end = time.monotonic() + arguments.seconds
    with folder("bitflips") as base:
        needed = {SHARES[name][0] for name in names}
        benches = {model: Bench(base, model, chance, arguments.size) for model in sorted(needed)}
        for flip in range(arguments.flips):
            if time.monotonic() > end:
                break
            target = chance.choices(names, weights)[0]
            bench = benches[SHARES[target][0]]
            kind, difference = bench.trial(target)
            table[target][kind] += 1
            noticed.update(bench.guarded.events.keys())
            if kind == "silent":
                print(f"flip {flip}: silent, {target}, {difference:.2f} steps", flush=True)
            if flip % 200 == 199:
                show(table)
    show(table)
    total = sum((counts for counts in table.values()), Counter[str]())
    share = total["silent"] / max(1, total.total())
    low, high = interval(total["silent"], total.total())
    print(
        f"seed {arguments.seed}: {total.total()} flips in {time.process_time():.0f} s of processor "
        f"time, silent {share:.3%}, 95 % interval {low:.3%} to {high:.3%}",
        flush=True,
    )
    print(f"noticed: {dict(noticed.most_common())}")
    return 0 if high < 0.005 else 1


def show(table: dict[str, Counter[str]]) -> None:
    """Print the table in Markdown."""
    print("| target | flips | " + " | ".join(KINDS) + " |")
    print("|---" * (len(KINDS) + 2) + "|")
    for name, counts in [*table.items(), ("all", sum(table.values(), Counter()))]:
        cells = " | ".join(str(counts[kind]) for kind in KINDS)
        print(f"| {name} | {counts.total()} | {cells} |", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
