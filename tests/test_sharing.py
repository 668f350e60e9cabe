"""One session between threads, forked and spawned processes."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagine_deblur import Options, Session, restore
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.errors import SessionBusyError
from imagine_deblur.psf.models import PSF
from jpegkit import jpeg
from synthetic import natural

BLUR = PSF.defocus(2.5)
SCENE = degrade(natural(160, 192, seed=2), BLUR, noise=0.004, rng=np.random.default_rng(1))
SECONDS = 60
"""Longest wait; a child that waits for threads it does not have waits for ever."""

_inherited: Session | None = None


def _in_child(image: Any) -> Any:
    assert _inherited is not None
    return _inherited.restore(image)


def _with(session: Session, image: Any) -> Any:
    return session.restore(image)


@pytest.fixture(params=["wiener", "fast"])
def used(request: pytest.FixtureRequest) -> Iterator[Session]:
    """A session that has restored a frame, so that threads, engine and pool are there."""
    global _inherited
    with Session(psf=BLUR, model=request.param, threads=2) as session:
        session.restore(SCENE)
        _inherited = session
        yield session
    _inherited = None


def test_a_used_session_works_in_a_forked_pool(used: Session) -> None:
    expected = used.restore(SCENE)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        results = pool.map_async(_in_child, [SCENE] * 4).get(timeout=SECONDS)
    for found in results:
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(used.restore(SCENE), expected)  # the parent goes on


PROGRAM = """
import os, sys
import numpy as np
from imagine_deblur import Session

scene = np.tile(np.arange(160, dtype=np.uint8), (128, 1))
session = Session(psf="disk:2.5", model=sys.argv[1], threads=2)
expected = session.restore(scene)
pid = os.fork()
if pid == 0 and sys.argv[2] == "used":
    assert (session.restore(scene) == expected).all()
if pid != 0:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.parametrize("child", ["used", "unused"])
@pytest.mark.parametrize("model", ["wiener", "fast"])
def test_a_forked_program_ends(model: str, child: str) -> None:
    """The interpreter takes a child's objects apart at the end; the parent's threads are not there
    to be joined.
    """
    subprocess.run([sys.executable, "-c", PROGRAM, model, child], check=True, timeout=SECONDS)


def test_a_fork_in_the_middle_of_another_threads_frame(used: Session) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def progress(_: float) -> None:
        inside.set()
        go_on.wait(SECONDS)

    worker = threading.Thread(target=lambda: used.restore_with_report(SCENE, progress=progress))
    worker.start()
    try:
        assert inside.wait(SECONDS)
        with multiprocessing.get_context("fork").Pool(1) as pool:
            found = pool.apply_async(_in_child, (SCENE,)).get(timeout=SECONDS)
    finally:
        go_on.set()
        worker.join(SECONDS)
    np.testing.assert_array_equal(found, used.restore(SCENE))


def test_a_session_pickles_as_its_options() -> None:
    with Session(psf=BLUR, model="wiener", threads=1, max_ram="200MB") as session:
        expected = session.restore(SCENE)
        copy = pickle.loads(pickle.dumps(session))
    assert (
        copy.options
        == session.options
        == Options(psf=BLUR, model="wiener", threads=1, max_ram="200MB")
    )
    np.testing.assert_array_equal(copy.restore(SCENE), expected)


def test_a_session_can_be_sent_to_a_spawned_process() -> None:
    with Session(psf=BLUR, model="wiener", threads=1) as session:
        expected = session.restore(SCENE)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply_async(_with, (session, SCENE)).get(timeout=2 * SECONDS)
    np.testing.assert_array_equal(found, expected)


def test_threads_that_share_a_session_take_turns(used: Session, tmp_path: Path) -> None:
    scenes = [np.roll(SCENE, 7 * k, axis=1) for k in range(8)]
    expected = [used.restore(scene) for scene in scenes]
    file = tmp_path / "a.jpg"
    file.write_bytes(jpeg(SCENE, 90))

    def work(k: int) -> Any:
        if k % 4 == 3:
            used.plan(file)
            used.process(file, tmp_path / f"{k}.jpg")
        return used.restore(scenes[k])

    with ThreadPoolExecutor(4) as threads:
        for found, wanted in zip(threads.map(work, range(8)), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    used.close()
    np.testing.assert_array_equal(used.restore(scenes[0]), expected[0])


def test_module_level_calls_run_side_by_side() -> None:
    expected = restore(SCENE, psf=BLUR, model="wiener", threads=1)
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(restore, SCENE, psf=BLUR, model="wiener", threads=1)] * 4
        for call in calls:
            np.testing.assert_array_equal(call.result(SECONDS), expected)


def test_a_frame_inside_its_own_progress_callback_is_refused(used: Session) -> None:
    with pytest.raises(SessionBusyError, match="use another Session"):
        used.restore_with_report(SCENE, progress=lambda _: used.restore(SCENE))
    assert used.restore(SCENE).shape == SCENE.shape
