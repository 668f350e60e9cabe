"""Configurations are typed: what is misspelt or out of range is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the extra [train]")

from imagine_deblur.errors import OptionsError
from imagine_deblur.train.config import (
    TrainConfig,
    from_dict,
    load_config,
    override,
)
from imagine_deblur.train.trainer import network_spec


@pytest.mark.parametrize(("name", "kmac"), [("fast", (30, 40)), ("best", (140, 160))])
def test_shipped_configurations(name: str, kmac: tuple[int, int]) -> None:
    config = load_config(name)
    assert config.name == name
    assert kmac[0] < network_spec(config).macs_per_pixel / 1000 < kmac[1]
    assert config.optim.margin < config.data.crop / 2


def test_round_trip() -> None:
    config = load_config("fast")
    assert from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("typo = 1", "typo"),
        ("[network]\nwidht = 3", "network.widht"),
        ("[network]\nwidth = 'wide'", "network.width"),
        ("[network]\nwidth = true", "network.width"),
        ("[optim]\nprecision = 'f16'", "optim.precision"),
        ("[optim]\nsteps = 0", "optim.steps"),
        ("[planes]\nbase = 3", "base"),
        ("[planes]\nnsr = [0.0]", "nsr"),
        ("[data]\ncrop = 33", "data.crop"),
        ("[network]\nexperts = 'two'", "network.experts"),
        ("[optim]\nmargin = 64", "optim.margin"),
        ("network = 3", "network"),
    ],
)
def test_mistakes_are_named(text: str, field: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(OptionsError) as caught:
        load_config(path)
    assert caught.value.field.endswith(field)


def test_override() -> None:
    config = override(TrainConfig(), ["optim.steps=7", "planes.nsr=[0.1, 0.01]", "name='x'"])
    assert (config.optim.steps, config.planes.nsr, config.name) == (7, (0.1, 0.01), "x")
    for wrong in ("optim.steps", "nothing.at=1", "optim.nothing=1"):
        with pytest.raises(OptionsError):
            override(TrainConfig(), [wrong])


def test_importing_the_package_imports_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, imagine_deblur.train as t; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
