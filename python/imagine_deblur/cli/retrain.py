"""``imagine-deblur retrain``: a network for a camera of yours; needs the extra [train]."""

from __future__ import annotations

import argparse
import logging
from typing import Any

_log = logging.getLogger(__name__)


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "retrain",
        help="train a network for a camera of yours, with its card",
        description="Train a network on sharp scenes for a camera that a TOML file describes "
        "(ranges of blur, noise and JPEG), export it, measure it beside the bundled one on scenes "
        "that training never saw, and write its card. Started again it goes on where it stopped. "
        "Needs the extra [train].",
        examples="""
        imagine-deblur retrain camera.toml scenes/ mine/ --hours 6
        imagine-deblur retrain camera.toml scenes/ trial/ --hours 0.2 --limit 8    # a trial
        """,
    )
    parser.add_argument("camera", metavar="CAMERA.toml", help="the camera's description")
    parser.add_argument(
        "scenes", metavar="SCENES", help="folder of sharp scenes, hundreds of them, at any depth"
    )
    parser.add_argument("out", metavar="OUT", help="folder for the network, its card and the run")
    parser.add_argument(
        "--hours",
        type=float,
        default=6.0,
        help="of a processor, or of an accelerator (default: 6); 0: the schedule as configured",
    )
    parser.add_argument(
        "--shape",
        default="fast",
        metavar="NAME|FILE",
        help="the network and its schedule, a configuration of 'train' (default: fast)",
    )
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--device", help="cpu, cuda, or rehearsal: the GPU's path on the CPU")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="measure about so many of the scenes held out"
    )
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Train, measure, and tell where the new network is behind the bundled one."""
    from imagine_deblur.train import need_torch

    need_torch()
    from imagine_deblur.train.camera_card import retrain

    made = retrain(
        parsed.camera,
        parsed.scenes,
        parsed.out,
        hours=parsed.hours,
        config=parsed.shape,
        set_values=parsed.set,
        device=parsed.device,
        limit=parsed.limit,
    )
    print(f"network  {made.network}")
    print(f"card     {made.card}")
    for text in made.worse:
        _log.warning("the new network is not better everywhere: %s", text)
    return 0
