"""Sources over HTTP and in S3, from servers that are slow, break off, or say no."""

from __future__ import annotations

import contextlib
import http.server
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archives import digests, lines
from imagine_deblur.archive.remote import TransferError, fetch, identity
from imagine_deblur.errors import OptionsError

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

_LONGEST = 20.0  # s that a handler of these tests may sleep


class Files(http.server.BaseHTTPRequestHandler):
    """Serves the server's files; what it does to a path is looked up in `faults`."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        name = self.path.strip("/").partition("?")[0]
        data = self.server.files.get(name)
        fault = self.server.faults.get(name, "")
        if body:
            self.server.gets[name] = self.server.gets.get(name, 0) + 1
            if fault.endswith("once") and self.server.gets[name] > 1:
                fault = ""
        if data is None:
            self.send_error(404)
            return
        if fault.startswith("down") or (body and fault.startswith("error")):
            self.send_error(503)
            return
        if fault.startswith("forbidden"):
            self.send_error(403)
            return
        if fault.startswith("circle"):
            self.send_response(302)
            self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hash(data):x}"')
        self.end_headers()
        if not body:
            return
        with contextlib.suppress(OSError):
            if fault.startswith("break"):
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
            elif fault.startswith("silent"):
                self.wfile.write(data[: len(data) // 2])
                self.wfile.flush()
                self.server.wait()
                self.close_connection = True
            elif fault.startswith("crawl"):
                for at in range(len(data)):
                    self.wfile.write(data[at : at + 1])
                    self.wfile.flush()
                    if self.server.ended.wait(0.05):
                        break
                self.close_connection = True
            else:
                self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    """A web server on the loopback with faults."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Files)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, str] = {}
        self.gets: dict[str, int] = {}
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def wait(self) -> None:
        self.ended.wait(_LONGEST)


@pytest.fixture
def server(pictures: list[bytes]) -> Iterator[Server]:
    with Server() as started:
        started.files = {f"c{k}.jpg": data for k, data in enumerate(pictures)}
        thread = threading.Thread(target=started.serve_forever, daemon=True)
        thread.start()
        yield started
        started.ended.set()
        started.shutdown()
        thread.join()


def urls(server: Server) -> list[str]:
    return [f"{server.url}/{name}" for name in sorted(server.files)]


def test_remote_files_give_the_bytes_of_local_ones(scenes, run, tmp_path, server):
    run(scenes, output=tmp_path / "local")
    summary = run(*urls(server))
    assert summary.restored == 8
    assert digests(tmp_path / "out") == digests(tmp_path / "local")
    assert lines(tmp_path / "out")[0]["identity"].keys() == {"size", "etag"}


def test_the_second_run_asks_for_headers_alone(run, server, pictures):
    run(*urls(server))
    before = dict(server.gets)
    assert run(*urls(server)).skipped == 8
    assert server.gets == before
    server.files["c0.jpg"] = pictures[1]  # another ETag
    assert run(*urls(server)).restored == 1


@pytest.mark.parametrize("fault", ["error once", "break once", "silent once", "crawl once"])
def test_a_fault_that_passes_is_tried_again(scenes, run, tmp_path, server, fault):
    run(scenes, output=tmp_path / "local")
    server.faults["c3.jpg"] = fault
    summary = run(*urls(server), timeout=2.0)
    assert (summary.restored, summary.failed) == (8, 0)
    assert server.gets["c3.jpg"] == 2
    assert digests(tmp_path / "out") == digests(tmp_path / "local")
    (line,) = [line for line in lines(tmp_path / "out") if line["output"] == "c3.jpg"]
    assert line["attempts"] == 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("error", "the server says 503"),
        ("down", "the server says 503"),
        ("break", ""),
        ("silent", "the server is silent; try again later, or raise --timeout"),
        ("circle", "TooManyRedirects"),
    ],
)
def test_a_fault_that_stays_fails_its_item_alone(run, tmp_path, server, fault, said):
    server.faults["c3.jpg"] = fault
    began = time.monotonic()
    summary = run(*urls(server), timeout=1.0, retries=1)
    assert (summary.restored, summary.failed) == (7, 1)
    assert server.gets["c3.jpg"] == 2 or fault == "circle"
    assert summary.failures[0].kind == "TransferError"
    assert summary.failures[0].error.endswith(f"c3.jpg: {said}" if said else "")
    assert "/proc/" not in summary.failures[0].error
    assert not (tmp_path / "out/c3.jpg").exists()
    assert time.monotonic() - began < 60


def test_a_missing_file_is_not_asked_for_twice(run, server):
    summary = run(*urls(server), f"{server.url}/gone.jpg")
    assert (summary.restored, summary.failed) == (8, 1)
    assert summary.failures[0].kind == "FileNotFoundError"
    assert summary.failures[0].error == f"{server.url}/gone.jpg: No such file or directory"


def test_a_forbidden_file_is_not_asked_for_twice(run, server):
    server.faults["c3.jpg"] = "forbidden"
    summary = run(*urls(server))
    assert (summary.restored, summary.failed) == (7, 1)
    assert summary.failures[0].kind == "PermissionError"


def test_a_server_that_is_not_there(run, tmp_path):
    summary = run("http://127.0.0.1:9/a.jpg", retries=0)
    assert summary.failures[0].kind == "TransferError"


def test_signatures_are_not_written_down(run, tmp_path, server):
    run(f"{server.url}/c0.jpg?X-Amz-Signature=secret")
    assert "secret" not in (tmp_path / "out/manifest.jsonl").read_text()
    assert run(f"{server.url}/c0.jpg?X-Amz-Signature=another").skipped == 1


def test_a_file_of_another_length_is_refused(server, tmp_path):
    url = f"{server.url}/c0.jpg"
    found = dict(identity(url, 5.0))
    found["size"] += 1
    with pytest.raises(TransferError, match="broken off"):
        fetch(url, tmp_path / "x", 5.0, found)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """An S3 server on the loopback with an empty bucket; environment and all."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    values = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    yield "s3://archive"
    server.stop()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture
def bucket(s3: str, pictures: list[bytes]) -> Any:
    import s3fs

    files = s3fs.S3FileSystem(skip_instance_cache=True)
    with contextlib.suppress(FileExistsError):
        files.mkdir("archive")
    for number, data in enumerate(pictures):
        files.pipe_file(f"archive/day{number % 2}/c{number}.jpg", data)
    yield files
    files.rm("archive", recursive=True)


@pytest.mark.parametrize("name", ["s3://archive/**/*.jpg", "s3://archive/"])
def test_objects_in_and_files_out(scenes, run, tmp_path, bucket, name):
    run(scenes, output=tmp_path / "local")
    summary = run(name, recursive=True)
    assert summary.restored == 8
    found = {Path(path).name: digest for path, digest in digests(tmp_path / "out").items()}
    assert found == digests(tmp_path / "local")
    assert (tmp_path / "out/day1/c1.jpg").is_file()
    assert run(name, recursive=True).skipped == 8


def test_objects_in_and_out(run, tmp_path, bucket):
    manifest = tmp_path / "m.jsonl"
    into = "s3://archive/restored"
    summary = run("s3://archive/day0/*.jpg", output=into, manifest=manifest)
    assert summary.restored == 4
    assert len(bucket.ls("archive/restored")) == 4
    assert run("s3://archive/day0/*.jpg", output=into, manifest=manifest).skipped == 4
    bucket.pipe_file("archive/restored/c1.jpg", b"of somebody else")
    summary = run("s3://archive/day1/*.jpg", output=into, manifest=manifest)
    assert (summary.restored, summary.failed) == (3, 1)
    assert bucket.cat_file("archive/restored/c1.jpg") == b"of somebody else"


def test_an_object_store_needs_a_manifest_elsewhere(run):
    with pytest.raises(OptionsError, match="--manifest FILE"):
        run("s3://archive/day0/c0.jpg", output="s3://archive/restored")


def test_a_bucket_that_is_not_there(run, s3):
    with pytest.raises(FileNotFoundError, match="nobody"):
        run("s3://nobody/**/*.jpg")
