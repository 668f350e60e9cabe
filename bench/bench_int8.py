"""PSNR that lower precisions lose against f32, by engine and protocol.

    python bench/bench_int8.py DATA/val

Scenes are degraded as the protocols do and restored with their true PSF, the middle 512 px of each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from environment import print_environment
from imagine_deblur.engines.onnxruntime import find_onnxruntime
from imagine_deblur.engines.openvino import find_openvino
from imagine_deblur.evaluation.metrics.fidelity import psnr
from imagine_deblur.evaluation.protocols import central_crop, load_scene, protocol
from imagine_deblur.evaluation.run import as_float
from imagine_deblur.session import Session

SIDE = 512  # px
REFERENCE = ("auto", "f32")
CASES = (("openvino", "bf16"), ("openvino", "int8"), ("onnxruntime", "int8"))
PROTOCOLS = ("imagine", "imagine90", "gauss+", "defocus+", "defocus75", "camera", "camera-low")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a split's folder, .../val")
    parser.add_argument("--protocol", action="append", choices=PROTOCOLS, help="default: all")
    parser.add_argument("--every", type=int, default=4, help="take one scene in so many")
    parser.add_argument("--model", default="fast")
    options = parser.parse_args()
    print_environment()
    installed = {"openvino": bool(find_openvino()), "onnxruntime": find_onnxruntime()}
    cases = [case for case in CASES if installed[case[0]]]
    heads = ["protocol", "n", "f32 gain", *(" ".join(case) for case in cases)]
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    for name in options.protocol or PROTOCOLS:
        chosen = protocol(name)
        gains: list[float] = []
        lost: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
        for scene in chosen.scenes(options.data)[:: options.every]:
            case = chosen.make(central_crop(load_scene(scene.path), SIDE), scene.index)
            found = {}
            for engine, precision in (REFERENCE, *cases):
                with Session(
                    model=options.model, engine=engine, precision=precision, threads=1
                ) as session:
                    restored, _ = session.restore_with_report(case.degraded, psf=case.psf)
                found[engine, precision] = psnr(as_float(restored), case.sharp)
            gains.append(found[REFERENCE] - psnr(as_float(case.degraded), case.sharp))
            for one in cases:
                lost[one].append(found[REFERENCE] - found[one])
        cells = [f"{np.mean(values):.4f} ({np.max(values):.4f})" for values in lost.values()]
        print(f"| {name} | {len(gains)} | {np.mean(gains):+.2f} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
