"""Export of the published systems, and captures through `Session`."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
Image = pytest.importorskip("PIL.Image", reason="training needs the extra [train]")

from imagine_deblur.cli.main import main  # noqa: E402
from imagine_deblur.engines import IdentityEngine, ScaledEngine, describe  # noqa: E402
from imagine_deblur.engines.model import resolve_model  # noqa: E402
from imagine_deblur.engines.scaled import area_reduce, bicubic_enlarge  # noqa: E402
from imagine_deblur.errors import OptionsError  # noqa: E402
from imagine_deblur.train.export import round_kernels  # noqa: E402
from imagine_deblur.train.published import counts, mimo_unet  # noqa: E402
from imagine_deblur.train.published.config import (  # noqa: E402
    from_dict,
)
from imagine_deblur.train.published.export import export  # noqa: E402
from imagine_deblur.train.published.systems import (  # noqa: E402
    Restorer,
    restore_image,
)
from imagine_deblur.train.published.trainer import (  # noqa: E402
    Trainer,
    load_network,
)
from publishedkit import capture  # noqa: E402
from synthetic import made_up_scene  # noqa: E402


@pytest.mark.parametrize(
    ("system", "multiple"), [("mimo-unet", 4), ("mgstnet", 4), ("autoencoder", 1)]
)
def test_export_describes_itself(system: str, multiple: int, models: dict[str, Path]) -> None:
    descriptor = describe(models[system])
    assert descriptor.inputs == ("capture.r", "capture.g", "capture.b")
    assert (descriptor.local, descriptor.halo, descriptor.scales) == (False, 0, (1,))
    assert (descriptor.multiple_of, descriptor.input_offset) == (multiple, 0.0)
    assert descriptor.training["system"] == system
    assert descriptor.training["steps"] == 2


def test_export_of_the_rotation_average(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    export(checkpoints["mimo-unet"], tmp_path / "pp.onnx", rotations=True, scale=4)
    assert describe(tmp_path / "pp.onnx").scales == (4,)
    network, _, _ = load_network(checkpoints["mimo-unet"])
    weights = counts.parameters(network)
    assert (tmp_path / "pp.onnx").stat().st_size < 4 * weights  # float16, and there once
    round_kernels(network)
    tile = np.random.default_rng(0).random((1, 3, 24, 40), np.float32)
    session = onnxruntime.InferenceSession(
        str(tmp_path / "pp.onnx"), providers=["CPUExecutionProvider"]
    )
    with torch.inference_mode():
        expected = mimo_unet.RotationAverage(network)(torch.from_numpy(tile)).numpy()
    np.testing.assert_allclose(session.run(None, {"planes": tile})[0], expected, atol=1e-5)


FRAME_UNDER_A_BUDGET = """
import sys
import numpy as np
from imagine_deblur.errors import MemoryBudgetError
from imagine_deblur.session import Session
try:
    session = Session(model=sys.argv[1], max_ram=sys.argv[2], tile=256, threads=1,
                      engine="onnxruntime")
    session.restore(np.random.default_rng(0).integers(0, 256, (300, 520, 3), np.uint8))
except MemoryBudgetError as error:
    print("wanted", error.wanted)
else:
    status = open("/proc/self/status").read()
    print("peak", int(status.partition("VmHWM:")[2].split()[0]) << 10)
"""


def test_memory_of_a_wide_network_is_planned(tmp_path: Path, session_class) -> None:  # type: ignore[no-untyped-def]
    """Its tiles take ten times what our own networks take; the plan knows, and keeps to it."""
    config = from_dict({"name": "wide", "system": "mimo-unet", "network": {"blocks": 1}})
    trainer = Trainer(config)
    torch.nn.init.normal_(trainer.network.out1.weight, std=0.01)
    trainer.save(
        tmp_path / "wide.pt", seconds=0.0, processor_seconds=0.0, training_checksum="", history=[]
    )
    held = export(tmp_path / "wide.pt", tmp_path / "wide.onnx")
    assert 1000 < held["working_bytes"] < 4000
    model = resolve_model(tmp_path / "wide.onnx")
    assert model.working_bytes(256, 128) == 256 * 128 * held["working_bytes"]
    reduced = dataclasses.replace(
        model, descriptor=dataclasses.replace(model.descriptor, scales=(4,))
    )
    assert reduced.working_bytes(256, 128) == 64 * 32 * held["working_bytes"]

    def run(max_ram: int) -> tuple[str, int]:
        command = [sys.executable, "-c", FRAME_UNDER_A_BUDGET, str(tmp_path / "wide.onnx")]
        done = subprocess.run([*command, str(max_ram)], capture_output=True, text=True, check=True)
        word, number = done.stdout.split()
        return word, int(number)

    word, wanted = run(150 << 20)
    assert word == "wanted"
    word, peak = run(wanted)
    assert word == "peak"
    assert 0.8 * wanted < peak < 1.15 * wanted  # a tenth above it, as measured


def test_side_by_side(
    through: Path, labelled_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture, session_class
) -> None:  # type: ignore[no-untyped-def]
    """A network that changes nothing gains nothing, has no seams, and costs what its file says."""
    import side_by_side

    export(through, tmp_path / "same.onnx")
    systems, rows = tmp_path / "systems.toml", tmp_path / "rows.jsonl"
    systems.write_text(
        '[[system]]\nname = "same"\nmodel = "same.onnx"\nengine = "onnxruntime"\ntile = 96\n'
        '[[system]]\nname = "elsewhere"\nmodel = "not-there.onnx"\n'
    )
    payload = tmp_path / "data" / "captures" / "payload"
    payload.mkdir(parents=True)
    (tmp_path / "data" / "test").symlink_to(labelled_dir / "val")
    Image.fromarray(made_up_scene(150, 170, 3)).save(payload / "a.jpg", quality=95)
    places = ["--protocol", "defocus", "--scenes", "aerial", "--limit", "2"]
    command = ["measure", str(systems), str(tmp_path / "data"), str(rows), *places]
    assert side_by_side.main(command) == 0
    assert "left out: elsewhere" in capsys.readouterr().err
    found = {(r["kind"], r["system"]): r for r in side_by_side.read_rows(rows)}
    same, given = found["quality", "same"], found["quality", "input"]
    assert same["gain"] == 0.0
    assert same["ssim"] == given["ssim"]
    assert (same["steps"], same["crops"], same["images"]) == (1, 2, 2)
    assert found["quality", "oracle Wiener"]["gain"] > 0.5
    run, real = found["speed", "same"], found["captures", "same"]
    assert run["peak_mib"] > 30
    assert run["cpu_seconds"] > 0.1
    assert abs(run["seam_relative"]) < 0.05
    assert real["edge_rise_px"] == real["edge_rise_before_px"]
    assert real["rimmed"] == real["rimmed_before"]

    lines = rows.read_text()
    assert side_by_side.main(command) == 0
    assert rows.read_text() == lines  # nothing is measured twice

    capsys.readouterr()
    assert side_by_side.main(["tables", str(rows), str(tmp_path / "out")]) == 0
    gains, costs = capsys.readouterr().out.split("\n\n")
    assert f"| same | +0.00 / {same['ssim']:.3f} |" in gains
    assert f"| same | {same['parameters']} |" in costs
    listed = (tmp_path / "out" / "published_quality.csv").read_text()
    assert f"same,defocus,aerial,2,{same['psnr']:.5g}," in listed


@pytest.mark.parametrize("shape", [(97, 130), (40, 33)])
def test_a_capture_through_a_blended_network_that_changes_nothing(
    shape: tuple[int, int], through: Path, tmp_path: Path, session_class
) -> None:  # type: ignore[no-untyped-def]
    model = tmp_path / "through.onnx"
    export(through, model)
    image = capture(*shape)
    with session_class(model=model, engine="onnxruntime", tile=48, overlap=12, threads=1) as s:
        restored, report = s.restore_with_report(image)
        byte_image = np.rint(image * 255).astype(np.uint8)
        np.testing.assert_array_equal(s.restore(byte_image), byte_image)
    np.testing.assert_allclose(restored, image, atol=1e-6)
    assert report.engine == "onnxruntime"
    assert report.tiles > 1 or max(shape) <= 48


@pytest.mark.parametrize(
    ("system", "scale", "side"),
    [("mimo-unet", 1, 96), ("mimo-unet", 4, 96), ("mgstnet", 1, 64), ("autoencoder", 1, 32)],
)
def test_one_tile_is_what_pytorch_gives(
    system: str,
    scale: int,
    side: int,
    checkpoints: dict[str, Path],
    models: dict[str, Path],
    tmp_path: Path,
    session_class,  # type: ignore[no-untyped-def]
) -> None:
    model = models[system]
    if scale > 1:
        model = tmp_path / "m.onnx"
        export(checkpoints[system], model, scale=scale)
    image = capture(side, side)
    network, config, _ = load_network(checkpoints[system])
    round_kernels(network)
    expected = restore_image(
        Restorer(network),
        image,
        multiple_of=config.multiple_of,
        fixed=system == "autoencoder",
        scale=scale,
    )
    with session_class(model=model, engine="onnxruntime", tile=side, threads=1) as s:
        restored, report = s.restore_with_report(image)
    assert report.tiles == 1
    np.testing.assert_allclose(restored, expected, atol=1e-4)
    # A quarter of the scale loses detail even where the network is fair.
    lost = np.abs(np.diff(restored, axis=1)).mean() / np.abs(np.diff(image, axis=1)).mean()
    if scale == 4:
        assert lost < 0.7


@pytest.mark.parametrize("shape", [(70, 45), (20, 90), (9, 9)])
def test_the_autoencoder_gets_its_own_tile_whatever_is_asked(
    shape: tuple[int, int], models: dict[str, Path], session_class
) -> None:  # type: ignore[no-untyped-def]
    model = models["autoencoder"]
    with session_class(model=model, engine="onnxruntime", tile=512, overlap=8, threads=1) as s:
        restored, report = s.restore_with_report(capture(*shape))
    assert (report.tile_rows, report.tile_columns) == (32, 32)
    assert np.isfinite(restored).all()


def test_blending_hides_the_tiles(models: dict[str, Path], session_class) -> None:  # type: ignore[no-untyped-def]
    """Tiles of the autoencoder disagree at their borders; overlap spreads the difference."""
    model = models["autoencoder"]
    image = capture(96, 96)
    steps = {}
    for overlap in (0, 12):
        with session_class(
            model=model, engine="onnxruntime", overlap=overlap, threads=1, reblur_check=False
        ) as s:
            restored = s.restore(image)
        jump = np.abs(np.diff(restored, axis=1)).mean(axis=(0, 2))
        steps[overlap] = jump.max() / np.median(jump)
    assert steps[12] < 0.5 * steps[0]


def test_process_writes_a_jpeg(models: dict[str, Path], tmp_path: Path, session_class) -> None:  # type: ignore[no-untyped-def]
    model, source = models["mgstnet"], tmp_path / "capture.jpg"
    Image.fromarray(made_up_scene(90, 77, 3)).save(source, quality=90)
    with session_class(model=model, engine="onnxruntime", tile=64, overlap=16, threads=1) as s:
        report = s.process(source, tmp_path / "out.jpg")
    assert report.model == "mgstnet"
    with Image.open(tmp_path / "out.jpg") as picture:
        assert picture.size == (77, 90)


def test_area_and_bicubic() -> None:
    rng = np.random.default_rng(0)
    planes = rng.random((2, 8, 12), np.float32)
    reduced = area_reduce(planes, 4)
    assert reduced[1, 0, 2] == pytest.approx(planes[1, :4, 8:].mean())
    with pytest.raises(OptionsError, match="factor"):
        area_reduce(planes, 5)
    # A ramp comes through exactly away from the borders, and so does a constant everywhere.
    ramp = np.broadcast_to(np.arange(10, dtype=np.float32), (1, 6, 10)).copy()
    enlarged = bicubic_enlarge(ramp, 4)
    expected = (np.arange(40) + 0.5) / 4 - 0.5
    inner = slice(8, -8)
    np.testing.assert_allclose(enlarged[0, 3, inner], expected[inner], atol=1e-5)
    flat = np.full((1, 3, 5), 0.25, np.float32)
    np.testing.assert_allclose(bicubic_enlarge(flat, 3), 0.25, atol=1e-6)
    # Pillow's bicubic is Keys' with the same a.
    picture = Image.fromarray(planes[0])
    larger = np.asarray(picture.resize((48, 32), Image.Resampling.BICUBIC))
    found = bicubic_enlarge(planes[:1], 4)[0]
    np.testing.assert_allclose(found[8:-8, 8:-8], larger[8:-8, 8:-8], atol=2e-6)


def test_scaled_engine_declares_what_it_is() -> None:
    inner = IdentityEngine((16, 24), halo=4)
    engine = ScaledEngine(inner, 4)
    assert (engine.spec.tile_rows, engine.spec.tile_columns) == (64, 96)
    assert (engine.spec.local, engine.spec.halo) == (False, 0)
    assert engine.settings["scale"] == 4
    tile = np.random.default_rng(0).random((3, 64, 96), np.float32)
    out = np.empty_like(tile)
    engine.infer(tile, out)
    np.testing.assert_allclose(out, bicubic_enlarge(area_reduce(tile, 4), 4), atol=1e-6)
    with pytest.raises(OptionsError, match="factor"):
        ScaledEngine(inner, 1)


def test_what_cannot_be_exported(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="restores"):
        export(checkpoints["vgg16"], tmp_path / "v.onnx")
    with pytest.raises(OptionsError, match="scale"):
        export(checkpoints["autoencoder"], tmp_path / "a.onnx", scale=4)
    assert not list(tmp_path.iterdir())


def test_command_line(scenes_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    small = [
        "network.width=4", "network.blocks=1", "phases.0.crop=16", "phases.0.margin=4",
        "phases.0.batch=1", "run.threads=1", "run.evaluate_every=0",
    ]  # fmt: skip
    arguments = [x for value in small for x in ("--set", value)]
    run = ["train", "mimo-unet", str(scenes_dir), str(tmp_path), "--until", "1", "--device", "cpu"]
    assert main([*run, *arguments]) == 0
    checkpoint = tmp_path / "checkpoint.pt"
    assert str(checkpoint) in capsys.readouterr().out
    assert main(["export", str(checkpoint), str(tmp_path / "m.onnx"), "--scale", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["scales"] == [2]
    assert main(["export", str(checkpoint), str(tmp_path / "m.onnx"), "--tile", "64"]) == 2
    assert main(["train", "mimo", str(scenes_dir), str(tmp_path)]) == 2
    assert main([*run, "--set", "network.depth=1"]) == 2
    errors = capsys.readouterr().err
    assert all(word in errors for word in ("tile", "mimo-unet", "network.depth"))
