"""The README's picture: a Sentinel-2 scene degraded by a protocol, restored blind, and the truth.

    python bench/before_after.py DATA/test docs/figures/before_after.jpg

The scene is Copernicus data, which may be shown with the attribution that is written below it. What
the picture shows in figures is printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from imagine_deblur.evaluation.metrics.fidelity import psnr, ssim
from imagine_deblur.evaluation.protocols import load_scene, protocol
from imagine_deblur.evaluation.run import ModelMethod, as_float
from imagine_deblur.options import Options
from side_by_side_tables import ATTRIBUTION


def main() -> None:
    """Write the picture that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a split's folder")
    parser.add_argument("output", type=Path)
    parser.add_argument("--scene", default="s2_city_river.png")
    parser.add_argument("--protocol", default="imagine90")
    parser.add_argument("--model", default="fast")
    parser.add_argument("--side", type=int, default=300, help="px of each square")
    parser.add_argument("--centre", type=float, nargs=2, default=(0.5, 0.5), metavar="SHARE")
    parsed = parser.parse_args()

    from PIL import Image, ImageDraw

    chosen = protocol(parsed.protocol)
    paths = chosen.images(parsed.data)
    index = [path.name for path in paths].index(parsed.scene)
    case = chosen.make(load_scene(paths[index]), index)
    options = Options(threads=1)
    restored = ModelMethod(parsed.model, known=None, options=options)(case)
    pictures = {"capture": as_float(case.degraded), "restored": restored, "truth": case.sharp}
    for name in ("capture", "restored"):
        found = (psnr(pictures[name], case.sharp), ssim(pictures[name], case.sharp))
        print(f"{name:9s} {found[0]:.2f} dB, SSIM {found[1]:.3f}")

    side = parsed.side
    top, left = (
        round(share * (length - side))
        for share, length in zip(parsed.centre, case.sharp.shape[:2], strict=True)
    )
    footer = 16
    sheet = Image.new("RGB", (3 * side + 2 * 4, side + footer), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (name, picture) in enumerate(pictures.items()):
        cut = np.clip(picture[top : top + side, left : left + side], 0, 1)
        sheet.paste(Image.fromarray((cut * 255 + 0.5).astype(np.uint8)), (place * (side + 4), 0))
        draw.text((place * (side + 4) + 2, side + 2), name, fill="black")
    width = draw.textlength(ATTRIBUTION)
    draw.text((sheet.width - width - 2, side + 2), ATTRIBUTION, fill="grey")
    sheet.save(parsed.output, quality=90, subsampling=0, optimize=True)


if __name__ == "__main__":
    main()
