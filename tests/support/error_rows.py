"""What goes wrong, and what is then said: the rows of docs/reference/errors.md, one test each.

``python tests/support/error_rows.py`` prints the page. A row's message is the whole message; ``…``
stands for a part that differs from machine to machine.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from error_commands import COMMANDS, RASTERS
from imagine_deblur import Session, errors, process, restore
from imagine_deblur.evaluation.metrics.fidelity import psnr
from imagine_deblur.psf import PSF
from imagine_deblur.psf.estimation import estimate_psf
from imagine_deblur.psf.record import load_record

BYTES = np.full((40, 48, 3), 90, np.uint8)
FLOATS = BYTES.astype(np.float32) / np.float32(255)


@dataclass(frozen=True)
class Call:
    """A Python call, as the page shows it, the error it raises and the error's message."""

    shown: str
    run: Callable[[], object]
    kind: type[BaseException]
    says: str


def _poked(value: float) -> Any:
    image = FLOATS.copy()
    image[3, 5, 1] = value
    return image


def _busy() -> None:
    with Session(psf="disk:2", model="wiener", threads=1) as session:
        session.restore_with_report(BYTES, progress=lambda _: session.restore(BYTES))


_ASKED: dict[str, Any] = {"psf": "disk:2", "model": "wiener", "threads": 1}


def _restoring(image: object, **changes: Any) -> Callable[[], object]:
    return lambda: restore(image, **(_ASKED | changes))  # type: ignore[arg-type]


_TAKEN = "taken are uint8, uint16, or float32 in [0, 1]: pass "
_SHAPES = "taken are (rows, columns) and (rows, columns, 3): pass "
_OUTSIDE = "image has float32 values from "

ARRAYS = (
    Call(
        "`restore([[1, 2], [3, 4]])`",
        _restoring([[1, 2], [3, 4]]),
        errors.InputImageError,
        "image is of type list, not an ndarray: convert it with numpy.asarray(image)",
    ),
    Call(
        "a masked array",
        _restoring(np.ma.masked_greater(BYTES, 80)),
        errors.InputImageError,
        "image is a masked array with 5760 masked samples, and a blur is undone from all of them: "
        "fill them first, for example image.filled(0)",
    ),
    Call(
        "a NaN or an infinity",
        _restoring(_poked(np.inf)),
        errors.InputImageError,
        "image has 1 samples that are NaN or infinite, the first at (3, 5, 1): replace them, for "
        "example numpy.nan_to_num(image, posinf=1, neginf=0)",
    ),
    Call(
        "`restore(x.astype(float32))` of 8 bits",
        _restoring(BYTES.astype(np.float32)),
        errors.InputImageError,
        f"{_OUTSIDE}90 to 90, outside [0, 1]: divide by its full scale, image / 255 where that is "
        "8 bits",
    ),
    Call(
        "the same of 16 bits",
        _restoring(BYTES.astype(np.float32) * 256),
        errors.InputImageError,
        f"{_OUTSIDE}2.304e+04 to 2.304e+04, outside [0, 1]: divide by its full scale, image / "
        "65535 where that is 16 bits",
    ),
    Call(
        "a little beyond the range",
        _restoring(_poked(1.02)),
        errors.InputImageError,
        f"{_OUTSIDE}0.3529 to 1.02, outside [0, 1]: numpy.clip(image, 0, 1)",
    ),
    Call(
        "float64",
        _restoring(FLOATS.astype(np.float64)),
        errors.InputImageError,
        f"image has dtype float64; {_TAKEN}image.astype(numpy.float32)",
    ),
    Call(
        "bool",
        _restoring(BYTES > 80),
        errors.InputImageError,
        f"image has dtype bool; {_TAKEN}image.astype(numpy.uint8) * 255",
    ),
    Call(
        "other integers",
        _restoring(BYTES.astype(np.int32)),
        errors.InputImageError,
        f"image has dtype int32; {_TAKEN}(image / full_scale).astype(numpy.float32) with the "
        "instrument's full scale",
    ),
    Call(
        "complex",
        _restoring(BYTES.astype(np.complex64)),
        errors.InputImageError,
        f"image has dtype complex64; {_TAKEN}numpy.abs(image).astype(numpy.float32), scaled to "
        "[0, 1]",
    ),
    Call(
        "object, text",
        _restoring(np.array([[1, None]], object)),
        errors.InputImageError,
        f"image has dtype object; {_TAKEN}rows of equally many numbers, such as numpy.array(rows, "
        "dtype=numpy.uint8)",
    ),
    Call(
        "the other byte order",
        _restoring(BYTES.astype(">u2")),
        errors.InputImageError,
        f'image has dtype >u2; {_TAKEN}image.astype(image.dtype.newbyteorder("="))',
    ),
    Call(
        "2 bands",
        _restoring(BYTES[..., :2].copy()),
        errors.InputImageError,
        f"image has the shape (40, 48, 2); {_SHAPES}one band after the other, "
        "numpy.ascontiguousarray(image[..., k])",
    ),
    Call(
        "4 bands",
        _restoring(np.zeros((40, 48, 4), np.uint8)),
        errors.InputImageError,
        f"image has the shape (40, 48, 4); {_SHAPES}numpy.ascontiguousarray(image[..., :3]), or "
        "one band after the other",
    ),
    Call(
        "bands first",
        _restoring(np.zeros((3, 40, 48), np.uint8)),
        errors.InputImageError,
        f"image has the shape (3, 40, 48); {_SHAPES}numpy.ascontiguousarray(numpy.moveaxis(image, "
        "0, -1)), its bands come first",
    ),
    Call(
        "no pixels",
        _restoring(np.zeros((0, 8), np.uint8)),
        errors.InputImageError,
        "image has 0 x 8 px; rows and columns must be 1 to 65500: restore it in parts",
    ),
    Call(
        "too many pixels",
        _restoring(BYTES, max_pixels=1000),
        errors.InputImageError,
        "image has 40 x 48 px, more than max_pixels=1000: raise max_pixels",
    ),
    Call(
        "a slice that skips",
        _restoring(BYTES[:, ::2]),
        errors.InputImageError,
        "image has strides (144, 6, 1) and is not C-contiguous: pass "
        "numpy.ascontiguousarray(image)",
    ),
    Call(
        "`out` of another shape",
        _restoring(BYTES, out=np.zeros((40, 48), np.uint8)),
        errors.OptionsError,
        "out='uint8 array of shape (40, 48)' is not allowed; allowed: an ndarray of shape (40, 48, "
        "3) and dtype uint8, such as empty_like(image)",
    ),
    Call(
        "`out` that is the image",
        _restoring(BYTES, out=BYTES),
        errors.OptionsError,
        "out='an array' is not allowed; allowed: memory that does not overlap the image",
    ),
    Call(
        "a NaN given to `estimate_psf`",
        lambda: estimate_psf(_poked(np.nan)),
        errors.InputImageError,
        "image has 1 samples that are NaN or infinite, the first at (3, 5, 1): replace them, for "
        "example numpy.nan_to_num(image, posinf=1, neginf=0)",
    ),
    Call(
        "`psnr` of 16 bits",
        lambda: psnr(BYTES.astype(np.uint16), BYTES.astype(np.uint16)),
        errors.InputImageError,
        "samples are uint16; metrics take floats in [0, 1]: divide by 65535 as float32 first",
    ),
    Call(
        "`psnr` of 8 bits",
        lambda: psnr(BYTES, BYTES),
        errors.InputImageError,
        "samples are uint8; metrics take floats in [0, 1]: divide by 255 as float32 first",
    ),
)

CALLS = (
    Call(
        "a `Session` used in its own progress callback",
        _busy,
        errors.SessionBusyError,
        "this session is in the middle of a frame of the same thread, for example in its progress "
        "callback: use another Session",
    ),
    Call(
        "`process` of bytes without an output",
        lambda: process(b"", **_ASKED),
        errors.OptionsError,
        "output=None is not allowed; allowed: a path or a binary file when the source has no path",
    ),
    Call(
        "`process` of a number",
        lambda: process(3, "a.jpg"),  # type: ignore[arg-type]
        errors.InputImageError,
        "expected a path, bytes or a binary file, got int",
    ),
    Call(
        '`Session(model="foo")`',
        lambda: Session(model="foo"),
        errors.EngineError,
        "model 'foo' is neither a file nor one of auto, fast, best, wiener, identity: give one of "
        "these, or the path of an ONNX file",
    ),
    Call(
        '`Session(psf="lens.json")` without the file',
        lambda: Session(psf="lens.json"),
        errors.PsfError,
        "no file is named 'lens.json', and it is no preset such as 'disk:6.8', 'disk:6.8,0.5' or "
        "'gauss:2.0' (lengths in px)",
    ),
    Call(
        '`Session(psf="disk:300")`',
        lambda: Session(psf="disk:300"),
        errors.PsfError,
        "a PSF that reaches 302 px from its centre cannot be undone: the linear stage works with "
        "at most 256 px",
    ),
    Call(
        "a record of a later version",
        lambda: load_record("later.json"),
        errors.PsfError,
        "later.json: field 'version' is 99; this software reads 1, 2: update it, or estimate the "
        "blur again",
    ),
    Call(
        "a record that is a picture",
        lambda: load_record("capture.jpg"),
        errors.PsfError,
        "capture.jpg: not a JSON document, so no PSF record (…): make one with `imagine-deblur psf "
        "estimate` or `psf calibrate`",
    ),
    Call(
        '`restore` of a flat picture with `without_information="error"`',
        _restoring(np.full((200, 200), 9, np.uint8), psf=None, without_information="error"),
        errors.EstimationError,
        "the capture shows nothing but flat areas and noise: its blur cannot be told; give the "
        "PSF, or a record of other captures of the lens",
    ),
    Call(
        "`PSF.defocus(-1)`",
        lambda: PSF.defocus(-1.0),
        errors.PsfError,
        "radius_px=-1.0 is outside [0, 1000]",
    ),
)


def matches(says: str, found: str) -> bool:
    """Whether a message is what a row says."""
    pattern = ".+?".join(re.escape(part) for part in says.split("…"))
    return re.fullmatch(pattern, found, re.DOTALL) is not None


HEAD = """# What goes wrong, and what to do

Everything the package raises on purpose is an `ImagineDeblurError`; files that are missing or
cannot be written stay `OSError`. Each message names what was given, what is taken and the cure.
Every row below is run by a test: the messages are what you will see.

```python
from imagine_deblur import ImagineDeblurError, restore

try:
    restored = restore(image)
except ImagineDeblurError as error:
    print(error)
```

A capture that is passed through is no error. `Report.restored` is then false,
`Report.passed_through` says why, the command ends with 0, and `restore` gives a
`PassedThroughWarning`. To have errors instead:

```python
import warnings
from imagine_deblur.errors import PassedThroughWarning

warnings.simplefilter("error", PassedThroughWarning)
```

`without_information="error"` (`--without-information error`) makes such a capture an
`EstimationError`, and the command ends with 6.

"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def page() -> str:
    """Return docs/reference/errors.md."""
    lines = [HEAD + "## Arrays\n"]
    for title, rows in (("", ARRAYS), ("## Other calls\n", CALLS)):
        if title:
            lines += ["", title]
        lines += ["| given | error | says |", "| --- | --- | --- |"]
        for row in rows:
            lines.append(f"| {_cell(row.shown)} | `{row.kind.__name__}` | {_cell(row.says)} |")
    for title, commands in (("## Commands\n", COMMANDS), ("## Rasters\n", RASTERS)):
        lines += ["", title]
        lines += ["| `imagine-deblur` | exit code | says on standard error |"]
        lines += ["| --- | --- | --- |"]
        for command in commands:
            lines.append(f"| `{command.arguments}` | {command.code} | {_cell(command.says)} |")
    lines += ["", "::: imagine_deblur.errors", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(page())
