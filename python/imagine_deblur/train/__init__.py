"""Training of the restoration network (extra ``[train]``); needs PyTorch, the rest of the package
does not.

`train` runs or resumes a training, `export` turns its checkpoint into an ONNX file. Importing this
package imports no torch; its modules do.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

__all__ = ["export", "train"]


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
        TOML file, or ``"fast"`` or ``"best"``.
    data_dir : path
        Folder with ``train`` (sharp images, any depth) and ``val``.
    out_dir : path
        Run folder; an existing run is resumed at its exact step.
    set_values : tuple of str
        Overrides such as ``"optim.steps=30000"``.
    **options
        `device`, `initialise`, `until`, `background`, `progress` of
        `imagine_deblur.train.loop.train`.

    Returns
    -------
    Path
        The checkpoint.
    """
    from imagine_deblur.train.config import load_config, override
    from imagine_deblur.train.loop import train as run

    return run(override(load_config(config), set_values), data_dir, out_dir, **options)


def export(
    checkpoint: str | os.PathLike[str], path: str | os.PathLike[str], **options: Any
) -> dict[str, Any]:
    """Write a checkpoint's averaged network as ONNX; see `imagine_deblur.train.export.export`."""
    from imagine_deblur.train.export import export as run

    descriptor: dict[str, Any] = run(checkpoint, path, **options)
    return descriptor
