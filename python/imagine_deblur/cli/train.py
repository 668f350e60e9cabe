"""``imagine-deblur train`` and ``export``: need the extra [train]."""

from __future__ import annotations

import argparse
import json
from typing import Any

from imagine_deblur.errors import EngineError


def add_parser(commands: Any) -> None:
    """Add the commands to the parser."""
    train = commands.add_parser("train", help="train a network on a folder of sharp images")
    train.add_argument("config", help="TOML file, or the name of a bundled configuration")
    train.add_argument("data", help="folder with train/ and val/")
    train.add_argument("out", help="run folder; an existing run is resumed")
    train.add_argument("--device", help="cpu or cuda")
    train.add_argument("--initialise", metavar="CHECKPOINT", help="grow from a smaller network")
    train.add_argument("--until", type=int, metavar="STEP", help="stop there, keep the schedule")
    train.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    train.set_defaults(run=run_train)

    export = commands.add_parser("export", help="write a checkpoint as ONNX")
    export.add_argument("checkpoint")
    export.add_argument("path")
    export.add_argument("--tile", type=int, help="fixed tile side, px; any size by default")
    export.set_defaults(run=run_export)


def _need_torch() -> None:
    try:
        import torch  # noqa: F401, TID251
    except ImportError as error:
        raise EngineError(
            "training needs PyTorch: pip install imagine-deblur[train]", engine="torch"
        ) from error


def run_train(parsed: argparse.Namespace) -> int:
    """Train or resume; print the checkpoint's path."""
    _need_torch()
    from imagine_deblur.train import train

    print(
        train(
            parsed.config,
            parsed.data,
            parsed.out,
            set_values=tuple(parsed.set),
            device=parsed.device,
            initialise=parsed.initialise,
            until=parsed.until,
        )
    )
    return 0


def run_export(parsed: argparse.Namespace) -> int:
    """Export; print the descriptor and the comparison between runtimes."""
    _need_torch()
    from imagine_deblur.train import export

    print(json.dumps(export(parsed.checkpoint, parsed.path, tile=parsed.tile), indent=2))
    return 0
