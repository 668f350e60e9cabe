"""``imagine-deblur train``, ``export`` and ``quantise``: need the extra [train]."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the commands to the parser."""
    train = commands.add_parser(
        "train",
        help="train a network on a folder of sharp images",
        examples="""
        imagine-deblur train fast scenes/ runs/mine --set optim.steps=30000
        imagine-deblur train --queue queue.toml runs/ --status
        """,
    )
    train.usage = (
        "imagine-deblur train CONFIG DATA RUN [options]\n"
        "       imagine-deblur train --queue QUEUE RUNS [--data DATA] [--status] [--device DEVICE]"
    )
    train.add_argument(
        "paths",
        nargs="+",
        metavar="CONFIG DATA RUN",
        help="TOML file or the name of a bundled configuration; folder with train/ and val/; run "
        "folder, where an existing run is resumed. With --queue: the folder of the runs",
    )
    train.add_argument("--device", help="cpu, cuda, or rehearsal: the GPU's path on the CPU")
    queue = train.add_argument_group("queues")
    queue.add_argument("--queue", metavar="FILE", help="run these jobs one after another")
    queue.add_argument("--data", metavar="FOLDER", help="in place of the queue's own")
    queue.add_argument("--status", action="store_true", help="tell where the jobs stand")
    train.add_argument(
        "--initialise",
        metavar="CHECKPOINT",
        help="start from this network, or grow it; for a published system also an exported file",
    )
    train.add_argument("--until", type=int, metavar="STEP", help="stop there, keep the schedule")
    train.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    published = train.add_argument_group("published systems")
    published.add_argument(
        "--perceptual", metavar="CHECKPOINT", help="use this VGG16 instead of training one"
    )
    published.add_argument("--workers", type=int, help="processes that make batches ahead")
    train.set_defaults(run=run_train)

    export = commands.add_parser(
        "export",
        help="write a checkpoint as ONNX",
        examples="""
        imagine-deblur export runs/mine/checkpoint.pt mine.onnx
        """,
    )
    export.add_argument("checkpoint")
    export.add_argument("path")
    export.add_argument("--tile", type=int, help="fixed tile side, px; any size by default")
    published = export.add_argument_group("published systems")
    published.add_argument(
        "--scale", type=int, help="reduce captures by this factor: 4 as in IMAGIN-e"
    )
    published.add_argument(
        "--rotations",
        action=argparse.BooleanOptionalAction,
        help="average over four rotations (MIMO-UNet++)",
    )
    export.set_defaults(run=run_export)

    quantise = commands.add_parser(
        "quantise",
        help="write the int8 version of an exported network",
        examples="""
        imagine-deblur quantise mine.onnx mine.int8.onnx scenes/train
        """,
    )
    quantise.add_argument("model", help="ONNX file written by export")
    quantise.add_argument("path", help="usually NAME.int8.onnx beside NAME.onnx")
    quantise.add_argument(
        "data", help="folder of sharp images to calibrate on: training's, not test's"
    )
    quantise.add_argument("--groups", type=int, help="groups of nine crops to calibrate on")
    quantise.set_defaults(run=run_quantise)


def run_train(parsed: argparse.Namespace) -> int:
    """Train or resume; print the checkpoint's path, or what became of a queue's jobs."""
    from imagine_deblur.errors import OptionsError
    from imagine_deblur.train import train, train_queue

    if parsed.queue is not None:
        if len(parsed.paths) != 1:
            raise OptionsError("paths", parsed.paths, "the folder of the runs alone")
        outcome = train_queue(
            parsed.queue,
            parsed.paths[0],
            data=parsed.data,
            device=parsed.device,
            only_status=parsed.status,
        )
        return int(any(end.startswith("failed") for end in outcome.values()))
    if len(parsed.paths) != 3 or parsed.data or parsed.status:
        raise OptionsError("paths", parsed.paths, "CONFIG DATA RUN, or --queue FILE RUNS")
    config, data, out = parsed.paths
    print(
        train(
            config,
            data,
            out,
            set_values=tuple(parsed.set),
            device=parsed.device,
            initialise=parsed.initialise,
            until=parsed.until,
            perceptual=parsed.perceptual,
            workers=parsed.workers,
        )
    )
    return 0


def run_export(parsed: argparse.Namespace) -> int:
    """Export; print the descriptor and the comparison between runtimes."""
    from imagine_deblur.train import export_onnx

    descriptor = export_onnx(
        parsed.checkpoint,
        parsed.path,
        tile=parsed.tile,
        scale=parsed.scale,
        rotations=parsed.rotations,
    )
    print(json.dumps(descriptor, indent=2))
    return 0


def run_quantise(parsed: argparse.Namespace) -> int:
    """Quantise; print the descriptor."""
    from imagine_deblur.train import quantise_onnx

    descriptor = quantise_onnx(parsed.model, parsed.path, parsed.data, groups=parsed.groups)
    print(json.dumps(descriptor, indent=2))
    return 0
