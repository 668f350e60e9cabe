"""Python on the pages: typed as the package promises, so that a misspelt keyword is found."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import imagine_deblur

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

#: What examples speak of without making it.
GIVEN = """\
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import imagine_deblur

captures: list[str] = []
image: NDArray[np.uint8] = np.zeros((64, 64, 3), np.uint8)
luma_table: NDArray[np.uint16] = np.ones((8, 8), np.uint16)
input_tile: NDArray[np.float32] = np.zeros((6, 256, 256), np.float32)
output_tile: NDArray[np.float32] = np.zeros((3, 256, 256), np.float32)
"""


def blocks() -> dict[str, str]:
    """The examples, by page and number."""
    found = {}
    for page in PAGES:
        for number, text in enumerate(
            re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
        ):
            found[f"{page.stem}_{number}"] = text
    return found


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that has the package as an installed one, from where mypy takes `py.typed`."""
    pytest.importorskip("mypy")
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    done = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True)
    packages = Path(done.stdout.strip())
    (packages / "imagine_deblur").symlink_to(Path(imagine_deblur.__file__).parent)
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def checked(python: Path, folder: Path, files: dict[str, str]) -> str:
    """What `mypy --strict` says of files far from the tree; empty where it is content."""
    for name, text in files.items():
        (folder / f"example_{name}.py").write_text(text, "utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python)]
    command += ["--config-file", "/dev/null", "--cache-dir", str(folder / "cache")]
    names = [f"example_{name}.py" for name in files]
    done = subprocess.run(
        [*command, *names], cwd=folder, capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_examples_are_typed_and_a_misspelt_keyword_is_found(other_python, tmp_path):
    examples = {name: GIVEN + text for name, text in blocks().items()}
    assert {"README_0", "start_0", "start_1", "one_lens_0"} <= set(examples)
    wrong = {"wrong": 'import imagine_deblur\n\nimagine_deblur.process("a.jpg", psff="disk:3")\n'}
    said = checked(other_python, tmp_path, examples | wrong)
    errors = [line for line in said.splitlines() if ": error:" in line]
    assert [line.split(":")[0] for line in errors] == ["example_wrong.py"], said
    assert "psff" in errors[0]
