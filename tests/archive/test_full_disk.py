"""The disk fills in the middle; what is done stays, and the next run goes on."""

from __future__ import annotations

import contextlib
import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from archives import digests, is_root, lines
from imagine_deblur.cli.exit_codes import told


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB of content."""
    if not is_root():
        pytest.skip("mounting a small file system takes root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs here: {mounted.stderr.decode()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=False)


def fill(path: Path, leave: int) -> None:
    """Write until only so many bytes are left."""
    with path.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        file.truncate(max(0, file.tell() - leave))


@pytest.mark.parametrize("leave", [0, 4096, 16_384])
def test_a_full_disk_ends_the_batch_which_then_goes_on(scenes, run, tmp_path, small_disk, leave):
    run(scenes, output=tmp_path / "enough")
    out = small_disk / "out"
    run(scenes / "c0.jpg", scenes / "c1.jpg", output=out)
    fill(small_disk / "filler", leave)
    with pytest.raises(OSError, match=r"goes on where it stopped|No space left") as caught:
        run(scenes, output=out)
    assert caught.value.errno == errno.ENOSPC
    assert "[Errno" not in told(caught.value)
    whole = digests(tmp_path / "enough")
    for name, digest in digests(out).items():
        assert digest == whole[name]
    assert not (out / ".imagine-deblur").exists()
    assert {line["outcome"] for line in lines(out)} == {"restored"}
    (small_disk / "filler").unlink()
    summary = run(scenes, output=out)
    assert summary.skipped >= 2
    assert summary.skipped + summary.restored == 8
    assert digests(out) == whole


def test_a_folder_that_cannot_be_made(scenes, run, tmp_path):
    (tmp_path / "out").write_bytes(b"a file")
    with pytest.raises(OSError, match="File exists") as caught:
        run(scenes)
    assert caught.value.filename == str(tmp_path / "out")
