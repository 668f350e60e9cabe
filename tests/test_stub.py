"""The hand-written stub of the native module agrees with the module."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import imagine_deblur
from imagine_deblur import _core

STUB = Path(imagine_deblur.__file__).parent / "_core.pyi"  # the module itself may live elsewhere
TREE = ast.parse(STUB.read_text(encoding="utf-8"))


def is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def parameters(function: ast.FunctionDef) -> list[tuple[str, bool, bool]]:
    """(name, has a default, keyword only) for each parameter but self."""
    a = function.args
    positional = a.posonlyargs + a.args
    required = len(positional) - len(a.defaults)
    found = [(p.arg, i >= required, False) for i, p in enumerate(positional)]
    found += [
        (p.arg, d is not None, True) for p, d in zip(a.kwonlyargs, a.kw_defaults, strict=True)
    ]
    return [p for p in found if p[0] != "self"]


def split_outside_brackets(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for i, character in enumerate(text):
        depth += (character in "[(") - (character in "])")
        if character == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


Parameters = list[tuple[str, bool, bool]]


def native_parameters(function: Any) -> list[Parameters]:
    """The same of every overload, from the signatures that pybind11 writes into the docstring."""
    first, *rest = function.__doc__.splitlines()
    if not first.endswith("(*args, **kwargs)"):
        return [parsed_signature(first)]
    numbered = [re.fullmatch(r"\d+\. (\w+\(.*)", line) for line in rest]
    return [parsed_signature(found[1]) for found in numbered if found]


def parsed_signature(line: str) -> Parameters:
    inside = re.fullmatch(r"\w+\((.*)\) -> .*", line)
    assert inside, line
    found, keyword_only = [], False
    for part in split_outside_brackets(inside[1]):
        if part == "*":
            keyword_only = True
            continue
        name = part.split(":")[0].strip()
        # Defaults follow the annotation; pybind11 marks optional arguments by " = ".
        found.append((name, " = " in part, keyword_only))
    return [p for p in found if p[0] != "self"]


FUNCTIONS = {n.name: n for n in TREE.body if isinstance(n, ast.FunctionDef)}
CLASSES = {n.name: n for n in TREE.body if isinstance(n, ast.ClassDef)}


def public(thing: Any) -> set[str]:
    return {name for name in vars(thing) if not name.startswith("_")}


def test_the_same_names():
    assert public(_core) == set(FUNCTIONS) | set(CLASSES)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_take_the_same_parameters(name):
    assert native_parameters(getattr(_core, name)) == [parameters(FUNCTIONS[name])]


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_classes_have_the_same_members(name):
    native, stub = getattr(_core, name), CLASSES[name]
    methods: dict[str, list[ast.FunctionDef]] = {}
    for function in stub.body:
        if isinstance(function, ast.FunctionDef):
            methods.setdefault(function.name, []).append(function)
    assert public(native) == {m for m in methods if not is_dunder(m)}
    for member, overloads in methods.items():
        is_property = any(
            isinstance(d, ast.Name) and d.id == "property" for d in overloads[0].decorator_list
        )
        found = getattr(native, member)
        assert isinstance(found, property) == is_property, member
        if not is_property:
            assert native_parameters(found) == [parameters(o) for o in overloads], member
    bases = {b.id for b in stub.bases if isinstance(b, ast.Name)}
    assert bases == {b.__name__ for b in native.__bases__} - {"pybind11_object"}


def test_classes_that_cannot_be_made_have_no_constructor_in_the_stub():
    for name, stub in CLASSES.items():
        if not any(isinstance(n, ast.FunctionDef) and n.name == "__init__" for n in stub.body):
            with pytest.raises(TypeError, match=r"[Nn]o constructor"):
                getattr(_core, name)()
