"""Outputs are complete or not there, and the source is never touched."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imagine_deblur import process
from imagine_deblur.errors import InputImageError, OptionsError, OutputExistsError
from imagine_deblur.support.files import replacing
from jpegkit import decoded

FAST: dict[str, Any] = {"psf": "disk:2.5", "model": "wiener", "threads": 1}
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small tmpfs")
not_as_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def write(
    target: Path,
    content: bytes = b"new",
    *,
    overwrite: bool = False,
    then: Callable[[], object] = lambda: None,
) -> None:
    with replacing(target, overwrite=overwrite) as descriptor:
        os.write(descriptor, content)
        then()


# The writer


def test_the_file_appears_complete(tmp_path):
    target = tmp_path / "a.jpg"
    with replacing(target, overwrite=False) as descriptor:
        os.write(descriptor, b"hello")
        assert not target.exists()
        assert len(names(tmp_path)) == 1
    assert target.read_bytes() == b"hello"
    assert names(tmp_path) == ["a.jpg"]
    mask = os.umask(0o077)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_goes_wrong_nothing_is_left(tmp_path, error):
    old = tmp_path / "old.jpg"
    old.write_bytes(b"old")

    def stop() -> None:
        raise error

    for overwrite, target in ((False, tmp_path / "new.jpg"), (True, old)):
        with pytest.raises(error):
            write(target, overwrite=overwrite, then=stop)
    assert names(tmp_path) == ["old.jpg"]
    assert old.read_bytes() == b"old"


def test_an_existing_file_needs_overwriting(tmp_path):
    target = tmp_path / "a.jpg"
    target.write_bytes(b"old")
    with pytest.raises(OutputExistsError) as caught, replacing(target, overwrite=False):
        pytest.fail("the block must not run")
    assert caught.value.filename == str(target)
    assert caught.value.errno == errno.EEXIST
    assert isinstance(caught.value, FileExistsError)
    with replacing(target, overwrite=True) as descriptor:
        os.write(descriptor, b"new")
    assert target.read_bytes() == b"new"


def test_a_file_that_appears_meanwhile_is_not_lost(tmp_path):
    target = tmp_path / "a.jpg"
    with pytest.raises(OutputExistsError):
        write(target, b"ours", then=lambda: target.write_bytes(b"theirs"))
    assert target.read_bytes() == b"theirs"
    assert names(tmp_path) == ["a.jpg"]


def test_a_dangling_link_is_not_followed(tmp_path):
    link, elsewhere = tmp_path / "a.jpg", tmp_path / "elsewhere"
    link.symlink_to(elsewhere)
    with pytest.raises(OutputExistsError), replacing(link, overwrite=False):
        pytest.fail("the block must not run")
    with replacing(link, overwrite=True) as descriptor:
        os.write(descriptor, b"new")
    assert not elsewhere.exists()
    assert link.read_bytes() == b"new"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        write(tmp_path / "none" / "a.jpg", then=lambda: pytest.fail("the block must not run"))
    assert caught.value.filename == str(tmp_path / "none" / "a.jpg")


def test_folders_and_devices_are_not_replaced(tmp_path):
    """As root, a rename over a device would succeed and take it away."""
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    for path, error in ((pipe, OSError), (folder, IsADirectoryError)):
        with pytest.raises(error) as caught:
            write(path, overwrite=True, then=lambda: pytest.fail("the block must not run"))
        assert caught.value.filename == str(path)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert names(tmp_path) == ["folder", "pipe"]


def test_long_names_fit(tmp_path):
    target = tmp_path / ("n" * 251 + ".jpg")
    with replacing(target, overwrite=False) as descriptor:
        os.write(descriptor, b"x")
    assert names(tmp_path) == [target.name]


def test_a_failing_sync_is_an_error(tmp_path, monkeypatch):
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "injected")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="injected"):
        write(tmp_path / "a.jpg")
    assert names(tmp_path) == []


# Through process()


def test_process_needs_overwriting_too(capture_file):
    target = capture_file.with_name("out.jpg")
    target.write_bytes(b"old")
    with pytest.raises(OutputExistsError):
        process(capture_file, target, **FAST)
    assert target.read_bytes() == b"old"
    process(capture_file, target, **FAST, overwrite=True)
    assert decoded(target).shape == (96, 120, 3)
    assert names(capture_file.parent) == ["capture.jpg", "out.jpg"]


@pytest.mark.parametrize("how", ["same", "relative", "symlink", "hardlink", "folder link"])
def test_the_source_is_never_written_over(capture_file, capture, how):
    folder = capture_file.parent
    target = {
        "same": capture_file,
        "relative": folder / "x" / ".." / "capture.jpg",
        "symlink": folder / "link.jpg",
        "hardlink": folder / "link.jpg",
        "folder link": folder / "also" / "capture.jpg",
    }[how]
    (folder / "x").mkdir()
    if how == "symlink":
        target.symlink_to(capture_file)
    elif how == "hardlink":
        os.link(capture_file, target)
    elif how == "folder link":
        (folder / "also").symlink_to(folder)
    before = names(folder)
    for overwrite in (True, False):
        with pytest.raises((OptionsError, OutputExistsError)):
            process(capture_file, target, **FAST, overwrite=overwrite)
    assert capture_file.read_bytes() == capture
    assert names(folder) == before


def test_a_link_as_source_is_followed_and_kept(capture_file, capture):
    link = capture_file.with_name("link.jpg")
    link.symlink_to(capture_file)
    report = process(link, **FAST)
    assert report.output == str(capture_file.with_name("link.restored.jpg"))
    assert link.is_symlink()
    assert capture_file.read_bytes() == capture


def test_an_exception_in_the_middle_leaves_nothing(capture_file, capture):
    def stop(fraction: float) -> None:
        if fraction > 0.4:
            assert any(name.endswith(".part") for name in names(capture_file.parent))
            raise RuntimeError("enough")

    target = capture_file.with_name("out.jpg")
    with pytest.raises(RuntimeError, match="enough"):
        process(capture_file, target, **FAST, tile=32, progress=stop)
    assert names(capture_file.parent) == ["capture.jpg"]
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError):
        process(capture_file, target, **FAST, tile=32, overwrite=True, progress=stop)
    assert names(capture_file.parent) == ["capture.jpg", "out.jpg"]
    assert target.read_bytes() == b"old"
    assert capture_file.read_bytes() == capture


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        process(tmp_path / "none.jpg", **FAST)
    assert caught.value.filename == str(tmp_path / "none.jpg")
    with pytest.raises(IsADirectoryError):
        process(tmp_path, tmp_path / "out.jpg", **FAST)
    assert names(tmp_path) == []


def test_a_missing_output_folder_is_found_before_the_work(capture_file):
    seen: list[float] = []
    with pytest.raises(FileNotFoundError):
        process(capture_file, capture_file.parent / "x" / "o.jpg", **FAST, progress=seen.append)
    assert seen == []


@not_as_root
def test_a_read_only_folder_is_refused(capture_file):
    capture_file.parent.chmod(0o555)
    try:
        with pytest.raises(PermissionError):
            process(capture_file, **FAST)
    finally:
        capture_file.parent.chmod(0o755)
    assert names(capture_file.parent) == ["capture.jpg"]


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no tmpfs may be mounted: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@root_only
def test_a_full_disk_is_an_error_and_leaves_nothing(small_disk, capture_file):
    filler = small_disk / "filler"
    filler.write_bytes(bytes(60_000))
    with pytest.raises(OSError) as caught:
        process(capture_file, small_disk / "out.jpg", **FAST, quality=100, subsampling="4:4:4")
    assert caught.value.errno == errno.ENOSPC
    assert names(small_disk) == ["filler"]
    filler.unlink()
    process(capture_file, small_disk / "out.jpg", **FAST, quality=40)  # and then it works
    assert decoded(small_disk / "out.jpg").shape == (96, 120, 3)


@root_only
def test_a_read_only_file_system_is_an_error(small_disk, capture_file):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OSError) as caught:
        process(capture_file, small_disk / "out.jpg", **FAST)
    assert caught.value.errno == errno.EROFS
    assert names(small_disk) == []


# Killed in the middle

SLOW = """
import sys, time
from imagine_deblur import process
def wait(fraction):
    if fraction > 0.3:
        print("middle", flush=True)
        time.sleep(60)
process(sys.argv[1], sys.argv[2], psf="disk:2.5", model="wiener", tile=32, overwrite=True,
        threads=2, progress=wait)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("existing", [False, True])
def test_killed_in_the_middle(capture_file, capture, how, existing):
    target = capture_file.with_name("out.jpg")
    if existing:
        target.write_bytes(b"old")
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, str(capture_file), str(target)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "middle\n"
        started = time.monotonic()
        child.send_signal(how)
        code = child.wait(timeout=10)
    assert code == -how
    assert time.monotonic() - started < 5
    left = [n for n in names(capture_file.parent) if n not in ("capture.jpg", "out.jpg")]
    if how == signal.SIGINT:
        assert left == []
    else:
        assert all(n.endswith(".part") for n in left)
    assert target.exists() == existing
    if existing:
        assert target.read_bytes() == b"old"
    assert capture_file.read_bytes() == capture


def test_what_is_no_file_is_refused_by_name(capture_file: Path) -> None:
    with pytest.raises(OptionsError, match="output=3 is not allowed; allowed: a path or a binary"):
        process(capture_file, 3, **FAST)  # type: ignore[arg-type]
    with (
        capture_file.open(encoding="utf-8") as text,
        pytest.raises(InputImageError, match="a binary"),
    ):
        process(text, capture_file.with_name("out.jpg"), **FAST)  # type: ignore[arg-type]
    assert names(capture_file.parent) == [capture_file.name]
