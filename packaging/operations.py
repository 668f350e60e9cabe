"""Operations, bytes and seconds of one frame on paper, for processors we do not have.

Counts come from the code's own plans: the network's file, the tile plan, the linear stage's
transform lengths. Times are counts over peaks with stated shares of the peak; the table shows the
share taken and the two ends of its range. Prints the tables of docs/energy.md; needs the package
``onnx``.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

from imagine_deblur import _core
from imagine_deblur.engines import describe
from imagine_deblur.psf.presets import named_psf
from imagine_deblur.restoration.reach import default_gap
from imagine_deblur.restoration.transfer import sizes_for
from imagine_deblur.restoration.wiener import WienerSpec


@dataclass(frozen=True)
class Work:
    """What one part does: floating-point operations, and bytes to and from memory."""

    name: str
    flop: float
    traffic: float


@dataclass(frozen=True)
class Processor:
    """A core class: see docs/energy.md for where each number comes from.

    `flop_per_cycle` is a core's float32 peak, `bandwidth` the memory's published peak in byte/s,
    `scalar` how much of this machine's work per cycle the core does on code that is not dense
    arithmetic (transforms, JPEG), `watts` of the board or processor package when loaded.
    """

    name: str
    hertz: float
    cores: int
    flop_per_cycle: float
    bandwidth: float
    scalar: float
    watts: float


PROCESSORS = (
    Processor("Cortex-A53, 1.4 GHz (Raspberry Pi 3B+)", 1.4e9, 3, 8, 3.6e9, 0.25, 5.5),
    Processor("Cortex-A72, 1.5 GHz (Raspberry Pi 4)", 1.5e9, 3, 8, 12.8e9, 0.5, 6.4),
    Processor("Cortex-A78AE, 1.5 GHz (Jetson Orin Nano, CPU)", 1.5e9, 3, 16, 68e9, 0.8, 15.0),
    Processor("Atom x7-E3950 (Goldmont), 1.6 GHz", 1.6e9, 3, 8, 38.4e9, 0.4, 12.0),
)
DENSE_SHARE = (0.25, 0.4, 0.55)  # of the peak, in convolutions: pessimistic, taken, optimistic
MEMORY_SHARE = 0.5  # of the published bandwidth, sustained


def winograd_flop(inputs: int, outputs: int) -> float:
    """Operations per pixel of a 3x3 convolution by F(4x4, 3x3), as the core's own engine does it.

    Per 4x4 pixels 36 products of matrices, 12 transforms of six values (19 operations) per input
    channel and 10 (13 operations) per output channel.
    """
    return (2 * 36 * inputs * outputs + 12 * 19 * inputs + 10 * 13 * outputs) / 16


def network(model: Path, rows: int, columns: int, tile: int) -> tuple[Work, Work, float]:
    """The network's work on a frame in tiles with halos, directly and by Winograd's method.

    Returns these and its kMAC per pixel without halos. Bytes: every convolution reads its input and
    writes its output once, float32; weights stay in the cache.
    """
    import onnx

    known = describe(str(model))
    plan = _core.TilePlan(
        rows, columns, tile_rows=tile, tile_columns=tile, halo=known.halo,
        multiple_of=known.multiple_of,
    )  # fmt: skip
    covered = len(plan) * plan.tile_rows * plan.tile_columns
    graph = onnx.shape_inference.infer_shapes(onnx.load(model)).graph
    shapes = {one.name: list(one.dims) for one in graph.initializer}
    scale, macs, channels, fast = 1, 0.0, 0.0, 0.0
    for node in graph.node:
        if node.op_type == "SpaceToDepth":
            scale = next(a.i for a in node.attribute if a.name == "blocksize")
        if node.op_type == "Conv":
            out, inward, height, width = shapes[node.input[1]]
            macs += out * inward * height * width / scale**2
            channels += (out + inward) / scale**2
            direct = 2.0 * out * inward * height * width
            small = height == width == 3
            fast += (winograd_flop(inward, out) if small else direct) / scale**2
    traffic = 4 * channels * covered
    direct_work = Work("network, direct convolution", 2 * macs * covered, traffic)
    return direct_work, Work("network, Winograd", fast * covered, traffic), macs / 1e3


def linear(rows: int, columns: int, psf_text: str) -> Work:
    """The Wiener bank: 3 forward and 5 inverse transforms, five gains, on the extended frame.

    A real transform of N samples counts as 2.5 N log2 N operations; it passes over memory twice
    (rows, columns), reading and writing 4 N bytes each time. Gains are multiplied on the way.
    """
    spec = WienerSpec()
    psf = named_psf(psf_text).psf
    if psf is None:
        raise SystemExit(f"{psf_text} is a grid of PSFs: give one PSF")
    sizes = sizes_for(rows, columns, default_gap(psf, spec.nsr[spec.base]))
    samples = math.prod(sizes.padded_shape)
    transforms, gains = 3 + 3 + 2, 3 + 2
    flop = transforms * 2.5 * samples * math.log2(samples) + gains * 12 * samples / 2
    passes = 2 * transforms - 2  # the columns of both colour differences pass once for both ways
    return Work("linear stage", flop, passes * 2 * 4 * samples)


def seconds(
    processor: Processor, works: list[Work], share: float, linear_cycles: float, other_cycles: float
) -> dict[str, float]:
    """Seconds of each part on three cores (JPEG on one): the larger of arithmetic and memory."""
    net, lin = works
    memory = MEMORY_SHARE * processor.bandwidth
    arithmetic = net.flop / (processor.flop_per_cycle * processor.hertz * processor.cores * share)
    spread = processor.hertz * processor.scalar * processor.cores
    return {
        "network": max(arithmetic, net.traffic / memory),
        "linear stage": max(linear_cycles / spread, lin.traffic / memory),
        "JPEG, gather, store": other_cycles / (processor.hertz * processor.scalar),
    }


def main() -> None:
    """Print the tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--rows", type=int, default=1536)
    parser.add_argument("--columns", type=int, default=2048)
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--psf", default="disk:6.8")
    parser.add_argument("--linear-cycles", type=float, required=True, help="measured, of one frame")
    parser.add_argument("--other-cycles", type=float, required=True, help="measured, of one frame")
    options = parser.parse_args()
    model = options.model
    if model is None:
        from imagine_deblur.engines.model import bundled_models

        model = bundled_models()["fast"]
    direct, net, kmac = network(model, options.rows, options.columns, options.tile)
    lin = linear(options.rows, options.columns, options.psf)
    print(f"{model.stem}: {kmac:.2f} kMAC/px without halos\n")
    print("| part | GFLOP | GB to and from memory | FLOP/byte |\n|---|---|---|---|")
    for work in (direct, net, lin):
        ratio = work.flop / work.traffic
        print(f"| {work.name} | {work.flop / 1e9:.1f} | {work.traffic / 1e9:.2f} | {ratio:.0f} |")
    print("\n| three cores of | network s | linear s | rest s | frame s (range) | joule |")
    print("|---|---|---|---|---|---|")
    for one in PROCESSORS:
        low, taken, high = (
            seconds(one, [net, lin], share, options.linear_cycles, options.other_cycles)
            for share in reversed(DENSE_SHARE)
        )
        total = sum(taken.values())
        parts = " | ".join(f"{value:.2f}" for value in taken.values())
        span = f"{sum(low.values()):.1f} to {sum(high.values()):.1f}"
        print(f"| {one.name} | {parts} | {total:.1f} ({span}) | {total * one.watts:.0f} |")


if __name__ == "__main__":
    main()
