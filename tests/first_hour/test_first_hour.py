"""The first hour: what a newcomer types, in order, with the line that comes back.

The commands are in commands.toml. They share a few small captures that are made here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
import unittest.mock
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import imagine_deblur
from imagine_deblur.cli import main
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.psf.models import PSF
from jpegkit import jpeg
from synthetic import natural

STEPS: list[dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("commands.toml").read_text("utf-8")
)["step"]


class Terminal(io.StringIO):
    """Text that a program takes for a terminal."""

    def isatty(self) -> bool:
        return True


def capture(seed: int) -> NDArray[np.uint8]:
    """A scene behind a disk of 4 px."""
    rng = np.random.default_rng(seed)
    return degrade(natural(192, 240, seed=seed), PSF.defocus(4.0), noise=0.002, rng=rng)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the newcomer works in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in [name for name in os.environ if name.startswith("IMAGINE_DEBLUR_")]:
        monkeypatch.delenv(name)
    for folder in ("pass1/later", "nothing", "inbox", "outbox", "holed", "outbox2"):
        (tmp_path / folder).mkdir(parents=True)
    good = jpeg(capture(1), 90)
    for name in ("capture.jpg", "pass1/a.jpg", "inbox/capture.jpg"):
        (tmp_path / name).write_bytes(good)
    (tmp_path / "pass1/later/b.jpg").write_bytes(jpeg(capture(2), 90))
    (tmp_path / "pass1/log.txt").write_text("seen from orbit\n")
    (tmp_path / "cut.jpg").write_bytes(good[:900])
    for name in ("empty.jpg", "holed/empty.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "flat.jpg").write_bytes(jpeg(np.full((300, 320, 3), 90, np.uint8)))
    (tmp_path / "notes.txt").write_text("seen from orbit\n")
    (tmp_path / "wrong.toml").write_text("qualty = 90\n")
    (tmp_path / "lens.toml").write_text('psf = "disk:4"\nmodel = "wiener"\n')
    return tmp_path


def command(step: dict[str, Any]) -> tuple[int, str]:
    """Run a command line in this process, or in one of its own."""
    words = shlex.split(step["run"])
    assert words[0] == "imagine-deblur"
    if step.get("alone"):
        own = [sys.executable, "-m", "imagine_deblur", *words[1:]]
        done = subprocess.run(own, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr
    said = Terminal() if step.get("terminal") else io.StringIO()
    typed = Path(step["typed"]).read_bytes() if "typed" in step else b""
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        unittest.mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO(typed))),
    ):
        try:
            code = main(words[1:])
        except SystemExit as ended:  # argparse's own errors
            code = int(ended.code or 0)
    return code, said.getvalue()


def python(lines: str) -> tuple[int, str]:
    """Run lines of Python; an error ends in its kind and message."""
    said = io.StringIO()
    names = {"imagine_deblur": imagine_deblur, "np": np, "image": capture(3)}
    with contextlib.redirect_stdout(said):
        try:
            exec(lines, names)
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
    return 0, said.getvalue()


def complaint(step: dict[str, Any], here: Path) -> str | None:
    """Why a step did not go as it should, None where it did."""
    what = step.get("run") or step["python"]
    code, said = command(step) if "run" in step else python(step["python"])
    if what == "imagine-deblur process pass1 -r -o restored --psf disk:4 --model wiener":
        (here / "run.jsonl").write_text(
            "".join(f"{line}\n" for line in said.splitlines() if line.startswith("{"))
        )
    problems = []
    if code != step.get("code", 0):
        problems.append(f"code {code}, not {step.get('code', 0)}")
    lines = re.split(r"[\n\r]", said)
    if "says" in step and not any(re.search(step["says"], line) for line in lines):
        problems.append(f"no line matches {step['says']!r}")
    if "Traceback" in said:
        problems.append("a traceback")
    problems += [
        f"{name} was not made" for name in step.get("makes", ()) if not (here / name).is_file()
    ]
    return f"$ {what}\n  {'; '.join(problems)}\n{said}" if problems else None


def test_every_command_of_the_first_hour_says_what_it_should(here: Path) -> None:
    assert len(STEPS) >= 40
    complaints = []
    for step in STEPS:
        if "needs" in step and importlib.util.find_spec(step["needs"]) is None:
            continue
        complaints += filter(None, [complaint(step, here)])
    assert not complaints, "\n".join(complaints)
    assert not (here / "never.jpg").exists()
    assert not (here / "tiny.jpg").exists()
