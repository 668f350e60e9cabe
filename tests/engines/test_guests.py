"""Runtimes leave the process that they are guests in as they found it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagine_deblur.engines.model import bundled_models
from runtimes import needs_onnxruntime, needs_openvino

pytestmark = pytest.mark.skipif(
    "fast" not in bundled_models(), reason="no network in this installation"
)

INTERRUPTED = """
import faulthandler, os, signal, threading

faulthandler.enable()  # handlers now run on a signal stack, as under pytest
from imagine_deblur.engines import describe, open_engine
from imagine_deblur.engines.model import bundled_models

model = describe(str(bundled_models()["fast"]))

def opened():
    return open_engine(model, (64, 64), engine="openvino")

first, second = opened(), opened()
del first
del second  # in the order of their opening
third = opened()
closing = threading.Thread(target=lambda engines: engines.clear(), args=([third],))
del third
closing.start()
closing.join()
try:
    signal.raise_signal(signal.SIGINT)
    print("deaf")
except KeyboardInterrupt:
    print("heard")
"""


@needs_openvino
def test_a_signal_is_heard_after_openvino_was_closed():
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


QUIET = """
import json, os
import numpy as np
from imagine_deblur import Session

with Session(psf="disk:2", model="fast", engine="onnxruntime", threads=1) as session:
    session.restore(np.full((64, 64, 3), 90, np.uint8))
    links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    targets = [os.readlink(link) for link in links if os.path.islink(link)]
print(json.dumps([target for target in targets if "socket:" in target or ".db" in target]))
"""


@needs_onnxruntime
def test_onnxruntime_reports_to_nobody(tmp_path: Path):
    environment = {**os.environ, "HOME": str(tmp_path)}
    for name in ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", QUIET], capture_output=True, text=True, check=True, env=environment
    )
    assert json.loads(done.stdout) == []
    assert list(tmp_path.iterdir()) == []
