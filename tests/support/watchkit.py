"""Captures, folders and services for the tests of the watch service."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from imagine_deblur import _core
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.options import Options
from imagine_deblur.psf.models import PSF
from imagine_deblur.watch import Service, WatchSettings
from synthetic import natural

OPTIONS = Options(psf="disk:2.5", model="wiener", threads=1)


def capture_bytes(seed: int, rows: int = 72, columns: int = 96) -> bytes:
    """A small blurred, noisy capture."""
    rng = np.random.default_rng(seed)
    blurred = degrade(natural(rows, columns, seed=seed), PSF.defocus(2.5), noise=0.003, rng=rng)
    return _core.encode_jpeg(blurred, quality=92)


class _Recorder(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def recorded() -> list[str]:
    """What services log from now on; what was recorded before gets no more lines."""
    log, recorder = logging.getLogger("imagine_deblur.watch"), _Recorder()
    for handler in [h for h in log.handlers if isinstance(h, _Recorder)]:
        log.removeHandler(handler)
    log.addHandler(recorder)
    logging.getLogger("imagine_deblur").setLevel(logging.INFO)
    return recorder.lines


class Station:
    """An inbox, an outbox, and services between them."""

    def __init__(self, folder: Path) -> None:
        self.inbox, self.outbox = folder / "in", folder / "out"
        self.inbox.mkdir()
        self.log = recorded()

    def put(self, name: str, data: bytes | None = None, *, when: float | None = None) -> Path:
        path = self.inbox / name
        path.write_bytes(capture_bytes(len(name)) if data is None else data)
        if when is not None:
            os.utime(path, (when, when))
        return path

    def service(self, options: Options = OPTIONS, **settings: Any) -> Service:
        quick: dict[str, Any] = {"once": True, "poll": 0.01, "patience": 0.05, "min_free": 0}
        return Service(
            self.inbox,
            self.outbox,
            WatchSettings(**(quick | settings)),
            options,
        )

    def run(self, options: Options = OPTIONS, **settings: Any) -> int:
        return self.service(options, **settings).run()

    def outputs(self) -> list[str]:
        return sorted(p.name for p in self.outbox.glob("*.jpg"))

    def report(self, name: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.outbox / f"{name}.json").read_bytes())
        return value

    def journal(self) -> list[dict[str, Any]]:
        text = (self.outbox / ".imagine-deblur" / "journal.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def states(self, name: str) -> list[str]:
        """States of a capture in the order they were written."""
        events = self.journal()
        keys = {e["key"] for e in events if e.get("name") == name}
        return [e["state"] for e in events if e["key"] in keys]

    def litter(self) -> list[str]:
        """Temporary files left in the outbox."""
        return sorted(
            str(p.relative_to(self.outbox))
            for p in self.outbox.rglob("*")
            if p.is_file() and (p.suffix == ".part" or p.parent.name == ".staging")
        )


def metrics(station: Station) -> str:
    path = station.outbox / ".imagine-deblur/metrics.prom"
    return path.read_text() if path.exists() else ""


QUICK = Options(model="identity", threads=1, tile=64)
"""For tests of everything but the restoration itself."""


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for something that must happen."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@contextmanager
def serving(service: Service) -> Iterator[threading.Thread]:
    """Run a service in a thread meanwhile."""
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        yield thread
    finally:
        service.stop()
        thread.join(60)
        assert not thread.is_alive()
