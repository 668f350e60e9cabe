"""A rolling pool of training crops on disk, filled by one background process.

Group k of the training set is a pure function of the seed and k (`make_group`). The pool keeps the
newest `pool_groups` of them in a memory-mapped ring: group k sits in slot k modulo the ring's
length. Step s draws its batch from the window that ends at group ``pool_groups + floor(refresh *
s)``, with a generator seeded by (seed, s). So what a step sees follows from the seed and the step
alone, whether the run was interrupted or not, and however fast the producer was; a producer that
lags makes the trainer wait.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.capture.ring_gain import TRAITS
from imagine_deblur.train.captures import DRAWS_VERSION, SceneFiles
from imagine_deblur.train.config import TrainConfig
from imagine_deblur.train.planes import make_group, plane_names

Float32Array = NDArray[np.float32]

_WAIT_S = 0.02


class _Ring:
    """The mapped file: groups by slot, and which group each slot holds (-1: none)."""

    def __init__(self, folder: Path, config: TrainConfig, fingerprint: str) -> None:
        data = config.data
        self.slots = data.pool_groups + data.ahead
        spec = config.planes.spec
        shape = (self.slots, data.grid**2, len(plane_names(spec)) + 3, data.crop, data.crop)
        folder.mkdir(parents=True, exist_ok=True)
        note = folder / "pool.json"
        held = json.loads(note.read_text()) if note.exists() else None
        if held != {"fingerprint": fingerprint}:
            for name in ("pool.f16", "pool.traits", "pool.index"):
                (folder / name).unlink(missing_ok=True)
        fresh = not (folder / "pool.index").exists()
        mode: Any = "w+" if fresh else "r+"
        self.crops = np.memmap(folder / "pool.f16", np.float16, mode, shape=shape)
        self.traits = np.memmap(
            folder / "pool.traits", np.float32, mode, shape=(self.slots, TRAITS)
        )
        self.index = np.memmap(folder / "pool.index", np.int64, mode, shape=(self.slots,))
        if fresh:
            self.index[:] = -1
        note.write_text(json.dumps({"fingerprint": fingerprint}))


def _fingerprint(config: TrainConfig, training_checksum: str) -> str:
    values = config.to_dict()
    kept = {key: values[key] for key in ("seed", "planes", "data")}
    text = json.dumps([kept, training_checksum, DRAWS_VERSION], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class _Producer:
    """Makes groups in order into the ring; runs in its own process or inside the trainer."""

    def __init__(self, folder: Path, config: TrainConfig, fingerprint: str, train_dir: str) -> None:
        self.config = config
        self.spec = config.planes.spec
        self.ring = _Ring(folder, config, fingerprint)
        self.scenes = SceneFiles(Path(train_dir))

    def make(self, index: int) -> None:
        slot = index % self.ring.slots
        if self.ring.index[slot] == index:
            return
        self.ring.index[slot] = -1
        self.ring.crops[slot], self.ring.traits[slot] = make_group(
            index, self.config.seed, self.scenes, self.config.data, self.spec
        )
        self.ring.index[slot] = index


def _produce(
    folder: Path,
    config: TrainConfig,
    fingerprint: str,
    train_dir: str,
    first: int,
    produced: Any,
    window_start: Any,
    parent: int,
) -> None:
    """Body of the background process; ends with its parent."""
    with contextlib.suppress(KeyboardInterrupt):
        producer = _Producer(folder, config, fingerprint, train_dir)
        index = first
        while os.getppid() == parent:
            if index >= window_start.value + producer.ring.slots:
                time.sleep(_WAIT_S)
                continue
            producer.make(index)
            index += 1
            produced.value = index


class CropPool:
    """Batches for the trainer.

    Parameters
    ----------
    folder : path
        Where the ring's files live; reused by a resumed run.
    config : TrainConfig
    train_dir : path
        Folder of sharp images.
    training_checksum : str
        `imagine_deblur.train.scenes.checksum` of it; a ring made from other images is dropped.
    step : int
        First step that will be asked for.
    background : bool
        Make groups in a process of their own.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        config: TrainConfig,
        train_dir: str | os.PathLike[str],
        *,
        training_checksum: str,
        step: int = 0,
        background: bool = True,
    ) -> None:
        self.config = config
        fingerprint = _fingerprint(config, training_checksum)
        self._next = self._window(step)[0]
        self._process: Any = None
        self._producer: _Producer | None = None
        self.waited_s = 0.0
        if background:
            self._ring = _Ring(Path(folder), config, fingerprint)
            context = multiprocessing.get_context("spawn")
            self._produced = context.Value("q", self._next)
            self._window_start = context.Value("q", self._next)
            self._process = context.Process(
                target=_produce,
                args=(
                    Path(folder),
                    config,
                    fingerprint,
                    os.fspath(train_dir),
                    self._next,
                    self._produced,
                    self._window_start,
                    os.getpid(),
                ),
                daemon=True,
            )
            self._process.start()
        else:
            self._producer = _Producer(Path(folder), config, fingerprint, os.fspath(train_dir))
            self._ring = self._producer.ring

    def _window(self, step: int) -> tuple[int, int]:
        """First group and end of the groups that a step draws from."""
        end = self.config.data.pool_groups + int(self.config.data.refresh * step)
        return end - self.config.data.pool_groups, end

    def _ensure(self, start: int, end: int) -> None:
        """Wait until (or see to it that) all groups of [start, end) are in the ring."""
        if self._producer is not None:
            for index in range(max(start, self._next), end):
                self._producer.make(index)
            self._next = max(self._next, end)
            return
        self._window_start.value = start
        began = time.monotonic()
        while self._produced.value < end:
            if not self._process.is_alive():
                raise RuntimeError("the process that makes training crops ended")
            time.sleep(_WAIT_S)
        self.waited_s += time.monotonic() - began

    def batch(self, step: int) -> tuple[Float32Array, Float32Array, Float32Array]:
        """The batch of a step, flipped and turned at random.

        Returns
        -------
        planes : (B, P, crop, crop) float32 ndarray
            Network input.
        sharp : (B, 3, crop, crop) float32 ndarray
            Truth, image values in [0, 1].
        traits : (B, TRAITS) float32 ndarray
            Of the crops' captures.
        """
        start, end = self._window(step)
        self._ensure(start, end)
        rng = np.random.default_rng((self.config.seed, 2, step))
        crops, traits = [], []
        for _ in range(self.config.optim.batch):
            group = int(rng.integers(start, end))
            crop = self._ring.crops[
                group % self._ring.slots, int(rng.integers(self._ring.crops.shape[1]))
            ]
            traits.append(self._ring.traits[group % self._ring.slots])
            if rng.random() < 0.5:
                crop = crop[..., ::-1]
            crops.append(np.rot90(crop, int(rng.integers(4)), axes=(-2, -1)))
        stack = np.stack(crops).astype(np.float32)
        return stack[:, :-3], stack[:, -3:] + np.float32(0.5), np.stack(traits)

    def close(self) -> None:
        """End the background process; the ring stays on disk."""
        if self._process is not None:
            self._process.terminate()
            self._process.join()
            self._process = None
