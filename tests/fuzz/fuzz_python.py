"""Fuzz what others hand to the Python layer, or leave where the watch service looks.

PSF records, presets, options, command lines (`targets.py`); the journal, reports, descriptors of
networks and the last good configuration (`service_targets.py`).

Every input either is accepted, and then can be used, or is refused with an `ImagineDeblurError` or
an `OSError`; nothing else is raised, nothing takes `SECONDS_EACH` of processor time or `MEMORY`
bytes. Inputs are JSON documents, changed by a mutator that knows their structure, and sometimes
bytes changed blindly. A document whose only fault is its id is tried with the right one as well:
no fuzzer finds a SHA-256.

    python tests/fuzz/fuzz_python.py --seconds 20              # atheris where installed
    python tests/fuzz/fuzz_python.py --engine random --seed 3  # numpy and the standard library

``pip install atheris`` makes it coverage-guided. What led somewhere new is kept in ``corpus``.
Ends with 1 on a finding and prints its input.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FunctionType

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from mutations import LONGEST, mutated
from targets import TARGETS, kept, seeds

SECONDS_EACH = 10.0
MEMORY = 300_000_000


class Slow(BaseException):
    """An input took too long; not an `Exception`, so that no handler swallows it."""


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
    run, pool = guarded(target), seeds(target) + kept(target)
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
                pool = seeds(target) + kept(target)
    print(f"{target}: {count} inputs, nothing found", flush=True)
    return 0


def run_atheris(target: str, seconds: float, seed: int, corpus: Path) -> int:
    """Fuzz with coverage; atheris ends the process."""
    import atheris

    for number, data in enumerate(seeds(target) + kept(target)):
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
    os.fsync = lambda descriptor: None  # hundreds of inputs a second; no disk fails here
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
        share = arguments.seconds * (0.3 if target == "psf" else 0.1)
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
