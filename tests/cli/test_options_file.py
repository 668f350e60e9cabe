"""Options from a file and the environment: what comes first, and what is wrong is named."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from imagine_deblur.cli import main
from imagine_deblur.cli.configuration import apply
from imagine_deblur.cli.main import build_parser
from imagine_deblur.errors import OptionsError
from imagine_deblur.options import Options


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and an environment without our variables."""
    monkeypatch.chdir(tmp_path)
    for name in ("CONFIG", "QUALITY", "PROCESS_QUALITY"):
        monkeypatch.delenv(f"IMAGINE_DEBLUR_{name}", raising=False)
    return tmp_path


def parsed(words: str, text: str = "", environment: dict[str, str] | None = None):
    """Parse a command line with a file in the folder and an environment."""
    if text:
        Path("imagine-deblur.toml").write_text(text)
    parser = build_parser()
    apply(parser, words.split(), environment or {})
    return parser.parse_args(words.split())


def test_what_comes_first():
    file = "quality = 50\n[process]\nquality = 60\n"
    short = {"IMAGINE_DEBLUR_QUALITY": "70"}
    long = short | {"IMAGINE_DEBLUR_PROCESS_QUALITY": "80"}
    assert parsed("process a.jpg").quality == 95
    assert parsed("process a.jpg", "quality = 50").quality == 50
    assert parsed("process a.jpg", file).quality == 60
    assert parsed("watch in out", file).quality == 50
    assert parsed("process a.jpg", file, short).quality == 70
    assert parsed("process a.jpg", file, long).quality == 80
    assert parsed("watch in out", file, long).quality == 70
    assert parsed("process a.jpg --quality 90", file, long).quality == 90


def test_every_option_can_stand_in_the_file_and_in_the_environment():
    special = {"quality": "auto", "nsr": 0.01, "deadline": 2.5, "threads": 3, "max_bytes": "1MB"}
    values = {}
    for field in fields(Options):
        default = field.default
        value: object = special.get(field.name, default)
        if isinstance(default, bool):
            value = not default
        elif (choices := field.metadata["choices"]) is not None:
            value = choices[-1]
        elif value is None:
            value = "text"
        values[field.name] = value
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
    assert {name: getattr(parsed("process a.jpg", text), name) for name in values} == values
    Path("imagine-deblur.toml").unlink()
    variables = {f"IMAGINE_DEBLUR_{name.upper()}": str(value) for name, value in values.items()}
    found = parsed("watch in out", environment=variables)
    assert {name: getattr(found, name) for name in values} == values


def test_commands_have_their_own_options():
    text = (
        '[watch]\non-failure = "quarantine"\nverify = false\npoll = 2\n'
        '[psf.calibrate]\ngsd = [10, 12]\nreference = "scene.tif"\noutput = "lens.json"\n'
        '[evaluate]\nprotocol = ["imagine"]\ndata = "scenes"\n'
    )
    found = parsed("watch in out", text)
    assert (found.on_failure, found.verify, found.poll) == ("quarantine", False, 2.0)
    found = parsed("psf calibrate a.jpg")
    assert (found.gsd, found.reference) == ([10.0, 12.0], "scene.tif")
    assert parsed("evaluate").protocol == ["imagine"]
    variables = {
        "IMAGINE_DEBLUR_WATCH_ONCE": "yes",
        "IMAGINE_DEBLUR_PSF_CALIBRATE_GSD": "20 25",
        "IMAGINE_DEBLUR_PSF": "disk:3",  # of process and watch, not calibrate's first guess
    }
    assert parsed("watch in out", environment=variables).once is True
    found = parsed("psf calibrate a.jpg", environment=variables)
    assert (found.gsd, found.psf) == ([20.0, 25.0], None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("qualty = 90", "no option is named 'qualty'; is 'quality' meant\\?"),
        ("[process]\nmax_rum = 1", r"\[process\] max_rum.*is 'max_ram' meant"),
        ("[proces]\nquality = 9", r"no command .*\[proces\].*is '\[process\]' meant"),
        ("[psf.estmate]\njson = true", "estmate.*estimate"),
        ("[psf]\njson = true", r"\[psf\] json.*estimate"),
        ("quality = [1, 2]", "quality=.*text or a number"),
        ("quality = 'fine'", "quality='fine'"),
        ("overwrite = 'perhaps'", "true or false"),
        ("engine = 'steam'", "auto, winograd, openvino, onnxruntime"),
        ("[psf.calibrate]\ngsd = [1]", "2 values"),
        ("quality = ", "a TOML file"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(text, said, capsys):
    with pytest.raises(OptionsError, match=said):
        parsed("process a.jpg", text)
    assert main(["process", "a.jpg"]) == 2
    assert "imagine-deblur.toml" in capsys.readouterr().err


def test_the_file_is_named_by_flag_or_environment(capsys, monkeypatch):
    Path("imagine-deblur.toml").write_text("quality = 50")
    Path("other.toml").write_text("quality = 60")
    assert parsed("process a.jpg --config other.toml").quality == 60
    assert parsed("--config=other.toml process a.jpg").quality == 60
    named = {"IMAGINE_DEBLUR_CONFIG": "other.toml"}
    assert parsed("process a.jpg", environment=named).quality == 60
    assert parsed("process a.jpg", environment={"IMAGINE_DEBLUR_CONFIG": ""}).quality == 95
    assert main(["process", "a.jpg", "--config", "none.toml"]) == 8
    assert "none.toml" in capsys.readouterr().err
    monkeypatch.setenv("IMAGINE_DEBLUR_QUALITY", "fine")
    assert main(["process", "a.jpg"]) == 2
    assert "IMAGINE_DEBLUR_QUALITY='fine'" in capsys.readouterr().err


def test_a_misspelt_variable_is_told(capsys, monkeypatch, capture_file):
    monkeypatch.setenv("IMAGINE_DEBLUR_TYLE", "64")
    monkeypatch.setenv("IMAGINE_DEBLUR_DATA", "/data")
    assert main(["process", str(capture_file), "--psf", "disk:2.5", "--dry-run"]) == 0
    said = capsys.readouterr().err
    assert "IMAGINE_DEBLUR_TYLE: no option is named so; is IMAGINE_DEBLUR_TILE meant?" in said
    assert "IMAGINE_DEBLUR_DATA" not in said


def test_where_options_come_from_is_told(capsys, monkeypatch, capture_file):
    monkeypatch.setenv("IMAGINE_DEBLUR_MODEL", "wiener")
    Path("imagine-deblur.toml").write_text('psf = "disk:2.5"\nthreads = 1\n')
    assert main(["process", str(capture_file), "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "options from imagine-deblur.toml, IMAGINE_DEBLUR_MODEL" in said.err
    plan = json.loads(said.out)
    assert (plan["model"], plan["psf_source"], plan["threads"]) == ("wiener", "preset", 1)
