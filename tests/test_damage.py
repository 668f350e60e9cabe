"""JPEG through `process`: everything that is not pixels comes through, damage is named."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import oracle
from imagine_deblur import Session, process
from imagine_deblur.errors import InputImageError, OptionsError, TruncatedJpegError
from jpegkit import EXIF_GPS, ICC, IPTC, XMP, decoded, jpeg, segments_of, tagged, with_segments

FAST = {"psf": "disk:2.5", "model": "wiener", "threads": 1}


def restored(data: bytes, **options: object) -> bytes:
    target = io.BytesIO()
    process(data, target, **{**FAST, **options})
    return target.getvalue()


# What is not pixels


def test_metadata_come_through_unchanged_and_provenance_is_added(capture):
    before = segments_of(capture)
    after = segments_of(restored(capture))
    kept = [s for s in before if s[0] not in (0xE0, 0xEE)]
    assert [s for s in after if s in kept] == kept  # each, byte for byte, in order
    comments = [payload for marker, payload in after if marker == 0xFE]
    assert comments[0] == b"from orbit"
    # The file has XMP of its own, so the provenance is a comment.
    said = comments[1].rstrip(b"\0").decode()
    assert said.startswith("imagine_deblur {")
    facts = json.loads(said.removeprefix("imagine_deblur "))
    assert facts["psf"]["components"][0]["kind"] == "disk"
    assert facts["model"] == "wiener"
    assert facts["version"]


def test_exif_gps_and_icc_are_read_by_others(capture):
    with Image.open(io.BytesIO(restored(capture))) as image:
        exif = image.getexif()
        assert exif[0x0112] == 6
        assert exif.get_ifd(EXIF_GPS) == tagged().get_ifd(EXIF_GPS)
        assert image.info["icc_profile"] == ICC
        assert image.info["xmp"] == XMP.split(b"\0", 1)[1]
    assert (0xED, IPTC) in segments_of(restored(capture))


def test_a_capture_without_xmp_gets_a_packet(scene):
    with Image.open(io.BytesIO(restored(jpeg(scene, exif=tagged())))) as image:
        packet = image.info["xmp"].decode()
        assert image.getexif()[0x010F] == "AstroPi"
    assert "<deblur:psf_source>preset</deblur:psf_source>" in packet
    assert "<deblur:model>wiener</deblur:model>" in packet


def test_restoring_twice_keeps_the_first_provenance(scene):
    once = restored(jpeg(scene))
    twice = segments_of(restored(once, psf="gauss:1"))
    assert [s for s in twice if s in segments_of(once) and s[0] == 0xE1]
    assert any(m == 0xFE and b'"gaussian"' in p for m, p in twice)


# Kinds of JPEG


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_subsampling_is_kept_or_chosen(scene, subsampling, progressive):
    data = jpeg(scene, subsampling=subsampling, progressive=progressive)
    with Session(**FAST) as session:
        target = io.BytesIO()
        session.process(data, target)
    layers = {"4:4:4": (1, 1), "4:2:2": (2, 1), "4:2:0": (2, 2)}
    for output, expected in (
        (target.getvalue(), subsampling),
        (restored(data, subsampling="4:4:4"), "4:4:4"),
    ):
        with Image.open(io.BytesIO(output)) as image:
            assert image.layer[0][1:3] == layers[expected]
            assert image.size == (scene.shape[1], scene.shape[0])
            assert not image.info.get("progressive")


def test_progressive_output_has_the_pixels_of_baseline(scene):
    data = jpeg(scene)
    baseline, progressive = restored(data), restored(data, progressive=True)
    with Image.open(io.BytesIO(progressive)) as image:
        assert image.info["progressive"]
    np.testing.assert_array_equal(decoded(baseline), decoded(progressive))


def test_quality_sets_the_size(scene):
    data = jpeg(scene)
    sizes = [len(restored(data, quality=q)) for q in (30, 75, 95)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] / 2


@pytest.mark.parametrize("model", ["identity", "wiener"])
def test_grey_stays_grey(scene, model):
    grey = np.ascontiguousarray(scene[..., 1])
    data = jpeg(grey, 98)
    output = decoded(restored(data, model=model, quality=100))
    assert output.shape == grey.shape
    if model == "identity":
        oracle.assert_images_close(output, decoded(data), 2)
    else:
        assert output.std() > decoded(data).std()


def test_cmyk_becomes_rgb_and_the_dropped_profile_is_reported(scene, tmp_path):
    ink = np.concatenate([255 - scene, np.full((*scene.shape[:2], 1), 20, np.uint8)], axis=2)
    source = tmp_path / "ink.jpg"
    profile = ICC[:16] + b"CMYK" + ICC[20:36] + b"acsp" + ICC[40:]
    source.write_bytes(jpeg(ink, 98, icc_profile=profile))
    target = tmp_path / "out.jpg"
    report = process(source, target, psf="disk:2", model="identity", quality=100)
    assert report.bands == 3
    assert any("CMYK" in warning for warning in report.warnings)
    with Image.open(source) as image:
        expected = np.asarray(image.convert("RGB"))
    error = decoded(target).astype(int) - expected
    assert np.abs(error).mean() < 3


def test_restart_markers(scene):
    data = jpeg(scene, restart_marker_blocks=3)
    assert b"\xff\xdd" in data
    assert restored(data) == restored(data)
    oracle.assert_images_close(
        decoded(restored(data, model="identity", quality=100)), decoded(data), 6
    )


@pytest.mark.parametrize("shape", [(1, 1), (3, 8), (17, 31), (16, 16), (1, 300), (200, 1)])
def test_odd_sizes(shape):
    rng = np.random.default_rng(1)
    pixels = rng.integers(100, 140, (*shape, 3), np.uint8)
    for model in ("identity", "wiener"):
        assert decoded(restored(jpeg(pixels), model=model)).shape == pixels.shape


# Damage


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.4, 0.7, 0.95])
def test_a_truncated_file_is_named_with_its_scanline_and_nothing_is_left(
    capture_file, scene, share, progressive
):
    data = jpeg(scene, progressive=progressive)
    capture_file.write_bytes(data[: int(share * len(data))])
    target = capture_file.with_name("out.jpg")
    with pytest.raises(TruncatedJpegError, match=r"capture\.jpg") as caught:
        process(capture_file, target, **FAST)
    assert caught.value.path == str(capture_file)
    assert caught.value.scanline is not None
    assert 0 <= caught.value.scanline < scene.shape[0]
    assert "salvage" in str(caught.value)
    assert list(capture_file.parent.iterdir()) == [capture_file]


def test_blind_estimation_names_the_damage_too(capture_file, blind_capture):
    capture_file.write_bytes(blind_capture[: len(blind_capture) // 2])
    with pytest.raises(TruncatedJpegError, match=r"capture\.jpg"):
        process(capture_file, capture_file.with_name("out.jpg"), model="wiener")
    assert list(capture_file.parent.iterdir()) == [capture_file]


def test_salvage_restores_what_is_there_and_says_so(capture_file, scene):
    data = jpeg(scene)
    capture_file.write_bytes(data[: int(0.6 * len(data))])
    target = capture_file.with_name("out.jpg")
    report = process(capture_file, target, **FAST, salvage=True)
    said = [w for w in report.warnings if w.startswith("salvaged")]
    assert len(said) == 1
    line = int(said[0].split("scanline ")[1].split(":")[0])
    whole = decoded(restored(data))
    top = max(0, line - 40)  # the inverse reaches over the edge of the damage
    assert top > 0
    oracle.assert_images_close(decoded(target)[: top // 2], whole[: top // 2], 8)


def test_a_sound_file_is_not_called_salvaged(capture_file):
    report = process(capture_file, capture_file.with_name("out.jpg"), **FAST, salvage=True)
    assert report.warnings == ()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"not an image at all\n", "JPEG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "PNG"),
        (b"II*\0" + bytes(64), "TIFF"),
        (b"\xff\xd8\xff\xe0", ""),
        (b"\xff\xd8" + bytes(100), ""),
    ],
    ids=["empty", "text", "png", "tiff", "start-only", "zeros"],
)
def test_other_files_are_refused_by_name(tmp_path, content, says):
    source = tmp_path / "odd.jpg"
    source.write_bytes(content)
    with pytest.raises(InputImageError, match=r"odd\.jpg") as caught:
        process(source, **FAST)
    assert says in str(caught.value)
    assert list(tmp_path.iterdir()) == [source]


def resized(data: bytes, rows: int, columns: int) -> bytes:
    """The same bytes declaring another size."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + rows.to_bytes(2) + columns.to_bytes(2) + data[at + 4 :]


def test_huge_declared_sizes_are_refused_before_memory_is_taken(scene, tmp_path):
    source = tmp_path / "bomb.jpg"
    source.write_bytes(resized(jpeg(scene), 65000, 65000))
    with pytest.raises(InputImageError, match=r"bomb\.jpg.*pixels"):
        process(source, **FAST)
    with pytest.raises(InputImageError, match="pixels"):
        process(jpeg(scene), io.BytesIO(), **FAST, max_pixels=1000)


def test_salvage_does_not_take_a_size_that_a_file_cannot_hold(scene, tmp_path):
    """12 kB that declared 215 million px were made a picture of 215 million grey ones."""
    data = jpeg(scene)
    source, target = tmp_path / "bomb.jpg", tmp_path / "out.jpg"
    source.write_bytes(resized(data, 14_000, 15_400))
    with pytest.raises(InputImageError, match=r"bomb\.jpg.*too little is left"):
        process(source, target, **FAST, salvage=True)
    data = jpeg(np.tile(scene, (4, 4, 1)))
    source.write_bytes(data[: len(data) // 8])  # an eighth of a capture is still something
    report = process(source, target, **FAST, salvage=True)
    assert any(warning.startswith("salvaged") for warning in report.warnings)


def test_a_progressive_bomb_is_refused_by_its_memory(scene, tmp_path):
    data = jpeg(scene, progressive=True)
    at = data.index(b"\xff\xc2") + 5
    source = tmp_path / "bomb.jpg"
    source.write_bytes(data[:at] + (16000).to_bytes(2) + (16000).to_bytes(2) + data[at + 4 :])
    with pytest.raises((InputImageError, MemoryError), match=r"bomb\.jpg"):
        process(source, **FAST)
    assert list(tmp_path.iterdir()) == [source]


def test_a_huge_comment_comes_through(scene):
    data = with_segments(jpeg(scene), (0xFE, b"x" * 65533), (0xE5, b"y" * 65533))
    assert {(0xFE, b"x" * 65533), (0xE5, b"y" * 65533)} <= set(segments_of(restored(data)))


def test_a_real_profile_comes_through(scene):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with Image.open(io.BytesIO(restored(jpeg(scene, icc_profile=profile)))) as image:
        assert image.info["icc_profile"] == profile


def test_quality_out_of_range_is_refused(scene):
    with pytest.raises(OptionsError, match="quality"):
        restored(jpeg(scene), quality=0)


def test_real_captures_keep_their_metadata(data_dir: Path, tmp_path):
    """EXIF with GPS and time of a real capture, bytes for bytes."""
    source = sorted((data_dir / "captures" / "small").glob("*.jpg"))[0]
    target = tmp_path / "out.jpg"
    process(source, target, model="identity")
    before, after = segments_of(source.read_bytes()), segments_of(target.read_bytes())
    kept = [s for s in before if s[0] not in (0xE0, 0xEE)]
    assert kept
    assert [s for s in after if s in kept] == kept
