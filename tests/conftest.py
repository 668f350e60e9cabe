"""Fixtures shared by the tests: data where there is some, small captures made on the fly."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imagine_deblur.degradation import degrade
from imagine_deblur.psf.models import PSF
from synthetic import natural

Capture = Callable[..., bytes]

EXIF_GPS = 0x8825
ICC = b"acsp-like profile, 400 bytes: " + bytes(range(256)) + bytes(114)
XMP = b'http://ns.adobe.com/xap/1.0/\x00<?xpacket?><x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
IPTC = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00\x00\x00\x00\x07\x1c\x02\x78\x00\x02hi\x00"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The development images, or a skip."""
    named = os.environ.get("IMAGINE_DEBLUR_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no test images in {folder}; set IMAGINE_DEBLUR_DATA")
    return folder


def jpeg(pixels: NDArray[np.uint8], quality: int = 92, **options: object) -> bytes:
    """Encode with an encoder that is not ours."""
    file = io.BytesIO()
    mode = "CMYK" if pixels.ndim == 3 and pixels.shape[2] == 4 else None
    Image.fromarray(pixels, mode).save(file, "JPEG", quality=quality, **options)
    return file.getvalue()


def decoded(data: bytes | Path) -> NDArray[np.uint8]:
    """Decode with a decoder that is not ours."""
    with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
        return np.asarray(image)


def with_segments(data: bytes, *segments: tuple[int, bytes]) -> bytes:
    """A JPEG with more marker segments right after its first one (JFIF)."""
    at = 4 + int.from_bytes(data[4:6]) if data[2:4] == b"\xff\xe0" else 2
    added = b"".join(
        bytes((0xFF, marker)) + (len(payload) + 2).to_bytes(2) + payload
        for marker, payload in segments
    )
    return data[:at] + added + data[at:]


def segments_of(data: bytes) -> list[tuple[int, bytes]]:
    """Application and comment segments up to the first scan, read byte by byte."""
    found, at = [], 2
    while data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4])
        marker = data[at + 1]
        if 0xE0 <= marker <= 0xEF or marker == 0xFE:
            found.append((marker, data[at + 4 : at + 2 + length]))
        at += 2 + length
    return found


def tagged() -> Image.Exif:
    """EXIF with an orientation and a position."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "AstroPi"
    gps = exif.get_ifd(EXIF_GPS)
    gps[1], gps[2] = "N", (51.0, 28.0, 40.12)
    gps[3], gps[4] = "W", (0.0, 0.0, 5.31)
    return exif


@pytest.fixture(scope="session")
def scene() -> NDArray[np.uint8]:
    """A blurred, slightly noisy 96 x 120 colour scene."""
    sharp = natural(96, 120, seed=3)
    rng = np.random.default_rng(3)
    return degrade(sharp, PSF.defocus(2.5), noise=0.003, rng=rng)


@pytest.fixture(scope="session")
def capture(scene: NDArray[np.uint8]) -> bytes:
    """`scene` as a 4:2:0 JPEG with EXIF, GPS, ICC, XMP, IPTC and a comment."""
    plain = jpeg(scene, exif=tagged(), icc_profile=ICC, comment=b"from orbit")
    return with_segments(plain, (0xE1, XMP), (0xED, IPTC))


@pytest.fixture
def capture_file(tmp_path: Path, capture: bytes) -> Path:
    path = tmp_path / "capture.jpg"
    path.write_bytes(capture)
    return path


@pytest.fixture(scope="session")
def blind_capture() -> bytes:
    """A capture large enough for the blind estimate: 320 x 384, defocus radius 4."""
    sharp = natural(320, 384, seed=11)
    rng = np.random.default_rng(11)
    return jpeg(degrade(sharp, PSF.defocus(4.0), noise=0.002, rng=rng), 95)


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Descriptors and threads are back to before when the test ends."""
    files, threads = counters()
    yield
    deadline = time.monotonic() + 2  # a joined thread may take a moment to leave /proc
    while time.monotonic() < deadline:
        files_after, threads_after = counters()
        if files_after == files and threads_after <= threads:  # an earlier test's may have left
            return
        time.sleep(0.01)
    pytest.fail(f"descriptors {files} -> {files_after}, threads {threads} -> {threads_after}")


def counters() -> tuple[int, int]:
    """Open descriptors and threads of this process."""
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
