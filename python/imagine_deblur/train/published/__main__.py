"""``python -m imagine_deblur.train.published``: train and export the published systems."""

from __future__ import annotations

import argparse
import json
import sys

from imagine_deblur.errors import ImagineDeblurError
from imagine_deblur.train.published.config import load_config, override, shipped


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m imagine_deblur.train.published", description=__doc__
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="train, or resume the run in OUT")
    run.add_argument("config", help=f"TOML file, or one of {', '.join(shipped())}")
    run.add_argument("data", help="folder with train/ and val/")
    run.add_argument("out", help="run folder")
    run.add_argument("--device", help="cpu or cuda")
    run.add_argument("--initialise", metavar="CHECKPOINT", help="start from these weights")
    run.add_argument("--perceptual", metavar="CHECKPOINT", help="use this VGG16, train none")
    run.add_argument("--until", type=int, metavar="STEP", help="stop there, keep the schedule")
    run.add_argument("--workers", type=int, default=0, help="processes that make batches ahead")
    run.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    onnx = commands.add_parser("export", help="write a checkpoint as ONNX")
    onnx.add_argument("checkpoint")
    onnx.add_argument("path")
    onnx.add_argument("--scale", type=int, help="reduce captures by this factor; 4 as published")
    onnx.add_argument(
        "--rotations",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="average over four rotations",
    )
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "run":
            from imagine_deblur.train.published.train import train

            checkpoint = train(
                override(load_config(chosen.config), chosen.set),
                chosen.data,
                chosen.out,
                device=chosen.device,
                initialise=chosen.initialise,
                perceptual=chosen.perceptual,
                until=chosen.until,
                workers=chosen.workers,
            )
            print(checkpoint)
        else:
            from imagine_deblur.train.published.export import export

            described = export(
                chosen.checkpoint, chosen.path, scale=chosen.scale, rotations=chosen.rotations
            )
            print(json.dumps(described, indent=2))
    except (ImagineDeblurError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
