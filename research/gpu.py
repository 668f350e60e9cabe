"""Carry a queue to a machine with a GPU that nothing else reaches, and its results back.

    python research/gpu.py pack DATA BUNDLE.tar             here: code and scenes, at most 64 MiB
    python research/gpu.py run BUNDLE.tar OUT --minutes 9   there: work, results into OUT
    python research/gpu.py join OUT RUNS                    here: the runs' folders again

The bundle holds the package with its compiled core as installed here, the research folder, and the
training and validation scenes; the other machine needs Python of the same version, PyTorch, numpy,
SciPy and Pillow. Results come as files of at most 16 MiB. To go on another day, `pack` with
`--runs RUNS`, which adds the checkpoints; what does not fit beside them is left out of the scenes,
aerial ones first, and that is refused unless `--fewer-scenes` says so: other scenes are another
training.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

LIMIT = 64 << 20
PART = 16 << 20

#: What a run's folder gives back.
KEPT = ("checkpoint.pt", "log.csv", "validation.csv", "job.json")

CODE, SCENES, RUNS = "code", "data", "runs"

#: Seconds between the signal that ends the training and its end: one step, one checkpoint.
GRACE = 60


def main(arguments: Sequence[str] | None = None) -> int:
    """Pack, run or join."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("data", type=Path)
    packing.add_argument("bundle", type=Path)
    packing.add_argument("--runs", type=Path, help="go on with these")
    packing.add_argument("--fewer-scenes", action="store_true")
    running = commands.add_parser("run")
    running.add_argument("bundle", type=Path)
    running.add_argument("out", type=Path)
    running.add_argument("--minutes", type=float, default=9.0)
    running.add_argument("--queue", default="research/queue-gpu.toml")
    running.add_argument("--device", default="cuda")
    joining = commands.add_parser("join")
    joining.add_argument("out", type=Path)
    joining.add_argument("runs", type=Path)
    parsed = parser.parse_args(arguments)
    if parsed.command == "pack":
        pack(parsed.data, parsed.bundle, runs=parsed.runs, fewer=parsed.fewer_scenes)
        print(f"{parsed.bundle}: {parsed.bundle.stat().st_size / 2**20:.1f} MiB")
        return 0
    if parsed.command == "run":
        return run(parsed.bundle, parsed.out, parsed.minutes, parsed.queue, parsed.device)
    join(parsed.out, parsed.runs)
    return 0


def pack(data: Path, bundle: Path, *, runs: Path | None = None, fewer: bool = False) -> None:
    """Write the bundle.

    Raises
    ------
    SystemExit
        It would be larger than `LIMIT`.
    """
    import imagine_deblur
    from imagine_deblur import _core

    package = Path(imagine_deblur.__file__).parent
    entries = [
        (path, f"{CODE}/imagine_deblur/{path.relative_to(package)}")
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so"
    ]
    core = Path(_core.__file__)
    entries.append((core, f"{CODE}/imagine_deblur/{core.name}"))
    here = Path(__file__).resolve().parent
    for path in sorted([*here.rglob("*.toml"), *here.glob("checkpoints/*.pt")]):
        entries.append((path, f"research/{path.relative_to(here)}"))
    for path in sorted(runs.glob("*/*")) if runs else ():
        if path.name in KEPT:
            entries.append((path, f"{RUNS}/{path.relative_to(runs)}"))
    room = LIMIT - sum(_size(path) for path, _ in entries) - 1024 * 20
    scenes = _scenes(data)
    wanted = sum(_size(path) for path in scenes)
    while scenes and wanted > room:
        if not fewer:
            raise SystemExit(
                f"{wanted / 2**20:.1f} MiB of scenes do not fit into {room / 2**20:.1f} MiB; "
                "--fewer-scenes leaves some out"
            )
        wanted -= _size(scenes.pop())
    entries += [(path, f"{SCENES}/{path.relative_to(data)}") for path in scenes]
    # GNU's format: the default one spends a KiB a file on fractions of a second.
    with tarfile.open(bundle, "w", format=tarfile.GNU_FORMAT) as archive:
        for path, name in entries:
            archive.add(path, name)


def _size(path: Path) -> int:
    """Of a file in a tar, its header included."""
    return 512 + -(-path.stat().st_size // 512) * 512


def _scenes(data: Path) -> list[Path]:
    """All scenes for training and validation; those to be left out first come last."""
    found = [p for part in ("train", "val") for p in (data / part).rglob("*") if p.is_file()]
    return sorted(found, key=lambda p: ("aerial" in p.parts and "train" in p.parts, p))


def run(bundle: Path, out: Path, minutes: float, queue: str, device: str) -> int:
    """Unpack beside the bundle, train, and write the results as parts.

    Returns
    -------
    int
        The training's exit status.
    """
    place = bundle.resolve().parent / "unpacked"
    with tarfile.open(bundle) as archive:
        unpack(archive, place)
    command = [sys.executable, "-m", "imagine_deblur", "train", "--queue", str(place / queue)]
    command += [str(place / RUNS), "--data", str(place / SCENES), "--device", device]
    environment = {**os.environ, "PYTHONPATH": str(place / CODE), "PYTHONUNBUFFERED": "1"}
    training = subprocess.Popen(command, env=environment)
    try:
        training.wait(minutes * 60)
    except subprocess.TimeoutExpired:
        training.send_signal(signal.SIGTERM)
        try:
            training.wait(GRACE)
        except subprocess.TimeoutExpired:
            training.kill()
            training.wait()
    split(place / RUNS, out)
    return training.returncode


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpack data alone, nothing outside the folder, where Python knows how.

    Python 3.11.4 has brought the filter; Debian's 3.11.2 does not know the argument.
    """
    if hasattr(tarfile, "data_filter"):
        archive.extraction_filter = tarfile.data_filter
    archive.extractall(folder)


def split(runs: Path, out: Path) -> None:
    """Write what the runs give back as parts ``results.tar.000`` and so on."""
    out.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path in sorted(runs.glob("*/*")):
            if path.name in KEPT:
                archive.add(path, str(path.relative_to(runs)))
        for path in sorted(runs.glob("*.*")):
            archive.add(path, path.name)
    content = stream.getvalue()
    for number, start in enumerate(range(0, len(content), PART)):
        (out / f"results.tar.{number:03d}").write_bytes(content[start : start + PART])


def join(out: Path, runs: Path) -> None:
    """Put the parts together and unpack them.

    Raises
    ------
    SystemExit
        There are none, or one is missing in between.
    """
    parts = sorted(out.glob("results.tar.[0-9][0-9][0-9]"))
    if [path.suffix for path in parts] != [f".{k:03d}" for k in range(len(parts))] or not parts:
        raise SystemExit(f"{out}: parts are missing, there are {[p.name for p in parts]}")
    content = b"".join(path.read_bytes() for path in parts)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        unpack(archive, runs)


if __name__ == "__main__":
    sys.exit(main())
