"""Networks whose kernels are mixed once a frame: shares, files, engines, sessions."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="networks are written with the extra [train]")

from imagine_deblur import Session  # noqa: E402
from imagine_deblur.capture.ring_gain import TRAITS  # noqa: E402
from imagine_deblur.degradation.forward import degrade  # noqa: E402
from imagine_deblur.engines import EngineSettings, open_engine  # noqa: E402
from imagine_deblur.engines.descriptor import describe  # noqa: E402
from imagine_deblur.engines.mixture import (  # noqa: E402
    ROUTER,
    STEPS,
    mixed_constants,
    mixed_file,
    shares_for,
)
from imagine_deblur.engines.onnx_file import read_graph  # noqa: E402
from imagine_deblur.errors import EngineError  # noqa: E402
from imagine_deblur.psf import PSF  # noqa: E402
from imagine_deblur.train.onnx_graph import random_layers, tiny_network  # noqa: E402
from synthetic import natural  # noqa: E402

SIDE = 32


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("mixture") / "net.onnx"
    tiny_network(str(path), experts=3, seed=5)
    return describe(path)


def runtimes():
    modules = {"winograd": None, "onnxruntime": "onnxruntime", "openvino": "openvino"}
    return [n for n, module in modules.items() if module is None or find_spec(module)]


def answer(descriptor, engine):
    rng = np.random.default_rng(1)
    planes = rng.uniform(-0.5, 0.5, (len(descriptor.inputs), SIDE, SIDE)).astype(np.float32)
    image = np.empty((3, SIDE, SIDE), np.float32)
    settings = EngineSettings(threads=1, precision="f32")
    opened = open_engine(descriptor, (SIDE, SIDE), engine=engine, settings=settings)
    opened.infer(planes, image)
    return image


def test_shares_are_sixteenths_that_add_up_to_one(network):
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(200):
        shares = shares_for(network, rng.normal(0, 2, TRAITS).astype(np.float32))
        assert sum(shares) == 1.0
        assert all(share * STEPS == int(share * STEPS) >= 0 for share in shares)
        seen.add(shares)
    assert len(seen) > 10


def test_a_share_of_one_is_that_experts_own_network(network):
    graph = read_graph(network.path)
    for k in range(3):
        one = tuple(float(k == other) for other in range(3))
        layers = random_layers(planes=8, width=4, pairs=1, unshuffle=2, seed=5 + k)
        mixed = mixed_constants(graph, replace(network, shares=one))
        np.testing.assert_allclose(mixed["tail.weight"], layers.tail.weight, atol=2e-3)
        np.testing.assert_allclose(mixed["pair0.a.bias"], layers.pairs[0][0].bias, atol=2e-3)


def test_mixed_weights_lie_between_the_experts(network):
    graph = read_graph(network.path)

    def mixed(shares):
        return mixed_constants(graph, replace(network, shares=shares))

    ends = [mixed(tuple(float(k == j) for j in range(3))) for k in range(3)]
    middle = mixed((0.5, 0.25, 0.25))
    for name, value in middle.items():
        wanted = 0.5 * ends[0][name] + 0.25 * (ends[1][name] + ends[2][name])
        np.testing.assert_allclose(value, wanted, atol=1e-6)


def test_the_mixed_file_is_a_plain_network(network, tmp_path):
    shares = (0.25, 0.5, 0.25)
    path = tmp_path / "mixed.onnx"
    path.write_bytes(mixed_file(replace(network, shares=shares)))
    onnx.checker.check_model(onnx.load(path))
    wanted = mixed_constants(read_graph(network.path), replace(network, shares=shares))
    found = read_graph(path).constants
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("engine", runtimes())
def test_every_engine_runs_the_mixed_network(network, engine):
    shares = (0.25, 0.5, 0.25)
    descriptor = replace(network, shares=shares)
    first, mixed = answer(network, "winograd"), answer(descriptor, "winograd")
    assert np.abs(first - mixed).max() > 1e-3
    inside = (slice(None), slice(network.halo, -network.halo), slice(network.halo, -network.halo))
    np.testing.assert_allclose(answer(descriptor, engine)[inside], mixed[inside], atol=2e-5)


def test_a_session_adapts_to_each_capture(network):
    scene, rng = natural(200, 216, seed=3), np.random.default_rng(0)
    clean = degrade(scene, PSF.defocus(4.0), rng=rng)
    noisy = degrade(scene, PSF.defocus(4.0), noise=0.03, jpeg_quality=70, rng=rng)
    with Session(model=network.path, psf="disk:4", threads=1, reblur_check=False) as session:
        shares = []
        for frame in (clean, noisy, clean):
            _, report = session.restore_with_report(frame)
            assert report.restored
            assert report.model == "net"
            key = session.parts.engine
            assert key is not None
            shares.append(key[0][0].descriptor.shares)
    assert shares[0] == shares[2] != shares[1]
    assert sum(shares[1]) == 1.0


def test_a_router_for_other_captures_is_refused(network, tmp_path):
    model = onnx.load(network.path)
    kept = [c for c in model.graph.initializer if c.name != ROUTER[0]]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    path = tmp_path / "without.onnx"
    onnx.save(model, path)
    with pytest.raises(EngineError, match="router lacks"):
        shares_for(describe(path), np.zeros(TRAITS, np.float32))
    with pytest.raises(EngineError, match="export the network again"):
        shares_for(network, np.zeros(TRAITS + 1, np.float32))


@pytest.mark.parametrize("engine", runtimes())
def test_experts_of_another_network_are_refused(network, tmp_path, engine):
    for change in ("shape", "name"):
        model = onnx.load(network.path)
        for constant in model.graph.initializer:
            if constant.name == "pair0.a.weight.experts" and change == "shape":
                value = onnx.numpy_helper.to_array(constant)[:, :, :2]
                constant.CopyFrom(onnx.numpy_helper.from_array(value.copy(), constant.name))
            elif constant.name == "pair0.a.weight.experts":
                constant.name = "other.weight.experts"
        path = tmp_path / f"{change}.onnx"
        onnx.save(model, path)
        with pytest.raises(EngineError, match=f"{change}.onnx: its experts are not those of"):
            answer(replace(describe(path), shares=(0.25, 0.5, 0.25)), engine)
