"""ONNX Runtime through its Python package, set up to stay small and polite."""

from __future__ import annotations

import os
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from imagine_deblur.engines.allocator import return_large_blocks
from imagine_deblur.engines.descriptor import ModelDescriptor
from imagine_deblur.engines.mixture import mixed_file
from imagine_deblur.engines.onnx_file import read_summary
from imagine_deblur.engines.settings import EngineSettings
from imagine_deblur.engines.spec import EngineSpec, Tile
from imagine_deblur.errors import EngineError, OptionsError

CURE = 'pip install "imagine-deblur[onnxruntime]"'


def find_onnxruntime() -> bool:
    """Whether ONNX Runtime is installed; imports nothing."""
    return find_spec("onnxruntime") is not None


def import_onnxruntime() -> ModuleType:
    """ONNX Runtime, told before it is loaded to report nothing to anybody.

    Since 1.32 its package opens a database in the user's cache, starts two threads and sends usage
    to its makers from the import on, unless ``ORT_DISABLE_TELEMETRY`` is set. Who wants that sets
    the variable to 0.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    module: ModuleType = onnxruntime
    return module


class OrtEngine:
    """A network run by ONNX Runtime.

    The arena is off (it never shrinks, and grows in doubling steps), the memory pattern is on (with
    a fixed tile shape all intermediate buffers come from one block planned after the first tile),
    threads do not spin while they wait, and inputs and outputs are bound to the caller's arrays.
    Since the arena is off, `return_large_blocks` keeps the process's heap from taking its place.

    Parameters
    ----------
    descriptor : ModelDescriptor
    tile : (int, int)
        Rows and columns of the tile in px, halo included.
    settings : EngineSettings
        ``precision="bf16"`` is refused: this runtime's CPU kernels compute in float32.

    Raises
    ------
    EngineError
        ONNX Runtime is missing, or refuses the network or this tile.
    """

    def __init__(
        self, descriptor: ModelDescriptor, tile: tuple[int, int], settings: EngineSettings
    ) -> None:
        self._model = str(descriptor.path)
        if not find_onnxruntime():
            raise EngineError(
                f"ONNX Runtime is not installed; install it with: {CURE}",
                engine="onnxruntime",
                model=self._model,
            )
        if settings.precision == "bf16":
            raise OptionsError("precision", "bf16", "f32 or auto with ONNX Runtime")
        onnxruntime = import_onnxruntime()
        return_large_blocks()
        self.spec = EngineSpec.of(descriptor, "onnxruntime", "f32", tile)
        self._version = str(onnxruntime.__version__)
        self._pinned = bool(settings.processors)
        self._options = self._session_options(onnxruntime, settings, tile)
        try:
            source = mixed_file(descriptor) if descriptor.shares else self._model
            self._session = onnxruntime.InferenceSession(
                source, self._options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime has a class of its own for each status
            raise EngineError(
                f"ONNX Runtime {self._version}, model {self._model}: {error}",
                engine="onnxruntime",
                model=self._model,
            ) from error
        self._check_ports()
        self._binding = self._session.io_binding()
        self._bound_input = self._bound_output = 0

    def _session_options(
        self, onnxruntime: Any, settings: EngineSettings, tile: tuple[int, int]
    ) -> Any:
        options = onnxruntime.SessionOptions()
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = True
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = settings.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # failures arrive as exceptions
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        if settings.processors and settings.threads > 1:
            # One entry a thread it starts, counted from 1; the calling thread is the caller's.
            places = (settings.processors * settings.threads)[1 : settings.threads]
            listed = ";".join(str(processor + 1) for processor in places)
            options.add_session_config_entry("session.intra_op_thread_affinities", listed)
        # Free dimensions get their values before the graph is planned.
        shape = read_summary(self._model).inputs[0].shape
        for dimension, value in zip(shape, (1, self.spec.input_planes, *tile), strict=False):
            if isinstance(dimension, str) and dimension:
                options.add_free_dimension_override_by_name(dimension, value)
        return options

    def _check_ports(self) -> None:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise EngineError(
                f"{self._model}: it has {len(inputs)} inputs and {len(outputs)} outputs, expected "
                "one of each",
                engine="onnxruntime",
                model=self._model,
            )
        for role, port, shape in (
            ("input", inputs[0], self.spec.input_shape),
            ("output", outputs[0], self.spec.output_shape),
        ):
            found = port.shape
            fits = len(found) == 4 and all(
                not isinstance(f, int) or f == wanted
                for f, wanted in zip(found, (1, *shape), strict=True)
            )
            if not fits or port.type != "tensor(float)":
                raise EngineError(
                    f"{self._model}: its {role} is {port.type} {found}, expected float32 of "
                    f"{[1, *shape]}",
                    engine="onnxruntime",
                    model=self._model,
                )
        self._input_name, self._output_name = inputs[0].name, outputs[0].name

    @property
    def settings(self) -> dict[str, Any]:
        """The settings in force: version, threads, arena, memory pattern, spinning."""
        o = self._options
        return {
            "version": self._version,
            "threads": o.intra_op_num_threads,
            "inter_op_threads": o.inter_op_num_threads,
            "precision": self.spec.precision,
            "arena": o.enable_cpu_mem_arena,
            "memory_pattern": o.enable_mem_pattern,
            "pinned": self._pinned,
            "spinning": o.get_session_config_entry("session.intra_op.allow_spinning") != "0",
        }

    def infer(self, input: Tile, output: Tile) -> None:
        """Restore one tile in the caller's arrays, nothing copied; the lock is released.

        Raises
        ------
        EngineError
            The arrays are not this engine's tiles, or the runtime failed.
        """
        self.spec.check_tiles(input, output)
        try:
            self._bind(input, output)
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # the runtime has a class of its own for each status
            raise EngineError(
                f"ONNX Runtime {self._version}, model {self._model}: {error}",
                engine="onnxruntime",
                model=self._model,
            ) from error

    def _bind(self, input: Tile, output: Tile) -> None:
        source = input.ctypes.data
        if source != self._bound_input:
            self._binding.bind_input(
                self._input_name, "cpu", 0, np.float32, (1, *self.spec.input_shape), source
            )
            self._bound_input = source
        target = output.ctypes.data
        if target != self._bound_output:
            self._binding.bind_output(
                self._output_name, "cpu", 0, np.float32, (1, *self.spec.output_shape), target
            )
            self._bound_output = target
