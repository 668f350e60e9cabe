"""Damage to weights, PSF, memory and results is noticed, and mended where a good copy is left."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from imagine_deblur import _core
from imagine_deblur.errors import IntegrityError
from imagine_deblur.options import Options
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.record import save_record
from imagine_deblur.restoration.stage import WienerStage
from imagine_deblur.restoration.wiener import WienerSpec
from imagine_deblur.session import Session
from imagine_deblur.watch import verify
from imagine_deblur.watch.artifact import Artifact
from imagine_deblur.watch.session import SelfCheckingSession, golden_picture
from watchkit import Station, capture_bytes


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "lens.json"
    save_record(path, PSF.defocus(2.5), provenance={})
    return path


def guarded(tmp_path: Path, **options: Any) -> SelfCheckingSession:
    options = {"model": "wiener", "threads": 1, "tile": 160, "nsr": 0.02} | options
    session = SelfCheckingSession(Options(**options), tmp_path / "good")
    session.start()
    return session


def flip(path: Path, byte: int) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 0x10
    path.write_bytes(data)


def test_artifacts_mend_each_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"weights")
    artifact = Artifact.read("weights", path)
    flip(path, 2)
    assert not artifact.disk_is_good()
    artifact.recover(tmp_path / "good")
    assert artifact.moved
    assert artifact.path.read_bytes() == b"weights"
    assert artifact.path != path
    artifact.data = b"weightz"
    assert not artifact.memory_is_good()
    artifact.recover(tmp_path / "good")
    assert artifact.data == b"weights"
    flip(artifact.path, 0)
    artifact.data = b""
    with pytest.raises(IntegrityError):
        artifact.recover(tmp_path / "good")


def test_an_undisturbed_session_notices_nothing(tmp_path: Path, record: Path, source: Path) -> None:
    session = guarded(tmp_path, psf=str(record))
    outputs = []
    for _ in range(3):
        session.restore(str(source), tmp_path / "out.jpg")
        outputs.append((tmp_path / "out.jpg").read_bytes())
        assert session.check() == session.self_test() == []
    assert not session.events
    assert len(set(outputs)) == 1
    with Session(session._options) as plain:
        plain.process(source, tmp_path / "plain.jpg")
    assert (tmp_path / "plain.jpg").read_bytes() == outputs[0]


@pytest.mark.parametrize("damage", ["file", "in use", "copy"])
def test_a_damaged_psf_is_noticed_and_mended(
    tmp_path: Path, record: Path, source: Path, damage: str
) -> None:
    session = guarded(tmp_path, psf=str(record))
    session.restore(str(source), tmp_path / "wanted.jpg")
    if damage == "file":
        flip(record, 60)
    elif damage == "copy":
        session.artifacts[0].data = b"{}"
    else:
        assert session.session.given is not None
        component = session.session.given.psf.components[0]  # type: ignore[union-attr]
        object.__setattr__(component, "radius_px", 7.5)
    session.restore(str(source), tmp_path / "found.jpg")
    name = {"file": "psf_disk", "in use": "psf_in_use", "copy": "psf_memory"}[damage]
    assert session.events[name] == 1
    assert (tmp_path / "found.jpg").read_bytes() == (tmp_path / "wanted.jpg").read_bytes()
    assert session.check() == []


def test_a_damaged_transfer_function_is_noticed_and_mended(
    tmp_path: Path, record: Path, source: Path
) -> None:
    session = guarded(tmp_path, psf=str(record))
    session.restore(str(source), tmp_path / "wanted.jpg")
    assert session.session.parts.stage is not None
    otf = session.session.parts.stage.otf
    assert otf is not None
    otf.values[300] += np.float32(0.001)
    session.restore(str(source), tmp_path / "found.jpg")
    assert session.events["transfer_function"] == 1
    assert (tmp_path / "found.jpg").read_bytes() == (tmp_path / "wanted.jpg").read_bytes()


def test_the_golden_picture_covers_the_whole_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = guarded(tmp_path, psf="disk:2.5")
    assert session.self_test() == []
    real = WienerStage.restore

    def restore(stage: WienerStage, strip: Any) -> None:
        real(stage, strip)
        strip.linear[0][5, 5] += strip.linear[0].dtype.type(1)

    monkeypatch.setattr(WienerStage, "restore", restore)
    assert session.self_test() == ["golden"]
    monkeypatch.undo()
    assert session.self_test() == []
    picture = golden_picture(64, 48)
    assert picture.dtype == np.float32
    assert 0.1 <= picture.min() < picture.max() <= 0.9
    assert np.array_equal(picture, golden_picture(64, 48))


def test_a_transient_plane_wave_is_doubted_and_made_again(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = guarded(tmp_path, psf="disk:2.5")
    session.restore(str(source), tmp_path / "wanted.jpg")
    real, hits = WienerStage.restore, [1]

    def restore(stage: WienerStage, strip: Any) -> None:
        real(stage, strip)
        if hits:
            hits.pop()
            for plane in strip.linear:
                rows, columns = np.indices(plane.shape)
                wave = 0.08 * np.cos(0.9 * rows + 1.1 * columns)
                plane += (wave * (4096 if plane.dtype == np.int16 else 1)).astype(plane.dtype)

    monkeypatch.setattr(WienerStage, "restore", restore)
    session.restore(str(source), tmp_path / "found.jpg")
    assert session.events["doubt"] == 1
    assert (tmp_path / "found.jpg").read_bytes() == (tmp_path / "wanted.jpg").read_bytes()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # infinities from a high exponent bit
@pytest.mark.parametrize("bit", [0, 31, 62])
@pytest.mark.parametrize("moment", range(0, 80, 3))
def test_a_bit_that_flips_in_a_spectrum_is_noticed(moment: int, bit: int) -> None:
    # One bit of both spectra flips after some block of some pass. What the passes that are left do
    # not read any more cannot hurt; every other flip raises, and without a flip nothing does.
    image = np.random.default_rng(4).random((70, 90, 3), np.float32)
    blocks = itertools.count()

    def run(flipped: bool) -> Any:
        stage = WienerStage(PSF.defocus(2.0), WienerSpec(), checked=True)
        rows = (0, 70)
        strip: Any = SimpleNamespace(window=rows, planes=rows, finished=rows, frame_rows=70)
        strip.columns, strip.group_columns = (0, 90), 90
        strip.capture = [np.ascontiguousarray(image[..., band]) for band in range(3)]
        strip.linear = [np.zeros((70, 90), np.float32) for _ in range(5)]
        strip.scratch = np.zeros(stage.scratch_bytes(70, 90, 90), np.uint8)

        def act(scratch: Any) -> None:
            if flipped and next(blocks) == moment:
                words = scratch.view(np.uint64)
                words[55] ^= np.uint64(1 << bit)
                words[len(words) * 3 // 4] ^= np.uint64(1 << bit)

        stage.after_block = act
        stage.restore(strip)
        return np.stack(strip.linear)

    wanted = run(False)
    try:
        found = run(True)
    except IntegrityError:
        return
    assert np.array_equal(wanted, found)


def test_a_damaged_spectrum_is_made_again(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = guarded(tmp_path, psf="disk:2.5")
    session.restore(str(source), tmp_path / "wanted.jpg")
    blocks = itertools.count()

    def act(scratch: Any) -> None:
        if next(blocks) == 12:
            scratch.view(np.uint64)[2000] ^= np.uint64(1)

    monkeypatch.setattr(WienerStage, "after_block", staticmethod(act))
    session.restore(str(source), tmp_path / "found.jpg")
    assert session.events["spectrum"] == 1
    assert (tmp_path / "found.jpg").read_bytes() == (tmp_path / "wanted.jpg").read_bytes()


def test_a_lasting_oddity_of_the_scene_is_accepted(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = guarded(tmp_path, psf="disk:2.5")
    monkeypatch.setattr(verify, "doubt", lambda *a, **k: "always")
    session.restore(str(source), tmp_path / "out.jpg")
    assert session.events["doubt"] == 1
    assert session.events["doubt_dismissed"] == 1


def test_results_that_never_agree_are_refused(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = guarded(tmp_path, psf="disk:2.5")
    monkeypatch.setattr(verify, "doubt", lambda *a, **k: "always")
    rng = np.random.default_rng(1)
    real = WienerStage.restore

    def restore(stage: WienerStage, strip: Any) -> None:
        real(stage, strip)
        for plane in strip.linear:
            plane += rng.integers(-200, 200, plane.shape).astype(plane.dtype)

    monkeypatch.setattr(WienerStage, "restore", restore)
    with pytest.raises(IntegrityError, match="disagree"):
        session.restore(str(source), tmp_path / "out.jpg")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: p[:64], "size"),
        (lambda p: np.clip(p.astype(int) + 40, 0, 255), "block means"),
        (lambda p: waved(p, 2.0), "plane wave"),
    ],
)
def test_what_the_comparison_doubts(tmp_path: Path, damage: Any, words: str) -> None:
    capture = tmp_path / "capture.jpg"
    capture.write_bytes(capture_bytes(9, 128, 160))
    pixels = _core.JpegReader(str(capture)).read_rows(128)
    output = tmp_path / "output.jpg"

    def write(changed: Any) -> None:
        image = np.ascontiguousarray(changed, dtype=np.uint8)
        output.write_bytes(_core.encode_jpeg(image, quality=98))

    write(pixels)
    assert verify.doubt(str(capture), str(output)) is None
    write(damage(pixels))
    assert words in (verify.doubt(str(capture), str(output)) or "nothing")


def test_a_block_that_came_out_busy_is_doubted(tmp_path: Path) -> None:
    capture, output = tmp_path / "capture.jpg", tmp_path / "output.jpg"
    calm = _core.JpegReader(capture_bytes(9, 128, 160)).read_rows(128) // 8 + np.uint8(110)
    busy = calm.copy()
    busy[32:64, 32:64:2] += np.uint8(60)
    busy[32:64, 33:64:2] -= np.uint8(60)
    for path, pixels in ((capture, calm), (output, busy)):
        path.write_bytes(_core.encode_jpeg(pixels, quality=98))
    assert "busier" in (verify.doubt(str(capture), str(output)) or "nothing")


def waved(pixels: Any, amplitude: float) -> Any:
    rows, columns = pixels.shape[:2]
    y, x = np.arange(rows)[:, None], np.arange(columns)
    wave = amplitude * np.cos(2 * np.pi * (0.31 * y + 0.22 * x))
    return np.clip(np.rint(pixels + wave[..., None]), 0, 255)


def test_the_comparison_reads_a_truncated_output_as_damage(tmp_path: Path) -> None:
    capture, output = tmp_path / "capture.jpg", tmp_path / "output.jpg"
    data = capture_bytes(9)
    capture.write_bytes(data)
    output.write_bytes(data[: len(data) // 2])
    assert "read back" in (verify.doubt(str(capture), str(output)) or "")
    with pytest.raises(ValueError, match=r"output\.jpg"):
        verify.doubt(str(output), str(capture))


@pytest.mark.parametrize("on_failure", ["passthrough", "quarantine"])
def test_a_service_without_a_trusted_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_failure: str
) -> None:
    station = Station(tmp_path)
    path = station.put("a.jpg")

    def start(self: SelfCheckingSession) -> None:
        raise IntegrityError("damaged")

    with monkeypatch.context() as patch:
        patch.setattr(SelfCheckingSession, "start", start)
        code = station.run(on_failure=on_failure)
    if on_failure == "passthrough":
        assert code == 0
        assert (station.outbox / "a.jpg").read_bytes() == path.read_bytes()
        assert station.report("a.jpg")["outcome"] == "passed-through"
    else:
        assert code == 4
        assert station.outputs() == []
        assert station.run() == 0  # nothing was lost: the next service restores it
        assert station.report("a.jpg")["outcome"] == "done"


def test_the_report_says_what_was_mended(tmp_path: Path, record: Path) -> None:
    station = Station(tmp_path)
    station.put("a.jpg")
    service = station.service(
        Options(psf=str(record), model="wiener", threads=1, nsr=0.02, tile=160)
    )
    real = Session.process

    def process(self: Session, *arguments: Any, **more: Any) -> Any:
        report = real(self, *arguments, **more)
        if record.exists() and not str(arguments[0]).endswith("trial.jpg"):
            record.unlink()
        return report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "process", process)
        assert service.run() == 0
    report = json.loads((station.outbox / "a.jpg.json").read_bytes())
    assert report["outcome"] == "done"
    assert report["integrity"]["psf_disk"] == 1


def test_the_self_test_restores_its_picture_whatever_the_blur(tmp_path: Path) -> None:
    """No blur made that picture: as a capture it would be passed through, and nothing tested."""
    session = SelfCheckingSession(Options(psf="disk:6.8", model="wiener", threads=1), tmp_path)
    picture = golden_picture(200, 220)
    assert not session.session.restore_with_report(picture)[1].restored
    _, engine = session._golden_digest((200, 220))
    assert engine[1][0] == "wiener"
    assert not session.session.restore_with_report(picture)[1].restored
    session.close()
