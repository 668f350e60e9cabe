"""The streaming pipeline equals the obvious whole-frame one, however it is cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oracle
from imagine_deblur import _core
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.engines import (
    CallableEngine,
    EngineSpec,
    ModelDescriptor,
    describe,
    native,
    open_engine,
)
from imagine_deblur.engines.model import Model
from imagine_deblur.psf.models import PSF
from imagine_deblur.restoration.stage import WienerStage
from imagine_deblur.restoration.wiener import WienerSpec
from networks import affine, plain
from pipelinekit import Cut, frame, identity, stream
from runtimes import RUNTIMES, needs_onnxruntime
from synthetic import natural

PSF_SMALL = PSF.defocus(2.0)
NSR = WienerSpec((2e-2,), 0)
SIZES = [(1, 1), (3, 8), (63, 65), (64, 64), (65, 63), (97, 131)]


# The linear stage


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("bands", [1, 3])
def test_wiener_equals_the_whole_frame(size, dtype, bands):
    image = frame((*size, 3) if bands == 3 else size, dtype)
    expected = oracle.finished(oracle.linear_planes(image, PSF_SMALL, NSR), image)
    for tile, threads in ((32, 1), (64, 2), (200, 3)):
        stage = WienerStage(PSF_SMALL, NSR)
        inputs = [bands + k for k in range(bands)]
        found, report = stream(
            image, identity(bands, tile), inputs, stage=stage, cut=Cut(threads=threads)
        )
        assert report["strips"] == 1
        # Halves may round either way: the oracle divides by 255 where the stage multiplies, and
        # the stage adds luma and colour difference after each was rounded to 1/4096.
        oracle.assert_images_close(found, expected, 1 if dtype == "uint8" else 1e-6)
        share = 0.06 if dtype == "uint8" and bands == 3 else 1e-3
        assert (np.abs(found.astype(float) - expected) > 1e-6).mean() < share


@pytest.mark.parametrize(("radius", "nsr"), [(1.5, 1e-3), (3.0, 2e-2), (3.0, 1e-3)])
def test_strips_with_their_margin_equal_the_whole_within_one_step(radius, nsr):
    psf = PSF.defocus(radius)
    rng = np.random.default_rng(0)
    image = degrade(natural(1100, 96, 5), psf, noise=0.004, rng=rng)
    stage = WienerStage(psf, WienerSpec((nsr,), 0))
    whole, one = stream(image, identity(3, 128), [3, 4, 5], stage=stage)
    cut, many = stream(image, identity(3, 128), [3, 4, 5], stage=stage, cut=Cut(strip=3))
    assert (one["strips"], one["margin_rows"]) == (1, 0)
    assert many["strips"] == 3
    assert many["margin_rows"] == stage.margin_rows() > 0
    oracle.assert_images_close(cut, whole, 1)


# Networks


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelDescriptor]:
    folder = tmp_path_factory.mktemp("networks")
    return {
        "plain": describe(plain(folder / "plain.onnx", 8, 3)),
        "affine": describe(affine(folder / "affine.onnx"), local=True),
    }


def run_network(
    image: Any, descriptor: ModelDescriptor, runtime: str, tile: int, cut: Cut
) -> tuple[Any, dict[str, Any]]:
    model = Model(descriptor.name, descriptor=descriptor)
    spec = descriptor.bank
    stage = WienerStage(PSF_SMALL, spec) if spec else None
    engine = native(open_engine(descriptor, (tile, tile), engine=runtime))
    bands = 1 if image.ndim == 2 else 3
    inputs = model.input_indices(bands, spec)
    return stream(image, engine, inputs, stage=stage, cut=cut, multiple_of=descriptor.multiple_of)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ["plain", "affine"])
def test_networks_in_tiles_equal_the_whole_frame(networks, runtime, name):
    for shape, dtype, tile, threads in (
        ((1, 1), "uint8", 64, 1),
        ((3, 8, 3), "uint8", 32, 2),
        ((63, 65, 3), "float32", 64, 3),
        ((65, 63), "float32", 48, 1),
        ((97, 131, 3), "uint8", 40, 2),
        ((97, 64), "uint8", 64, 2),
    ):
        image = frame(shape, dtype)
        expected = oracle.whole_network(image, networks[name], runtime, PSF_SMALL)
        found, _ = run_network(image, networks[name], runtime, tile, Cut(threads=threads))
        oracle.assert_images_close(found, expected, 1 if dtype == "uint8" else 2e-5)


@needs_onnxruntime
def test_a_network_over_the_bank_in_strips_equals_the_whole(networks):
    rng = np.random.default_rng(7)
    image = degrade(natural(1000, 80, 7), PSF_SMALL, noise=0.003, rng=rng)
    whole, one = run_network(image, networks["plain"], "onnxruntime", 128, Cut())
    cut, many = run_network(image, networks["plain"], "onnxruntime", 128, Cut(strip=3))
    assert one["strips"] == 1
    assert many["strips"] > 1
    oracle.assert_images_close(cut, whole, 1)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_tile_sizes_and_strips_agree_bit_for_bit_at_8_bits(networks, runtime):
    image = frame((131, 97, 3), seed=9)
    whole, report = run_network(image, networks["affine"], runtime, 200, Cut())
    assert report["tiles"] == 1
    for tile, strip in ((32, 1), (48, 2), (64, 1)):
        found, report = run_network(image, networks["affine"], runtime, tile, Cut(strip=strip))
        assert report["strips"] > 1
        np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_callables_are_blended_as_the_formula_says(bands, dtype):
    def network(tile: Any) -> Any:
        """Depends on the whole tile, so that every weight matters."""
        row = np.linspace(0, 1, tile.shape[1], dtype=np.float32)[:, None]
        return np.roll(tile, 1, axis=0) * row + tile.mean()

    for size in ((1, 1), (3, 8), (50, 120), (131, 97)):
        image = frame((*size, 3) if bands == 3 else size, dtype)
        for overlap, strip, threads in ((0, 1, 1), (7, 1, 2), (16, 2, 3)):
            engine = native(
                CallableEngine(network, EngineSpec("callable", "f32", 3, 3, 64, 64, local=False))
            )
            plan = _core.TilePlan(
                *size, tile_rows=64, tile_columns=64, overlap=overlap, may_shrink=False
            )
            expected = oracle.blended_network(image, network, plan)
            inputs = [0, 1, 2] if bands == 3 else [0, 0, 0]
            cut = Cut(strip, threads)
            found, _ = stream(image, engine, inputs, cut=cut, overlap=overlap)
            # Halves may round either way.
            oracle.assert_images_close(found, expected, 1 if dtype == "uint8" else 2e-6)


def test_data_are_images(data_dir: Path):
    """One real scene through a network in both cuts; the rest is done on synthetic ones."""
    files = sorted((data_dir / "val" / "aerial").glob("*.jpg"))
    reader = _core.JpegReader(str(files[0]))
    image = reader.read_rows(200)
    whole, _ = stream(image, identity(3, 512), [3, 4, 5], stage=WienerStage(PSF_SMALL, NSR))
    tiled, _ = stream(image, identity(3, 64), [3, 4, 5], stage=WienerStage(PSF_SMALL, NSR))
    np.testing.assert_array_equal(tiled, whole)


def test_strips_of_a_real_capture_equal_the_whole_within_one_step(data_dir: Path):
    reader = _core.JpegReader(str(data_dir / "captures" / "full" / "iss_015.jpg"))
    image = np.ascontiguousarray(reader.read_rows(reader.info["rows"])[:, 1200:1500])
    stage = WienerStage(PSF.defocus(6.8), WienerSpec((0.3,), 0))
    whole, _ = stream(image, identity(3, 512), [3, 4, 5], stage=stage)
    cut, report = stream(image, identity(3, 512), [3, 4, 5], stage=stage, cut=Cut(strip=1))
    assert report["strips"] >= 6
    # At the frame's own edges the extension fades towards another row in a strip.
    inside = np.s_[32:-32]
    oracle.assert_images_close(cut[inside], whole[inside], 1)
    assert (np.abs(cut.astype(int) - whole) > 1).mean() < 1e-3
