"""Workers, the batch itself and a cluster's scheduler are killed in the middle."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archives import alive, children, command, digests, lines
from imagine_deblur.archive.lanes import ClusterLostError

_COPIES = 12  # of eight small captures, so that a batch lasts some seconds


@pytest.fixture
def many(tmp_path: Path, pictures: list[bytes]) -> Path:
    folder = tmp_path / "many"
    folder.mkdir()
    for copy in range(_COPIES):
        for number, data in enumerate(pictures):
            (folder / f"c{copy:02d}_{number}.jpg").write_bytes(data)
    return folder


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def written(out: Path) -> int:
    with contextlib.suppress(OSError):
        return (out / "manifest.jsonl").read_bytes().count(b"\n")
    return 0


def whole(out: Path, many: Path) -> None:
    """Every output is there once, complete, with the bytes of its eight kinds; nothing else is."""
    found = digests(out)
    assert set(found) == {path.name for path in many.iterdir()}
    assert len(set(found.values())) == 8
    assert all(found[name] == found[f"c00_{name[-5]}.jpg"] for name in found)
    assert not (out / ".imagine-deblur").exists()


def test_a_killed_worker_costs_nothing(many, tmp_path):
    out = tmp_path / "out"
    done = command(many, "-o", out, "--workers", "2")
    until(lambda: written(out) > 5)
    os.kill(children(done.pid)[0], signal.SIGKILL)  # once: who ends two workers is put aside
    printed, said = done.communicate(timeout=120)
    assert done.returncode == 0, said
    assert json.loads(printed)["restored"] == 8 * _COPIES
    whole(out, many)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_batch_leaves_nothing_half_written_and_goes_on(many, tmp_path, how):
    out = tmp_path / "out"
    done = command(many, "-o", out, "--workers", "2")
    until(lambda: written(out) > 20)
    workers = children(done.pid)
    assert len(workers) == 2
    done.send_signal(how)
    _, said = done.communicate(timeout=60)
    assert done.returncode == (-how if how == signal.SIGKILL else 130), said
    until(lambda: not alive(workers), 10.0)
    made = digests(out)
    if how != signal.SIGKILL:  # what was not finished is removed at once
        assert not (out / ".imagine-deblur").exists()
    assert 20 < len([name for name in made if "/" not in name]) < 8 * _COPIES
    again = command(many, "-o", out, "--workers", "2")
    printed, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    counted = json.loads(printed)
    assert counted["skipped"] >= 20
    assert counted["skipped"] + counted["restored"] == 8 * _COPIES
    whole(out, many)


class Cluster:
    """A scheduler and two workers on the loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scheduler = self._start(
            "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
            "--no-dashboard", "--no-jupyter", "--scheduler-file", str(folder / "s.json"),
        )  # fmt: skip
        until(lambda: (folder / "s.json").exists() and (folder / "s.json").stat().st_size)
        self.address = json.loads((folder / "s.json").read_text())["address"]
        self.workers = [self.worker() for _ in range(2)]

    def worker(self) -> subprocess.Popen[bytes]:
        return self._start(
            "distributed.cli.dask_worker", self.address, "--nthreads", "1", "--no-dashboard",
            "--host", "127.0.0.1", "--local-directory", str(self.folder),
        )  # fmt: skip

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", module, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def close(self) -> None:
        for process in [*self.workers, self.scheduler]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    folder = tmp_path / "dask"
    folder.mkdir()
    started = Cluster(folder)
    yield started
    started.close()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_cluster_gives_the_same_bytes_and_survives_a_killed_worker(many, run, tmp_path, cluster):
    run(many, output=tmp_path / "local")
    out = tmp_path / "out"
    done = command(many, "-o", out, "--scheduler", cluster.address)
    until(lambda: written(out) > 5 or done.poll() is not None)
    (computing,) = children(cluster.workers[0].pid)  # the nanny stays and starts another
    os.kill(computing, signal.SIGKILL)
    printed, said = done.communicate(timeout=200)
    assert done.returncode == 0, said
    assert json.loads(printed)["restored"] == 8 * _COPIES
    whole(out, many)
    assert digests(out) == digests(tmp_path / "local")


def test_a_killed_scheduler_ends_the_batch_which_then_goes_on(many, tmp_path, cluster):
    out = tmp_path / "out"
    done = command(many, "-o", out, "--scheduler", cluster.address)
    until(lambda: written(out) > 5 or done.poll() is not None)
    os.killpg(cluster.scheduler.pid, signal.SIGKILL)
    _, said = done.communicate(timeout=120)
    assert done.returncode == 8, said
    assert "scheduler" in said
    assert 5 < len(lines(out)) < 8 * _COPIES
    again = command(many, "-o", out, "--workers", "1")
    printed, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert json.loads(printed)["skipped"] > 5
    whole(out, many)


def test_an_input_that_kills_cluster_workers_is_quarantined(scenes, run, tmp_path, cluster):
    os.mkfifo(scenes / "stuck.jpg")
    summary = run(*sorted(scenes.iterdir()), scheduler=cluster.address, item_seconds=2.0)
    assert (summary.restored, summary.quarantined) == (8, 1)
    assert summary.failures[0].source.endswith("stuck.jpg")


def test_no_scheduler_at_an_address(scenes, run):
    pytest.importorskip("distributed")
    with pytest.raises(
        ClusterLostError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"
    ):
        run(scenes, scheduler="tcp://127.0.0.1:9")


def test_an_address_without_a_port_is_refused_at_once(scenes, run):
    began = time.monotonic()
    with pytest.raises(ClusterLostError, match=r"at head-node: its port is missing, as in tcp:"):
        run(scenes, scheduler="head-node")
    assert time.monotonic() - began < 10
