"""The native core, see csrc/bindings. Names of roles follow csrc/bindings/array_view.h."""

from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8] | NDArray[np.float32]
Plane = NDArray[Any]
TileArray = NDArray[np.float32]

def build_info() -> dict[str, str]: ...
def topology(root: str = "") -> dict[str, Any]: ...
def memory_limits(root: str = "") -> dict[str, int | None]: ...
def make_this_thread_polite(nice: int = 0, scheduling: str = "normal") -> bool: ...
def encode_jpeg(
    image: NDArray[np.uint8],
    *,
    quality: int = 95,
    subsampling: str = "4:2:0",
    progressive: bool = False,
    quantisation: Sequence[NDArray[np.uint16]] = (),
) -> bytes: ...
def recode_jpeg(reader: JpegReader, output: JpegOutput) -> bytes | None: ...
def nearest_quality(quantisation: Sequence[NDArray[np.uint16]]) -> int: ...
def frame_shape(image: Frame) -> tuple[int, int, int]: ...
def run_jpeg(
    reader: JpegReader,
    output: JpegOutput,
    engine: Engine,
    stage: object,
    pool: BufferPool,
    workers: WorkerPool,
    plan: FramePlan,
    keep_going: Callable[[float], bool] | None = None,
    decoded: Callable[[], NDArray[np.uint8]] | None = None,
) -> tuple[dict[str, Any], bytes | None]: ...
def run_array(
    image: Frame,
    out: Frame,
    engine: Engine,
    stage: object,
    pool: BufferPool,
    workers: WorkerPool,
    plan: FramePlan,
    keep_going: Callable[[float], bool] | None = None,
    first: tuple[int, int] | None = None,
) -> dict[str, Any]: ...

class WorkerPool:
    def __init__(
        self,
        threads: int,
        *,
        pin: bool = False,
        processors: Sequence[int] = ...,
        nice: int = 0,
        scheduling: str = "normal",
    ) -> None: ...
    @property
    def worker_count(self) -> int: ...
    @property
    def pinned_count(self) -> int: ...
    @property
    def polite_count(self) -> int: ...

class PlaneSizes:
    def __init__(self, rows: int, columns: int, padded_rows: int, padded_columns: int) -> None: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def padded_shape(self) -> tuple[int, int]: ...
    def scratch_bytes(self) -> int: ...
    @staticmethod
    def scratch_bytes_of(rows: int, columns: int, padded_rows: int, padded_columns: int) -> int: ...
    @staticmethod
    def worker_bytes_of(rows: int, columns: int, padded_rows: int, padded_columns: int) -> int: ...
    def otf_bytes(self, complex: bool) -> int: ...

class Otf:
    @staticmethod
    def radial(table: NDArray[np.float32]) -> Otf: ...
    @staticmethod
    def half_plane(
        sizes: PlaneSizes,
        values: NDArray[np.float32] | NDArray[np.complex64],
        workers: WorkerPool,
    ) -> Otf: ...
    @property
    def values(self) -> NDArray[np.float32]: ...

class Gain:
    @overload
    def __init__(self, *, nsr: float) -> None: ...
    @overload
    def __init__(
        self,
        *,
        added: NDArray[np.float32],
        scale: NDArray[np.float32] | None = None,
        noise: NDArray[np.float32] | None = None,
    ) -> None: ...

class Workplace:
    def __init__(
        self,
        workers: WorkerPool,
        scratch: NDArray[np.uint8],
        *,
        checked: bool = False,
        after_block: Callable[[], object] | None = None,
    ) -> None: ...

def lift_rims(
    workers: WorkerPool,
    *,
    capture: Sequence[Plane],
    restored: Sequence[Plane],
    restored_first: int,
    columns: tuple[int, int],
) -> None: ...

class Reblur:
    def __init__(
        self,
        work: Workplace,
        sizes: PlaneSizes,
        *,
        capture: Sequence[Plane],
        linear: Sequence[Plane],
        linear_first: int,
        restored: Sequence[Plane],
        restored_first: int,
        several: bool,
    ) -> None: ...
    def compare(self, otf: Otf) -> NDArray[np.float64]: ...

def restore_planes(
    work: Workplace,
    sizes: PlaneSizes,
    otf: Otf,
    *,
    luma: Sequence[Gain],
    base: int,
    colour: Gain,
    capture: Sequence[Plane],
    first_column: int,
    padded_columns: int,
    planes: Sequence[Plane],
    first_row: int,
    kept: tuple[int, int],
    row_weights: NDArray[np.float32] | None = None,
    column_weights: NDArray[np.float32] | None = None,
    add: bool = False,
) -> None: ...

class BufferPool:
    def __init__(self, bytes: int, *, folder: str = "", anonymous: bool = False) -> None: ...
    def statistics(self) -> dict[str, Any]: ...
    @property
    def capacity(self) -> int: ...

class Tile:
    @property
    def index(self) -> int: ...
    @property
    def tile_row(self) -> int: ...
    @property
    def tile_column(self) -> int: ...
    @property
    def core(self) -> tuple[int, int, int, int]: ...
    @property
    def write(self) -> tuple[int, int, int, int]: ...
    @property
    def read(self) -> tuple[int, int, int, int]: ...

class TilePlan:
    def __init__(
        self,
        frame_rows: int,
        frame_columns: int,
        *,
        tile_rows: int,
        tile_columns: int,
        overlap: int = 0,
        halo: int = 0,
        multiple_of: int = 1,
        may_shrink: bool = True,
        region: tuple[int, int, int, int] | None = None,
    ) -> None: ...
    def __len__(self) -> int: ...
    def tile(self, index: int) -> Tile: ...
    @property
    def region(self) -> tuple[int, int, int, int]: ...
    @property
    def tile_rows(self) -> int: ...
    @property
    def tile_columns(self) -> int: ...
    @property
    def overlap_rows(self) -> int: ...
    @property
    def overlap_columns(self) -> int: ...
    @property
    def grid_rows(self) -> int: ...
    @property
    def grid_columns(self) -> int: ...

class BlendWindow:
    def __init__(self, plan: TilePlan) -> None: ...
    def rows(self, tile_row: int) -> NDArray[np.float32]: ...
    def columns(self, tile_column: int) -> NDArray[np.float32]: ...

class Engine:
    @property
    def name(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def input_planes(self) -> int: ...
    @property
    def output_bands(self) -> int: ...
    @property
    def tile_rows(self) -> int: ...
    @property
    def tile_columns(self) -> int: ...
    @property
    def halo(self) -> int: ...
    @property
    def local(self) -> bool: ...
    @property
    def working_bytes(self) -> int: ...
    def infer(self, input: TileArray, output: TileArray) -> None: ...
    def weights_sum(self) -> int: ...

class IdentityEngine(Engine):
    def __init__(
        self,
        *,
        input_planes: int = 3,
        output_bands: int = 3,
        first_plane: int = 0,
        tile_rows: int,
        tile_columns: int,
        halo: int = 0,
        local: bool = True,
        input_offset: float = 0.0,
    ) -> None: ...

class OpenVinoEngine(Engine):
    def __init__(
        self,
        *,
        library_path: str,
        model_path: str,
        input_planes: int,
        output_bands: int = 3,
        tile_rows: int,
        tile_columns: int,
        halo: int = 0,
        local: bool = True,
        input_offset: float = 0.0,
        threads: int = 1,
        precision: str = "f32",
        quantised: bool = False,
        pin_threads: bool = False,
        cache_directory: str = "",
    ) -> None: ...
    def settings(self) -> dict[str, Any]: ...

class PlainNetworkEngine(Engine):
    def __init__(
        self,
        layers: list[tuple[NDArray[np.float32], NDArray[np.float32]]],
        *,
        unshuffle: int = 1,
        base_plane: int = 0,
        base_offset: float = 0.0,
        input_planes: int,
        output_bands: int = 3,
        tile_rows: int,
        tile_columns: int,
        halo: int = 0,
        local: bool = True,
        input_offset: float = 0.0,
        workers: WorkerPool,
    ) -> None: ...
    def settings(self) -> dict[str, Any]: ...

class CallableEngine(Engine):
    def __init__(
        self,
        function: Callable[[TileArray, TileArray], object],
        *,
        name: str = "callable",
        precision: str = "f32",
        input_planes: int = 3,
        output_bands: int = 3,
        tile_rows: int,
        tile_columns: int,
        halo: int = 0,
        local: bool = True,
        input_offset: float = 0.0,
    ) -> None: ...

class JpegReader:
    def __init__(
        self,
        source: str | bytes,
        *,
        salvage: bool = False,
        max_pixels: int = ...,
        max_scans: int = ...,
        max_memory_bytes: int = ...,
        name: str = "",
    ) -> None: ...
    @property
    def info(self) -> dict[str, Any]: ...
    @property
    def salvage(self) -> tuple[int, str] | None: ...
    @property
    def metadata(self) -> list[tuple[int, bytes]]: ...
    def read_rows(self, count: int) -> NDArray[np.uint8]: ...

class JpegOutput:
    def __init__(
        self,
        *,
        descriptor: int = -1,
        quality: int = 95,
        subsampling: str = "4:2:0",
        progressive: bool = False,
        optimise: bool = False,
        max_memory_bytes: int = ...,
        xmp: str = "",
        comment: str = "",
        quantisation: Sequence[NDArray[np.uint16]] = (),
    ) -> None: ...

class FramePlan:
    def __init__(
        self,
        tiles: TilePlan,
        *,
        bands: int = 3,
        float32: bool = False,
        output_bands: int = 3,
        inputs: Sequence[int],
        linear_planes: int = 0,
        constants: Sequence[float] = (),
        strip_height: int = 1,
        group_width: int = ...,
        margin_rows: int = 0,
        scratch_bytes: int = 0,
        drop_memory: bool = True,
        require_numbers: bool = False,
    ) -> None: ...
    @property
    def tiles(self) -> TilePlan: ...
    @property
    def margin_rows(self) -> int: ...
    @property
    def scratch_bytes(self) -> int: ...
    @property
    def strips(self) -> int: ...
    @property
    def groups(self) -> int: ...
    @property
    def window_rows(self) -> int: ...
    @property
    def group_columns(self) -> int: ...
    @property
    def pool_bytes(self) -> int: ...
    @property
    def linear_phase_bytes(self) -> int: ...
    @property
    def tile_phase_bytes(self) -> int: ...
    @property
    def review_phase_bytes(self) -> int: ...
    def with_scratch(self, bytes: int) -> FramePlan: ...

class Strip:
    @property
    def index(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def frame_rows(self) -> int: ...
    @property
    def window(self) -> tuple[int, int]: ...
    @property
    def planes(self) -> tuple[int, int]: ...
    @property
    def columns(self) -> tuple[int, int]: ...
    @property
    def group_columns(self) -> int: ...
    @property
    def finished(self) -> tuple[int, int]: ...
    @property
    def finished_columns(self) -> tuple[int, int]: ...
    @property
    def capture(self) -> list[Plane]: ...
    @property
    def linear(self) -> list[Plane]: ...
    @property
    def restored(self) -> list[Plane]: ...
    @property
    def scratch(self) -> NDArray[np.uint8]: ...
