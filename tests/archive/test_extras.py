"""What is missing is named with the line that installs it; the payload's path needs none of it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import CancelledError
from dataclasses import replace

import pytest

from archives import OPTIONS
from imagine_deblur.archive import lanes
from imagine_deblur.archive.inputs import find_items
from imagine_deblur.archive.item import Item
from imagine_deblur.archive.lanes import ClusterLanes, ClusterLostError
from imagine_deblur.archive.settings import make_settings
from imagine_deblur.archive.work import Task, restore
from imagine_deblur.errors import EngineError, MissingExtraError

PIP = r"pip install 'imagine-deblur\[archive\]'"


@pytest.fixture
def without(monkeypatch):
    """Make packages impossible to import."""

    def without(*names: str) -> None:
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)

    return without


def test_remote_sources_without_fsspec(without, run):
    without("fsspec")
    with pytest.raises(MissingExtraError, match=f"s3:// needs fsspec: {PIP}"):
        find_items(["s3://bucket/"])


def test_object_stores_without_s3fs(without):
    pytest.importorskip("fsspec")
    without("s3fs")
    with pytest.raises(MissingExtraError, match=f"s3:// needs s3fs: {PIP}"):
        find_items(["s3://bucket/"])


def test_catalogs_without_pystac(without, tmp_path):
    without("pystac")
    (tmp_path / "catalog.json").write_text("{}")
    with pytest.raises(MissingExtraError, match=f"a STAC catalog needs pystac: {PIP}"):
        find_items([str(tmp_path / "catalog.json")])


def test_lineage_without_pystac_is_refused_before_any_work(without, scenes, run, tmp_path):
    without("pystac")
    with pytest.raises(MissingExtraError, match=f"--stac-out needs pystac: {PIP}"):
        run(scenes, stac_output=tmp_path / "stac")
    assert not list(tmp_path.glob("out/*.jpg"))


def test_a_cluster_without_distributed(without, scenes, run):
    without("distributed")
    with pytest.raises(MissingExtraError, match=f"--scheduler needs distributed: {PIP}"):
        run(scenes, scheduler="tcp://127.0.0.1:9")


def test_workers_of_another_version_are_refused(monkeypatch):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1"
    ) as cluster:
        ClusterLanes(cluster.scheduler_address).close()
        monkeypatch.setattr(lanes, "VERSION", "0.0.0")
        with pytest.raises(EngineError, match=r"1 of 1 workers .* here is 0\.0\.0"):
            ClusterLanes(cluster.scheduler_address)


def test_a_worker_that_joins_later_with_another_version_refuses(scenes, tmp_path):
    settings = replace(make_settings(tmp_path / "out", OPTIONS), version="0.0.0")
    task = Task(Item(str(scenes / "c0.jpg"), "c0.jpg"))
    told = restore(task, pickle.dumps(settings))
    assert told["kind"] == "EngineError"
    assert "the batch 0.0.0" in told["error"]
    assert not (tmp_path / "out/c0.jpg").exists()


def test_a_cluster_without_workers(monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(lanes, "_JOIN_SECONDS", 0.5)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0", host="127.0.0.1") as cluster,
        pytest.raises(ClusterLostError, match=r"no workers after 0\.5 s: start some with"),
    ):
        ClusterLanes(cluster.scheduler_address)


def test_a_result_that_goes_with_the_scheduler_is_a_lost_connection(monkeypatch):
    distributed = pytest.importorskip("distributed")

    def gone(*_: object) -> None:
        raise CancelledError("scheduler-connection-lost")

    monkeypatch.setattr(distributed.Future, "result", gone)
    with distributed.LocalCluster(
        n_workers=1, processes=False, protocol="tcp", dashboard_address=":0", host="127.0.0.1"
    ) as cluster:
        running = ClusterLanes(cluster.scheduler_address)
        running.submit("one", len, ())
        with pytest.raises(ClusterLostError, match="connection to the Dask scheduler is lost"):
            running.wait(30.0)
        running.close()


def test_a_local_batch_of_captures_needs_numpy_alone(scenes, tmp_path):
    code = f"""
import sys
from concurrent.futures import CancelledError
for name in ("distributed", "fsspec", "pystac", "rasterio", "scipy", "PIL", "matplotlib"):
    sys.modules[name] = None
if __name__ == "__main__":
    from imagine_deblur.cli import main
    out = {str(tmp_path / "out")!r}
    sys.exit(main(["batch", {str(scenes)!r}, "-o", out, "--psf", "disk:2", "--workers", "1"]))
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("*.jpg"))) == 8
