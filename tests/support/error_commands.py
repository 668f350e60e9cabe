"""What the command says of what goes wrong: rows of docs/reference/errors.md, one test each.

A row's message is the whole message; ``…`` stands for a part that differs from machine to machine.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """Arguments of ``imagine-deblur``, its exit code and the line on standard error."""

    arguments: str
    code: int
    says: str


_CAPTURE = "imagine-deblur: capture.jpg: "

COMMANDS = (
    Command(
        "process missing.jpg",
        8,
        "imagine-deblur: missing.jpg: No such file or directory; check the path",
    ),
    Command(
        "process empty.jpg",
        3,
        "imagine-deblur: empty.jpg: not a JPEG but an empty file; give a JPEG file",
    ),
    Command(
        "process cut.jpg",
        3,
        "imagine-deblur: cut.jpg: ends after … bytes at scanline … of 160: the file is truncated; "
        "fetch the file again, or restore what it holds with salvage",
    ),
    Command(
        "process capture.jpg --model foo",
        4,
        "imagine-deblur: model 'foo' is neither a file nor one of auto, fast, best, wiener, "
        "identity: give one of these, or the path of an ONNX file",
    ),
    Command(
        "process capture.jpg --max-ram 300",
        2,
        "imagine-deblur: max_ram='300' is not allowed; allowed: at least 10kB; a number without a "
        "unit is bytes, so 300 megabytes are '300MB'",
    ),
    Command(
        "process capture.jpg --max-ram 20MB --psf disk:3",
        5,
        f"{_CAPTURE}this frame needs … MiB even in the smallest pieces (interpreter and runtime …, "
        "engine up to …, buffers up to … with it, headroom 11); 20 MiB are allowed: raise max_ram "
        "(--max-ram) or the memory cgroup's limit",
    ),
    Command(
        "process progressive.jpg --max-ram 1MB --psf disk:3",
        5,
        "imagine-deblur: progressive.jpg: libjpeg takes … bytes for this frame and may take "
        "250000, 1/4 of max_ram: raise max_ram (--max-ram) to …MB or more. A progressive JPEG "
        "takes the most; as baseline it takes little",
    ),
    Command(
        "process capture.jpg -o none/a.jpg",
        8,
        f"{_CAPTURE}none/a.jpg: its folder does not exist; make it first: mkdir -p none",
    ),
    Command(
        "process capture.jpg -o out.tif",
        2,
        f"{_CAPTURE}output='out.tif' is not allowed; allowed: a name that ends in .jpg: the result "
        "is a JPEG",
    ),
    Command(
        "process capture.jpg -o capture.jpg",
        2,
        "imagine-deblur: output='capture.jpg' is not allowed; allowed: a file other than the "
        "source",
    ),
    Command(
        "process capture.jpg -o there.jpg",
        7,
        f"{_CAPTURE}there.jpg: the output exists; pass overwrite=True (--overwrite) to replace it",
    ),
    Command(
        "process missing.jpg -o there.jpg",
        8,
        "imagine-deblur: missing.jpg: No such file or directory; check the path",
    ),
    Command(
        "process missing.jpg -o none/a.jpg",
        8,
        "imagine-deblur: missing.jpg: No such file or directory; check the path",
    ),
    Command(
        "process pipe.jpg",
        3,
        "imagine-deblur: pipe.jpg: a pipe or a device, not a file; pipe the capture in as '-', or "
        "copy it into a file",
    ),
    Command(
        "process capture.jpg --psf folder",
        2,
        "imagine-deblur: folder: not a regular file; copy the record into one",
    ),
    Command(
        "process capture.jpg --nsr 0",
        2,
        "imagine-deblur: nsr=0.0 is not allowed; allowed: a positive number, or None",
    ),
    Command(
        "process capture.jpg --max-pixels 1000",
        3,
        f"{_CAPTURE}…",
    ),
    Command(
        "process capture.jpg --psf disk:20 --without-information error",
        6,
        f"{_CAPTURE}undoing this blur would make … times the detail that the capture's large "
        "structures go with (at most 40): the blur is another; leave the PSF out to have it "
        "estimated",
    ),
    Command(
        "psf estimate capture.jpg -o capture.jpg --overwrite",
        2,
        "imagine-deblur: output='capture.jpg' is not allowed; allowed: a file other than the "
        "source",
    ),
    Command(
        "psf estimate capture.jpg -o there.jpg",
        7,
        "imagine-deblur: there.jpg: the output exists; pass overwrite=True (--overwrite) to "
        "replace it",
    ),
    Command(
        "psf estimate missing.jpg -o there.jpg",
        8,
        "imagine-deblur: missing.jpg: No such file or directory; check the path",
    ),
    Command(
        "psf estimate capture.jpg -o none/a.json",
        8,
        "imagine-deblur: none/a.json: its folder does not exist; make it first: mkdir -p none",
    ),
    Command(
        "demo -o there.jpg",
        8,
        "imagine-deblur: there.jpg: File exists; there is one of that name already; choose another",
    ),
    Command(
        "evaluate --data folder",
        2,
        "imagine-deblur: --protocol is missing: one of …; or give --camera",
    ),
    Command(
        "psf show none.json",
        2,
        "imagine-deblur: no file is named 'none.json', and it is no preset such as 'disk:6.8', "
        "'disk:6.8,0.5' or 'gauss:2.0' (lengths in px)",
    ),
    Command(
        "report none.jsonl -o a.html",
        8,
        "imagine-deblur: none.jsonl: …",
    ),
)

_TYPES = "uint8, uint16, int16, float32, float64"

RASTERS = (
    Command(
        "process text.tif",
        3,
        "imagine-deblur: text.tif: not a raster that GDAL reads: 'text.tif' not recognized as …",
    ),
    Command(
        "process complex.tif",
        3,
        "imagine-deblur: complex.tif: samples are complex64; a blur of the amplitude can be "
        "undone: write that first",
    ),
    Command(
        "process counts.tif",
        3,
        f"imagine-deblur: counts.tif: samples are uint32; convert them to one of {_TYPES}, for "
        "example with gdal_translate -ot Float64",
    ),
    Command(
        "process palette.tif",
        3,
        "imagine-deblur: palette.tif: samples are numbers of palette colours, which cannot be "
        "filtered; expand them with gdal_translate -expand rgb",
    ),
    Command(
        "process mask.tif",
        3,
        "imagine-deblur: mask.tif: samples are of 1 bit, yes or no, which cannot be filtered",
    ),
    Command(
        "process lab.tif",
        3,
        "imagine-deblur: lab.tif: samples are CIELAB, which GDAL only shows by a rough conversion; "
        "convert the file to RGB with a program that manages colours, or take GDAL's conversion "
        "with gdal_translate -b 1 -b 2 -b 3",
    ),
    Command(
        "process scene.tif -o scene.png",
        2,
        "imagine-deblur: scene.tif: driver='PNG' is not allowed; allowed: COG or GTiff for 1 bands "
        "of float32: PNG holds up to 4 of uint8 or uint16",
    ),
    Command(
        "process scene.tif --bands 3,2,1",
        2,
        "imagine-deblur: scene.tif: bands='3' is not allowed; allowed: 1 to 1, or one of band 1",
    ),
    Command(
        "process scene.tif --quality 90",
        2,
        "imagine-deblur: scene.tif: quality=90 is not allowed; allowed: its default for rasters, "
        "which are packed without loss; restore JPEGs apart, and for a smaller file convert the "
        "output, for example by gdal_translate -of COG -co COMPRESS=JPEG -co QUALITY=90",
    ),
)
"""What is said of rasters, with the extra [raster]."""
