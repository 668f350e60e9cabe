"""Find OpenVINO in the installed wheel and run it from the core, without importing it.

The core opens the wheel's C library itself; importing the ``openvino`` package would cost some
50 MB and the interpreter lock. See ``csrc/engine/openvino_engine.h``.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from imagine_deblur.engines.descriptor import ModelDescriptor
from imagine_deblur.engines.mixture import mixed_file
from imagine_deblur.engines.settings import EngineSettings, resolve_precision
from imagine_deblur.engines.spec import EngineSpec, NativeEngine
from imagine_deblur.errors import EngineError

CURE = 'pip install "imagine-deblur[openvino]"'
OLDEST = (2025, 2)
LIBRARY_VARIABLE = "IMAGINE_DEBLUR_OPENVINO_LIB"
"""Environment variable naming the C library of an OpenVINO that no wheel brought."""

_LIBRARY_NAME = re.compile(r"libopenvino_c\.so(\.\d+)*|libopenvino_c\.(\d+\.)*dylib")


@dataclass(frozen=True)
class OpenVinoRuntime:
    """An OpenVINO that was found.

    Attributes
    ----------
    library : Path
        Its C library; the plugins lie beside it.
    version : str
        Of the wheel, ``""`` where `LIBRARY_VARIABLE` names the library.
    """

    library: Path
    version: str


def find_openvino() -> OpenVinoRuntime | None:
    """Look for OpenVINO's C library; import nothing.

    Returns
    -------
    OpenVinoRuntime or None
        The library that `LIBRARY_VARIABLE` names, else the one of the installed wheel, else None.

    Raises
    ------
    EngineError
        The wheel is older than `OLDEST`, or incomplete.
    """
    named = os.environ.get(LIBRARY_VARIABLE)
    if named:
        return OpenVinoRuntime(Path(named), "")
    package = find_spec("openvino")
    if package is None or not package.submodule_search_locations:
        return None
    try:
        wheel_version = version("openvino")
    except PackageNotFoundError:
        return None  # a folder that happens to be called openvino
    if _release(wheel_version) < OLDEST:
        raise EngineError(
            f"OpenVINO {wheel_version} is too old, {OLDEST[0]}.{OLDEST[1]} or later is needed; "
            f"update it with: {CURE}",
            engine="openvino",
        )
    for place in package.submodule_search_locations:
        libraries = sorted(
            entry
            for entry in Path(place, "libs").glob("libopenvino_c*")
            if _LIBRARY_NAME.fullmatch(entry.name)
        )
        if libraries:
            return OpenVinoRuntime(libraries[-1], wheel_version)
    raise EngineError(
        f"OpenVINO {wheel_version} is installed without its C library; reinstall it with: {CURE}",
        engine="openvino",
    )


def _release(text: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


class OpenVinoEngine(NativeEngine):
    """A network run by OpenVINO from the core.

    Parameters
    ----------
    descriptor : ModelDescriptor
        Its `path` is the network.
    tile : (int, int)
        Rows and columns of the tile in px, halo included.
    settings : EngineSettings
        bf16 is accepted where this CPU computes it natively, and rounds every layer: see
        docs/engines.md for what that does to a picture.

    Attributes
    ----------
    native : imagine_deblur._core.OpenVinoEngine
    """

    def __init__(
        self, descriptor: ModelDescriptor, tile: tuple[int, int], settings: EngineSettings
    ) -> None:
        runtime = find_openvino()
        if runtime is None:
            raise EngineError(
                f"OpenVINO is not installed; install it with: {CURE}",
                engine="openvino",
                model=str(descriptor.path),
            )
        precision = resolve_precision(settings.precision)
        wanted = EngineSpec.of(descriptor, "openvino", precision, tile)
        from imagine_deblur import _core

        fields = asdict(wanted)
        del fields["name"], fields["precision"]
        with _file_of(descriptor) as path:
            self.native = _core.OpenVinoEngine(
                library_path=str(runtime.library),
                model_path=str(path),
                threads=settings.threads,
                precision=precision,
                quantised=descriptor.precision == "int8",
                cache_directory=os.fspath(settings.cache_directory or ""),
                **fields,
            )
        self.runtime = runtime
        self.spec = EngineSpec.of(descriptor, "openvino", self.native.precision, tile)


@contextmanager
def _file_of(descriptor: ModelDescriptor) -> Iterator[Path]:
    """The network's file, or for as long as it is opened one with its experts mixed."""
    if not descriptor.shares:
        yield descriptor.path
        return
    with tempfile.TemporaryDirectory(prefix="imagine-deblur-") as folder:
        path = Path(folder) / descriptor.path.name
        path.write_bytes(mixed_file(descriptor))
        yield path
