"""Restoring a raster file into another, window by window."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur._version import VERSION
from imagine_deblur.errors import MemoryBudgetError, OptionsError
from imagine_deblur.options import Options
from imagine_deblur.psf.field import PsfField
from imagine_deblur.raster import dataset, output, photometric
from imagine_deblur.raster.bands import BandsArgument, group_bands, names_of, separate_bands
from imagine_deblur.raster.block_map import BlockMap
from imagine_deblur.raster.report import BandReport, RasterReport
from imagine_deblur.raster.scene import GAP_MARGINS, Group, PsfChoice, look
from imagine_deblur.raster.windows import ALIGNMENT, Window, cut
from imagine_deblur.report import Report
from imagine_deblur.session import Session
from imagine_deblur.support.files import choose_target, replacing_by_name
from imagine_deblur.support.process_memory import status_bytes

MAX_RAM = "2GB"
"""Memory that is aimed at where none is given."""

# Bytes at the peak: of interpreter, network and GDAL's cache, and for each px of a window. A window
# is held as it was read, encoded, as an image and restored; the session's pool and OTF took 16 + 12
# bytes a band and 11 more (3 bands, 1 band, 4 MP each), and its spectra 8 for each px of the
# window with its extension.
_FIXED_BYTES = 250_000_000
_LARGEST_CORE = 4096  # px

Progress = Callable[[float], object]


def restore_raster(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    psf: PsfChoice = None,
    bands: BandsArgument = None,
    overwrite: bool = False,
    driver: str = "COG",
    progress: Progress | None = None,
    **options: Any,
) -> RasterReport:
    """Restore a raster of any size, type and number of bands into another.

    CRS, geotransform, GCPs, RPCs, nodata, masks, scales and offsets, colour interpretation, tags,
    descriptions and units are those of the source. Pixels without data keep every bit and are not
    seen by their neighbours. The output is complete or not there; the source is never touched.

    Parameters
    ----------
    src : str or path
        What GDAL opens: GeoTIFF, COG, JPEG 2000, PNG, VRT, ``/vsis3/...``, ...; uint8, uint16,
        int16, float32 or float64.
    dst : str or path
        A local file.
    psf : PSF argument, or mapping of bands to them, optional
        As `Options.psf`. A mapping has band names, numbers from 1, ``"colour"`` or ``"*"``, all
        others, as keys. None, or a band that is not in the mapping: estimated from the scene.
    bands : sequence of int or str, optional
        Numbers (from 1) or names of the bands that are red, green and blue, which the network for
        colour restores together; empty: none. Default: by the colour interpretation or by bands
        that are called red, green and blue. Every other band is restored alone.
    overwrite : bool
        Replace an existing output.
    driver : {"COG", "GTiff", "PNG"}
        Format of the output.
    progress : callable, optional
        Called with the fraction done, in [0, 1]; an exception it raises stops the work and nothing
        is written.
    **options
        Fields of `Options`. `max_ram`, here 2 GB by default, decides the size of the windows.
        Those of JPEG's coder (`quality`, `max_bytes`, ...) and `deadline` are refused.

    Returns
    -------
    RasterReport

    Raises
    ------
    InputImageError
        Not a raster, or one whose samples cannot be restored.
    OptionsError
        A band that is not there, a format that cannot hold the samples, an option out of range.
    MissingExtraError
        rasterio is not installed.
    OutputExistsError, EstimationError, MemoryBudgetError, EngineError, PsfError, OSError
        See `imagine_deblur.errors`.
    """
    started = time.perf_counter()
    source = os.fspath(src)
    chosen = Options(**{"max_ram": MAX_RAM, **options})
    output.check_options(chosen)
    local = source if os.path.exists(source) else None
    with dataset.gdal(source) as rasterio, dataset.opened(rasterio, source) as file:
        target = choose_target(local, dst, overwrite=overwrite)
        assert isinstance(target, Path)
        output.check_driver(driver, target, file.dtypes[0], file.count)
        reader = dataset.DatasetReader(rasterio, file)
        names = names_of(file.descriptions)
        colours = [colour.name for colour in file.colorinterp]
        grouped = group_bands(names, colours, bands, separate_bands(psf))
        with Session(chosen) as session:
            groups = look(reader, grouped, session, psf, dataset.nodata_of(file))
            job = _Job(rasterio, file, reader, groups, session, progress or _ignored)
            analysed = time.perf_counter()
            with replacing_by_name(target, overwrite=overwrite) as made:
                with output.writing(target):
                    restored, written = job.write(made, driver)
                digest, size = output.sha256_of(made), made.stat().st_size
            return RasterReport(
                source=source,
                output=os.fspath(target),
                driver=driver,
                rows=reader.shape[0],
                columns=reader.shape[1],
                bands=file.count,
                dtype=file.dtypes[0],
                groups=(*job.band_reports(), *_others(names, grouped)),
                invalid_pixels=job.invalid_pixels,
                windows=job.windows,
                window=job.window,
                engine="" if job.last is None else job.last.engine,
                precision="" if job.last is None else job.last.precision,
                model=session.parts.model.name,
                model_sha256=session.parts.model.sha256,
                threads=session.parts.threads,
                seconds={
                    "analyse": analysed - started,
                    "restore": restored,
                    "write": written,
                    "total": time.perf_counter() - started,
                },
                source_bytes=0 if local is None else os.path.getsize(local),
                output_bytes=size,
                peak_bytes=status_bytes("VmHWM"),
                sha256=digest,
                warnings=job.warnings(driver),
                version=VERSION,
                block_map=job.block_map,
            )


def _ignored(fraction: float) -> None:
    pass


def _others(names: list[str], grouped: list[Any]) -> list[BandReport]:
    """Bands in no group: alpha, copied as it is."""
    seen = {index for group in grouped for index in group.indices}
    return [
        BandReport((k + 1,), (name,), "other", reason="alpha is not an image")
        for k, name in enumerate(names)
        if k not in seen
    ]


@dataclass
class _Job:
    """One raster on its way."""

    rasterio: Any
    file: Any
    reader: dataset.DatasetReader
    groups: list[Group]
    session: Session
    progress: Progress
    last: Report | None = None
    invalid_pixels: int = 0
    windows: int = 0
    window: tuple[int, int] = (0, 0)
    _maps: dict[int, BlockMap] = field(default_factory=dict)
    _reports: dict[int, Report] = field(default_factory=dict)

    def write(self, made: Path, driver: str) -> tuple[float, float]:
        """Write the output; return the seconds of restoring and of packing."""
        started = time.perf_counter()
        working = made.with_name("working.tif")
        threads = self.session.parts.threads
        bits, dtype = self.reader.bits, self.file.dtypes[0]
        profile = dataset.profile_of(
            self.file,
            **output.creation_options("GTiff", dtype, bits, threads),
            driver="GTiff",
            interleave="band",
        )
        with self.rasterio.open(working, "w", **(profile | {"zstd_level": 1})) as target:
            dataset.copy_description(self.file, target)
            self._copy_others(target)
            for number in range(len(self.groups)):
                self._restore_group(number, target)
            dataset.write_provenance(target, self._provenance())
        restored = time.perf_counter()
        packing = output.creation_options(driver, dtype, bits, threads)
        plain, others = dataset.namespaces(self.file)
        if others and not plain and driver != "PNG":
            packing["copy_src_mdd"] = "YES"
        with self.rasterio.Env(GDAL_PAM_ENABLED=False):
            self.rasterio.shutil.copy(working, made, driver=driver, **packing)
        if self.reader.min_is_white and driver != "PNG":
            photometric.mark_min_is_white(self.rasterio, made)
        return restored - started, time.perf_counter() - restored

    def _copy_others(self, target: Any) -> None:
        """Copy the bands that are not restored, and the mask."""
        restored = {i for group in self.groups if group.restored for i in group.bands.indices}
        self._copy_bands([i for i in range(self.file.count) if i not in restored], target)
        own_mask = dataset.has_own_mask(self.rasterio, self.file)
        if own_mask or dataset.own_nodata(self.file):
            for window in cut(self.reader.shape, 0, _LARGEST_CORE):
                area = self._area(window)
                masks = self.file.read_masks(1 if own_mask else None, window=area)
                target.write_mask(masks if own_mask else masks.min(axis=0), window=area)

    def _copy_bands(self, indices: Sequence[int], target: Any) -> None:
        """Copy bands as they are."""
        for window in cut(self.reader.shape, 0, _LARGEST_CORE):
            area = self._area(window)
            for index in indices:
                target.write(self.file.read(index + 1, window=area), index + 1, window=area)

    def _area(self, window: Window) -> Any:
        """What a window owns, as rasterio takes it."""
        rows, columns = window.rows, window.columns
        return self.rasterio.windows.Window(columns.start, rows.start, columns.size, rows.size)

    def _restore_group(self, number: int, target: Any) -> None:
        group = self.groups[number]
        if not group.restored:
            return
        windows = list(cut(self.reader.shape, group.margin, self._core(group)))
        if isinstance(group.found.psf, PsfField) and len(windows) > 1:
            raise OptionsError(
                "psf", "a field of PSFs", "one PSF where a scene does not fit into one window"
            )
        self.windows = max(self.windows, len(windows))
        self.window = (windows[0].rows.read_size, windows[0].columns.read_size)
        first, blocks = not self._maps, BlockMap(self.reader.shape)
        self._maps[number] = blocks
        for done, window in enumerate(windows):
            share = (number + done / len(windows)) / len(self.groups)
            self.progress(share)
            rows, columns = window.rows, window.columns
            values, valid = self.reader.read(
                group.bands.indices,
                rows.read_start,
                columns.read_start,
                rows.read_size,
                columns.read_size,
            )
            restored, report = group.restore(self.session, values, valid, window.kept)
            numbers = [index + 1 for index in group.bands.indices]
            kept = restored[(slice(None), *window.kept)]
            target.write(kept, numbers, window=self._area(window))
            if first:
                self.invalid_pixels += int(np.count_nonzero(~valid[window.kept]))
            if report is not None:
                self.last = report
                self._reports.setdefault(number, report)
                blocks.add(window, report.block_map)
        self.groups[number] = group.judged(self.session, blocks.blocks)
        if not self.groups[number].restored:
            self._copy_bands(group.bands.indices, target)
        self.progress((number + 1) / len(self.groups))

    def _core(self, group: Group) -> int:
        """Most that a window may own, px a side, for the memory that is allowed."""
        rows, columns = self.reader.shape
        allowed = self.session.options.ram_bytes
        if self._bytes(group, rows, columns) <= allowed:
            return max(rows, columns) + -max(rows, columns) % ALIGNMENT
        for core in range(_LARGEST_CORE, 0, -output.BLOCK):
            side = core + 2 * group.margin
            if self._bytes(group, side, side) <= allowed:
                return core
        wanted = self._bytes(group, side, side)
        raise MemoryBudgetError(
            f"windows of {len(group.bands.indices)} bands of {self.file.dtypes[0]} with margins of "
            f"{group.margin} px need {wanted >> 20} MiB; {allowed >> 20} MiB are allowed: raise "
            "max_ram (--max-ram)",
            wanted=wanted,
            allowed=allowed,
        )

    def _bytes(self, group: Group, rows: int, columns: int) -> int:
        """Bytes of the process at the peak, for a window that is read with its margins."""
        count, kind = len(group.bands.indices), np.dtype(self.file.dtypes[0])
        pixel = (2 * kind.itemsize + 16) * count + (16 + 12 * count) + 11
        gap = GAP_MARGINS * group.margin  # two spectra hold the extension too
        window: int = pixel * rows * columns
        return _FIXED_BYTES + window + 8 * (rows + gap) * (columns + gap)

    @property
    def block_map(self) -> NDArray[np.uint8] | None:
        """Of the first group that was restored and checked."""
        kept = (self._maps[n].blocks for n in sorted(self._maps) if self.groups[n].restored)
        return next((blocks for blocks in kept if blocks is not None), None)

    def band_reports(self) -> list[BandReport]:
        """What became of every group."""
        return [self._band_report(number) for number in range(len(self.groups))]

    def _band_report(self, number: int) -> BandReport:
        group, found = self.groups[number], self.groups[number].found
        report = self._reports.get(number) if group.restored else None
        blocks = self._maps[number].blocks if report is not None else None
        reason = "" if group.restored else (found.warnings or ("there is no blur to undo",))[-1]
        return BandReport(
            bands=tuple(index + 1 for index in group.bands.indices),
            names=group.bands.names,
            role=group.bands.role,
            restored=group.restored,
            reason=reason.removeprefix("passed through unrestored: "),
            psf=None if (psf := found.told_psf) is None else {"id": psf.id, **psf.to_dict()},
            psf_source=found.psf_source,
            psf_confidence=found.confidence,
            nsr=() if report is None else report.nsr,
            model="" if report is None else report.model,
            offset=group.scale.offset,
            gain=group.scale.gain,
            margin=group.margin,
            replaced_blocks=0 if blocks is None else int(np.count_nonzero(blocks)),
        )

    def _provenance(self) -> Mapping[str, str]:
        model = self.session.parts.model
        groups = [
            {
                "bands": report.bands,
                "restored": report.restored,
                "psf": report.psf,
                "psf_source": report.psf_source,
                "offset": report.offset,
                "gain": report.gain,
            }
            for report in self.band_reports()
        ]
        return {
            "VERSION": VERSION,
            "MODEL": model.name,
            "MODEL_SHA256": model.sha256 or "",
            "GROUPS": json.dumps(groups, separators=(",", ":")),
        }

    def warnings(self, driver: str) -> tuple[str, ...]:
        """What the user should know, each once."""
        found = [
            f"{', '.join(group.bands.names)}: {warning}"
            for group in self.groups
            for warning in group.found.warnings
        ]
        if driver == "PNG" and (self.file.crs or self.file.gcps[0] or self.file.rpcs):
            found.append("PNG holds no georeferencing: it was left out")
        if driver == "PNG" and self.reader.min_is_white:
            found.append(
                "the lowest value is white, which PNG cannot say: viewers show it inverted"
            )
        own_nodata = dataset.own_nodata(self.file)
        if driver == "PNG" and (own_nodata or dataset.has_own_mask(self.rasterio, self.file)):
            found.append("PNG holds no mask of pixels without data: it was left out")
        elif own_nodata:
            found.append(
                f"the bands have nodata values of their own {self.file.nodatavals}, of which "
                f"{driver} holds one: a mask of the pixels that are valid in all bands was written "
                "in their place"
            )
        if lost := dataset.left_out(self.file, driver):
            found.append(f"tags of these namespaces were left out: {', '.join(lost)}")
        if more := self.file.subdatasets[1:]:
            found.append(
                f"{len(more)} more images in the file were left out: restore each by its name, "
                f"such as {more[0]}"
            )
        return tuple(found)
