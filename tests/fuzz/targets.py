"""What is fuzzed of records, presets, options and command lines, and sound inputs to begin with."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import service_targets
from expecting import expect


def try_psf(data: bytes) -> None:
    """Read bytes as a PSF record or a field of PSFs, as `Options.psf` does."""
    from imagine_deblur.psf.field import PsfField
    from imagine_deblur.psf.models import PSF

    Path("psf.json").write_bytes(data)
    _use_record()
    try:
        document = json.loads(data)
        described = document["psf"] if "psf" in document else {"grid": document["grid"]}
        kind: Any = PSF if "psf" in document else PsfField
        document["id"] = kind.from_dict(described).id
    except Exception:
        return  # what is wrong with it was for _use_record to say
    Path("psf.json").write_text(json.dumps(document), encoding="utf-8")
    _use_record()


def _use_record() -> None:
    import numpy as np

    from imagine_deblur.errors import ImagineDeblurError
    from imagine_deblur.psf.field import PsfField, load_field, save_field
    from imagine_deblur.psf.presets import named_psf
    from imagine_deblur.psf.record import load_record, save_record

    try:
        psf = named_psf("psf.json").psf
    except (ImagineDeblurError, OSError):
        return
    if isinstance(psf, PsfField):
        save_field("copy.json", psf)
        expect(load_field("copy.json") == psf, "a field comes back as it was written")
        cells = [cell for _, _, cell in psf.cells]
    else:
        assert psf is not None
        record = load_record("psf.json")
        deviations = record.standard_errors.values()
        expect(all(math.isfinite(d) and d >= 0 for d in deviations), "standard errors")
        expect(record.gsd_m is None or 0 < float(record.gsd_m) < math.inf, "gsd_m")
        save_record(
            "copy.json",
            psf,
            covariance=record.covariance,
            parameters=record.parameters,
            gsd_m=record.gsd_m,
            provenance=record.provenance,
        )
        expect(load_record("copy.json").psf == psf, "a record comes back as it was written")
        cells = [psf]
    for cell in cells[:2]:
        expect(cell.support_px() >= 0, "support")
        response = cell.half_plane(24, 20)
        expect(np.isfinite(response).all(), "a transfer function is finite")
        expect(abs(response[0, 0] - 1) < 1e-3, "flux is kept")
        expect(np.abs(response).max() < 1.01, "a blur amplifies nothing")


def try_preset(data: bytes) -> None:
    """Take text as the blur's name."""
    from imagine_deblur.errors import ImagineDeblurError
    from imagine_deblur.options import Options
    from imagine_deblur.psf.presets import named_psf

    text = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(ImagineDeblurError, OSError):
        named_psf(Options(psf=text).psf)  # type: ignore[arg-type]


def try_options(data: bytes) -> None:
    """Take a JSON object as keyword arguments of `Options` and of the service's settings."""
    from dataclasses import fields

    from imagine_deblur.errors import ImagineDeblurError, OptionsError
    from imagine_deblur.options import Options
    from imagine_deblur.psf.presets import named_psf
    from imagine_deblur.watch.settings import WatchSettings

    try:
        document = json.loads(data)
        values = {name: _revived(value) for name, value in document.items()}
    except (ValueError, AttributeError, RecursionError):
        return
    for kind in (Options, WatchSettings):
        known = {f.name for f in fields(kind)}
        try:
            made = kind(**{name: value for name, value in values.items() if name in known})
        except OptionsError as error:
            expect(error.field in known and str(error), "the message names the field")
            continue
        if isinstance(made, Options):
            expect(type(made.ram_bytes) is int and made.ram_bytes > 0, "max_ram in bytes")
            if made.psf is not None:
                with contextlib.suppress(ImagineDeblurError, OSError):
                    named_psf(made.psf)
        else:
            expect(made.min_free_bytes >= 0, "min_free in bytes")


def _revived(value: object) -> object:
    """Return a value that JSON has no word for."""
    import numpy as np

    special: dict[object, object] = {
        "$array": np.ones(3),
        "$int64": np.int64(4),
        "$float32": np.float32(0.5),
        "$bytes": b"300MB",
        "$object": object(),
        "$path": Path("x"),
        "$complex": 1j,
        "$set": {1},
    }
    return special.get(value, value) if isinstance(value, str) else value


def try_arguments(data: bytes) -> None:
    """Take NUL-separated words as the command line's flags."""
    from dataclasses import fields

    from imagine_deblur.cli.process import options_from
    from imagine_deblur.errors import ImagineDeblurError
    from imagine_deblur.watch.settings import WatchSettings

    words = [word.decode("utf-8", "surrogateescape") for word in data.split(b"\0")]
    for command in (["process", "in.jpg"], ["watch", "in", "out"]):
        quiet = io.StringIO()
        with contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet):
            try:
                parsed = _parser().parse_args([*command, *words])
                options_from(parsed)
                if command[0] == "watch":
                    names = [f.name for f in fields(WatchSettings)]
                    WatchSettings(**{name: getattr(parsed, name) for name in names})
            except SystemExit as stop:
                expect(stop.code in (0, 2), "argparse ends with 0 or 2")
            except ImagineDeblurError:
                pass


@cache
def _parser() -> argparse.ArgumentParser:
    from imagine_deblur.cli.main import build_parser

    return build_parser()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "psf": try_psf,
    "preset": try_preset,
    "options": try_options,
    "arguments": try_arguments,
    **service_targets.TARGETS,
}


def kept(target: str) -> list[bytes]:
    """Return the inputs that once led somewhere new, from the folder ``corpus``."""
    folder = Path(__file__).with_name("corpus") / target
    return [path.read_bytes() for path in sorted(folder.glob("*"))]


def seeds(target: str) -> list[bytes]:
    """Return sound inputs of a target."""
    if target in service_targets.TARGETS:
        return service_targets.seeds(target)
    if target == "preset":
        return [b"disk:6.8", b"disk:6.8,0.5", b"gauss:2.0", b"lens.json", b"disk:0"]
    if target == "options":
        documents: list[Any] = [
            {"psf": "disk:3", "model": "wiener", "nsr": 0.01, "tile": 512, "max_ram": "300MB"},
            {"engine": "auto", "precision": "f32", "self_ensemble": 4, "deadline": 5.0},
            {"quality": 90, "subsampling": "4:2:0", "nice": 5, "scheduling": "idle", "overlap": 8},
            {"max_pixels": 10**6, "max_ram": "1.5GiB", "temp_dir": "/tmp", "salvage": True},
            {"poll": 0.5, "min_free": "64MB", "patience": 1, "late_after": 60.0, "max_crashes": 2},
            {"on_failure": "quarantine", "after": "remove", "stable_polls": 2, "check_every": 1},
        ]
        return [json.dumps(document).encode() for document in documents]
    if target == "arguments":
        lines = [
            "--psf disk:3 --model wiener --nsr 0.01 --tile 512 --max-ram 300MB --threads 2",
            "--engine auto --precision f32 --self-ensemble 4 --deadline 5 --nice 5 --pin",
            "--no-reblur-check",
            "--quality 90 --subsampling 4:2:0 --scheduling idle --max-pixels 9 --temp-dir /tmp",
            "--poll 1 --min-free 0 --late-after 60 --stop-within 8 --once --after remove",
        ]
        return [line.encode().replace(b" ", b"\0") for line in lines]
    return [json.dumps(document).encode() for document in _records()]


def _records() -> list[Any]:
    import numpy as np

    from imagine_deblur.psf import PSF, Disk, Gaussian, Motion, PixelAperture, Pupil, Sampled
    from imagine_deblur.psf.field import PsfField, save_field
    from imagine_deblur.psf.record import parameter_names, save_record

    kernel = np.ones((3, 3)) / 9
    psfs = [
        PSF.defocus(6.8),
        PSF((Gaussian(2.0, 0.5, 30.0), Motion(4.0, -20.0), PixelAperture(0.9))),
        PSF((Pupil(0.3, -0.1, 1.5),)),
        PSF((Sampled(kernel), Disk(1.0))),
        PSF(),
    ]
    documents = []
    for psf in psfs:
        names = parameter_names(psf)
        save_record(
            "seed.json",
            psf,
            covariance=np.diag(np.arange(1.0, len(names) + 1)) if names else None,
            gsd_m=39.0,
            provenance={"from": "fuzz"},
        )
        documents.append(json.loads(Path("seed.json").read_text()))
    save_field("seed.json", PsfField(((psfs[0], psfs[1]), (psfs[2], psfs[3]))))
    documents.append(json.loads(Path("seed.json").read_text()))
    return documents
