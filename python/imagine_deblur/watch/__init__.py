"""The capture pipeline service behind ``imagine-deblur watch``.

``settings``       every setting of the service
``folders``        folders held open; names in them are never links
``inbox``          finds captures that are complete, whoever writes them and however
``entry``          what is known of a capture, and its states
``journal``        the crash-safe account of what happened to each capture
``digests``        large sets of digests in little memory
``waiting``        the queue: captures from first sight to their turn
``capture``        one capture: restored, passed through, or isolated
``delivery``       puts results into the outbox exactly once
``session``        a session that checks its own memory and its own output
``artifact``       files the session depends on, held twice
``pictures``       the pictures of the self-tests
``verify``         compares an output with its capture
``configuration``  the last configuration that worked, on disk
``trial``          a network of unknown origin, tried in a process of its own
``keeper``         which configuration is in use
``metrics``        heartbeat, Prometheus text file, supervisor notifications
``log``            a handler whose lines cannot stop the service or fool a terminal
``stopping``       signals
``service``        the loop
"""

from __future__ import annotations

from imagine_deblur.watch.service import Service
from imagine_deblur.watch.settings import WatchSettings

__all__ = ["Service", "WatchSettings"]
