"""``imagine-deblur evaluate``: the protocols' tables."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from typing import Any

from imagine_deblur.cli.progress import STATUS
from imagine_deblur.options import PRECISIONS


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "evaluate",
        help="measure models by protocol (needs the extra [train] for reading scenes)",
        description="Degrade the sharp scenes of a folder by a protocol, restore them with every "
        "method and print the table.",
        examples="""
        imagine-deblur evaluate --protocol imagine90 --data scenes/val --limit 8
        imagine-deblur evaluate --protocol defocus+ --data scenes/test --model mine.onnx
        imagine-deblur evaluate --camera camera.toml --data scenes/ --model auto --model mine.onnx
        """,
    )
    parser.add_argument(
        "--protocol",
        action="append",
        default=[],
        metavar="NAME",
        help="may be given several times; 'all' for every one",
    )
    parser.add_argument(
        "--camera", metavar="CAMERA.toml", help="the protocol of a described camera, see 'retrain'"
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="a split's folder")
    parser.add_argument(
        "--model",
        action="append",
        dest="models",
        metavar="MODEL",
        help="may be given several times; default: auto",
    )
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="f32")
    parser.add_argument("--threads", type=int, metavar="N")
    parser.add_argument("--limit", type=int, help="of each set, about this many scenes")
    parser.add_argument(
        "--scenes",
        action="append",
        choices=("aerial", "satellite", "iss"),
        help="the sets to use; may be given several times; default: all, each in its own rows",
    )
    parser.add_argument(
        "--skip", action="append", default=[], metavar="ROW", help="leave out a row, by its name"
    )
    parser.add_argument("--format", choices=("markdown", "csv", "json"), default="markdown")
    parser.add_argument("--sheet", metavar="FILE.jpg", help="write a picture sheet (one protocol)")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Evaluate and print."""
    from imagine_deblur import _core
    from imagine_deblur.degradation.camera_description import read_camera
    from imagine_deblur.errors import OptionsError
    from imagine_deblur.evaluation.described import protocol_of
    from imagine_deblur.evaluation.protocols import PROTOCOLS, protocol
    from imagine_deblur.evaluation.run import Row, as_dicts, data_checksum, evaluate, markdown
    from imagine_deblur.options import Options

    chosen = [protocol(name) for name in PROTOCOLS if parsed.protocol == ["all"]]
    chosen = chosen or [protocol(name) for name in parsed.protocol]
    if parsed.camera is not None:
        chosen.append(protocol_of(read_camera(parsed.camera)))
    if not chosen:
        raise OptionsError.from_core(
            "--protocol", f"--protocol is missing: one of {', '.join(PROTOCOLS)}; or give --camera"
        )
    options = Options(
        engine=parsed.engine, precision=parsed.precision, threads=parsed.threads, max_ram="4GB"
    )
    rows: list[Row] = []
    for under in chosen:

        def progress(done: int, name: str = under.name) -> None:
            if sys.stderr.isatty() and not getattr(parsed, "quiet", False):
                STATUS.show(f"{name}: {done} scenes")

        rows += evaluate(
            under,
            parsed.data,
            models=parsed.models or ["auto"],
            options=options,
            limit=parsed.limit,
            skip=parsed.skip,
            sheet=parsed.sheet,
            progress=progress,
            scene_sets=parsed.scenes,
        )
        STATUS.clear()
    settings = {
        "data_checksum": data_checksum(parsed.data),
        "build": _core.build_info(),
        "engine": parsed.engine,
        "precision": parsed.precision,
        "limit": parsed.limit,
    }
    if parsed.format == "json":
        print(json.dumps({"settings": settings, "rows": as_dicts(rows)}))
    elif parsed.format == "csv":
        writer = csv.DictWriter(sys.stdout, fieldnames=list(as_dicts(rows)[0]))
        writer.writeheader()
        writer.writerows(as_dicts(rows))
    else:
        print(markdown(rows))
        print(f"\n{json.dumps(settings)}")
    return 0
