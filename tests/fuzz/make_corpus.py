"""Write the seed corpus for the JPEG fuzz target.

Small pictures of every kind the reader knows (grey, RGB, CMYK, YCCK; 4:4:4, 4:2:2, 4:2:0; baseline,
progressive, optimised, restart markers; EXIF, ICC, XMP and comments), then each of them damaged in
the ways that decoders have died of: cut at every marker and in the middle of its segment, huge
declared sizes, hundreds of scans, other sample precisions and frame types, emptied tables.

Usage: ``python tests/fuzz/make_corpus.py FOLDER``. Needs Pillow. The same files every time.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

SOI = b"\xff\xd8"
EOI = b"\xff\xd9"
STANDALONE = {0x00, 0x01, 0xFF, *range(0xD0, 0xD8)}
START_OF_FRAME = {0xC0, 0xC1, 0xC2}
START_OF_SCAN = 0xDA


def scene(rows: int, columns: int, mode: str) -> Image.Image:
    """Return shapes and noise, so that every coefficient is used, as a picture of `mode`."""
    rng = np.random.default_rng(7)
    bands = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    r, c, b = np.mgrid[:rows, :columns, :bands]
    values = 40 + (r * (3 + b) + c * 2) % 150 + rng.integers(0, 24, r.shape)
    samples = values.astype(np.uint8)
    return Image.fromarray(samples[..., 0] if bands == 1 else samples, mode)


def encode(image: Image.Image, **options: object) -> bytes:
    """Return `image` as a JPEG file."""
    target = io.BytesIO()
    image.save(target, "JPEG", **options)
    return target.getvalue()


def markers(file: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (position, code, end of the segment) of every marker with a segment."""
    at = 2
    while at + 3 < len(file):
        if file[at] != 0xFF or file[at + 1] in STANDALONE:
            at += 1
            continue
        if file[at + 1] == EOI[1]:
            return
        end = at + 2 + int.from_bytes(file[at + 2 : at + 4], "big")
        yield at, file[at + 1], end
        at = end


def kinds() -> Iterator[tuple[str, bytes]]:
    """Yield (name, file) of sound pictures."""
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation
    carried = {
        "exif": exif.tobytes(),
        "icc_profile": bytes(range(256)) * 3,
        "comment": b"a comment",
        "xmp": b"<x:xmpmeta/>",
        "dpi": (300, 300),
    }
    for mode in ("L", "RGB", "CMYK"):
        for sampling in ("4:4:4",) if mode == "L" else ("4:4:4", "4:2:2", "4:2:0"):
            for progressive in (False, True):
                for restart in (0, 1):
                    name = f"{mode}-{sampling.replace(':', '')}-{progressive:d}-{restart}"
                    options: dict[str, object] = {
                        "quality": 85,
                        "progressive": progressive,
                        "restart_marker_rows": restart,
                    }
                    if mode != "L":
                        options["subsampling"] = sampling
                    yield name, encode(scene(17, 33, mode), **options)
    for rows, columns in ((1, 1), (3, 8), (40, 50)):
        yield f"size-{rows}x{columns}", encode(scene(rows, columns, "RGB"), optimize=True)
    yield "carried", encode(scene(8, 8, "RGB"), **carried)
    yield "carried-progressive", encode(scene(8, 8, "RGB"), progressive=True, **carried)
    ink = encode(scene(17, 33, "CMYK"), quality=85)
    adobe = ink.find(b"Adobe")
    yield "ycck", ink[: adobe + 11] + b"\x02" + ink[adobe + 12 :]
    yield "cmyk-plain", b"".join(_without(ink, 0xEE))


def _without(file: bytes, code: int) -> Iterator[bytes]:
    start = 0
    for at, found, end in markers(file):
        if found == code:
            yield file[start:at]
            start = end
    yield file[start:]


def cuts(file: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the file cut at each marker, in the middle of its segment, and inside its data."""
    for number, (at, code, end) in enumerate(markers(file)):
        yield f"cut-{number}-{code:02x}", file[:at]
        yield f"cut-{number}-{code:02x}-mid", file[: (at + end) // 2]
        yield f"cut-{number}-{code:02x}-end", file[: at + 2] + EOI
    yield "cut-last", file[:-2]


def lies(file: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the file with header fields that are not true."""
    for at, code, end in markers(file):
        if code in START_OF_FRAME:
            for rows, columns in ((65500, 65500), (512, 512), (65535, 1), (1, 65500), (0, 33)):
                size = rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
                yield f"size-{rows}-{columns}", file[: at + 5] + size + file[at + 9 :]
            for precision in (0, 12, 16):
                changed = file[: at + 4] + bytes([precision]) + file[at + 5 :]
                yield f"bits-{precision}", changed
            for kind in (0xC0, 0xC2, 0xC3, 0xC5, 0xC9, 0xCA):
                yield f"frame-{kind:02x}", file[: at + 1] + bytes([kind]) + file[at + 2 :]
            second = file[at : at + 5] + b"\x00\x09\x00\x09" + file[at + 9 : end]
            yield "frame-twice", file[:-2] + second + EOI
        elif code in (0xC4, 0xDB, 0xDD):
            for filler in (0x00, 0xFF):
                body = bytes([filler]) * (end - at - 5)
                yield f"table-{at}-{code:02x}-{filler:02x}", file[: at + 5] + body + file[end:]


def bomb(file: bytes, scans: int) -> bytes:
    """Return a progressive file whose last scan comes `scans` times."""
    starts = [at for at, code, _ in markers(file) if code == START_OF_SCAN]
    last = file[starts[-1] : -2]
    return file[: starts[-1]] + last * scans + EOI


def corpus() -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of every seed."""
    for name, file in kinds():
        yield name, file
        for damage, damaged in cuts(file):
            yield f"{name}-{damage}", damaged
        for lie, changed in lies(file):
            yield f"{name}-{lie}", changed
        if "-1-" in name:
            yield f"{name}-bomb-30", bomb(file, 30)
            yield f"{name}-bomb-300", bomb(file, 300)
    yield "segments", SOI + b"\xff\xfe\x00\x03x" * 5000 + EOI
    yield "empty", b""
    yield "png", b"\x89PNG\r\n\x1a\n"


def main() -> None:
    """Write the corpus into the folder given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, content in corpus():
        (folder / f"{name}.jpg").write_bytes(content)
        count += 1
    print(f"{count} seeds in {folder}")


if __name__ == "__main__":
    main()
