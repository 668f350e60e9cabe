"""`Session`, `process` and `restore`: options, blind runs, reports, resources."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oracle
from imagine_deblur import Options, Session, process, restore
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.engines.model import bundled_models
from imagine_deblur.errors import (
    EngineError,
    InputImageError,
    OptionsError,
)
from imagine_deblur.evaluation.metrics.fidelity import psnr
from imagine_deblur.psf.models import PSF
from imagine_deblur.restoration.wiener import WienerSpec
from jpegkit import decoded, jpeg
from networks import plain
from runtimes import needs_onnxruntime
from synthetic import natural

BLUR = PSF.defocus(2.5)


def linear(image: Any, psf: PSF = BLUR, nsr: float = 2e-2) -> Any:
    return oracle.finished(oracle.linear_planes(image, psf, WienerSpec((nsr,), 0)), image)


# Arrays


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("threads", [1, 3])
def test_restore_equals_the_oracle(scene, dtype, bands, threads):
    image = scene if bands == 3 else np.ascontiguousarray(scene[..., 0])
    if dtype == "float32":
        image = image.astype(np.float32) / np.float32(255)
    found = restore(image, psf=BLUR, model="wiener", threads=threads, tile=64)
    oracle.assert_images_close(found, linear(image), 1 if dtype == "uint8" else 1e-6)


def test_out_receives_the_result_and_is_returned(scene):
    out = np.zeros_like(scene)
    found = restore(scene, out=out, psf=BLUR, model="wiener")
    assert found is out
    np.testing.assert_array_equal(out, restore(scene, psf=BLUR, model="wiener"))


def test_out_must_not_overlap_the_image(scene):
    image = scene.copy()
    with pytest.raises(OptionsError, match="overlap"):
        restore(image, out=image, psf=BLUR, model="wiener")
    np.testing.assert_array_equal(image, scene)


@pytest.mark.parametrize("size", [(1, 1), (3, 8), (40, 40), (40, 600), (513, 511)])
def test_callables_work_on_any_size(size):
    """Small frames shrink the tile below twice the overlap."""
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    np.testing.assert_array_equal(restore(image, model=lambda tile: tile), image)


@needs_onnxruntime
def test_grey_frames_go_through_colour_networks(scene, tmp_path):
    net = plain(tmp_path / "net.onnx", 8, 3)
    grey = np.ascontiguousarray(scene[..., 0])
    found = restore(grey, psf=BLUR, model=net, engine="onnxruntime", reblur_check=False)
    from imagine_deblur.engines import describe

    expected = oracle.whole_network(grey, describe(net), "onnxruntime", BLUR)
    oracle.assert_images_close(found, expected, 1)


# Options and models


@pytest.mark.parametrize(
    "changes",
    [
        {"quality": 101},
        {"quality": True},
        {"subsampling": "4:1:1"},
        {"tile": 16},
        {"overlap": -1},
        {"threads": 0},
        {"nice": 20},
        {"nsr": 0.0},
        {"nsr": float("nan")},
        {"deadline": -1.0},
        {"max_ram": "lots"},
        {"max_ram": 0},
        {"max_pixels": 0},
        {"engine": "tpu"},
        {"precision": "f16"},
        {"scheduling": "fifo"},
        {"without_information": "guess"},
    ],
)
def test_options_outside_their_range_name_the_field(changes):
    (field,) = changes
    with pytest.raises(OptionsError) as caught:
        Options(**changes)
    assert caught.value.field == field
    assert field in str(caught.value)


def test_unknown_options_and_models_are_refused(tmp_path):
    with pytest.raises(TypeError):
        Session(colour="red")
    with pytest.raises(EngineError, match="is neither a file nor"):
        Session(model=tmp_path / "none.onnx")
    empty = tmp_path / "empty.onnx"
    empty.write_bytes(b"nothing")
    with pytest.raises(EngineError):
        Session(model=empty)


@pytest.mark.parametrize(
    ("text", "value"),
    [("300MB", 300_000_000), ("1.5GiB", 1_610_612_736), ("64k", 64_000), (" 5 mib ", 5 << 20)],
)
def test_sizes_in_words(text, value):
    assert Options(max_ram=text).ram_bytes == value


def test_identity_returns_every_frame_exactly(scene):
    np.testing.assert_array_equal(restore(scene, model="identity"), scene)


# Reports and sessions


def test_the_report_is_plain_json_and_adds_up(capture_file):
    report = process(capture_file, psf="disk:2.5", model="wiener", threads=2)
    values = json.loads(json.dumps(report.as_dict()))
    assert values["output"] == str(capture_file.with_name("capture.restored.jpg"))
    assert (values["rows"], values["columns"], values["bands"]) == (96, 120, 3)
    assert values["threads"] == 2
    assert values["strips"] == 1
    phases = sum(s for name, s in report.seconds.items() if name != "total")
    assert 0 < phases <= report.seconds["total"]
    assert report.pool["high_water"] <= report.pool["capacity"]
    assert report.peak_bytes >= report.pool["high_water"]
    assert report.megapixels_per_second > 0


def test_bytes_files_and_paths_give_the_same(capture_file, capture):
    target = capture_file.with_name("out.jpg")
    with Session(psf="disk:2.5", model="wiener") as session:
        session.process(capture_file, target)
        for source in (capture, io.BytesIO(capture), str(capture_file)):
            memory = io.BytesIO()
            session.process(source, memory)
            assert memory.getvalue() == target.read_bytes()
        with pytest.raises(OptionsError, match="output"):
            session.process(capture)
        with pytest.raises(InputImageError, match="path, bytes"):
            session.process(io.StringIO("text"), io.BytesIO())


def test_frames_of_changing_size_and_kind_are_as_if_alone(scene):
    """One warm session; pool, engine and transfer function are reused."""
    rng = np.random.default_rng(3)
    frames = [
        scene,
        scene[:40, :50].copy(),
        np.ascontiguousarray(scene[..., 0]),
        scene.astype(np.float32) / np.float32(255),
        rng.integers(0, 256, (150, 130, 3), np.uint8),
        scene,
    ]
    with Session(psf="disk:2.5", model="wiener", tile=64, reblur_check=False) as session:
        warm = [session.restore(frame) for frame in frames]
    for frame, found in zip(frames, warm, strict=True):
        alone = restore(frame, psf="disk:2.5", model="wiener", tile=64, reblur_check=False)
        np.testing.assert_array_equal(found, alone)


def test_a_failed_frame_does_not_spoil_the_next(scene):
    with Session(psf="disk:2.5", model="wiener") as session:
        expected = session.restore(scene)

        def stop(fraction: float) -> None:
            raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            session.restore(scene, progress=stop)
        with pytest.raises(InputImageError):
            session.process(b"junk", io.BytesIO())
        np.testing.assert_array_equal(session.restore(scene), expected)
        session.close()
        np.testing.assert_array_equal(session.restore(scene), expected)


def test_progress_rises_from_zero_to_one(scene):
    seen: list[float] = []
    restore(scene, psf="disk:2", model="wiener", tile=32, progress=seen.append)
    assert seen[0] == 0
    assert seen[-1] == 1
    assert seen == sorted(seen)
    assert len(seen) > 10


def test_concurrent_sessions_give_the_bytes_of_one_alone(capture):
    def run() -> bytes:
        target = io.BytesIO()
        process(capture, target, psf="disk:2.5", model="wiener", tile=64, threads=2)
        return target.getvalue()

    alone = run()
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.extend(run() for _ in range(5))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone] * 10


@needs_onnxruntime
def test_concurrent_networks_give_the_result_of_one_alone(scene, tmp_path):
    net = plain(tmp_path / "net.onnx", 8, 3)
    settings = {"psf": BLUR, "model": net, "engine": "onnxruntime", "tile": 64, "threads": 1}
    alone = restore(scene, **settings)
    found: list[Any] = []

    def run() -> None:
        with Session(**settings) as session:
            found.extend(session.restore(scene) for _ in range(3))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    for image in found:
        np.testing.assert_array_equal(image, alone)


@needs_onnxruntime
@pytest.mark.skipif(not bundled_models(), reason="no network in this installation")
@pytest.mark.parametrize("name", sorted(bundled_models()))
def test_bundled_networks_restore_and_do_not_depend_on_tiles(name):
    sharp = natural(200, 230, seed=12)
    image = degrade(sharp, BLUR, noise=0.003, rng=np.random.default_rng(1))
    settings = {"psf": BLUR, "model": name, "engine": "onnxruntime"}
    with Session(**settings, tile=512) as session:
        whole, report = session.restore_with_report(image)
    assert (report.tiles, report.replaced_blocks) == (1, 0)
    before, after = (psnr(x.astype(np.float32) / 255, sharp) for x in (image, whole))
    assert after > before + 2
    tiled = restore(image, **settings, tile=128)
    oracle.assert_images_close(tiled, whole, 1)


def test_closing_gives_descriptors_and_threads_back(scene, no_leaks):
    for model in ("wiener", lambda tile: tile):
        with Session(psf="disk:2.5", model=model, threads=3) as session:
            session.restore(scene)
            session.process(jpeg(scene), io.BytesIO())


def test_failures_give_descriptors_back(capture_file, no_leaks):
    def stop(fraction: float) -> None:
        raise RuntimeError("enough")

    for _ in range(3):
        with pytest.raises(RuntimeError):
            process(capture_file, psf="disk:2", model="wiener", threads=2, progress=stop)
        with pytest.raises(InputImageError):
            process(b"\xff\xd8\xff", io.BytesIO(), psf="disk:2")


def test_plan_says_what_would_be_done_and_writes_nothing(capture_file):
    with Session(psf="disk:2.5", model="wiener") as session:
        plan = json.loads(json.dumps(session.plan(capture_file)))
    assert plan["rows"] == 96
    assert plan["psf_source"] == "preset"
    assert plan["pool_bytes"] > 0
    assert list(capture_file.parent.iterdir()) == [capture_file]


def test_payload_captures_are_restored(data_dir: Path, tmp_path):
    """A real 2048 x 1536 capture with a preset, in one strip, inside its budget."""
    source = sorted((data_dir / "captures" / "payload").glob("*.jpg"))[0]
    report = process(source, tmp_path / "out.jpg", psf="disk:3.9", model="wiener")
    assert report.restored
    assert report.pool["high_water"] <= report.pool["capacity"]
    assert decoded(tmp_path / "out.jpg").shape == (1536, 2048, 3)


@pytest.mark.parametrize("model", ["wiener", "fast"])
def test_a_capture_without_blur_is_passed_through(scene, model):
    with Session(psf=PSF.defocus(0.05, 0.01), model=model, threads=1) as session:
        restored, report = session.restore_with_report(scene)
    assert np.array_equal(restored, scene)
    assert not report.restored
    assert "no blur" in report.warnings[0]
