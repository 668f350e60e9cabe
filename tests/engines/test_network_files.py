"""Which network files are taken, and what is read of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from imagine_deblur.engines import (
    ModelDescriptor,
    describe,
    open_engine,
)
from imagine_deblur.engines.descriptor import METADATA_KEY, file_sha256
from imagine_deblur.engines.onnx_file import read_summary
from imagine_deblur.errors import EngineError
from networks import affine, plain_descriptor
from runtimes import RUNTIMES


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_corrupt_network_is_refused(
    runtime: str, affine_model: ModelDescriptor, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.onnx"
    whole = affine_model.path.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EngineError, match=r"broken\.onnx"):
        describe(broken)
    # A description made before the file was damaged.
    stale = ModelDescriptor(name="broken", path=broken)
    with pytest.raises(EngineError, match=r"broken\.onnx"):
        open_engine(stale, (24, 40), engine=runtime)
    # The outer shape is right and the weights are missing: only the runtime can tell.
    model = onnx.load(affine_model.path)
    del model.graph.initializer[0]
    onnx.save(model, broken)
    with pytest.raises(EngineError, match=r"broken\.onnx") as caught:
        open_engine(describe(broken), (24, 40), engine=runtime)
    assert caught.value.engine == runtime


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_wrong_plane_counts_are_refused(runtime: str, affine_model: ModelDescriptor) -> None:
    planes = ("capture.r", "capture.g", "capture.b", "noise")
    with pytest.raises(EngineError, match="expected 1x4xROWSxCOLUMNS"):
        describe(affine_model.path, inputs=planes)
    with pytest.raises(EngineError, match="expected 1x2xROWSxCOLUMNS"):
        describe(affine_model.path, output_bands=2)
    stale = ModelDescriptor(name="four", inputs=planes, path=affine_model.path)
    with pytest.raises(EngineError, match="expected"):
        open_engine(stale, (24, 40), engine=runtime)


def test_missing_file_stays_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        describe(tmp_path / "absent.onnx")


def test_descriptor_travels_in_the_file(small_model: ModelDescriptor) -> None:
    from plain_net import build

    expected = plain_descriptor(
        build(8, 4), path=small_model.path, sha256=file_sha256(small_model.path)
    )
    assert small_model == expected
    assert small_model.base_plane == 3
    assert ModelDescriptor.from_json(expected.to_json(), model="x").nsr == expected.nsr


def test_network_without_descriptor_is_published_style(affine_model: ModelDescriptor) -> None:
    d = describe(affine_model.path)
    assert d.inputs == ("capture.r", "capture.g", "capture.b")
    assert (d.local, d.input_offset, d.nsr, d.halo) == (False, 0.0, (), 0)
    assert d.base_plane == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": ("capture.r", "infrared")}, "unknown input plane 'infrared'"),
        ({"inputs": ("capture.r", "capture.r")}, "listed twice"),
        ({"nsr": (0.1, 0.2)}, "has no ratio in nsr"),
        ({"nsr": (0.1, -1.0, 1.0)}, "positive"),
        ({"base": 3}, "not an index"),
        ({"halo": 3}, "not a multiple of 2"),
        ({"multiple_of": 0}, "1 or more"),
        ({"precision": "f16"}, "f32 or int8"),
    ],
)
def test_contradicting_descriptors_are_refused(
    small_model: ModelDescriptor, change: dict[str, object], message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        describe(small_model.path, **change)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "is not an imagine-deblur-model"),
        ('{"format": "imagine-deblur-model", "format_version": 2}', "update it"),
        ('{"format": "imagine-deblur-model", "format_version": 1}', "damaged"),
        ('{"format": "imagine-deblur-model", "format_version": 1, "colour": 1}', "colour"),
        (
            '{"format": "imagine-deblur-model", "format_version": 1, "name": "a", "nsr": 5}',
            "damaged",
        ),
    ],
)
def test_damaged_descriptors_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = affine(tmp_path / "damaged.onnx", {METADATA_KEY: text})
    with pytest.raises(EngineError, match=message):
        describe(path)


# The reader of ONNX files


def test_summary_agrees_with_onnx(small_model: ModelDescriptor) -> None:
    model = onnx.load(small_model.path)
    summary = read_summary(small_model.path)
    assert summary.ir_version == model.ir_version
    assert summary.producer == model.producer_name
    assert summary.metadata == {p.key: p.value for p in model.metadata_props}
    for ours, theirs in (
        (summary.inputs, model.graph.input),
        (summary.outputs, model.graph.output),
    ):
        assert [t.name for t in ours] == [t.name for t in theirs]
        for tensor, value in zip(ours, theirs, strict=True):
            dims = value.type.tensor_type.shape.dim
            assert tensor.shape == tuple(d.dim_param or d.dim_value for d in dims)
            assert tensor.is_float32


def test_summary_skips_weights_listed_as_inputs(
    affine_model: ModelDescriptor, tmp_path: Path
) -> None:
    model = onnx.load(affine_model.path)
    for weight in model.graph.initializer:
        value = onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
        model.graph.input.append(value)
    path = tmp_path / "old.onnx"
    onnx.save(model, path)
    assert [t.name for t in read_summary(path).inputs] == ["input"]


def test_summary_survives_any_damage(affine_model: ModelDescriptor, tmp_path: Path) -> None:
    whole = affine_model.path.read_bytes()
    path = tmp_path / "damaged.onnx"
    refused = 0
    rng = np.random.default_rng(0)
    damaged = [whole[:length] for length in range(len(whole))]
    for _ in range(500):
        copy = bytearray(whole)
        copy[rng.integers(len(copy))] ^= 1 << rng.integers(8)
        damaged.append(bytes(copy))
    for content in damaged:
        path.write_bytes(content)
        try:
            read_summary(path)
        except EngineError:
            refused += 1
    assert refused > len(whole) // 2
