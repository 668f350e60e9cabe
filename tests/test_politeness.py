"""Every thread that works on a frame is pinned and polite as asked, whatever the engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

from imagine_deblur import Session
from imagine_deblur.engines import EngineSettings, describe, open_engine
from imagine_deblur.engines.model import bundled_models
from runtimes import needs_onnxruntime, needs_openvino

NICE = 5  # as below
SHARE = 0.01
"""A thread that used less of the frames' processor time did not work on them."""

FRAMES = """
import json, os, sys
import numpy as np
from imagine_deblur import Session, _core

engine, blind = json.loads(sys.argv[1])
rows, columns = 640, 896
image = np.random.default_rng(0).integers(60, 190, (rows, columns, 3)).astype(np.uint8)

def callable_model(tile):
    for _ in range(20):
        tile = (tile + np.roll(tile, 1, axis=2)) / 2
    return np.ascontiguousarray(tile)

model = callable_model if engine == "callable" else "fast"
name = "auto" if engine == "callable" else engine
seen = {}

def stat(task):
    with open(f"/proc/self/task/{task}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    with open(f"/proc/self/task/{task}/schedstat") as file:
        nanoseconds = int(file.read().split()[0])
    return nanoseconds, int(fields[16]), int(fields[38])

def look(fraction):
    for task in map(int, os.listdir("/proc/self/task")):
        try:
            _, nice, policy = stat(task)
            seen[task] = sorted(os.sched_getaffinity(task)), nice, policy
        except OSError:
            pass

def used():
    return {int(task): stat(task)[0] for task in os.listdir("/proc/self/task")}

psf = None if blind else "disk:2"
with Session(psf=psf, model=model, engine=name, threads=2, pin=True, nice=5, tile=128,
             scheduling="batch") as session:
    session.restore(image)
    before = used()
    for _ in range(6):
        _, report = session.restore_with_report(image, progress=look)
    after = used()
spent = {task: count - before.get(task, 0) for task, count in after.items()}
total = sum(spent.values())
print(json.dumps({
    "threads": [
        {"share": spent[task] / total, "affinity": seen[task][0], "nice": seen[task][1],
         "policy": seen[task][2], "main": task == os.getpid()}
        for task in spent if task in seen
    ],
    "processors": _core.topology()["processors"],
}))
"""


def frames(engine: str, *, blind: bool = False) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", FRAMES, json.dumps([engine, blind])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.skipif("fast" not in bundled_models(), reason="no network in this installation")
@pytest.mark.parametrize(
    "engine",
    [
        "winograd",
        "callable",
        pytest.param("onnxruntime", marks=needs_onnxruntime),
        pytest.param("openvino", marks=needs_openvino),
    ],
)
@pytest.mark.parametrize("blind", [False, True], ids=["given", "blind"])
def test_every_thread_that_works_is_polite(engine, blind):
    found = frames(engine, blind=blind)
    working = [thread for thread in found["threads"] if thread["share"] > SHARE]
    assert working
    for thread in working:
        assert not thread["main"], thread
        assert thread["nice"] == os.nice(0) + NICE, thread
        assert thread["policy"] == os.SCHED_BATCH, thread
    pinned = [thread for thread in working if len(thread["affinity"]) == 1]
    if engine != "openvino":  # it says so, see below
        assert len(pinned) == len(working), working
    assert {thread["affinity"][0] for thread in pinned} <= set(found["processors"])


QUOTA = """
import json, os, sys
import numpy as np
from imagine_deblur import Session

image = np.random.default_rng(0).integers(60, 190, (256, 320, 3)).astype(np.uint8)
names = set()

def look(fraction):
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/comm") as file:
            names.add((task, file.read().strip()))

with Session(psf="disk:2", model="wiener", tile=64) as session:
    restored, report = session.restore_with_report(image, progress=look)
    chosen = session.parts.threads
with Session(psf="disk:2", model="wiener", tile=64, threads=2) as session:
    same = np.array_equal(restored, session.restore(image))
print(json.dumps({"chosen": chosen, "reported": report.threads, "same": same,
                  "tasks": len(names), "cores": len(os.sched_getaffinity(0))}))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a cgroup")
@pytest.mark.parametrize("quota", [50_000, 100_000, None], ids=["half a core", "one", "none"])
def test_a_session_takes_its_threads_from_the_quota(inside, quota):
    limits = {} if quota is None else {"cpu.cfs_period_us": 100_000, "cpu.cfs_quota_us": quota}
    done = inside("cpu", limits, [sys.executable, "-c", QUOTA])
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert found["chosen"] == found["reported"]
    assert found["same"]
    if quota is None:
        assert found["chosen"] >= 1
    else:
        assert found["chosen"] == 1


def test_the_caller_keeps_its_politeness():
    before = os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    with Session(psf="disk:2", model="wiener", threads=2, pin=True, nice=7) as session:
        session.restore(np.full((64, 64, 3), 90, np.uint8))
    assert before == (
        os.sched_getaffinity(0),
        os.getpriority(os.PRIO_PROCESS, threading.get_native_id()),
    )


@pytest.mark.parametrize(
    ("engine", "field", "pinned"),
    [
        pytest.param("onnxruntime", "pinned", True, marks=needs_onnxruntime),
        pytest.param("openvino", "pin_threads", False, marks=needs_openvino),
    ],
)
def test_a_runtime_says_whether_it_was_pinned(engine, field, pinned):
    settings = EngineSettings(threads=2, processors=(0, 0))
    model = describe(str(bundled_models()["fast"]))
    opened = open_engine(model, (64, 64), engine=engine, settings=settings)
    assert opened.settings[field] is pinned


def test_an_interrupt_of_the_caller_stops_the_frame():
    image = np.full((512, 512, 3), 90, np.uint8)
    done: list[float] = []

    def progress(fraction: float) -> None:
        done.append(fraction)
        if len(done) == 2:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        time.sleep(0.05)

    with Session(psf="disk:2", model="wiener", threads=1, nice=1, tile=64) as session:
        with pytest.raises(KeyboardInterrupt):
            session.restore(image, progress=progress)
        assert 2 <= len(done) < 64
        restored = session.restore(image[:64, :64].copy())  # and the session goes on
    assert restored.shape == (64, 64, 3)
