"""Trying a network of unknown origin in a process of its own, with limits.

    python -m imagine_deblur.watch.trial < OPTIONS.json

A network may loop for ever or take gigabytes, in the runtime's own code, where no exception ends
it. The child restores one small frame within a limit of memory and time, and is the first that the
kernel ends when memory is short. That costs a start of Python and of the runtime for every new
network, and nothing for each frame.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

from imagine_deblur.errors import EngineError
from imagine_deblur.options import Options
from imagine_deblur.watch.configuration import named_file

SECONDS = 60.0
"""Time for a network's first small frame; the bundled ones take 1 s on one core of a laptop."""

_ROOM = 64 << 20  # bytes that a runtime may map and never touch
_FRAME = (256, 320)  # rows, columns


def try_network(options: Options, *, seconds: float = SECONDS) -> None:
    """Restore a small frame with a network in a child; the bundled ones are not tried.

    Raises
    ------
    EngineError
        It failed, took too long, or took too much memory.
    """
    path = named_file(options, "model")
    if path is None:
        return
    values = {f.name: getattr(options, f.name) for f in fields(Options)}
    values = {n: os.fspath(v) if isinstance(v, os.PathLike) else v for n, v in values.items()}
    values["psf"] = "disk:2"
    command = [sys.executable, "-m", "imagine_deblur.watch.trial"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(values).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        message = f"{path}: a small frame took it more than {seconds:.0f} s"
        raise EngineError(message, model=str(path)) from None
    if done.returncode:
        said = done.stderr[-400:].decode(errors="replace").strip() or f"code {done.returncode}"
        raise EngineError(f"{path}: a small frame failed: {said}", model=str(path))


def main() -> int:
    """Restore the frame; the parent reads the exit code."""
    values = json.loads(sys.stdin.buffer.read(1 << 20))
    options = Options(**values)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")
    limit = options.ram_bytes + _ROOM
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    from imagine_deblur.watch.folders import Folder
    from imagine_deblur.watch.session import SelfCheckingSession

    with tempfile.TemporaryDirectory() as scratch:
        folder = Folder.at(Path(scratch))
        session = SelfCheckingSession(options, Path(scratch))
        session.trial(folder, _FRAME)
        session.close()
        folder.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
