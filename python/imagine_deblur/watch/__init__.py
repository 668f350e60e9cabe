"""The capture pipeline service behind ``imagine-deblur watch``.

``settings``    every setting of the service
``inbox``       finds captures that are complete, whoever writes them and however
``journal``     the crash-safe account of what happened to each capture
``delivery``    puts results into the outbox exactly once
``session``     a session that checks its own memory and its own output
``artifact``    files the session depends on, held twice
``verify``      compares an output with its capture
``metrics``     heartbeat, Prometheus text file, supervisor notifications
``service``     the loop
"""

from __future__ import annotations

from imagine_deblur.watch.service import Service
from imagine_deblur.watch.settings import WatchSettings

__all__ = ["Service", "WatchSettings"]
