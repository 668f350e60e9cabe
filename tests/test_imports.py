"""Importing the package stays light."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import imagine_deblur

HEAVY = {
    "torch",
    "onnxruntime",
    "openvino",
    "onnx",
    "scipy",
    "PIL",
    "cv2",
    "rasterio",
    "matplotlib",
    "skimage",
    "distributed",
    "fsspec",
    "xarray",
    "dask",
    "pystac",
}


def loaded_by(code: str) -> set[str]:
    """Top-level modules a fresh interpreter has loaded after running `code`."""
    tail = "\nimport json, sys; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import imagine_deblur",
        "import imagine_deblur.cli",
        "import imagine_deblur.engines",
        "import imagine_deblur.evaluation.metrics.fidelity",
        "import imagine_deblur.psf.estimation",
    ],
)
def test_importing_loads_no_runtime_and_no_torch(code):
    assert loaded_by(code) & HEAVY == set()


#: Rooms that only their own command or call opens.
ROOMS_FOR_LATER = {
    "archive",
    "calibration",
    "cli",
    "degradation",
    "evaluation",
    "raster",
    "report_html",
    "train",
    "watch",
    "xr",
}


def test_importing_loads_numpy_and_the_rooms_that_restore():
    tail = "; import sys; print(*sys.modules)"
    before, after = (
        set(
            subprocess.run(
                [sys.executable, "-c", code + tail], capture_output=True, text=True, check=True
            ).stdout.split()
        )
        for code in ("pass", "import imagine_deblur")
    )
    new = {name.split(".")[0] for name in after - before}
    assert new - set(sys.stdlib_module_names) == {"imagine_deblur", "numpy"}
    rooms = {name.split(".")[1] for name in after if name.startswith("imagine_deblur.")}
    assert rooms & ROOMS_FOR_LATER == set()


def test_a_blind_restoration_needs_numpy_only():
    code = """
import io
import numpy as np
from imagine_deblur import _core, process
image = np.random.default_rng(0).integers(90, 160, (300, 320, 3), np.uint8)
process(_core.encode_jpeg(image), io.BytesIO())
process(_core.encode_jpeg(image), io.BytesIO(), psf="disk:2", model="fast")
"""
    assert loaded_by(code) & HEAVY == set()


def test_a_linear_restoration_needs_numpy_only():
    code = """
import io
import numpy as np
from imagine_deblur import _core, process
image = np.random.default_rng(0).integers(90, 160, (300, 320, 3), np.uint8)
process(_core.encode_jpeg(image), io.BytesIO(), psf="disk:2", model="wiener")
process(_core.encode_jpeg(image), io.BytesIO(), model="wiener")
"""
    assert loaded_by(code) & HEAVY == set()


def test_the_command_s_help_needs_nothing():
    code = """
import contextlib, io
from imagine_deblur.cli import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main(["--help"])
"""
    assert loaded_by(code) & HEAVY == set()


def test_every_public_name_is_there_and_documented():
    for name in imagine_deblur.__all__:
        value = getattr(imagine_deblur, name)
        assert name == "__version__" or value.__doc__
