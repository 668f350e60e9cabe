"""A session that checks what it depends on, and what it made, before anyone sees it.

Before a result is handed on:

- the weights file and the PSF record still have the digests of the start (disk and memory);
- the PSF in use is the record's, and the stage's transfer function is the one computed first;
- the engine's weights in memory have the sum they were loaded with, where the core holds them, and
  it still answers a fixed tile with the same bits;
- every `golden_every` frames, the whole session restores a fixed picture to the same bits;
- no spectrum changed between two passes of the linear stage (`WienerStage`);
- the output is compared with the capture (`verify`).

A finding throws the result away, mends or reloads what is damaged, and restores the frame again.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.errors import IntegrityError
from imagine_deblur.options import Options
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.presets import parse_preset
from imagine_deblur.report import Report
from imagine_deblur.session import Session
from imagine_deblur.watch import verify
from imagine_deblur.watch.artifact import Artifact
from imagine_deblur.watch.folders import Folder
from imagine_deblur.watch.pictures import golden_picture, probe_tile, trial_capture

_ATTEMPTS = 4
_GOLDEN_PSF = PSF.defocus(3.0)  # where captures are restored blind
_GOLDEN_RANGE = (-4.0, 5.0)  # sharp steps that were never blurred ring

Progress = Callable[[float], object]
EngineKey = tuple[object, ...]


class SelfCheckingSession:
    """A warm `Session` behind integrity checks.

    Parameters
    ----------
    options : Options
    folder : Path
        Receives good copies of damaged files.
    check_every, golden_every : int
        Frames between checks.
    verify_outputs : bool
        Compare outputs with their captures.

    Attributes
    ----------
    events : collections.Counter
        What was found and done, by name.

    Raises
    ------
    EngineError, PsfError, OSError
        As `Session`.
    """

    def __init__(
        self,
        options: Options,
        folder: Path,
        *,
        check_every: int = 1,
        golden_every: int = 64,
        verify_outputs: bool = True,
    ) -> None:
        self.events: Counter[str] = Counter()
        self._judging = True
        self._options = replace(options, overwrite=True)
        self._folder = folder
        self._check_every, self._golden_every = check_every, golden_every
        self._verify = verify_outputs
        self._frames = 0
        self._blamed: list[str] = []  # what a refuted frame was restored with
        self._golden: dict[EngineKey, str] = {}
        self._probes: dict[EngineKey, str] = {}
        self._tiles: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        self._otf: tuple[Any, int] | None = None
        self.artifacts = self._read_psf(self._options)
        self.session = self._open({})
        descriptor = self.session.parts.model.descriptor
        if descriptor is not None:
            self.artifacts.append(Artifact.read("weights", Path(descriptor.path)))
            if self.artifacts[-1].sha256 != descriptor.sha256:
                raise IntegrityError(f"{descriptor.path}: the weights changed while they were read")
        self._psf_digest = self._psf_of(self.session)

    def close(self) -> None:
        """Give threads, memory and the engine back."""
        self.session.close()
        self._otf = None

    # ---- frames -------------------------------------------------------------------------------

    def restore(self, source: str, output: Path, *, progress: Progress | None = None) -> Report:
        """Restore a capture; `output` is complete and checked when this returns.

        Raises
        ------
        IntegrityError
            No good copy of something is left, or no two attempts agree.
        ImagineDeblurError, OSError
            As `Session.process`.
        """
        seen: set[bytes] = set()
        for _ in range(_ATTEMPTS):
            if self._psf_of(self.session) != self._psf_digest:
                self._mend(["psf_in_use"])  # a wild PSF could ask for any amount of work
            self._frames += 1
            self._blamed = []
            try:
                report = self.session.process(source, output, progress=progress)
            except IntegrityError:
                self._mend(self._blamed or ["spectrum"])
                continue
            if findings := self._findings():
                self._mend(findings)
                continue
            reason = self._doubt(source, output, report)
            if reason is None:
                return report
            with open(output, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
            if digest in seen:
                self.events["doubt_dismissed"] += 1  # the scene is like that
                return report
            seen.add(digest)
            self.events["doubt"] += 1
            self._mend([])
        raise IntegrityError(f"{_ATTEMPTS} attempts were damaged, or in doubt and disagree")

    def _findings(self) -> list[str]:
        findings: list[str] = []
        if self._frames % self._check_every == 0:
            findings = self.check()
        if not findings and self._frames % self._golden_every == 0:
            findings = self.self_test()
        return findings

    def _doubt(self, source: str, output: Path, report: Report) -> str | None:
        if not self._verify:
            return None
        salvaged = any("salvaged" in warning for warning in report.warnings)
        return verify.doubt(source, os.fspath(output), salvage=salvaged)

    # ---- checks -------------------------------------------------------------------------------

    def check(self) -> list[str]:
        """Return what is damaged now: files, PSF, transfer function, engine."""
        findings = [
            f"{artifact.kind}_{where}"
            for artifact in self.artifacts
            for where, good in (
                ("disk", artifact.disk_is_good()),
                ("memory", artifact.memory_is_good()),
            )
            if not good
        ]
        if self._psf_of(self.session) != self._psf_digest:
            findings.append("psf_in_use")
        elif not self._otf_is_good():
            findings.append("transfer_function")
        if not self._engine_is_good():
            findings.append("engine")
        return findings

    def _check_refuted(self) -> None:
        """Before a frame is passed through: was it damage that the reblur check refuted?

        Raises
        ------
        IntegrityError
            It was.
        """
        self._blamed = self.check()
        if self._blamed:
            raise IntegrityError(f"damaged: {', '.join(self._blamed)}")

    def self_test(self) -> list[str]:
        """Restore the golden picture with the whole session; return ``["golden"]`` on a change.

        The first result counts only when a session made afresh gives it too.
        """
        size = self._golden_size()
        found, engine = self._golden_digest(size)
        if engine not in self._golden:
            self._reopen()
            again, same_engine = self._golden_digest(size)
            if same_engine != engine:
                return []  # the deadline's choice changed in between: nothing to compare
            if again != found:
                return ["golden"]
            self._golden[engine] = found
        return [] if found == self._golden[engine] else ["golden"]

    def start(self) -> None:
        """Self-test twice, with the engine made afresh in between, and keep what came out.

        Raises
        ------
        IntegrityError
            The two differ, or the picture is out of range.
        """
        if self.self_test():
            self.events["golden"] += 1
            self._mend([])
            if self.self_test():
                raise IntegrityError("the self-test gives another result each time")
        findings = self.check()
        if findings:
            self._mend(findings)

    def trial(self, folder: Folder, shape: tuple[int, int]) -> None:
        """Restore a whole made-up frame by the very path that captures take, JPEG and report.

        Parameters
        ----------
        folder : Folder
            Holds the frame and its result meanwhile.
        shape : (rows, columns)
            Of the frame, px; the largest part of it within 16 million px is made.

        Raises
        ------
        IntegrityError
            No two attempts agree.
        ImagineDeblurError, OSError
            As `restore`.
        """
        capture, output = "trial.jpg", "trial.restored.jpg"
        try:
            folder.write(capture, trial_capture(*shape), durable=False)
            with self._no_capture():
                report = self.restore(os.fspath(folder.via(capture)), folder.via(output))
            json.dumps(report.as_dict())
        finally:
            for name in (capture, output):
                with suppress(OSError):
                    folder.unlink(name)

    def _golden_size(self) -> tuple[int, int]:
        engine = self.session.parts.engine
        if engine is not None and self.session.parts.model.is_network:
            # A frame of one tile of the size in use: the engine stays, and is what is tested.
            halo = 2 * self.session.parts.model.halo
            return engine[1].tile_rows - halo, engine[1].tile_columns - halo
        side = self.session.parts.model.tile_side(self._options.tile)
        return side, side

    def _golden_digest(self, size: tuple[int, int]) -> tuple[str, EngineKey]:
        """Return what the golden picture becomes, and its size and engine."""
        psf = None if self.session.given is not None else _GOLDEN_PSF
        with self._no_capture():
            restored, _ = self.session.restore_with_report(golden_picture(*size), psf=psf)
        low, high = _GOLDEN_RANGE
        if not (np.isfinite(restored).all() and restored.min() > low and restored.max() < high):
            raise IntegrityError("the self-test's picture is out of range")
        digest = hashlib.sha256(np.ascontiguousarray(restored).data).hexdigest()
        return digest, (size, self._engine_key())

    def _engine_key(self) -> EngineKey:
        """Return what the engine in use was made for: model, its experts' shares, folds, tile."""
        engine = self.session.parts.engine
        if engine is None:
            return ()
        model, *rest = engine[0]
        shares = getattr(getattr(model, "descriptor", None), "shares", ())
        return (getattr(model, "name", ""), getattr(model, "sha256", None), shares, *rest)

    def _otf_is_good(self) -> bool:
        """Whether the transfer function is the one that was there when it was first seen."""
        stage = self.session.parts.stage
        otf = None if stage is None else stage.otf
        if otf is None:
            return True
        crc = zlib.crc32(otf.values.data)
        if self._otf is None or self._otf[0] is not otf:
            self._otf = (otf, crc)
        return self._otf[1] == crc

    def _engine_is_good(self) -> bool:
        if self.session.parts.engine is None:
            return True
        key, engine = self.session.parts.engine
        if getattr(key[0], "descriptor", None) is None:
            return True  # no weights
        known = self._engine_key()
        found = self._probe(engine)
        if known not in self._probes:
            # The first answer counts only when an engine made afresh gives it too.
            again = self._probe(self.session.parts.reopen_engine())
            if again != found:
                return False
            self._probes[known] = found
        return found == self._probes[known]

    def _probe(self, engine: Any) -> str:
        """Return what tells a damaged engine: its answer, and the sum of its weights."""
        shape = (engine.input_planes, engine.tile_rows, engine.tile_columns)
        if self._tiles is None or self._tiles[0].shape != shape:
            self._tiles = (
                probe_tile(*shape),
                np.empty((engine.output_bands, *shape[1:]), np.float32),
            )
        source, result = self._tiles
        engine.infer(source, result)
        return f"{hashlib.sha256(result.data).hexdigest()} {engine.weights_sum():x}"

    # ---- mending ------------------------------------------------------------------------------

    def _mend(self, findings: list[str]) -> None:
        self.events.update(findings)
        for artifact in self.artifacts:
            artifact.recover(self._folder)
        self._reopen()
        if self._psf_of(self.session) != self._psf_digest:
            raise IntegrityError("the PSF read again is not the one of the start")
        self.events["reloaded"] += 1

    def _reopen(self) -> None:
        changes: dict[str, Any] = {
            {"weights": "model", "psf": "psf"}[artifact.kind]: os.fspath(artifact.path)
            for artifact in self.artifacts
            if artifact.moved
        }
        self.session.close()
        self._otf = None
        self.session = self._open(changes)

    def _open(self, changes: dict[str, Any]) -> Session:
        session = Session(replace(self._options, **changes))
        session.parts.check_spectra = True
        session.parts.passes_wild = self._judging
        session.parts.before_passing = self._check_refuted
        return session

    @contextmanager
    def _no_capture(self) -> Iterator[None]:
        """Restore what is made up, too: a picture that no blur made would be passed through."""
        self._judging = self.session.parts.passes_wild = False
        try:
            yield
        finally:
            self._judging = self.session.parts.passes_wild = True

    @staticmethod
    def _read_psf(options: Options) -> list[Artifact]:
        psf = options.psf
        if not isinstance(psf, str | os.PathLike) or parse_preset(os.fspath(psf)) is not None:
            return []
        path = Path(psf)
        return [Artifact.read("psf", path)] if path.exists() else []

    @staticmethod
    def _psf_of(session: Session) -> str:
        given = session.given
        if given is None or given.psf is None:
            return ""
        return hashlib.sha256(json.dumps(given.psf.to_dict()).encode()).hexdigest()
