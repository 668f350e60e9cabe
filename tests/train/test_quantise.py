"""Post-training quantisation: integer inside, the same picture outside, in both runtimes."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from PIL import Image

from imagine_deblur import Session
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.engines import EngineSettings, describe, open_engine
from imagine_deblur.engines.descriptor import (
    ModelDescriptor,
    file_sha256,
    int8_sibling,
)
from imagine_deblur.engines.integer_weights import quantised_weights
from imagine_deblur.engines.mixture import mixed_file
from imagine_deblur.engines.model import bundled_models, resolve_model
from imagine_deblur.errors import EngineError, OptionsError
from imagine_deblur.psf.models import PSF
from imagine_deblur.train.activations import activation_scale, activation_scales, tensors
from imagine_deblur.train.onnx_graph import build_model, random_layers, tiny_network
from imagine_deblur.train.quantise import quantise, quantise_model
from synthetic import natural

RUNTIMES = ["onnxruntime", "openvino"] if find_spec("openvino") else ["onnxruntime"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, a folder of scenes, and the network's int8 version."""
    place = tmp_path_factory.mktemp("quantise")
    (place / "scenes").mkdir()
    for k in range(2):
        scene = (255 * natural(160, 180, seed=30 + k)).astype(np.uint8)
        Image.fromarray(scene).save(place / "scenes" / f"{k}.png")
    tiny_network(str(place / "net.onnx"), width=16, pairs=2)
    quantise(place / "net.onnx", place / "net.int8.onnx", place / "scenes", groups=6)
    return place


def planes(seed: int, side: int = 96) -> np.ndarray:
    """Planes with structure: the same scene in each, as a bank makes them."""
    scene = np.moveaxis(natural(side, side, seed=seed), -1, 0) - np.float32(0.5)
    return np.ascontiguousarray(np.concatenate([scene, scene, scene[:2]]), np.float32)


def run(model: ModelDescriptor, tile: np.ndarray, runtime: str, precision: str) -> np.ndarray:
    engine = open_engine(
        model, tile.shape[1:], engine=runtime, settings=EngineSettings(precision=precision)
    )
    output = np.empty(engine.spec.output_shape, np.float32)
    engine.infer(tile, output)
    assert engine.spec.precision == ("int8" if precision == "int8" else "f32")
    return output


def test_scales_make_less_error_than_the_full_range():
    rng = np.random.default_rng(1)
    values = rng.standard_normal((4, 5000)).astype(np.float32)
    values[2] *= 0.05  # a channel that one step for all would lose
    values[0, 0] = 30.0
    scale = activation_scale(values)
    assert scale.zero == 128
    step = np.abs(values).max() / 127
    naive = np.square(np.rint(values / step) * step - values).mean(axis=1)
    error = np.square(scale.rounded(values) - values).mean(axis=1)
    assert error[2] < 0.2 * naive[2]
    assert error.mean() < naive.mean()
    assert activation_scale(np.abs(values)).zero == 0
    weights, steps = quantised_weights(values.reshape(4, 5000, 1, 1)[:, :900].reshape(4, 100, 3, 3))
    assert np.abs(weights).max() <= 127
    assert steps[2] < 0.2 * steps[1]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_picture_stays_the_same(folder: Path, runtime: str):
    whole, rounded = describe(folder / "net.onnx"), describe(folder / "net.int8.onnx")
    for seed in (40, 41):  # not a calibration scene
        tile = planes(seed)
        expected = run(whole, tile, runtime, "f32")
        found = run(rounded, tile, runtime, "int8")
        change = float(np.std(expected - tile[3:6]))
        difference = float(np.sqrt(np.mean((found - expected) ** 2)))
        assert change > 0.01  # the network does something
        assert 0 < difference < 0.05 * change


def test_runtimes_agree_on_int8(folder: Path):
    if len(RUNTIMES) < 2:
        pytest.skip("one runtime installed")
    rounded = describe(folder / "net.int8.onnx")
    one, other = (run(rounded, planes(42), runtime, "int8") for runtime in RUNTIMES)
    assert np.sqrt(np.mean((one - other) ** 2)) < 1e-3


@pytest.fixture(scope="module")
def mixture(folder: Path) -> Path:
    """A folder with a network of three experts and its int8 version."""
    place = folder / "mixture"
    place.mkdir()
    tiny_network(str(place / "net.onnx"), width=16, pairs=2, experts=3, seed=7)
    quantise(place / "net.onnx", place / "net.int8.onnx", folder / "scenes", groups=6)
    return place


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("shares", [(0.75, 0.0, 0.25), (0.5625, 0.0, 0.4375)])
def test_integer_experts_are_mixed_too(
    mixture: Path, runtime: str, shares: tuple[float, ...]
) -> None:
    """The int8 network of a capture is near its f32 one, and far from that of another.

    The shares are of captures as this router sees them: what experts it never chooses would make
    is not looked at when activations are given their range.
    """
    whole, rounded = describe(mixture / "net.onnx"), describe(mixture / "net.int8.onnx")
    assert (rounded.precision, rounded.experts) == ("int8", 3)
    tile = planes(40)
    expected, other = (
        run(replace(whole, shares=some), tile, runtime, "f32") for some in (shares, shares[::-1])
    )
    found = run(replace(rounded, shares=shares), tile, runtime, "int8")
    change = float(np.std(expected - tile[3:6]))
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.05 * change
    assert np.sqrt(np.mean((other - expected) ** 2)) > 0.3 * change


def test_mixed_integers_are_the_mixture_of_the_experts_own(mixture: Path) -> None:
    rounded = describe(mixture / "net.int8.onnx")

    def weights(shares: tuple[float, ...], name: str) -> tuple[np.ndarray, np.ndarray]:
        content = (
            mixed_file(replace(rounded, shares=shares)) if shares else rounded.path.read_bytes()
        )
        held = {w.name: w for w in onnx.load_from_string(content).graph.initializer}
        values, steps = (onnx.numpy_helper.to_array(held[name + end]) for end in (".q", ".dq.step"))
        steps = steps.reshape(-1, *[1] * (values.ndim - 1))
        return values * steps, steps

    shares = (0.25, 0.25, 0.5)
    for name in ("pair0.a.weight", "pair1.b.weight", "pair0.b.bias"):
        own = [weights(tuple(float(k == j) for j in range(3)), name) for k in range(3)]
        mixed, steps = weights(shares, name)
        expected = sum(share * value for share, (value, _) in zip(shares, own, strict=True))
        clipped = np.abs(mixed) > 126 * steps
        allowed = steps + max(step.max() for _, step in own)
        assert np.all(clipped | (np.abs(mixed - expected) < allowed))
        plain, steps = weights((), name)  # what a runtime alone would run: the first expert
        assert np.abs(plain - own[0][0]).max() < 1.5 * steps.max()


def test_a_capture_chooses_its_integer_network(mixture: Path) -> None:
    sharp = natural(100, 120, seed=9)
    shares = set()
    for radius, noise in ((1.5, 0.001), (4.0, 0.01)):
        psf = PSF.defocus(radius)
        image = degrade(sharp, psf, noise=noise, rng=np.random.default_rng(1))
        model = mixture / "net.onnx"
        with Session(model=model, psf=psf, precision="int8", threads=1) as session:
            restored, report = session.restore_with_report(image)
        with Session(model=model, psf=psf, threads=1) as session:
            whole = session.restore(image)
        assert report.precision == "int8"
        assert np.abs(whole.astype(int) - restored).mean() < 1
        shares.add(restored.tobytes())
    assert len(shares) == 2


def test_convolutions_inside_are_integer(folder: Path, tmp_path: Path):
    import onnxruntime

    model = onnx.load(folder / "net.int8.onnx")
    kinds = {w.name: w.data_type for w in model.graph.initializer}
    inner = [n for n in kinds if n.startswith("pair") and n.endswith("weight.q")]
    assert len(inner) == 4
    assert all(kinds[name] == TensorProto.INT8 for name in inner)
    assert kinds["head.weight"] == kinds["tail.weight"] == TensorProto.FLOAT
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3  # it warns that the file fits this machine only
    onnxruntime.InferenceSession(
        str(folder / "net.int8.onnx"), options, providers=["CPUExecutionProvider"]
    )
    done = onnx.load(tmp_path / "optimised.onnx").graph.node
    assert sum(n.op_type == "QLinearConv" for n in done) == 4


def test_the_file_says_where_it_comes_from(folder: Path):
    parent, made = describe(folder / "net.onnx"), describe(folder / "net.int8.onnx")
    assert (parent.precision, made.precision) == ("f32", "int8")
    assert made.training["quantised_from_sha256"] == file_sha256(folder / "net.onnx")
    assert made.training["calibration"]["crops"] == 54
    assert len(made.training["calibration"]["data_sha256"]) == 64
    assert (made.inputs, made.halo, made.nsr) == (parent.inputs, parent.halo, parent.nsr)
    again = folder / "again.onnx"
    quantise(folder / "net.onnx", again, folder / "scenes", groups=6)
    assert again.read_bytes() == (folder / "net.int8.onnx").read_bytes()


def test_what_cannot_be_quantised_is_refused(folder: Path, tmp_path: Path):
    with pytest.raises(EngineError, match="int8 already"):
        quantise(folder / "net.int8.onnx", tmp_path / "x.onnx", folder / "scenes")
    shallow = build_model(random_layers(pairs=0), {})
    with pytest.raises(EngineError, match="at least three convolutions"):
        quantise_model(shallow, activation_scales([(shallow, planes(1)[None])]))
    tiny_network(str(tmp_path / "named.onnx"), pairs=1)
    described = describe(tmp_path / "named.onnx")
    model = onnx.load(described.path)
    other = [*described.inputs[:6], described.inputs[7], described.inputs[6]]
    onnx.helper.set_model_props(
        model, ModelDescriptor(**{**vars(described), "inputs": tuple(other)}).to_metadata()
    )
    onnx.save(model, tmp_path / "named.onnx")
    with pytest.raises(OptionsError, match=r"a network of imagine_deblur\.train"):
        quantise(tmp_path / "named.onnx", tmp_path / "x.onnx", folder / "scenes")
    assert not (tmp_path / "x.onnx").exists()


def test_tensors_are_those_of_the_graph(folder: Path):
    model = onnx.load(folder / "net.onnx")
    ((head, image),) = tensors(model, ["head.relu", "image"], planes(3)[None])
    assert head.shape == (1, 16, 48, 48)
    assert head.min() == 0
    np.testing.assert_allclose(
        image[0], run(describe(folder / "net.onnx"), planes(3), "onnxruntime", "f32"), atol=1e-6
    )


# Through the API


@pytest.mark.parametrize("engine", [*RUNTIMES, "auto"])
def test_precision_int8_takes_the_file_beside_the_network(folder: Path, engine: str):
    sharp = natural(100, 120, seed=9)
    image = degrade(sharp, PSF.defocus(2.0), noise=0.003, rng=np.random.default_rng(1))
    settings = {"psf": PSF.defocus(2.0), "engine": engine, "threads": 1, "reblur_check": False}
    with Session(model=folder / "net.onnx", precision="int8", **settings) as session:
        found, report = session.restore_with_report(image)
    assert report.precision == "int8"
    assert report.model_sha256 == file_sha256(folder / "net.int8.onnx")
    with Session(model=folder / "net.int8.onnx", **settings) as session:  # named itself
        named, report = session.restore_with_report(image)
    assert report.precision == "int8"
    assert np.abs(named.astype(int) - found).max() <= 1  # the layers around may be bf16 here
    with Session(model=folder / "net.onnx", **settings) as session:
        whole, report = session.restore_with_report(image)
    assert report.precision == "f32"
    assert np.abs(whole.astype(int) - found).mean() < 1


def test_int8_without_its_file_is_refused(tmp_path: Path):
    tiny_network(str(tmp_path / "alone.onnx"))
    with pytest.raises(EngineError, match=r"alone\.int8\.onnx.*quantise"):
        resolve_model(tmp_path / "alone.onnx", "int8")


@pytest.mark.skipif("fast" not in bundled_models(), reason="no network in this installation")
def test_the_bundled_int8_belongs_to_the_bundled_network():
    path = bundled_models()["fast"]
    made = describe(int8_sibling(path))
    assert made.training["quantised_from_sha256"] == file_sha256(path)
    assert made.experts == describe(path).experts > 1
    assert made.path.stat().st_size < path.stat().st_size
    assert resolve_model("fast", "int8").for_capture(None).sha256 == made.sha256
