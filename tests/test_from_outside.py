"""What comes from outside ends in a picture or in an error that says what to do."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imagine_deblur import _core
from imagine_deblur.engines.descriptor import ModelDescriptor
from imagine_deblur.errors import EngineError, PsfError
from imagine_deblur.psf.document import read_document
from imagine_deblur.session import Session
from networks import not_a_number
from synthetic import natural

HEAD = '{"format": "imagine-deblur-model", "format_version": 1, "name": "n"'


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        HEAD + ', "halo": ' + "9" * 5000 + "}",
        HEAD + ', "scales": []}',
        HEAD + ', "halo": 1000000000}',
        HEAD + ', "scales": [100000]}',
        HEAD + ', "psf_range": {"a": [1e999, ' + "1" * 400 + "]}}",
        HEAD + ', "nsr": [1.0], "inputs": ["wiener.' + "9" * 5000 + '.r"]}',
    ],
)
def test_descriptors_end_in_an_engine_error(text: str) -> None:
    with pytest.raises(EngineError, match="model"):
        ModelDescriptor.from_json(text, model="model")


def test_a_pipe_as_a_record_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "record.json")
    with pytest.raises(PsfError, match="regular file"):
        read_document(tmp_path / "record.json")


def test_a_zero_quantisation_table_tells_nothing_and_stops_nothing() -> None:
    picture = np.rint(np.clip(natural(160, 200, seed=1), 0, 1) * 255).astype(np.uint8)
    data = bytearray(_core.encode_jpeg(picture))
    at = data.index(b"\xff\xdb") + 5
    data[at : at + 64] = bytes(64)
    out = io.BytesIO()
    with Session(model="wiener", threads=1) as session:
        session.process(bytes(data), out)
    assert out.getvalue()


def test_a_wide_flat_frame_is_estimated() -> None:
    """Over 8 million px and under 512 rows: no rows were left to look at."""
    part = np.rint(np.clip(natural(300, 300, seed=2), 0, 1) * 255).astype(np.uint8)
    data = _core.encode_jpeg(np.ascontiguousarray(np.tile(part, (1, 95, 1))))
    with Session(model="wiener", threads=1) as session:
        out = io.BytesIO()
        assert session.process(data, out).columns == 28_500


@pytest.mark.parametrize("psf", [None, "disk:2"])
def test_a_network_that_answers_nan_makes_no_black_picture(tmp_path: Path, psf: str | None) -> None:
    picture = np.rint(np.clip(natural(160, 200, seed=3), 0, 1) * 255).astype(np.uint8)
    data, out = _core.encode_jpeg(picture), io.BytesIO()
    network = str(not_a_number(tmp_path / "nan.onnx"))
    with (
        Session(model=network, psf=psf, threads=1, reblur_check=False) as session,
        pytest.raises(EngineError, match="NaN or infinite values in the tile at row 0"),
    ):
        session.process(data, out)
    assert not out.getvalue()
    if psf:  # the check refutes every block, and the capture comes out
        with Session(model=network, psf=psf, threads=1) as session:
            report = session.process(data, out)
        assert not report.restored
        assert report.passed_through.startswith("100% of the blocks")


def test_standard_input_is_bounded() -> None:
    command = [sys.executable, "-m", "imagine_deblur", "process", "-", "--model", "identity"]
    command += ["--max-ram", "100MB"]
    with open("/dev/zero", "rb") as endless:
        done = subprocess.run(command, stdin=endless, capture_output=True, timeout=60, check=False)
    assert done.returncode == 3
    assert b"standard input has more than 25000000 bytes" in done.stderr
