"""Which runtime is taken, and what is said where one is missing."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from imagine_deblur.engines import (
    ModelDescriptor,
    find_openvino,
    open_engine,
    select,
)
from imagine_deblur.errors import EngineError, OptionsError
from runtimes import needs_onnxruntime, needs_openvino


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Make packages look absent."""

    def find(name: str) -> object:
        return None if name in names else find_spec(name)

    monkeypatch.delenv("IMAGINE_DEBLUR_OPENVINO_LIB", raising=False)
    monkeypatch.setattr("imagine_deblur.engines.openvino.find_spec", find)
    monkeypatch.setattr("imagine_deblur.engines.onnxruntime.find_spec", find)


def test_a_missing_runtime_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, affine_model: ModelDescriptor
) -> None:
    without(monkeypatch, "openvino", "onnxruntime")
    with pytest.raises(EngineError, match=r"imagine-deblur\[openvino\]") as caught:
        select("openvino")
    assert caught.value.engine == "openvino"
    with pytest.raises(EngineError, match=r"imagine-deblur\[onnxruntime\]"):
        select("onnxruntime")
    with pytest.raises(EngineError, match=r"onnxruntime.*imagine-deblur\[openvino\]"):
        open_engine(affine_model, (8, 8))
    assert select("identity") == "identity"


@needs_onnxruntime
def test_auto_takes_ort_where_openvino_is_missing(
    monkeypatch: pytest.MonkeyPatch, affine_model: ModelDescriptor
) -> None:
    without(monkeypatch, "openvino")
    assert open_engine(affine_model, (8, 8)).spec.name == "onnxruntime"


@needs_openvino
def test_auto_prefers_openvino(affine_model: ModelDescriptor) -> None:
    assert open_engine(affine_model, (8, 8)).spec.name == "openvino"


@needs_onnxruntime
def test_auto_goes_on_where_openvino_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch,
    affine_model: ModelDescriptor,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    library = tmp_path / "libopenvino_c.so.1"
    library.write_bytes(b"not a library")
    monkeypatch.setenv("IMAGINE_DEBLUR_OPENVINO_LIB", str(library))
    assert open_engine(affine_model, (8, 8)).spec.name == "onnxruntime"
    assert str(library) in caplog.text
    with pytest.raises(EngineError, match=r"imagine-deblur\[openvino\]"):
        open_engine(affine_model, (8, 8), engine="openvino")


def test_an_old_openvino_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text("")
    info = tmp_path / "openvino-2024.6.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: openvino\nVersion: 2024.6.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("IMAGINE_DEBLUR_OPENVINO_LIB", raising=False)
    if "openvino" in sys.modules:
        pytest.skip("another test has imported openvino")
    with pytest.raises(EngineError, match=r"2024\.6\.0 is too old"):
        find_openvino()


def test_unknown_engine_and_odd_tile_are_refused(small_model: ModelDescriptor) -> None:
    with pytest.raises(OptionsError, match="engine='tensorrt'"):
        select("tensorrt")
    with pytest.raises(OptionsError, match="multiples of 2"):
        open_engine(small_model, (64, 63), engine="identity")


def test_importing_the_engines_imports_no_runtime() -> None:
    code = (
        "import sys, imagine_deblur.engines as e; e.select('auto'); "
        "print([m for m in ('openvino', 'onnxruntime', 'onnx', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
