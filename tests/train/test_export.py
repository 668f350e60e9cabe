"""The exported file computes what PyTorch computes, in both runtimes, and describes itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
onnx = pytest.importorskip("onnx", reason="export needs the extra [train]")

from imagine_deblur.cli.main import main  # noqa: E402
from imagine_deblur.engines.descriptor import describe  # noqa: E402
from imagine_deblur.errors import EngineError, OptionsError  # noqa: E402
from imagine_deblur.train import (  # noqa: E402
    export_onnx,
    onnx_graph,
)
from imagine_deblur.train.config import TrainConfig  # noqa: E402
from imagine_deblur.train.export import _RUNTIMES, compare, layers_of  # noqa: E402
from imagine_deblur.train.network import Network, NetworkSpec  # noqa: E402
from imagine_deblur.train.trainer import load_network, read_checkpoint  # noqa: E402
from trainkit import train  # noqa: E402

RUNTIMES = sorted(_RUNTIMES)


def randomised(spec: NetworkSpec) -> Network:
    network = Network(spec).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            fan = max(1, parameter[0].numel())
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan**0.5)
    return network


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("tile", [None, 48])
@pytest.mark.parametrize(
    "spec",
    [
        NetworkSpec(planes=8, width=6, pairs=2, unshuffle=2),
        NetworkSpec(planes=9, width=6, pairs=1, unshuffle=4, reparam=True),
        NetworkSpec(planes=6, width=4, pairs=0, unshuffle=1),
    ],
    ids=str,
)
def test_runtimes_agree_with_pytorch(
    runtime: str, tile: int | None, spec: NetworkSpec, tmp_path: Path
) -> None:
    pytest.importorskip(runtime, reason="the runtime is not installed")
    network = randomised(spec)
    path = tmp_path / "network.onnx"
    onnx.save(onnx_graph.build_model(layers_of(network), {}, tile=tile), path)
    rng = np.random.default_rng(0)
    shape = (1, spec.planes, tile or 40, tile or 56)
    planes = rng.uniform(-0.6, 0.6, shape).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(planes)).numpy()
    result = _RUNTIMES[runtime](path, planes)
    assert result.shape == (1, 3, *shape[2:])
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4)


def test_a_wrong_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the runtime is not installed")
    network = randomised(NetworkSpec(width=4, pairs=1))
    layers = layers_of(network)
    path = tmp_path / "network.onnx"
    bias = onnx_graph.Convolution(layers.tail.weight, layers.tail.bias + np.float32(0.01))
    wrong = onnx_graph.Layers(layers.head, layers.pairs, bias, layers.unshuffle)
    onnx.save(onnx_graph.build_model(wrong, {}), path)
    with pytest.raises(EngineError, match="differs from PyTorch"):
        compare(path, network)


def test_checkpoint_to_file_with_descriptor(
    tiny_config: TrainConfig, scenes_dir: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="the runtime is not installed")
    checkpoint = train(tiny_config, scenes_dir, tmp_path / "run", until=2)
    written = export_onnx(checkpoint, tmp_path / "out" / "tiny.onnx")
    held = describe(tmp_path / "out" / "tiny.onnx")
    assert written["difference"]["onnxruntime"] < 1e-4
    assert held.name == "tiny"
    assert held.inputs == (
        "capture.r", "capture.g", "capture.b",
        "wiener.1.r", "wiener.1.g", "wiener.1.b", "wiener.0.y", "wiener.2.y",
        "noise",
    )  # fmt: skip
    assert (held.nsr, held.chroma) == (tiny_config.planes.nsr, tiny_config.planes.chroma)
    assert held.halo == 8
    assert held.multiple_of == 2
    assert held.input_offset == 0.5
    assert held.training["steps"] == 2
    assert len(held.training["data_sha256"]) == 64
    assert held.psf_range["disk_radius_px"] == (0.0, 9.0)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["tiny.onnx"]
    model = onnx.load(tmp_path / "out" / "tiny.onnx")
    assert model.opset_import[0].version >= 17
    dims = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert dims == [1, 9, "height", "width"]


def test_averaged_weights_are_exported(
    tiny_config: TrainConfig, scenes_dir: Path, tmp_path: Path
) -> None:
    checkpoint = train(tiny_config, scenes_dir, tmp_path / "run", until=3)
    state = read_checkpoint(checkpoint)
    network, _, _ = load_network(checkpoint)
    assert torch.equal(network.state_dict()["head.weight"], state["average"]["head.weight"])
    assert not torch.equal(state["average"]["head.weight"], state["network"]["head.weight"])


def test_odd_tile_is_refused(tiny_config: TrainConfig, scenes_dir: Path, tmp_path: Path) -> None:
    checkpoint = train(tiny_config, scenes_dir, tmp_path / "run", until=1)
    with pytest.raises(OptionsError, match="tile"):
        export_onnx(checkpoint, tmp_path / "x.onnx", tile=33)


def test_tiny_network_needs_no_training(tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    descriptor = onnx_graph.tiny_network(str(path), nsr=(1e-1, 1e-3), base=0, tile=32)
    assert describe(path).to_json() == descriptor.to_json()
    assert descriptor.inputs[-1] == "wiener.1.y"
    assert path.stat().st_size < 20_000
    first = path.read_bytes()
    onnx_graph.tiny_network(str(path), nsr=(1e-1, 1e-3), base=0, tile=32)
    assert path.read_bytes() == first


def test_command_line(
    tiny_config: TrainConfig,
    scenes_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("onnxruntime", reason="the runtime is not installed")
    checkpoint = train(tiny_config, scenes_dir, tmp_path / "run", until=1)
    assert main(["export", str(checkpoint), str(tmp_path / "x.onnx"), "--tile", "64"]) == 0
    assert json.loads(capsys.readouterr().out)["halo"] == 8
    assert main(["export", str(tmp_path / "missing.pt"), str(tmp_path / "y.onnx")]) == 8
    assert "missing.pt" in capsys.readouterr().err
    wrong = ["export", str(checkpoint), str(tmp_path / "y.onnx"), "--scale", "4"]
    assert main(wrong) == 2
    assert "scale" in capsys.readouterr().err
    arguments = ["train", "fast", str(scenes_dir), str(tmp_path / "z"), "--workers", "2"]
    assert main(arguments) == 2
    assert "workers" in capsys.readouterr().err
