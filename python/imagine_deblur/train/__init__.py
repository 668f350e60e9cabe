"""Training of networks (extra ``[train]``); needs PyTorch, the rest of the package does not.

`train` runs or resumes a training, of our own network or of a published system
(`imagine_deblur.train.published`): a configuration with a ``system`` is one of those. `train_queue`
runs many, one after another. `export_onnx`
turns either's checkpoint into an ONNX file, `quantise_onnx` that of our network into an int8 one.
Importing this package imports no torch; its modules
do.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from imagine_deblur.errors import EngineError, OptionsError

__all__ = ["export_onnx", "quantise_onnx", "train", "train_queue"]


def train(
    config: str | os.PathLike[str],
    data_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    set_values: tuple[str, ...] = (),
    **options: Any,
) -> Path:
    """Train a network from a configuration file or a shipped configuration's name.

    Parameters
    ----------
    config : str or path
        TOML file, or a name such as ``"fast"``, ``"best"`` or ``"mimo-unet"``.
    data_dir : path
        Folder with ``train`` (sharp images, any depth) and ``val``.
    out_dir : path
        Run folder; an existing run is resumed at its exact step.
    set_values : tuple of str
        Overrides such as ``"optim.steps=30000"`` or ``"phases.0.steps=30000"``.
    **options
        `device`, `initialise`, `perceptual`, `until`, `progress`, `background` (our networks),
        `workers` (published systems); see `imagine_deblur.train.loop.run`. None means the default.

    Returns
    -------
    Path
        The checkpoint.

    Raises
    ------
    EngineError
        If PyTorch is not installed.
    OptionsError
        For an option that this kind of network does not have, or a wrong configuration.
    """
    need_torch()
    from imagine_deblur.train.device import Device
    from imagine_deblur.train.kinds import kind_of
    from imagine_deblur.train.loop import Limits

    kind = kind_of(config, set_values)
    names = "background device initialise perceptual progress until workers"
    given = _known(options, names)
    device = Device.chosen(given.pop("device", None))
    limits = Limits(until=given.pop("until", None))
    checkpoint, _ = kind.train(data_dir, out_dir, device=device, limits=limits, **given)
    return checkpoint


def train_queue(
    queue: str | os.PathLike[str],
    runs: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    device: str | None = None,
    only_status: bool = False,
) -> dict[str, str]:
    """Run a queue's jobs one after another, or go on with them.

    Parameters
    ----------
    queue : path
        TOML file, see `imagine_deblur.train.queue`.
    runs : path
        Folder of the runs.
    data : path, optional
        In place of the queue's own.
    device : str, optional
        ``"cpu"``, ``"cuda"`` or ``"rehearsal"``.
    only_status : bool
        Print where every job stands, and train nothing.

    Returns
    -------
    dict
        What became of each job.

    Raises
    ------
    EngineError
        If PyTorch is not installed, or the device is not there.
    OptionsError
        For a wrong queue.
    """
    need_torch()
    from imagine_deblur.train.queue import read_queue, run_queue, standings, status

    wanted = read_queue(queue, data)
    if only_status:
        status(wanted, runs)
        return {one.name: one.state for one in standings(wanted, runs)}
    return run_queue(wanted, runs, device=device)


def export_onnx(
    checkpoint: str | os.PathLike[str], path: str | os.PathLike[str], **options: Any
) -> dict[str, Any]:
    """Write a checkpoint's network as ONNX.

    Parameters
    ----------
    checkpoint : path
        Of our network, whose averaged weights are taken, or of a published system.
    path : path
        The ONNX file, replaced atomically.
    **options
        `tile` for our networks (`imagine_deblur.train.export.export`), `scale` and `rotations` for
        published systems (`imagine_deblur.train.published.export.export`). None means the default.

    Returns
    -------
    dict
        The descriptor's values, with ``difference`` per runtime added.

    Raises
    ------
    EngineError
        If PyTorch is not installed, or a runtime disagrees with it.
    OptionsError
        For a file that is no checkpoint, or an option that this kind of network does not have.
    """
    need_torch()
    import torch

    state = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    from imagine_deblur.train.published.trainer import FORMAT

    if isinstance(state, dict) and state.get("format") == FORMAT:
        from imagine_deblur.train.published.export import export as run_published

        return run_published(checkpoint, path, **_known(options, "scale rotations"))
    from imagine_deblur.train.export import export as run

    descriptor: dict[str, Any] = run(checkpoint, path, **_known(options, "tile"))
    return descriptor


def quantise_onnx(
    model: str | os.PathLike[str],
    path: str | os.PathLike[str],
    calibration: str | os.PathLike[str],
    *,
    groups: int | None = None,
) -> dict[str, Any]:
    """Write the int8 version of an exported network; see `imagine_deblur.train.quantise.quantise`.

    Parameters
    ----------
    model, path : path
        The float32 ONNX file, and the new one: ``NAME.int8.onnx`` beside ``NAME.onnx`` is found by
        ``precision="int8"``.
    calibration : path
        Folder of sharp scenes.
    groups : int, optional

    Returns
    -------
    dict
        The new file's descriptor.
    """
    need_torch()
    from imagine_deblur.train.quantise import GROUPS, quantise

    made = quantise(model, path, calibration, groups=groups or GROUPS)
    descriptor: dict[str, Any] = json.loads(made.to_json())
    return descriptor


def need_torch() -> None:
    """Refuse to go on without PyTorch.

    Raises
    ------
    EngineError
        It is not installed; the message names the extra.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise EngineError(
            "training needs PyTorch: pip install imagine-deblur[train]", engine="torch"
        ) from error


def _known(options: dict[str, Any], names: str) -> dict[str, Any]:
    """The options that were given; OptionsError for one that is not among the names."""
    given = {name: value for name, value in options.items() if value is not None}
    for name, value in given.items():
        if name not in names.split():
            raise OptionsError(name, value, f"none for this network, which knows {names}")
    return given
