"""A network for a camera of yours: from sharp scenes and a description to a network with its card.

The scenes are divided, a network is trained on captures as the description draws them, exported,
and measured beside the bundled one on scenes that training never saw. The card holds what it was
made of, what came out, and what to expect of it.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagine_deblur._version import VERSION
from imagine_deblur.degradation.camera_description import CameraDescription, read_camera
from imagine_deblur.engines.model import bundled_models
from imagine_deblur.errors import CancelledError, InputImageError
from imagine_deblur.evaluation.described import protocol_of
from imagine_deblur.evaluation.run import Row, as_dicts, evaluate, markdown
from imagine_deblur.options import Options
from imagine_deblur.train import export_onnx
from imagine_deblur.train.config import load_config, override
from imagine_deblur.train.queue import FINISHED, read_queue, run_queue
from imagine_deblur.train.scenes import checksum, list_images

BUNDLED = "fast"
"""The bundled network that a new one is compared with."""

_HELD_OUT = 5  # one scene in so many is kept from training
_LEAST_SCENES = 5
_MEASURES = 20  # held-out scenes from which on a 5th percentile means something
_SIDE = 640  # px of a held-out scene that is measured
_SKIPPED = ("Richardson-Lucy", "best radial filter")
_SETS = ("satellite", "iss", "aerial")  # folders whose names say of what kind scenes are


@dataclass(frozen=True)
class Retrained:
    """What `retrain` left.

    Attributes
    ----------
    network, card : Path
        The ONNX file, and its card as Markdown; the same as JSON lies beside it.
    worse : tuple of str
        Where the new network is behind the bundled one, in words; empty where nowhere.
    """

    network: Path
    card: Path
    worse: tuple[str, ...]


def retrain(
    camera: str | os.PathLike[str],
    scenes: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    hours: float = 6.0,
    config: str | os.PathLike[str] = "fast",
    set_values: Sequence[str] = (),
    device: str | None = None,
    limit: int | None = None,
) -> Retrained:
    """Train a network for a camera and write its card.

    Parameters
    ----------
    camera : path
        See `imagine_deblur.degradation.camera_description`.
    scenes : path
        Sharp scenes. Where it has ``train`` and ``val`` inside, these, else one in five is held
        out.
    out : path
        Folder of the run; an existing run goes on where it stopped.
    hours : float
        Of a processor, on an accelerator of the device; the schedule is fitted to them. 0 takes
        the configuration's own.
    config : str or path
        Shape and schedule, as for `imagine_deblur.train.train`.
    set_values : sequence of str
        As for `imagine_deblur.train.train`.
    device : str, optional
    limit : int, optional
        Measure about this many of the held-out scenes.

    Returns
    -------
    Retrained

    Raises
    ------
    OptionsError
        A wrong description or configuration.
    InputImageError
        Too few scenes.
    CancelledError
        The training was stopped, or failed.
    EngineError
        PyTorch is not installed, or the export disagrees with it.
    """
    described = read_camera(camera)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "scenes"
    counts = divide(scenes, data)
    _write_queue(folder, described, config, set_values, hours)
    queue = read_queue(folder / "queue.toml")
    outcome = run_queue(queue, folder / "runs", device=device, polite=False)
    run = folder / "runs" / described.name
    ended = outcome[described.name]
    if ended not in FINISHED:
        raise CancelledError(
            f"{run}: the training {ended}; no network was made yet, and the same line goes on"
        )
    network = folder / f"{described.name}.onnx"
    descriptor = export_onnx(run / "checkpoint.pt", network)
    rows = evaluate(
        protocol_of(described, crop_px=_SIDE),
        data / "val",
        models=[BUNDLED, os.fspath(network)],
        options=Options(max_ram="4GB"),
        limit=limit,
        skip=_SKIPPED,
    )
    # Rows are named for the model as it was given: here a path, of which the name is enough.
    rows = [replace(row, method=row.method.replace(str(network), described.name)) for row in rows]
    worse = tuple(behind(rows, f"{BUNDLED}, blind", f"{described.name}, blind"))
    values = _card(described, counts, data, network, descriptor, rows, worse)
    card = folder / f"{described.name}.card.md"
    card.with_suffix(".json").write_text(json.dumps(values, indent=2) + "\n", "utf-8")
    card.write_text(_in_words(values, rows), "utf-8")
    return Retrained(network, card, worse)


def divide(scenes: str | os.PathLike[str], data: Path) -> dict[str, int]:
    """Link scenes into ``train`` and ``val``, and say how many each has.

    Parameters
    ----------
    scenes : path
        Images at any depth; those in folders called satellite, iss or aerial stay of that kind.
    data : Path
        Made afresh.

    Raises
    ------
    InputImageError
        Fewer than five scenes.
    """
    source = Path(scenes)
    if not source.is_dir():
        raise FileNotFoundError(2, "no such folder of scenes", os.fspath(scenes))
    if (source / "train").is_dir() and (source / "val").is_dir():
        parts = {part: list_images(source / part) for part in ("train", "val")}
    else:
        found = list_images(source)
        parts = {"val": found[::_HELD_OUT]}
        parts["train"] = [path for path in found if path not in set(parts["val"])]
    if sum(map(len, parts.values())) < _LEAST_SCENES or not all(parts.values()):
        raise InputImageError(
            f"{source}: {sum(map(len, parts.values()))} scenes; training needs {_LEAST_SCENES} at "
            "least, and hundreds to be of use: put sharp PNG, TIFF or JPEG files there",
            path=os.fspath(source),
        )
    if data.exists():
        shutil.rmtree(data)
    for part, paths in parts.items():
        for number, path in enumerate(paths):
            kind = next((name for name in _SETS if name in path.parts), "aerial")
            link = data / part / kind / f"{number:05d}_{path.name}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
    return {part: len(paths) for part, paths in parts.items()}


def behind(rows: Sequence[Row], theirs: str, ours: str) -> list[str]:
    """Say where one method's gain is below another's.

    Parameters
    ----------
    rows : sequence of Row
    theirs, ours : str
        Names of the rows that are compared.
    """
    found = []
    for row in rows:
        other = next((r for r in rows if r.method == theirs and r.scenes == row.scenes), None)
        if row.method != ours or other is None:
            continue
        for name, what in (
            ("gain", "mean"),
            ("gain_p5", "5th percentile"),
            ("gain_worst", "least"),
        ):
            less = getattr(other, name) - getattr(row, name)
            if less > 0:
                found.append(f"{row.scenes}: {what} gain {less:.2f} dB below the bundled {BUNDLED}")
        if row.gain_worst < 0:
            found.append(f"{row.scenes}: a capture was made worse by {-row.gain_worst:.2f} dB")
    return found


def _write_queue(
    folder: Path,
    camera: CameraDescription,
    config: str | os.PathLike[str],
    set_values: Sequence[str],
    hours: float,
) -> None:
    """Write the configuration with the camera in it, and a queue of this one training."""
    values = override(load_config(config), set_values).to_dict()
    values["name"] = camera.name
    values["data"]["camera"] = camera.to_dict()
    # The protocols of the curves are other cameras'; this one is measured at the end.
    values["run"].update(evaluate_every=0, sample_every=0)
    (folder / "config.toml").write_text(_toml(values), "utf-8")
    job = {"name": camera.name, "config": "config.toml", "hours": float(hours), "flat_db": 0.0}
    text = f'data = "scenes"\n[[job]]\n{_toml(job)}'
    (folder / "queue.toml").write_text(text, "utf-8")


def _toml(values: dict[str, Any], where: str = "") -> str:
    """Plain values as TOML; strings and lists are written as JSON writes them."""
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in plain.items()]
    for key, table in tables.items():
        lines.append(f"\n[{where}{key}]\n{_toml(table, f'{where}{key}.')}")
    return "".join(lines)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _card(
    camera: CameraDescription,
    counts: dict[str, int],
    data: Path,
    network: Path,
    descriptor: dict[str, Any],
    rows: Sequence[Row],
    worse: Sequence[str],
) -> dict[str, Any]:
    """The card as plain values."""
    training = descriptor["training"]
    return {
        "format": "imagine-deblur-network-card",
        "format_version": 1,
        "name": camera.name,
        "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "made_by": f"imagine_deblur {VERSION}",
        "network": {
            "file": network.name,
            "sha256": _sha256(network),
            "kmac_per_pixel": training["kmac_per_pixel"],
            "halo_px": descriptor["halo"],
        },
        "camera": camera.to_dict(),
        "data": {
            "training_scenes": counts["train"],
            "held_out_scenes": counts["val"],
            "training_sha256": checksum(data / "train"),
        },
        "training": {"hours": round(training["seconds"] / 3600, 3), "steps": training["steps"]},
        "compared_with": {"name": BUNDLED, "sha256": _sha256(bundled_models()[BUNDLED])},
        "figures": as_dicts(rows),
        "worse": list(worse),
        "limits": _limits(camera, counts),
    }


def _limits(camera: CameraDescription, counts: dict[str, int]) -> list[str]:
    coded = "JPEG of quality {} to {}".format(*camera.jpeg_quality) if camera.jpeg_quality else ""
    few = ", too few for more than a hint," if counts["val"] < _MEASURES else ""
    return [
        f"Trained for disks of {camera.radius_px[0]} to {camera.radius_px[1]} px, Gaussians of "
        f"{camera.sigma_px[0]} to {camera.sigma_px[1]} px, motion of {camera.motion_px[0]} to "
        f"{camera.motion_px[1]} px, noise of {camera.noise[0]} to {camera.noise[1]}, "
        f"{coded or 'no JPEG'}; it has not seen other captures.",
        f"Measured on {counts['val']} scenes{few} as the description degrades them, not on the "
        "camera's own captures: what the description leaves out is not in the figures.",
    ]


def _in_words(values: dict[str, Any], rows: Sequence[Row]) -> str:
    """The card for people."""
    network, data, training = values["network"], values["data"], values["training"]
    warnings = [f"- **{text}**" for text in values["worse"]] or ["- nowhere behind the bundled one"]
    ranges = [f"| {key} | {value} |" for key, value in values["camera"].items() if key != "name"]
    lines = [
        f"# Network `{values['name']}`",
        "",
        f"Made on {values['made']} by {values['made_by']}: `{network['file']}`,",
        f"{network['kmac_per_pixel']} kMAC/px, halo {network['halo_px']} px,",
        f"SHA-256 `{network['sha256']}`.",
        "",
        "## Made of",
        "",
        f"{data['training_scenes']} sharp scenes, {training['steps']} steps, "
        f"{training['hours']:.2g} hours by the clock. "
        f"{data['held_out_scenes']} scenes were held out.",
        "",
        "| camera | range |",
        "|---|---|",
        *ranges,
        "",
        "## Figures on the scenes that were held out",
        "",
        markdown(rows),
        "",
        f"Beside the bundled network `{values['compared_with']['name']}`:",
        "",
        *warnings,
        "",
        "## Limits",
        "",
        *(f"- {text}" for text in values["limits"]),
        "",
    ]
    return "\n".join(lines)
