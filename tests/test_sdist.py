"""The source archive: what a build needs is inside, what it does not is not."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import imagine_deblur

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Files of the archive, below its folder; `make sdist` also installs it."""
    pytest.importorskip("scikit_build_core")
    folder = tmp_path_factory.mktemp("sdist")
    build = f"import scikit_build_core.build as b; print(b.build_sdist({os.fspath(folder)!r}))"
    command = [sys.executable, "-c", build]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    name = done.stdout.split()[-1]
    assert name == f"imagine_deblur-{imagine_deblur.__version__}.tar.gz"
    with tarfile.open(folder / name) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


def test_everything_a_build_and_its_tests_need_is_inside(names):
    for folder, kinds in {
        "csrc": ("*.cpp", "*.h", "*.cmake", "CMakeLists.txt"),
        "python": ("*.py", "*.pyi", "py.typed", "*.onnx", "*.npz", "*.json", "*.toml", "*.html"),
        "tests": ("*.py", "*.cpp"),
    }.items():
        for kind in kinds:
            wanted = {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob(kind)}
            assert wanted <= names, (folder, kind, sorted(wanted - names)[:3])
    assert {"CMakeLists.txt", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"} <= names


def test_what_is_of_this_machine_or_large_stays_out(names):
    assert not {n for n in names if n.startswith((".venv/", "build/", "dist/", "research/"))}
    assert not {n for n in names if n.endswith((".so", ".pyc", ".pt"))}
