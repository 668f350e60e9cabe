"""The reblur check catches what a network invents, and leaves honest ones alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from test_wiener import extended_axis

from imagine_deblur import Session, _core, restore
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.engines import CallableEngine, EngineSpec, describe, native
from imagine_deblur.engines.model import bundled_models
from imagine_deblur.evaluation.metrics.fidelity import psnr
from imagine_deblur.psf.models import PSF
from imagine_deblur.restoration.block_sums import BlockSums
from imagine_deblur.restoration.pieces import Piece
from imagine_deblur.restoration.reblur_check import CAPTURE, KEPT, WIENER, ReblurCheck
from imagine_deblur.restoration.stage import WienerStage
from imagine_deblur.restoration.transfer import otf_for, sizes_for
from imagine_deblur.restoration.wiener import WienerSpec, wiener
from networks import plain, plain_descriptor
from onnx_graph import OnnxGraph
from plain_net import INPUTS, PlainNet
from runtimes import needs_onnxruntime
from synthetic import natural
from test_pipeline import Cut, stream

RADIUS = 2.5
BLUR = PSF.defocus(RADIUS)
PRESET = f"disk:{RADIUS}"


@pytest.fixture(scope="module")
def sharp() -> Any:
    return natural(192, 256, seed=21)


@pytest.fixture(scope="module")
def capture(sharp) -> Any:
    return degrade(sharp, BLUR, noise=0.003, rng=np.random.default_rng(2))


def linear(image: Any) -> Any:
    return np.clip(wiener(image.astype(np.float32) / 255, BLUR, 2e-2), 0, 1)


def honest(tile: Any) -> Any:
    """The linear restoration of the tile itself: explained by the capture."""
    return np.moveaxis(linear(np.moveaxis(tile, 0, -1) * 255), -1, 0)


class Inventor:
    """An honest callable that draws something in the first tile it sees that holds a marker."""

    def __init__(self, row: int, column: int, side: int = 24) -> None:
        self.patch = np.s_[:, row : row + side, column : column + side]

    def __call__(self, tile: Any) -> Any:
        restored = np.array(honest(tile))
        checker = np.indices(restored[self.patch].shape[1:]).sum(axis=0) // 6 % 2
        restored[self.patch] = checker
        return restored


@pytest.fixture(autouse=True)
def _check_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rims are lifted after the check, see test_rims.py."""
    monkeypatch.setattr(_core, "lift_rims", lambda *planes, **places: None)


def run(image: Any, model: Any, **options: Any) -> tuple[Any, Any]:
    with Session(psf=PRESET, model=model, threads=1, **options) as session:
        return session.restore_with_report(image)


def test_an_inventing_callable_is_caught_and_its_block_replaced(capture):
    row, column, side = 70, 100, 24
    inside = np.s_[row : row + side, column : column + side]
    plain_result, report = run(capture, Inventor(row, column), reblur_check=False)
    assert report.replaced_blocks == 0
    expected = linear(capture) * 255
    assert np.abs(plain_result[inside] - expected[inside]).mean() > 60
    guarded, report = run(capture, Inventor(row, column))
    # The blur spreads the evidence over the neighbours, no further.
    assert 1 <= report.replaced_blocks <= 12
    assert np.abs(guarded[inside] - expected[inside]).mean() < 4
    far = np.ones(capture.shape[:2], bool)
    far[row - 64 : row + side + 64, column - 64 : column + side + 64] = False
    assert far.any()
    np.testing.assert_array_equal(guarded[far], plain_result[far])


def test_an_honest_callable_is_not_touched(capture):
    found, report = run(capture, honest)
    assert report.replaced_blocks == 0
    without, _ = run(capture, honest, reblur_check=False)
    np.testing.assert_array_equal(found, without)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("bands", [1, 3])
def test_every_kind_of_frame_is_guarded(capture, dtype, bands):
    image = capture if bands == 3 else np.ascontiguousarray(capture[..., 1])
    if dtype == "float32":
        image = image.astype(np.float32) / np.float32(255)
    _, clean = run(image, honest)
    _, invented = run(image, Inventor(70, 100))
    assert clean.replaced_blocks == 0
    assert invented.replaced_blocks > 0


def test_without_a_known_blur_a_callable_is_not_reviewed(capture):
    """Nothing is known that it could be checked against."""
    with Session(model=Inventor(70, 100), threads=1) as session:
        _, report = session.restore_with_report(capture)
    assert (report.replaced_blocks, report.psf) == (0, None)


def inventing_network(path: Path) -> Path:
    """An ONNX network whose restoration turns bright ground into stripes."""
    g = OnnxGraph(0)
    x = g.input(len(INPUTS))
    base = g.pick(x, 3, 3)
    half = g.constant(np.array(0.5, np.float32))
    steep = g.constant(np.array(40.0, np.float32))
    wave = g.op("Sin", g.op("Mul", base, steep))
    g.output(g.op("Add", g.op("Mul", wave, half), half))
    bare = PlainNet(g.model(None), 0, 0.0, 0, 1)
    onnx.save(g.model(plain_descriptor(bare).to_metadata()), path)
    return path


@needs_onnxruntime
def test_networks_are_guarded_in_both_directions(capture, tmp_path):
    honest_net = plain(tmp_path / "honest.onnx", 8, 3)
    assert describe(honest_net).halo > 0
    _, fair = run(capture, honest_net, engine="onnxruntime")
    assert fair.replaced_blocks == 0
    liar = inventing_network(tmp_path / "liar.onnx")
    raw, _ = run(capture, liar, engine="onnxruntime", reblur_check=False)
    guarded, report = run(capture, liar, engine="onnxruntime")
    assert "blurred again" in report.passed_through  # it lies everywhere
    np.testing.assert_array_equal(guarded, capture)
    truth = linear(capture) * 255
    assert np.abs(guarded - truth).mean() < 0.5 * np.abs(raw - truth).mean()


# Frames without information


def frames() -> dict[str, Any]:
    rng = np.random.default_rng(5)
    cloud = 0.9 + 0.1 * (natural(128, 160, seed=6) - 0.45)
    return {
        "constant": np.full((128, 160, 3), 93, np.uint8),
        "black": np.zeros((128, 160, 3), np.uint8),
        "saturated": np.full((128, 160, 3), 255, np.uint8),
        "cloud": degrade(cloud, BLUR, noise=0.003, rng=rng),
    }


@pytest.mark.parametrize("name", ["constant", "black", "saturated"])
@pytest.mark.parametrize("model", ["wiener", honest], ids=["wiener", "callable"])
def test_flat_frames_stay_as_they_are(name, model):
    image = frames()[name]
    found, report = run(image, model)
    np.testing.assert_array_equal(found, image)
    assert report.replaced_blocks == 0


def test_a_network_that_paints_on_flat_ground_gets_the_capture_back():
    image = frames()["constant"]

    def painter(tile: Any) -> Any:
        """Texture that the blur nearly hides from the reblurred picture."""
        ripple = 0.03 * (-1.0) ** np.indices(tile.shape[1:]).sum(axis=0)
        return tile + ripple.astype(np.float32)

    raw, _ = run(image, painter, reblur_check=False)
    assert raw.std() > 5
    found, report = run(image, painter)
    assert report.replaced_blocks == 4 * 5  # every block of 32 px
    np.testing.assert_array_equal(found, image)


def test_clouds_are_not_blown_up():
    image = frames()["cloud"]
    found, _ = run(image, "wiener")
    assert found.astype(float).mean() == pytest.approx(image.mean(), abs=0.5)
    assert found.std() < 2 * image.std()


def test_a_saturated_half_is_no_worse_than_the_capture():
    sharp = natural(128, 160, seed=6)
    sharp[:, 80:] = 1
    image = degrade(sharp, BLUR, noise=0.003, rng=np.random.default_rng(5))
    found, _ = run(image, "wiener")
    assert found[:, 120:].min() > 235  # ripples of the step at most 8 % of full scale
    before, after = (psnr(x.astype(np.float32) / 255, sharp) for x in (image, found))
    assert after > before


def test_restoration_is_worth_it(capture, sharp):
    restored = restore(capture, psf=PRESET, model="wiener", threads=1)
    before = psnr(capture.astype(np.float32) / 255, sharp)
    assert psnr(restored.astype(np.float32) / 255, sharp) > before + 1.0


def silent_frames() -> dict[str, Any]:
    """Scenes that leave nothing to restore once they are blurred and noisy."""
    scene = natural(160, 192, seed=6)
    return {
        "grey": np.full_like(scene, 0.5),
        "dark": np.full_like(scene, 0.02),
        "saturated": np.ones_like(scene),
        "faint": 0.5 + 0.02 * (scene - 0.45),
        "dark scene": 0.02 * scene,
    }


@pytest.mark.skipif("fast" not in bundled_models(), reason="no network in this installation")
@pytest.mark.parametrize("blind", [False, True], ids=["given", "blind"])
@pytest.mark.parametrize("radius", [2.5, 6.8])
@pytest.mark.parametrize("name", sorted(silent_frames()))
def test_tiles_without_information_are_never_made_worse(name, radius, blind):
    scene = silent_frames()[name]
    psf = PSF.defocus(radius)
    with Session(model="fast", threads=1, psf=None if blind else psf) as session:
        for noise, quality in ((0.0, None), (0.006, None), (0.006, 90), (0.02, None), (0.02, 85)):
            image = degrade(
                scene, psf, noise=noise, jpeg_quality=quality, rng=np.random.default_rng(3)
            )
            found, report = session.restore_with_report(image)
            before, after = (
                float(np.sqrt(np.mean((x.astype(np.float32) / 255 - scene) ** 2)))
                for x in (image, found)
            )
            assert after < 1.02 * before + 1e-3, (noise, quality, report.replaced_blocks)
            assert report.block_map.shape == (5, 6)
            if report.passed_through:
                assert (report.block_map == CAPTURE).all()
            else:
                assert int((report.block_map != KEPT).sum()) == report.replaced_blocks


def test_a_flat_half_is_given_back_and_the_other_restored():
    sharp = natural(192, 256, seed=21)
    sharp[:, 128:] = 0.4
    image = degrade(sharp, BLUR, noise=0.006, rng=np.random.default_rng(2))
    found, report = run(image, honest)  # linear: noise comes out amplified
    mask = report.block_map
    assert (mask[:, 5:] == CAPTURE).all()
    assert (mask[:, :3] == KEPT).all()
    np.testing.assert_array_equal(found[:, 192:], image[:, 192:])
    left = np.s_[:, :96]
    before, after = (psnr(x[left].astype(np.float32) / 255, sharp[left]) for x in (image, found))
    assert after > before + 1.0


def summed(capture: Any, restored: Any, psf: PSF) -> BlockSums:
    """The sums over the blocks of a picture that is one strip and one piece."""
    rows, columns = capture.shape[:2]
    workers, sizes = _core.WorkerPool(1), sizes_for(rows, columns, 64)
    work = _core.Workplace(workers, np.empty(sizes.scratch_bytes(), np.uint8))
    planes = [
        [np.ascontiguousarray(picture[..., band]) for band in range(3)]
        for picture in (capture, restored)
    ]
    reblur = _core.Reblur(
        work,
        sizes,
        capture=planes[0],
        linear=[],
        linear_first=0,
        restored=planes[1],
        restored_first=0,
        several=False,
    )
    sums = BlockSums(rows, columns)
    whole = slice(0, columns)
    part = reblur.compare(otf_for(psf, sizes, workers))
    sums.take(part, Piece(whole, whole), np.ones(sums.shape, bool))
    return sums


def test_slopes_are_not_information():
    rows, columns = 40, 70  # the last blocks are cut
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    slope = 0.3 + 0.004 * x - 0.002 * y
    rng = np.random.default_rng(0)
    bumps = 0.01 * rng.standard_normal((rows, columns)).astype(np.float32)
    bumps[:, :32] = 0
    picture = np.repeat((slope + bumps)[..., None], 3, axis=2)
    power = summed(picture, picture, PSF(())).reblurred_power()
    assert power[:, 0].max() < 1e-8
    np.testing.assert_allclose(power[:, 1], 1e-4, rtol=0.25)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_sums_over_blocks_are_those_of_the_pictures(dtype):
    rng = np.random.default_rng(1)
    rows, columns = 75, 107
    one = 255 if dtype is np.uint8 else 1
    capture, restored = (
        (one * rng.random((rows, columns, 3), np.float32)).astype(dtype) for _ in range(2)
    )
    sums = summed(capture, restored, BLUR)
    weights = np.array([0.299, 0.587, 0.114])
    luma = [picture.astype(np.float64) @ weights / one for picture in (capture, restored)]
    blurred = dense_blur(luma[1], BLUR)
    for block_row, block_column in np.ndindex(sums.shape):
        block = np.s_[
            32 * block_row : 32 * block_row + 32, 32 * block_column : 32 * block_column + 32
        ]
        place = block_row, block_column
        residual = np.sqrt(np.mean((luma[0][block] - blurred[block]) ** 2))
        assert sums.rms_residual()[place] == pytest.approx(residual, rel=1e-4)
        for found, picture in zip(sums.deviations(), luma, strict=True):
            assert found[place] == pytest.approx(picture[block].std(), rel=1e-4, abs=1e-7)


def dense_blur(plane: Any, psf: PSF) -> Any:
    """The plane, extended as the check extends it, times the OTF; in double precision."""
    extended = extended_axis(extended_axis(plane.T, 64).T, 64)
    otf = psf.otf(*extended.shape).astype(np.complex128)
    blurred = np.fft.irfft2(np.fft.rfft2(extended) * otf, s=extended.shape)
    return blurred[: plane.shape[0], : plane.shape[1]]


# The parts


def test_the_mask_says_what_was_replaced(capture):
    kinds = {KEPT, WIENER, CAPTURE}
    with Session(psf=PRESET, model=Inventor(70, 100), threads=1) as session:
        session.restore(capture)
        check = session.parts.stage.reblur_check
    assert len(check.masks) == 1
    mask = check.masks[0]
    assert mask.shape == (6, 8)
    assert set(np.unique(mask)) <= kinds
    assert (mask[2:4, 3:4] == WIENER).any()
    assert (mask[:, 6:] == KEPT).all()


def test_inventions_are_caught_in_strips_too(capture):
    tall = np.concatenate([capture] * 4)
    row, column, side = 50, 60, 24  # of every tile; none of them cut by a blend
    inventor = Inventor(row, column, side)
    engine = native(
        CallableEngine(inventor, EngineSpec("callable", "f32", 3, 3, 192, 256, local=False))
    )
    truth = linear(tall) * 255
    replaced = []
    for cut in (Cut(), Cut(strip=1)):
        check = ReblurCheck()
        stage = WienerStage(BLUR, WienerSpec((2e-2,), 0), reblur_check=check)
        found, report = stream(tall, engine, [0, 1, 2], stage=stage, cut=cut)
        assert len(check.masks) == report["strips"]
        assert report["replaced_blocks"] == sum(int((m != KEPT).sum()) for m in check.masks)
        frame_mask = check.frame_mask(*tall.shape[:2])
        assert frame_mask.shape == (24, 8)
        blocks = [int((frame_mask[top : top + 6] != KEPT).sum()) for top in range(0, 24, 6)]
        assert min(blocks) >= 1
        for top in range(0, len(tall), 192):
            inside = np.s_[top + row : top + row + side, column : column + side]
            assert np.abs(found[inside] - truth[inside]).mean() < 4
        replaced.append((report["strips"], report["replaced_blocks"]))
    (one, whole), (many, strips) = replaced
    assert (one, many) == (1, 4)
    assert 4 <= strips <= 2 * whole
