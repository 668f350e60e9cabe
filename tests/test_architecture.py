"""The shape of the package: no circles, no file too long, every option in one list."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

import imagine_deblur
from imagine_deblur.cli.main import build_parser
from imagine_deblur.cli.options import flag
from imagine_deblur.options import OptionChanges, Options

PACKAGE = Path(imagine_deblur.__file__).parent
LONGEST = 400
"""Lines of a file, at most."""


def modules() -> dict[str, Path]:
    found = {"imagine_deblur._core": PACKAGE / "_core.pyi"}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Modules of this package that a file imports, anywhere in it and for types too."""
    if path.suffix != ".py":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "") in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected sets of more than one name."""

    def reachable(start: str) -> set[str]:
        seen, waiting = set(), [start]
        while waiting:
            for name in graph[waiting.pop()] - seen:
                seen.add(name)
                waiting.append(name)
        return seen

    reach = {name: reachable(name) for name in graph}
    found = {
        frozenset({name} | {other for other in reach[name] if name in reach[other]})
        for name in graph
        if name in reach[name]
    }
    return sorted(sorted(circle) for circle in found)


def room(module: str) -> str:
    """The package right below the top that a module belongs to, or the module itself."""
    return ".".join(module.split(".")[:2])


def test_no_file_imports_itself_through_others():
    known = modules()
    graph = {name: set(imported(path, known)) for name, path in known.items()}
    assert circles(graph) == []


def test_no_package_imports_itself_through_others():
    known = modules()
    graph: dict[str, set[str]] = {room(name): set() for name in known}
    for name, path in known.items():
        for other in imported(path, known):
            if room(other) != room(name) and room(other) != "imagine_deblur":
                graph[room(name)].add(room(other))
    graph["imagine_deblur"] = set()  # the public names and nothing else
    assert circles(graph) == []


def test_no_file_is_too_long():
    long = {
        name: lines
        for name, path in modules().items()
        if path.suffix == ".py"
        and (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST
    }
    assert long == {}


def test_no_file_beside_the_package_is_too_long():
    """The core, the native tests and the Python ones, benchmarks and studies."""
    root = Path(__file__).parents[1]
    files = [
        path
        for folder in ("csrc", "tests", "bench", "research")
        for path in (root / folder).rglob("*")
        if path.suffix in (".h", ".cpp", ".py")
    ]
    assert Path(__file__).name in {path.name for path in files}
    lengths = {
        path.relative_to(root).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in files
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_the_session_is_short():
    assert len((PACKAGE / "session.py").read_text(encoding="utf-8").splitlines()) < 250


def test_the_keywords_are_the_options():
    assert get_type_hints(OptionChanges) == get_type_hints(Options)


def test_every_option_is_a_flag():
    parsed = build_parser().parse_args(["process", "x.jpg"])
    for field in fields(Options):
        assert getattr(parsed, field.name) == field.default, flag(field.name, field.default)


@pytest.mark.parametrize(
    ("call", "accepted"),
    [
        ('process("a.jpg", psf="disk:3")', True),
        ('process("a.jpg", psff=1)', False),
        ('process("a.jpg", quality="high")', False),
        ('Session(reblur_check=False, max_ram="200MB")', True),
        ("Session(gard=False)", False),
    ],
)
def test_a_misspelt_keyword_is_an_error_to_a_type_checker(tmp_path, call, accepted):
    pytest.importorskip("mypy")
    script = tmp_path / "script.py"
    script.write_text(f"from imagine_deblur import Session, process\n{call}\n")
    root = PACKAGE.parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(root / "pyproject.toml"), str(script)],
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
    )
    assert (done.returncode == 0) == accepted, done.stdout + done.stderr
