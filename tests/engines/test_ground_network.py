"""`max`, which comes in a package of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="makes networks")

from imagine_deblur.engines import model as models
from imagine_deblur.engines.model import bundled_models, resolve_model
from imagine_deblur.errors import EngineError
from imagine_deblur.train.onnx_graph import tiny_network


def test_it_is_found_where_its_package_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / models.GROUND_PACKAGE
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EngineError, match="packaging/max"):  # the package without its network
        resolve_model("max")
    tiny_network(str(package / "max.onnx"))
    assert bundled_models()["max"] == package / "max.onnx"
    found = resolve_model("max")
    assert (found.name, found.descriptor.path) == ("max", package / "max.onnx")
    assert resolve_model("auto").name == "fast"


def test_without_its_package_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    assert "max" not in bundled_models()
    with pytest.raises(EngineError, match=r"pip install \./packaging/max"):
        resolve_model("max")
