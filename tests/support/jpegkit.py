"""JPEG files made and read with a codec that is not ours; counts of this process's resources."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

EXIF_GPS = 0x8825
ICC = b"acsp-like profile, 400 bytes: " + bytes(range(256)) + bytes(114)
XMP = b'http://ns.adobe.com/xap/1.0/\x00<?xpacket?><x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
IPTC = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00\x00\x00\x00\x07\x1c\x02\x78\x00\x02hi\x00"


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


def counters() -> tuple[int, int]:
    """Open descriptors and threads of this process."""
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
