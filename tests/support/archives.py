"""What tests of archives look at: outputs, manifests, processes, the command."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagine_deblur.options import Options

OPTIONS = Options(psf="disk:2", model="wiener")
_MAIN = "import sys; from imagine_deblur.cli import main; sys.exit(main())"


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every output below a folder, by its path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.jsonl"
    }


def lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of a batch's manifest."""
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def command(*arguments: str | Path, **settings: Any) -> subprocess.Popen[str]:
    """Start ``imagine-deblur batch`` with the options of these tests."""
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            _MAIN,
            "batch",
            *map(str, arguments),
            "--psf",
            "disk:2",
            "--model",
            "wiener",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


def children(pid: int) -> list[int]:
    """Worker processes that a process started, those that track resources left out."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


def alive(pids: Sequence[int]) -> list[int]:
    """Those processes that still run; ended ones that nobody has waited for do not count."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(pid)
    return found


def is_root() -> bool:
    """Whether mounts may be made."""
    return os.geteuid() == 0
