"""Inputs changed in a few places, by structure where they have one."""

from __future__ import annotations

import contextlib
import json
import math
import random
from typing import Any

LONGEST = 1 << 16

Document = Any

HOSTILE: list[Document] = [
    None, True, False, 0, 1, -1, 2, 0.5, 1e-320, 1e300, -1e300, math.inf, -math.inf, math.nan,
    10**30, 10**400, -(10**400), 2**31, 2**63, 2**64, 1000, 1001, 65_500, 65_536, "", "0", "1",
    "nan", "inf", "disk:1", "disk:" + "9" * 400, "9" * 400 + "MB", "1e5", "300MB", "0.0001k", "-1",
    "٣", "ſ", "\x00", "\ud800", "x" * 300, "../" * 80, "$array", "$int64", "$float32", "$bytes",
    "$object", "$path", "$complex", "$set", [], {}, [[]], [1], [[1.0]], [[1, 2], [3]], ["a"],
    [[0.25, 0.25], [0.25, 0.25]], [[math.nan]], [[10**400]], {"kind": "disk"}, {"a": {}},
    {"kind": "disk", "radius_px": 1000}, {"kind": "gaussian", "sigma_px": 1000},
    {"kind": "motion", "length_px": 1000, "angle_deg": 360},
    {"kind": "pupil", "defocus_waves": 50, "spherical_waves": 50, "cutoff_cycles_per_px": 0.01},
    {"kind": "sampled", "kernel": [[1.0]]}, {"kind": "pixel_aperture", "kernel": [[1.0]]},
]  # fmt: skip
WORDS = [
    "kind", "radius_px", "sigma_px", "kernel", "components", "grid", "psf", "id", "covariance",
    "parameters", "matrix", "format", "version", "units", "gsd_m", "provenance", "disk", "gauss",
    "gaussian", "motion", "pupil", "sampled", "imagine-deblur-psf", "imagine-deblur-psf-field",
    "max_ram", "tile", "nsr", "deadline", "threads", "self_ensemble", "min_free", "poll",
    "--max-ram",
    "--nsr", "--tile", "--psf", "--poll", "--nice", "--self-ensemble", "--threads", "--min-free",
    ":", ",",
]  # fmt: skip


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return an input like `data`, changed in a few places."""
    if chance.random() < 0.85:
        with contextlib.suppress(ValueError, RecursionError, TypeError, OverflowError):
            document = json.loads(data)
            if isinstance(document, dict | list):
                for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
                    if isinstance(document, dict | list):
                        document = _changed(document, chance)
                return json.dumps(document).encode()[:LONGEST]
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randint(0, len(changed))
        action = chance.randrange(6)
        if action == 0 and changed:
            changed[at % len(changed)] ^= 1 << chance.randrange(8)
        elif action == 1:
            del changed[at : at + chance.randint(1, 16)]
        elif action == 2:
            changed[at:at] = chance.randbytes(chance.randint(1, 4))
        elif action == 3:
            changed[at:at] = chance.choice(WORDS).encode()
        elif action == 4:
            changed[at:at] = _text(chance.choice(HOSTILE)).encode("utf-8", "surrogatepass")
        else:
            piece = bytes(changed[at : at + chance.randint(1, 8)])
            changed[at:at] = piece * chance.choice((1, 2, 100, 2000))
    return bytes(changed[:LONGEST])


def _text(value: Document) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _changed(document: Document, chance: random.Random) -> Document:
    """Return a JSON value with one node replaced, removed, doubled, wrapped or moved."""
    places: list[tuple[Any, Any]] = []
    pending = [document]
    while pending:
        node = pending.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            places.append((node, key))
            if isinstance(node[key], dict | list):
                pending.append(node[key])
    action = chance.randrange(8)
    if not places or action == 0:
        if isinstance(document, dict):
            document[chance.choice(WORDS)] = chance.choice(HOSTILE)
            return json.loads(json.dumps(document))
        return chance.choice(HOSTILE)
    node, key = chance.choice(places)
    if action <= 3:
        node[key] = chance.choice(HOSTILE)
    elif action == 4 and isinstance(node[key], int | float):
        node[key] = node[key] * chance.choice((-1, 0, 0.5, 2, 10, 1000, 1e9, 1e-9))
    elif action == 5:
        other, place = chance.choice(places)
        node[key] = other[place]
        return json.loads(json.dumps(document))  # which refuses a tree that holds itself
    elif action == 6:
        if isinstance(node, list):
            node[key : key + 1] = [node[key]] * chance.choice((0, 2, 3, 70, 500))
        else:
            node[chance.choice(WORDS)] = node.pop(key)
    else:
        for _ in range(chance.choice((1, 2, 40))):
            node[key] = [node[key]]
    return json.loads(json.dumps(document))
