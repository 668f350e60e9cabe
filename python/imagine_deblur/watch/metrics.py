"""What the service says about itself: heartbeat, Prometheus text file, supervisor notifications."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from imagine_deblur.watch.folders import Folder

HEARTBEAT, TEXTFILE = "heartbeat.json", "metrics.prom"

_BEAT_SECONDS = 0.9  # a little under a second, so that none passes without a beat


class Telemetry:
    """Counters, and the two files they are published in.

    A thread writes the files every second, whatever the service does. It also watches the service:
    when that has not moved for `hang_after` seconds, beats and notifications end, and `on_hang` is
    called.

    Files are replaced atomically but not flushed: they describe the running process, not the
    captures. A failure to write them is counted and never stops the service.

    Parameters
    ----------
    folder : Folder
        Receives ``heartbeat.json`` and ``metrics.prom``.
    hang_after : float
        Seconds.
    on_hang : callable, optional
    """

    def __init__(
        self,
        folder: Folder,
        hang_after: float = float("inf"),
        on_hang: Callable[[], object] = lambda: None,
    ) -> None:
        self._folder = folder
        self._hang_after, self._on_hang = hang_after, on_hang
        self.outcomes: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.gauges: dict[str, float] = {}
        self.state = "starting"
        self.in_hand: str | None = None
        self.frame_seconds = 0.0
        self._started = self._moved = time.monotonic()
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self.beat()
        self._thread.start()

    def stop(self) -> None:
        """Beat a last time."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self.beat()

    def move(self) -> None:
        """Say that the service got on with its work."""
        self._moved = time.monotonic()

    def _run(self) -> None:
        while not self._ended.wait(_BEAT_SECONDS):
            if time.monotonic() - self._moved > self._hang_after:
                self._on_hang()
                return
            self.beat()

    def beat(self) -> None:
        """Show that the service lives."""
        with self._writing:
            now = time.monotonic()
            value = {
                "pid": os.getpid(),
                "state": self.state,
                "capture": self.in_hand,
                "time": time.time(),
                "uptime_seconds": round(now - self._started, 3),
                "unmoved_seconds": round(now - self._moved, 3),
                "outcomes": dict(self.outcomes),
            }
            self._replace(HEARTBEAT, json.dumps(value) + "\n")
            self._replace(TEXTFILE, self.text())
            notify(f"WATCHDOG=1\nSTATUS={self.state}")

    def text(self) -> str:
        """Return the metrics in Prometheus' text format."""
        lines: list[str] = []

        def metric(name: str, kind: str, help_text: str, samples: dict[str, float]) -> None:
            lines.append(f"# HELP imagine_deblur_{name} {help_text}")
            lines.append(f"# TYPE imagine_deblur_{name} {kind}")
            lines.extend(f"imagine_deblur_{name}{labels} {v:g}" for labels, v in samples.items())

        def labelled(label: str, counts: Counter[str]) -> dict[str, float]:
            return {f'{{{label}="{n}"}}': float(v) for n, v in sorted(dict(counts).items())}

        metric(
            "captures_total",
            "counter",
            "Captures by outcome since start.",
            labelled("outcome", self.outcomes),
        )
        metric("events_total", "counter", "Events since start.", labelled("event", self.events))
        metric(
            "frame_seconds_total",
            "counter",
            "Time spent on frames.",
            {"": self.frame_seconds},
        )
        metric("state", "gauge", "What the service does now.", {f'{{state="{self.state}"}}': 1.0})
        gauges = self.gauges | {
            "uptime_seconds": time.monotonic() - self._started,
            "resident_bytes": float(resident_bytes()),
            "open_files": float(open_files()),
        }
        for name, value in sorted(gauges.items()):
            metric(name, "gauge", name.replace("_", " ").capitalize() + ".", {"": value})
        return "\n".join(lines) + "\n"

    def _replace(self, name: str, text: str) -> None:
        try:
            self._folder.write(name, text.encode("ascii", "backslashreplace"), durable=False)
        except OSError:
            self.events["telemetry_write_failed"] += 1


def notify(message: str) -> None:
    """Tell systemd, when it asked for it (``Type=notify``, ``WatchdogSec=``)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(1.0)
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.sendall(message.encode())


def resident_bytes() -> int:
    """Return this process's resident memory, 0 where the system does not say."""
    with suppress(OSError, ValueError, IndexError), open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def open_files() -> int:
    """Return how many descriptors this process has open, 0 where the system does not say."""
    with suppress(OSError):
        return len(os.listdir("/proc/self/fd"))
    return 0
