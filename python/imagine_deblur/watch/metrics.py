"""What the service says about itself: heartbeat, Prometheus text file, supervisor notifications."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

_BEAT_SECONDS = 1.0


class Telemetry:
    """Counters, and the two files they are published in.

    Files are replaced atomically but not flushed: they describe the running process, not the
    captures. A failure to write them is counted and never stops the service.

    Parameters
    ----------
    folder : Path
        Receives ``heartbeat.json`` and ``metrics.prom``.
    """

    def __init__(self, folder: Path) -> None:
        self.heartbeat, self.textfile = folder / "heartbeat.json", folder / "metrics.prom"
        self.outcomes: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.gauges: dict[str, float] = {}
        self.state = "starting"
        self.in_hand: str | None = None
        self.frame_seconds = 0.0
        self._started = time.monotonic()
        self._last_beat = float("-inf")

    def beat(self, *, force: bool = False) -> None:
        """Show that the service lives; at most once a second unless `force` is set."""
        now = time.monotonic()
        if not force and now - self._last_beat < _BEAT_SECONDS:
            return
        self._last_beat = now
        value = {
            "pid": os.getpid(),
            "state": self.state,
            "capture": self.in_hand,
            "time": time.time(),
            "uptime_seconds": round(now - self._started, 3),
            "outcomes": dict(self.outcomes),
        }
        self._replace(self.heartbeat, json.dumps(value) + "\n")
        self._replace(self.textfile, self.text())
        notify(f"WATCHDOG=1\nSTATUS={self.state}")

    def text(self) -> str:
        """Return the metrics in Prometheus' text format."""
        lines: list[str] = []

        def metric(name: str, kind: str, help_text: str, samples: dict[str, float]) -> None:
            lines.append(f"# HELP imagine_deblur_{name} {help_text}")
            lines.append(f"# TYPE imagine_deblur_{name} {kind}")
            lines.extend(f"imagine_deblur_{name}{labels} {v:g}" for labels, v in samples.items())

        def labelled(label: str, counts: Counter[str]) -> dict[str, float]:
            return {f'{{{label}="{name}"}}': float(n) for name, n in sorted(counts.items())}

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

    def _replace(self, path: Path, text: str) -> None:
        part = path.with_suffix(".part")
        try:
            part.write_text(text, "ascii")
            os.replace(part, path)
        except OSError:
            self.events["telemetry_write_failed"] += 1
            with suppress(OSError):
                os.unlink(part)


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


def read_heartbeat(path: Path) -> dict[str, Any] | None:
    """Return a heartbeat file's content, None where there is none."""
    try:
        value = json.loads(path.read_text("ascii"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
