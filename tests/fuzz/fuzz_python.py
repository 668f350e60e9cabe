"""Fuzz what users hand to the Python layer: PSF records, presets, options and command lines.

Every input either is accepted, and then can be used, or is refused with an `ImagineDeblurError` or
an `OSError`; nothing else is raised, nothing takes `SECONDS_EACH` of processor time or `MEMORY`
bytes. Inputs are JSON documents, changed by a mutator that knows their structure, and sometimes
bytes changed blindly. A document whose only fault is its id is tried with the right one as well:
no fuzzer finds a SHA-256.

    python tests/fuzz/fuzz_python.py --seconds 20              # atheris where installed
    python tests/fuzz/fuzz_python.py --engine random --seed 3  # numpy and the standard library

``pip install atheris`` makes it coverage-guided. Ends with 1 on a finding and prints its input.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import io
import json
import math
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

SECONDS_EACH = 10.0
MEMORY = 300_000_000
LONGEST = 1 << 16

Document = Any


class Slow(BaseException):
    """An input took too long; not an `Exception`, so that no handler swallows it."""


class Broken(AssertionError):
    """An accepted input does not keep what it promises."""


# ---- what is fuzzed -----------------------------------------------------------------------------


def expect(condition: object, what: str) -> None:
    if not condition:
        raise Broken(what)


def try_psf(data: bytes) -> None:
    """Read bytes as a PSF record or a field of PSFs, as `Options.psf` does."""
    from imagine_deblur.psf.field import PsfField
    from imagine_deblur.psf.models import PSF

    Path("psf.json").write_bytes(data)
    _use_record()
    try:
        document = json.loads(data)
        described = document["psf"] if "psf" in document else {"grid": document["grid"]}
        kind: Any = PSF if "psf" in document else PsfField
        document["id"] = kind.from_dict(described).id
    except Exception:
        return  # what is wrong with it was for _use_record to say
    Path("psf.json").write_text(json.dumps(document), encoding="utf-8")
    _use_record()


def _use_record() -> None:
    import numpy as np

    from imagine_deblur.errors import ImagineDeblurError
    from imagine_deblur.psf.field import PsfField, load_field, save_field
    from imagine_deblur.psf.presets import named_psf
    from imagine_deblur.psf.record import load_record, save_record

    try:
        psf = named_psf("psf.json").psf
    except (ImagineDeblurError, OSError):
        return
    if isinstance(psf, PsfField):
        save_field("copy.json", psf)
        expect(load_field("copy.json") == psf, "a field comes back as it was written")
        cells = [cell for _, _, cell in psf.cells]
    else:
        assert psf is not None
        record = load_record("psf.json")
        deviations = record.standard_errors.values()
        expect(all(math.isfinite(d) and d >= 0 for d in deviations), "standard errors")
        expect(record.gsd_m is None or 0 < float(record.gsd_m) < math.inf, "gsd_m")
        save_record(
            "copy.json",
            psf,
            covariance=record.covariance,
            parameters=record.parameters,
            gsd_m=record.gsd_m,
            provenance=record.provenance,
        )
        expect(load_record("copy.json").psf == psf, "a record comes back as it was written")
        cells = [psf]
    for cell in cells[:2]:
        expect(cell.support_px() >= 0, "support")
        response = cell.half_plane(24, 20)
        expect(np.isfinite(response).all(), "a transfer function is finite")
        expect(abs(response[0, 0] - 1) < 1e-3, "flux is kept")
        expect(np.abs(response).max() < 1.01, "a blur amplifies nothing")


def try_preset(data: bytes) -> None:
    """Take text as the blur's name."""
    from imagine_deblur.errors import ImagineDeblurError
    from imagine_deblur.options import Options
    from imagine_deblur.psf.presets import named_psf

    text = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(ImagineDeblurError, OSError):
        named_psf(Options(psf=text).psf)  # type: ignore[arg-type]


def try_options(data: bytes) -> None:
    """Take a JSON object as keyword arguments of `Options` and of the service's settings."""
    from dataclasses import fields

    from imagine_deblur.errors import ImagineDeblurError, OptionsError
    from imagine_deblur.options import Options
    from imagine_deblur.psf.presets import named_psf
    from imagine_deblur.watch.settings import WatchSettings

    try:
        document = json.loads(data)
        values = {name: _revived(value) for name, value in document.items()}
    except (ValueError, AttributeError, RecursionError):
        return
    for kind in (Options, WatchSettings):
        known = {f.name for f in fields(kind)}
        try:
            made = kind(**{name: value for name, value in values.items() if name in known})
        except OptionsError as error:
            expect(error.field in known and str(error), "the message names the field")
            continue
        if isinstance(made, Options):
            expect(type(made.ram_bytes) is int and made.ram_bytes > 0, "max_ram in bytes")
            if made.psf is not None:
                with contextlib.suppress(ImagineDeblurError, OSError):
                    named_psf(made.psf)
        else:
            expect(made.min_free_bytes >= 0, "min_free in bytes")


def _revived(value: object) -> object:
    """Return a value that JSON has no word for."""
    import numpy as np

    special: dict[object, object] = {
        "$array": np.ones(3),
        "$int64": np.int64(4),
        "$float32": np.float32(0.5),
        "$bytes": b"300MB",
        "$object": object(),
        "$path": Path("x"),
        "$complex": 1j,
        "$set": {1},
    }
    return special.get(value, value) if isinstance(value, str) else value


def try_arguments(data: bytes) -> None:
    """Take NUL-separated words as the command line's flags."""
    from dataclasses import fields

    from imagine_deblur.cli.process import options_from
    from imagine_deblur.errors import ImagineDeblurError
    from imagine_deblur.watch.settings import WatchSettings

    words = [word.decode("utf-8", "surrogateescape") for word in data.split(b"\0")]
    for command in (["process", "in.jpg"], ["watch", "in", "out"]):
        quiet = io.StringIO()
        with contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet):
            try:
                parsed = _parser().parse_args([*command, *words])
                options_from(parsed)
                if command[0] == "watch":
                    names = [f.name for f in fields(WatchSettings)]
                    WatchSettings(**{name: getattr(parsed, name) for name in names})
            except SystemExit as stop:
                expect(stop.code in (0, 2), "argparse ends with 0 or 2")
            except ImagineDeblurError:
                pass


@cache
def _parser() -> argparse.ArgumentParser:
    from imagine_deblur.cli.main import build_parser

    return build_parser()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "psf": try_psf,
    "preset": try_preset,
    "options": try_options,
    "arguments": try_arguments,
}


# ---- seeds --------------------------------------------------------------------------------------


def seeds(target: str) -> list[bytes]:
    """Return sound inputs of a target."""
    if target == "preset":
        return [b"disk:6.8", b"disk:6.8,0.5", b"gauss:2.0", b"lens.json", b"disk:0"]
    if target == "options":
        documents: list[Document] = [
            {"psf": "disk:3", "model": "wiener", "nsr": 0.01, "tile": 512, "max_ram": "300MB"},
            {"engine": "auto", "precision": "f32", "self_ensemble": 4, "deadline": 5.0},
            {"quality": 90, "subsampling": "4:2:0", "nice": 5, "scheduling": "idle", "overlap": 8},
            {"max_pixels": 10**6, "max_ram": "1.5GiB", "temp_dir": "/tmp", "salvage": True},
            {"poll": 0.5, "min_free": "64MB", "patience": 1, "late_after": 60.0, "max_crashes": 2},
            {"on_failure": "quarantine", "after": "remove", "stable_polls": 2, "check_every": 1},
        ]
        return [json.dumps(document).encode() for document in documents]
    if target == "arguments":
        lines = [
            "--psf disk:3 --model wiener --nsr 0.01 --tile 512 --max-ram 300MB --threads 2",
            "--engine auto --precision f32 --self-ensemble 4 --deadline 5 --nice 5 --pin",
            "--no-reblur-check",
            "--quality 90 --subsampling 4:2:0 --scheduling idle --max-pixels 9 --temp-dir /tmp",
            "--poll 1 --min-free 0 --late-after 60 --stop-within 8 --once --after remove",
        ]
        return [line.encode().replace(b" ", b"\0") for line in lines]
    return [json.dumps(document).encode() for document in _records()]


def _records() -> list[Document]:
    import numpy as np

    from imagine_deblur.psf import PSF, Disk, Gaussian, Motion, PixelAperture, Pupil, Sampled
    from imagine_deblur.psf.field import PsfField, save_field
    from imagine_deblur.psf.record import parameter_names, save_record

    kernel = np.ones((3, 3)) / 9
    psfs = [
        PSF.defocus(6.8),
        PSF((Gaussian(2.0, 0.5, 30.0), Motion(4.0, -20.0), PixelAperture(0.9))),
        PSF((Pupil(0.3, -0.1, 1.5),)),
        PSF((Sampled(kernel), Disk(1.0))),
        PSF(),
    ]
    documents = []
    for psf in psfs:
        names = parameter_names(psf)
        save_record(
            "seed.json",
            psf,
            covariance=np.diag(np.arange(1.0, len(names) + 1)) if names else None,
            gsd_m=39.0,
            provenance={"from": "fuzz"},
        )
        documents.append(json.loads(Path("seed.json").read_text()))
    save_field("seed.json", PsfField(((psfs[0], psfs[1]), (psfs[2], psfs[3]))))
    documents.append(json.loads(Path("seed.json").read_text()))
    return documents


# ---- mutations ----------------------------------------------------------------------------------

HOSTILE: list[Document] = [
    None, True, False, 0, 1, -1, 2, 0.5, 1e-320, 1e300, -1e300, math.inf, -math.inf, math.nan,
    10**30, 10**400, -(10**400), 2**31, 2**63, 2**64, 1000, 1001, 65_500, 65_536, "", "0", "1",
    "nan", "inf", "disk:1", "disk:" + "9" * 400, "9" * 400 + "MB", "1e5", "300MB", "0.0001k", "-1",
    "٣", "ſ", "\x00", "\ud800", "x" * 300, "../" * 80, "$array", "$int64", "$float32", "$bytes",
    "$object", "$path", "$complex", "$set", [], {}, [[]], [1], [[1.0]], [[1, 2], [3]], ["a"],
    [[0.25, 0.25], [0.25, 0.25]], [[math.nan]], [[10**400]], {"kind": "disk"}, {"a": {}},
    {"kind": "disk", "radius_px": 1000}, {"kind": "gaussian", "sigma_px": 1000},
    {"kind": "motion", "length_px": 1000, "angle_deg": 360},
    {"kind": "pupil", "defocus_waves": 50, "spherical_waves": 50, "cutoff_cycles_per_px": 0.01},
    {"kind": "sampled", "kernel": [[1.0]]}, {"kind": "pixel_aperture", "kernel": [[1.0]]},
]  # fmt: skip
WORDS = [
    "kind", "radius_px", "sigma_px", "kernel", "components", "grid", "psf", "id", "covariance",
    "parameters", "matrix", "format", "version", "units", "gsd_m", "provenance", "disk", "gauss",
    "gaussian", "motion", "pupil", "sampled", "imagine-deblur-psf", "imagine-deblur-psf-field",
    "max_ram", "tile", "nsr", "deadline", "threads", "self_ensemble", "min_free", "poll",
    "--max-ram",
    "--nsr", "--tile", "--psf", "--poll", "--nice", "--self-ensemble", "--threads", "--min-free",
    ":", ",",
]  # fmt: skip


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return an input like `data`, changed in a few places."""
    if chance.random() < 0.85:
        with contextlib.suppress(ValueError, RecursionError, TypeError, OverflowError):
            document = json.loads(data)
            if isinstance(document, dict | list):
                for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
                    if isinstance(document, dict | list):
                        document = _changed(document, chance)
                return json.dumps(document).encode()[:LONGEST]
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randint(0, len(changed))
        action = chance.randrange(6)
        if action == 0 and changed:
            changed[at % len(changed)] ^= 1 << chance.randrange(8)
        elif action == 1:
            del changed[at : at + chance.randint(1, 16)]
        elif action == 2:
            changed[at:at] = chance.randbytes(chance.randint(1, 4))
        elif action == 3:
            changed[at:at] = chance.choice(WORDS).encode()
        elif action == 4:
            changed[at:at] = _text(chance.choice(HOSTILE)).encode("utf-8", "surrogatepass")
        else:
            piece = bytes(changed[at : at + chance.randint(1, 8)])
            changed[at:at] = piece * chance.choice((1, 2, 100, 2000))
    return bytes(changed[:LONGEST])


def _text(value: Document) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _changed(document: Document, chance: random.Random) -> Document:
    """Return a JSON value with one node replaced, removed, doubled, wrapped or moved."""
    places: list[tuple[Any, Any]] = []
    pending = [document]
    while pending:
        node = pending.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            places.append((node, key))
            if isinstance(node[key], dict | list):
                pending.append(node[key])
    action = chance.randrange(8)
    if not places or action == 0:
        if isinstance(document, dict):
            document[chance.choice(WORDS)] = chance.choice(HOSTILE)
            return json.loads(json.dumps(document))
        return chance.choice(HOSTILE)
    node, key = chance.choice(places)
    if action <= 3:
        node[key] = chance.choice(HOSTILE)
    elif action == 4 and isinstance(node[key], int | float):
        node[key] = node[key] * chance.choice((-1, 0, 0.5, 2, 10, 1000, 1e9, 1e-9))
    elif action == 5:
        other, place = chance.choice(places)
        node[key] = other[place]
        return json.loads(json.dumps(document))  # which refuses a tree that holds itself
    elif action == 6:
        if isinstance(node, list):
            node[key : key + 1] = [node[key]] * chance.choice((0, 2, 3, 70, 500))
        else:
            node[chance.choice(WORDS)] = node.pop(key)
    else:
        for _ in range(chance.choice((1, 2, 40))):
            node[key] = [node[key]]
    return json.loads(json.dumps(document))


# ---- running ------------------------------------------------------------------------------------


def on_alarm(number: int, frame: object) -> None:
    raise Slow


def guarded(target: str) -> Callable[[bytes], None]:
    """Return a target under a limit of processor time."""
    action = TARGETS[target]

    def run(data: bytes) -> None:
        signal.setitimer(signal.ITIMER_PROF, SECONDS_EACH)
        try:
            action(data)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    return run


def limit_memory() -> None:
    """Let this process grow by `MEMORY` bytes; more is a `MemoryError`, and so a finding."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def run_random(target: str, seconds: float, seed: int) -> int:
    """Mutate at random for so long; return 1 on a finding."""
    chance = random.Random(f"{target} {seed}")
    run, pool = guarded(target), seeds(target)
    for data in pool:
        run(data)
    limit_memory()
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutated(chance.choice(pool), chance)
        count += 1
        try:
            run(data)
        except BaseException as error:
            print(f"{target}: {type(error).__name__} after {count} inputs on {data[:2000]!r}")
            if len(data) > 2000:
                print(f"({len(data)} bytes)")
            if isinstance(error, KeyboardInterrupt):
                raise
            import traceback

            traceback.print_exc(limit=-6)
            return 1
        if len(data) < 4096 and chance.random() < 0.02:
            pool[chance.randrange(len(pool))] = data  # several mutations deep, now and then
            if chance.random() < 0.3:
                pool = seeds(target)
    print(f"{target}: {count} inputs, nothing found", flush=True)
    return 0


def run_atheris(target: str, seconds: float, seed: int, corpus: Path) -> int:
    """Fuzz with coverage; atheris ends the process."""
    import atheris

    for number, data in enumerate(seeds(target)):
        (corpus / f"seed-{number}").write_bytes(data)
    run = guarded(target)
    for data in seeds(target):
        run(data)  # imports what the target needs
    # The editable install has a loader of its own, so that atheris's hook for imports sees nothing.
    for item in gc.get_objects():
        if isinstance(item, FunctionType) and (item.__module__ or "").startswith("imagine_deblur."):
            atheris.instrument_func(item)
    limit_memory()

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.2:
            return bytes(atheris.Mutate(data, max_size))
        return mutated(data, chance)[:max_size]

    flags = [
        f"-max_total_time={max(1, round(seconds))}",
        f"-seed={seed + 1}",
        f"-max_len={LONGEST}",
        f"-artifact_prefix={corpus}-",
        "-print_final_stats=1",
        "-rss_limit_mb=0",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], run, custom_mutator=mutate)
    atheris.Fuzz()
    return 0


def run_one(target: str, engine: str, seconds: float, seed: int, corpus: Path) -> int:
    """Fuzz a target in this process, in a scratch folder."""
    signal.signal(signal.SIGPROF, on_alarm)
    corpus = (corpus / target).resolve()
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="imagine-deblur-fuzz-") as scratch:
        os.chdir(scratch)
        try:
            if engine == "atheris":
                return run_atheris(target, seconds, seed, corpus)
            return run_random(target, seconds, seed)
        finally:
            os.chdir("/")


def main() -> int:
    """Fuzz every target, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="in all")
    parser.add_argument("--engine", choices=("auto", "atheris", "random"), default="auto")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz/python"))
    parser.add_argument("--target", choices=TARGETS, help="only this one, in this process")
    arguments = parser.parse_args()
    engine = arguments.engine
    if engine == "auto":
        engine = "atheris" if importlib.util.find_spec("atheris") else "random"
    if arguments.target:
        seconds, seed = arguments.seconds, arguments.seed
        return run_one(arguments.target, engine, seconds, seed, arguments.corpus)
    worst = 0
    for target in TARGETS:
        share = arguments.seconds * (0.55 if target == "psf" else 0.15)
        command = [sys.executable, __file__, "--target", target, "--engine", engine]
        command += ["--seconds", f"{share:.1f}", "--seed", str(arguments.seed)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        code = subprocess.run([*command, "--corpus", str(arguments.corpus)]).returncode
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"{target}: code {code}, {spent:.1f} s of processor time ({engine})", flush=True)
        worst = max(worst, 1 if code else 0)
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
