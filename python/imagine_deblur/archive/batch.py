"""A batch: every item once, nothing half-written, all of it written down."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagine_deblur import _core
from imagine_deblur.archive import lineage
from imagine_deblur.archive.item import Item, is_jpeg_name, scheme_of
from imagine_deblur.archive.lanes import ClusterLanes, Lanes, LocalLanes
from imagine_deblur.archive.loop import Batch, Watch
from imagine_deblur.archive.manifest import NAME
from imagine_deblur.archive.settings import BandPsfs, Settings, make_settings
from imagine_deblur.archive.summary import BatchSummary
from imagine_deblur.errors import MemoryBudgetError, OptionsError
from imagine_deblur.options import Options, parse_bytes

if TYPE_CHECKING:
    from imagine_deblur.raster.bands import BandsArgument


def restore_archive(
    items: Sequence[Item],
    output: str | os.PathLike[str],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    options: Options | None = None,
    bands: BandsArgument = None,
    band_psf: BandPsfs | None = None,
    manifest: str | os.PathLike[str] | None = None,
    retries: int = 2,
    skip_existing: bool = False,
    retry_quarantined: bool = False,
    timeout: float = 60.0,
    item_seconds: float = 7200.0,
    stac_output: str | os.PathLike[str] | None = None,
    watch: Watch | None = None,
) -> BatchSummary:
    """Restore many files, each by one worker with one thread.

    Called again with the same output it goes on: what the manifest has, with the same source and
    the same options, is skipped. An output's bytes depend on its source and the options alone, not
    on who made it, nor on how many worked beside.

    Parameters
    ----------
    items : sequence of Item
        See `find_items`.
    output : path or URL
        A folder, or ``s3://bucket/prefix``.
    workers : int, optional
        Processes of this machine. Default: as many as cores may be used and as `Options.max_ram`
        fits into the memory that is available.
    scheduler : str, optional
        Address of a Dask cluster that runs already; its workers do the work instead.
    options : Options, optional
        `Options.max_ram` is for each worker; `Options.threads` is 1 always. With
        `Options.overwrite` everything is made again.
    bands : sequence of int or str, optional
        Bands of rasters that are red, green and blue; see `imagine_deblur.raster.restore_raster`.
    band_psf : mapping of int or str to PSF argument, optional
        Blur of single bands of rasters; other bands have `Options.psf`.
    manifest : path, optional
        Default: ``manifest.jsonl`` in the output.
    retries : int
        Further attempts after failures that may pass (network, memory), with growing pauses.
    skip_existing : bool
        Leave outputs alone that exist and that the manifest does not know.
    retry_quarantined : bool
        Try again what ended two workers before.
    timeout, item_seconds : float
        See `Settings`.
    stac_output : path, optional
        Folder for a STAC item of each output.
    watch : callable, optional
        Called with the source, what became of it, and why.

    Returns
    -------
    BatchSummary

    Raises
    ------
    MissingExtraError
        A package that the sources, the scheduler or the STAC items need is not installed.
    OptionsError
        The manifest tells of outputs made with other options, or two sources have one output.
    ClusterLostError, ManifestBusyError, MemoryBudgetError, OSError
        The batch ended early: no scheduler, another batch, no memory, a full disk. What is done
        is written down.
    """
    chosen = options or Options()
    settings = make_settings(
        output, chosen, timeout=timeout, item_seconds=item_seconds, stac_output=stac_output,
        bands=bands, band_psf=band_psf,
    )  # fmt: skip
    if retries < 0:
        raise OptionsError("retries", retries, "0 or more")
    if not all(is_jpeg_name(item.output) for item in items):
        from imagine_deblur.raster.output import check_options

        check_options(chosen)
    if settings.stac_output is not None:
        lineage.check_packages()
    _spare_sources(items, settings)
    for folder in (None if settings.remote_output else settings.output, settings.stac_output):
        if folder is not None:
            os.makedirs(folder, exist_ok=True)
    batch = Batch(
        settings,
        Path(manifest) if manifest is not None else _manifest_path(settings),
        overwrite=chosen.overwrite,
        skip_existing=skip_existing,
        retry_quarantined=retry_quarantined,
        retries=retries,
        watch=watch or (lambda source, outcome, reason: None),
    )
    started = time.monotonic()
    with batch.manifest:
        batch.check(items)
        batch.clean()
        lanes: Lanes
        if scheduler is not None:
            lanes = ClusterLanes(scheduler)
        else:
            lanes = LocalLanes(fitting_workers(workers, budget(items, chosen), len(items)))
        try:
            batch.run(items, lanes)
        finally:
            lanes.close()
            batch.clean()
    if settings.stac_output is not None:
        lineage.save_catalog(Path(settings.stac_output), Path(settings.output).name)
    batch.summary.seconds = time.monotonic() - started
    return batch.summary


def _spare_sources(items: Sequence[Item], settings: Settings) -> None:
    """Refuse outputs that would replace a source: with `overwrite` they would be lost.

    Raises
    ------
    OptionsError
        One of them is.
    """
    folders: dict[str, str] = {}

    def place(path: str) -> str:
        """Where a local path leads; links of folders are followed once a folder."""
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        return os.path.realpath(path) if os.path.islink(path) else f"{folders[folder]}/{name}"

    local = not settings.remote_output
    sources = {
        place(item.source) if local else item.source
        for item in items
        if bool(scheme_of(item.source)) != local
    }
    for item in items:
        target = settings.target(item.output)
        if (place(target) if local else target) in sources:
            raise OptionsError("output", target, "a file other than the sources")


def budget(items: Sequence[Item], options: Options) -> int:
    """Return the bytes that one worker may take; rasters have a default of their own."""
    if "max_ram" in options.changed() or all(is_jpeg_name(item.output) for item in items):
        return options.ram_bytes
    from imagine_deblur.raster.restore import MAX_RAM

    return parse_bytes("max_ram", MAX_RAM)


def fitting_workers(asked: int | None, each: int, items: int) -> int:
    """Return how many workers to start.

    Parameters
    ----------
    asked : int or None
        None takes as many as cores may be used and as fit into the memory that is left.
    each : int
        Bytes that one may take.
    items : int
        More workers than these have nothing to do.

    Raises
    ------
    OptionsError
        Not a positive number.
    MemoryBudgetError
        So many budgets do not fit into the memory that is left.
    """
    if asked is not None and (isinstance(asked, bool) or not 1 <= asked <= 1024):
        raise OptionsError("workers", asked, "a whole number from 1 to 1024")
    room = _core.memory_limits()["room_bytes"]
    fit = 1024 if room is None else room // each
    if asked is not None and room is not None and asked > fit:
        raise MemoryBudgetError(
            f"{asked} workers of {each / 1e9:.1f} GB do not fit into the {room / 1e9:.1f} GB of "
            f"memory that are left: at most {fit} do, or lower --max-ram",
            wanted=asked * each,
            allowed=room,
        )
    cores = int(_core.topology()["usable_threads"])
    return asked or max(1, min(cores, fit, items))


def _manifest_path(settings: Settings) -> Path:
    if settings.remote_output:
        raise OptionsError(
            "manifest", None, "a local file (--manifest FILE): object stores cannot append to one"
        )
    return Path(settings.output) / NAME
