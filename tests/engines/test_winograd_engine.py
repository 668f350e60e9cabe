"""The core's own engine: the networks of this package, the numbers of the runtimes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from imagine_deblur.engines import EngineSettings, describe, open_engine
from imagine_deblur.engines.descriptor import ModelDescriptor
from imagine_deblur.engines.model import bundled_models
from imagine_deblur.engines.onnx_file import read_graph
from imagine_deblur.engines.winograd import read_plain_network
from imagine_deblur.errors import EngineError, OptionsError
from networks import noise_tile
from networks import plain as other_plain
from runtimes import needs_onnxruntime

torch = pytest.importorskip("torch", reason="network files are written by imagine_deblur.train")
from imagine_deblur.train.onnx_graph import build_model, random_layers  # noqa: E402


def network(path: Path, **sizes: int) -> ModelDescriptor:
    """A random network of the package's kind; weights large enough that every layer matters."""
    layers = random_layers(**sizes)
    planes = layers.planes
    base = ("capture.r", "capture.g", "capture.b", "wiener.1.r", "wiener.1.g", "wiener.1.b")
    nsr = tuple(10.0 ** -(k + 1) for k in range(planes - 6 + 1))
    others = tuple(f"wiener.{k}.y" for k in range(len(nsr)) if k != 1)
    descriptor = ModelDescriptor(
        name="random",
        inputs=(*base, *others),
        nsr=nsr,
        base=1,
        halo=layers.halo,
        multiple_of=layers.unshuffle,
        local=True,
        input_offset=0.5,
    )
    onnx.save(build_model(layers, descriptor.to_metadata()), path)
    return describe(path)


def run(model: ModelDescriptor, tile: np.ndarray, engine: str, threads: int = 1) -> np.ndarray:
    opened = open_engine(
        model, tile.shape[1:], engine=engine, settings=EngineSettings(threads=threads)
    )
    output = np.full(opened.spec.output_shape, np.nan, np.float32)
    opened.infer(tile, output)
    assert opened.spec.name == engine
    return output


SIZES = [
    pytest.param({"width": 48, "pairs": 3}, (64, 96), id="as fast"),
    pytest.param({"width": 48, "pairs": 1, "planes": 9}, (36, 52), id="nine planes"),
    pytest.param({"width": 64, "pairs": 2}, (40, 40), id="as wide as best"),
    pytest.param({"width": 5, "pairs": 1}, (2, 2), id="one cell"),
    pytest.param({"width": 20, "pairs": 0}, (6, 130), id="odd cells, no pair"),
    pytest.param({"width": 16, "pairs": 1, "unshuffle": 1}, (33, 21), id="no space to depth"),
    pytest.param({"width": 80, "pairs": 1, "unshuffle": 4}, (24, 44), id="space to depth 4"),
]


@needs_onnxruntime
@pytest.mark.parametrize(("sizes", "tile"), SIZES)
def test_it_computes_what_onnxruntime_computes(sizes, tile, tmp_path):
    model = network(tmp_path / "net.onnx", **{"planes": 8, **sizes})
    planes = noise_tile(len(model.inputs), *tile)
    expected = run(model, planes, "onnxruntime")
    found = run(model, planes, "winograd")
    assert np.abs(expected - planes[3:6] - 0.5).max() > 0.005  # the network does something
    np.testing.assert_allclose(found, expected, atol=3e-5)


def test_repeats_and_threads_give_the_same_bits(tmp_path):
    model = network(tmp_path / "net.onnx", planes=8, width=32, pairs=2)
    planes = noise_tile(8, 120, 136)
    alone = run(model, planes, "winograd")
    np.testing.assert_array_equal(run(model, planes, "winograd", threads=3), alone)
    engine = open_engine(model, (120, 136), engine="winograd")
    for seed in (1, 2):  # nothing of one tile is left for the next
        other = noise_tile(8, 120, 136, seed)
        output = np.empty((3, 120, 136), np.float32)
        engine.infer(other, output)
        engine.infer(planes, output)
        np.testing.assert_array_equal(output, alone)


def test_tiles_with_their_halo_give_the_whole(tmp_path):
    model = network(tmp_path / "net.onnx", planes=8, width=48, pairs=2)
    halo, core = model.halo, 22  # cores that begin at any place of the 4 x 4 grid
    frame = noise_tile(8, 2 * halo + 2 * core, 2 * halo + 3 * core)
    whole = run(model, frame, "winograd")
    side = core + 2 * halo
    part = np.ascontiguousarray(frame[:, core : core + side, core : core + side])
    found = run(model, part, "winograd")[:, halo:-halo, halo:-halo]
    inside = np.s_[:, halo + core : halo + 2 * core, halo + core : halo + 2 * core]
    np.testing.assert_allclose(found, whole[inside], atol=2e-5)


@needs_onnxruntime
@pytest.mark.skipif(not bundled_models(), reason="no network in this installation")
@pytest.mark.parametrize("name", sorted(bundled_models()))
def test_bundled_networks_run_on_it_by_default(name):
    model = describe(bundled_models()[name])
    planes = noise_tile(len(model.inputs), 96, 96)
    engine = open_engine(model, (96, 96))
    output = np.empty((3, 96, 96), np.float32)
    engine.infer(planes, output)
    assert (engine.spec.name, engine.spec.precision) == ("winograd", "f32")
    np.testing.assert_allclose(output, run(model, planes, "onnxruntime"), atol=1e-4)


def test_settings_are_those_in_force(tmp_path):
    model = network(tmp_path / "net.onnx", planes=8, width=8, pairs=1)
    engine = open_engine(model, (16, 16), engine="winograd", settings=EngineSettings(threads=2))
    assert engine.settings["threads"] == 2
    assert engine.settings["instructions"] in ("avx512", "avx2", "plain")
    with pytest.raises(OptionsError, match="bf16"):
        open_engine(model, (16, 16), engine="winograd", settings=EngineSettings(precision="bf16"))


# Which networks it takes


def _node(model: onnx.ModelProto, kind: str) -> onnx.NodeProto:
    return next(n for n in model.graph.node if n.op_type == kind)


def _dilated(model: onnx.ModelProto) -> None:
    _node(model, "Conv").attribute.append(helper.make_attribute("dilations", [2, 2]))


def _other_activation(model: onnx.ModelProto) -> None:
    _node(model, "Relu").op_type = "Sigmoid"


def _other_order(model: onnx.ModelProto) -> None:
    _node(model, "DepthToSpace").attribute[1].s = b"DCR"


def _other_skip(model: onnx.ModelProto) -> None:
    _node(model, "Add").input[0] = "pair0.a"


def _half_weights(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer[0]
    values = numpy_helper.to_array(weight).astype(np.float64)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))


@pytest.mark.parametrize(
    "change", [_dilated, _other_activation, _other_order, _other_skip, _half_weights]
)
def test_any_other_graph_is_left_to_a_runtime(change: Callable[[onnx.ModelProto], None], tmp_path):
    described = network(tmp_path / "net.onnx", planes=8, width=8, pairs=1)
    assert read_plain_network(described) is not None
    model = onnx.load(described.path)
    change(model)
    onnx.save(model, tmp_path / "net.onnx")
    assert read_plain_network(described) is None
    with pytest.raises(EngineError, match="not a float32 network"):
        open_engine(described, (16, 16), engine="winograd")


@needs_onnxruntime
def test_a_network_of_another_exporter_is_left_to_a_runtime(tmp_path):
    model = describe(other_plain(tmp_path / "net.onnx", 8, 4))
    assert read_plain_network(model) is None
    assert open_engine(model, (16, 16)).spec.name in ("openvino", "onnxruntime")


def test_the_graph_is_read_as_onnx_reads_it(tmp_path):
    described = network(tmp_path / "net.onnx", planes=8, width=8, pairs=2)
    truth, found = onnx.load(described.path).graph, read_graph(described.path)
    assert [n.kind for n in found.nodes] == [n.op_type for n in truth.node]
    for node, expected in zip(found.nodes, truth.node, strict=True):
        assert list(node.inputs) == list(expected.input)
        values = {a.name: helper.get_attribute_value(a) for a in expected.attribute}
        plain_values = {
            name: tuple(v) if isinstance(v, list) else v.decode() if isinstance(v, bytes) else v
            for name, v in values.items()
        }
        assert node.attributes == plain_values
    for tensor in truth.initializer:
        expected = numpy_helper.to_array(tensor)
        if expected.dtype in (np.float32, np.int64):
            np.testing.assert_array_equal(found.constants[tensor.name], expected)


def test_a_cut_file_is_refused(tmp_path):
    described = network(tmp_path / "net.onnx", planes=8, width=8, pairs=1)
    whole = described.path.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EngineError, match="damaged"):
        read_graph(tmp_path / "cut.onnx")
