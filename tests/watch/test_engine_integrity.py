"""Networks in the watch service: their weights are checked, and they adapt to each capture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagine_deblur import _core
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.engines.descriptor import describe
from imagine_deblur.engines.model import build_engine, bundled_models
from imagine_deblur.engines.onnx_file import read_graph
from imagine_deblur.options import Options
from imagine_deblur.psf.models import PSF
from imagine_deblur.watch.session import SelfCheckingSession
from synthetic import natural

pytestmark = pytest.mark.skipif(not bundled_models(), reason="no bundled network")


def guarded(tmp_path: Path, **options: Any) -> SelfCheckingSession:
    options = {"psf": "disk:2.5", "threads": 1, "tile": 192} | options
    session = SelfCheckingSession(Options(**options), tmp_path / "good")
    session.start()
    return session


def plant(session: SelfCheckingSession, weights: Path) -> None:
    """Exchange the warm engine for one of other weights, under the same name."""
    parts = session.session.parts
    assert parts.engine is not None
    key, engine = parts.engine
    model: Any = key[0]
    descriptor = replace(describe(weights), shares=model.descriptor.shares)
    other = replace(model, descriptor=descriptor)
    sizes = engine.tile_rows, engine.tile_columns, engine.output_bands
    parts._engine = key, build_engine(other, session._options, _core.WorkerPool(1), *sizes)


def noisy(seed: int, noise: float, quality: int) -> bytes:
    """A capture whose noise decides how the network's experts are mixed."""
    rng = np.random.default_rng(seed)
    scene = natural(160, 192, seed=seed)
    blurred = degrade(scene, PSF.defocus(2.5), noise=noise, rng=rng)
    return _core.encode_jpeg(blurred, quality=quality)


def flip(path: Path, byte: int) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 0x10
    path.write_bytes(data)


def test_damaged_weights_are_noticed_and_mended(tmp_path: Path, source: Path) -> None:
    weights = tmp_path / "net.onnx"
    weights.write_bytes(bundled_models()["fast"].read_bytes())
    session = guarded(tmp_path, model=str(weights), nsr=0.02)
    session.restore(str(source), tmp_path / "wanted.jpg")
    wanted = (tmp_path / "wanted.jpg").read_bytes()
    flip(weights, 300_000)
    session.restore(str(source), tmp_path / "found.jpg")
    assert session.events["weights_disk"] == 1
    assert (tmp_path / "found.jpg").read_bytes() == wanted

    # The same in the runtime's memory: another engine answers under the good one's name.
    assert session.session.parts.engine is not None
    key, good = session.session.parts.engine

    def off_by_a_little(source: Any, result: Any) -> None:
        good.infer(source, result)
        result += np.float32(0.01)

    session.session.parts._engine = (
        key,
        _core.CallableEngine(
            off_by_a_little,
            input_planes=good.input_planes,
            output_bands=good.output_bands,
            tile_rows=good.tile_rows,
            tile_columns=good.tile_columns,
            halo=good.halo,
            local=good.local,
            input_offset=0.5,
        ),
    )
    session.restore(str(source), tmp_path / "found.jpg")
    assert session.events["engine"] == 1
    assert (tmp_path / "found.jpg").read_bytes() == wanted


def test_a_flip_that_no_tile_stirs_is_noticed_and_mended(tmp_path: Path, source: Path) -> None:
    content = bytearray(bundled_models()["fast"].read_bytes())
    offsets = read_graph(bundled_models()["fast"]).offsets
    bias = offsets["pair1.a.bias"]
    content[bias : bias + 4] = np.float32(-1e6).tobytes()  # this unit answers to nothing
    weights, damaged = tmp_path / "net.onnx", tmp_path / "damaged.onnx"
    weights.write_bytes(content)
    content[offsets["pair1.a.weight"] + 3] ^= 0x10  # one of the unit's own weights
    damaged.write_bytes(content)
    session = guarded(tmp_path, model=str(weights), nsr=0.02)
    session.restore(str(source), tmp_path / "wanted.jpg")
    plant(session, damaged)
    session.restore(str(source), tmp_path / "found.jpg")
    assert session.events["engine"] == 1
    assert (tmp_path / "found.jpg").read_bytes() == (tmp_path / "wanted.jpg").read_bytes()
    assert session.check() == []


@pytest.mark.parametrize("psf", ["disk:2.5", None])
def test_captures_with_other_noise_are_no_damage(tmp_path: Path, psf: str | None) -> None:
    session = guarded(tmp_path, psf=psf, model="fast")
    mixtures = set()
    for seed, (noise, quality) in enumerate([(0.003, 92), (0.02, 92), (0.001, 98), (0.03, 70)]):
        capture = tmp_path / "capture.jpg"
        capture.write_bytes(noisy(seed, noise, quality))
        session.restore(str(capture), tmp_path / "out.jpg")
        assert session.session.parts.engine is not None
        mixtures.add(session.session.parts.engine[0][0].descriptor.shares)  # type: ignore[attr-defined]
    assert len(mixtures) > 1
    assert not session.events


def test_a_frame_refuted_for_damaged_weights_is_made_again(tmp_path: Path, source: Path) -> None:
    weights, damaged = tmp_path / "net.onnx", tmp_path / "damaged.onnx"
    content = bytearray(bundled_models()["fast"].read_bytes())
    weights.write_bytes(content)
    first = read_graph(weights).offsets["head.weight"]
    content[first : first + 4] = np.float32(1000.0).tobytes()
    damaged.write_bytes(content)
    session = guarded(tmp_path, model=str(weights), nsr=0.02)
    session.restore(str(source), tmp_path / "wanted.jpg")
    plant(session, damaged)
    report = session.restore(str(source), tmp_path / "found.jpg")
    assert session.events["engine"] == 1
    assert report.passed_through is None
    assert (tmp_path / "found.jpg").read_bytes() == (tmp_path / "wanted.jpg").read_bytes()
