"""How much memory a network takes while a tile runs, measured in processes of their own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numpy as np

from imagine_deblur.engines.choose import open_engine
from imagine_deblur.engines.descriptor import describe
from imagine_deblur.engines.settings import EngineSettings
from imagine_deblur.errors import EngineError
from imagine_deblur.support.process_memory import return_free_memory, status_bytes

_RUNTIMES = ("openvino", "onnxruntime")


def working_bytes_per_px(path: str | os.PathLike[str], side: int) -> int:
    """What each pixel of a tile takes beside the opened engine, on the runtime that takes more.

    Parameters
    ----------
    path : path
        A network file whose descriptor is in it.
    side : int
        Of the tile, px; best that which is served, since small ones weigh what does not grow more.

    Returns
    -------
    int
        Bytes; 0 where no runtime is installed.

    Raises
    ------
    EngineError
        The network does not run.
    """
    installed = [name for name in _RUNTIMES if importlib.util.find_spec(name) is not None]
    return max((-(-_taken(path, side, name) // side**2) for name in installed), default=0)


def _taken(path: str | os.PathLike[str], side: int, engine: str) -> int:
    """Bytes one tile takes at its peak, in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, os.fspath(path), str(side), engine],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise EngineError(
            f"{path} does not run on {engine}: {done.stderr[-400:]}", engine=engine, model=str(path)
        )
    return int(done.stdout)


def main(path: str, side: int, engine: str) -> None:
    """Run one tile in this process and print what it took beside the opened engine."""
    descriptor = describe(path)
    opened = open_engine(
        descriptor, (side, side), engine=engine, settings=EngineSettings(threads=1)
    )
    tile = np.full((len(descriptor.inputs), side, side), 0.5, np.float32)
    answer = np.zeros((descriptor.output_bands, side, side), np.float32)
    return_free_memory()  # as a session does: nothing is left in the heap to run in
    with open("/proc/self/clear_refs", "w", encoding="ascii") as reset:
        reset.write("5")  # VmHWM starts again from here
    before = status_bytes("VmRSS")
    opened.infer(tile, answer)
    print(status_bytes("VmHWM") - before)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
