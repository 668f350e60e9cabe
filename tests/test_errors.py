"""Every row of the page of errors: the call fails as it says, with the message it shows."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from error_commands import COMMANDS, RASTERS, Command
from error_rows import ARRAYS, CALLS, Call, matches, page
from imagine_deblur.cli.main import main
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.errors import ImagineDeblurError
from imagine_deblur.psf import PSF
from imagine_deblur.psf.record import save_record
from jpegkit import jpeg
from synthetic import natural

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "errors.md"
CAPTURE = degrade(
    natural(160, 192, seed=4), PSF.defocus(3.0), noise=0.004, rng=np.random.default_rng(1)
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the files that the rows name."""
    whole = jpeg(CAPTURE, 92)
    contents = {
        "capture.jpg": whole,
        "there.jpg": whole,
        "empty.jpg": b"",
        "cut.jpg": whole[: len(whole) // 2],
        "progressive.jpg": jpeg(np.tile(CAPTURE, (4, 4, 1)), 92, progressive=True),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    save_record(tmp_path / "later.json", PSF.defocus(3.0))
    document = json.loads((tmp_path / "later.json").read_text())
    (tmp_path / "later.json").write_text(json.dumps(document | {"version": 99}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("row", [*ARRAYS, *CALLS], ids=lambda row: row.shown)
def test_a_call_says_what_the_page_shows(row: Call, place: Path) -> None:
    before = sorted(place.iterdir())
    with pytest.raises(ImagineDeblurError) as caught:
        row.run()
    assert type(caught.value) is row.kind
    assert matches(row.says, str(caught.value)), str(caught.value)
    assert sorted(place.iterdir()) == before


def _files(place: Path) -> dict[Path, bytes | None]:
    """What lies there: files with their bytes, else (a pipe gives none) with None."""
    return {path: path.read_bytes() if path.is_file() else None for path in place.iterdir()}


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.arguments)
def test_a_command_says_what_the_page_shows(
    row: Command, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _files(place)
    assert main(row.arguments.split()) == row.code
    said = capsys.readouterr().err.strip()
    assert matches(row.says, said), said
    assert _files(place) == before


@pytest.fixture
def rasters(place: Path) -> None:
    """The rasters that the rows name."""
    rasterio = pytest.importorskip("rasterio", reason="pip install '.[raster]'")
    (place / "text.tif").write_text("no picture")
    shape = {"driver": "GTiff", "width": 32, "height": 32}
    for name, profile in {
        "complex": {"count": 1, "dtype": "complex64"},
        "counts": {"count": 1, "dtype": "uint32"},
        "palette": {"count": 1, "dtype": "uint8", "photometric": "PALETTE"},
        "mask": {"count": 1, "dtype": "uint8", "nbits": 1},
        "lab": {"count": 3, "dtype": "uint8", "photometric": "CIELAB"},
        "scene": {"count": 1, "dtype": "float32"},
    }.items():
        place_of = {"transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), "crs": "EPSG:32631"}
        with rasterio.open(place / f"{name}.tif", "w", **shape, **place_of, **profile) as file:
            if name == "palette":
                file.write_colormap(1, {0: (0, 0, 0, 255), 1: (9, 9, 9, 255)})


@pytest.mark.parametrize("row", RASTERS, ids=lambda row: row.arguments)
@pytest.mark.usefixtures("rasters")
def test_a_command_says_of_a_raster_what_the_page_shows(
    row: Command, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test_a_command_says_what_the_page_shows(row, place, capsys)


def test_the_page_is_made_of_the_rows() -> None:
    assert PAGE.read_text("utf-8") == page(), "python tests/support/error_rows.py > errors.md"


def test_a_file_is_named_once() -> None:
    for row in (*COMMANDS, *RASTERS[1:]):  # GDAL names a file that it cannot read itself
        names = [name for name in row.arguments.split() if name.endswith((".jpg", ".tif"))]
        assert all(row.says.count(name) <= 1 for name in names), row.says


def test_a_jpeg_does_not_go_to_a_terminal(place: Path) -> None:
    try:
        ours, theirs = pty.openpty()
    except OSError as error:
        pytest.skip(f"no terminal can be had here: {error}")
    command = [sys.executable, "-m", "imagine_deblur", "process", "-", "--model", "wiener"]
    with (place / "capture.jpg").open("rb") as capture:
        done = subprocess.run(
            command, stdin=capture, stdout=theirs, stderr=subprocess.PIPE, check=False, timeout=60
        )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert b"a file (-o FILE) or a pipe" in done.stderr
