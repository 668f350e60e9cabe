"""``python -m imagine_deblur.train``: train and export from the command line."""

from __future__ import annotations

import argparse
import json
import sys

from imagine_deblur.errors import ImagineDeblurError
from imagine_deblur.train import export, train


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m imagine_deblur.train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="train, or resume the run in OUT")
    run.add_argument("config", help="TOML file, or fast or best")
    run.add_argument("data", help="folder with train/ and val/")
    run.add_argument("out", help="run folder")
    run.add_argument("--device", help="cpu or cuda")
    run.add_argument("--initialise", metavar="CHECKPOINT", help="grow from a smaller network")
    run.add_argument("--until", type=int, metavar="STEP", help="stop there, keep the schedule")
    run.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    onnx = commands.add_parser("export", help="write a checkpoint as ONNX")
    onnx.add_argument("checkpoint")
    onnx.add_argument("path")
    onnx.add_argument("--tile", type=int, help="fixed tile side in px; any size by default")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "run":
            checkpoint = train(
                chosen.config,
                chosen.data,
                chosen.out,
                set_values=tuple(chosen.set),
                device=chosen.device,
                initialise=chosen.initialise,
                until=chosen.until,
            )
            print(checkpoint)
        else:
            print(json.dumps(export(chosen.checkpoint, chosen.path, tile=chosen.tile), indent=2))
    except (ImagineDeblurError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
