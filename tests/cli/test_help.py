"""Help with examples that parse, and scripts that complete."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from imagine_deblur.cli import main
from imagine_deblur.cli.main import build_parser


def leaves(
    parser: argparse.ArgumentParser, name: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    branches = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for branch in branches:
        for word, child in branch.choices.items():
            yield from leaves(child, f"{name} {word}".strip())
    if not branches:
        yield name, parser


LEAVES = dict(leaves(build_parser()))


def examples(parser: argparse.ArgumentParser) -> list[str]:
    found = re.findall(
        r"^  (?:eval \"\$\()?(imagine-deblur [^#|><)\n]*)", parser.epilog or "", re.M
    )
    return [line.strip() for line in found]


@pytest.mark.parametrize("name", ["", *LEAVES])
def test_every_help_ends_with_examples_that_parse(name):
    parser = LEAVES[name] if name else build_parser()
    lines = examples(parser)
    assert lines
    assert "\nexamples:\n  " in parser.format_help()
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "imagine-deblur"
        assert " ".join(words[1:]).startswith(name)
        build_parser().parse_args(words[1:])


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_shells_get_a_script_that_completes(shell, capsys):
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "skip-existing" in script
    if shell == "bash" and shutil.which("bash"):
        ask = f"{script}\nCOMP_WORDS=(imagine-deblur proc); COMP_CWORD=1\n"
        ask += '_shtab_imagine_deblur; echo "${COMPREPLY[@]}"'
        done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["process"]
