"""Fixtures shared by the tests: data where there is some, small captures made on the fly."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from imagine_deblur.degradation.forward import degrade
from imagine_deblur.psf.models import PSF
from jpegkit import ICC, IPTC, XMP, counters, jpeg, tagged, with_segments
from synthetic import natural

Capture = Callable[..., bytes]

# A shell that starts the tests in the background makes them ignore Ctrl-C, and programs that they
# start inherit that; the tests that send it need it heard.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The development images, or a skip."""
    named = os.environ.get("IMAGINE_DEBLUR_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no test images in {folder}; set IMAGINE_DEBLUR_DATA")
    return folder


@pytest.fixture(scope="session")
def scene() -> NDArray[np.uint8]:
    """A blurred, slightly noisy 96 x 120 colour scene."""
    sharp = natural(96, 120, seed=3)
    rng = np.random.default_rng(3)
    return degrade(sharp, PSF.defocus(2.5), noise=0.003, rng=rng)


@pytest.fixture(scope="session")
def capture(scene: NDArray[np.uint8]) -> bytes:
    """`scene` as a 4:2:0 JPEG with EXIF, GPS, ICC, XMP, IPTC and a comment."""
    plain = jpeg(scene, exif=tagged(), icc_profile=ICC, comment=b"from orbit")
    return with_segments(plain, (0xE1, XMP), (0xED, IPTC))


@pytest.fixture
def capture_file(tmp_path: Path, capture: bytes) -> Path:
    path = tmp_path / "capture.jpg"
    path.write_bytes(capture)
    return path


@pytest.fixture(scope="session")
def blind_capture() -> bytes:
    """A capture large enough for the blind estimate: 320 x 384, defocus radius 4."""
    sharp = natural(320, 384, seed=11)
    rng = np.random.default_rng(11)
    return jpeg(degrade(sharp, PSF.defocus(4.0), noise=0.002, rng=rng), 95)


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Descriptors and threads are back to before when the test ends."""
    files, threads = counters()
    yield
    deadline = time.monotonic() + 2  # a joined thread may take a moment to leave /proc
    while time.monotonic() < deadline:
        files_after, threads_after = counters()
        if files_after == files and threads_after <= threads:  # an earlier test's may have left
            return
        time.sleep(0.01)
    pytest.fail(f"descriptors {files} -> {files_after}, threads {threads} -> {threads_after}")


def cgroup(controller: str) -> Path:
    """The folder of this process under a version 1 controller, or a skip."""
    root = Path("/sys/fs/cgroup") / controller
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            for folder in (root / path.lstrip("/"), root):
                if folder.is_dir():
                    return folder
    pytest.skip(f"no version 1 {controller} cgroup here")


@pytest.fixture
def inside() -> Iterator[Callable[..., subprocess.CompletedProcess[bytes]]]:
    """Runs a command inside a new cgroup with one limit set."""
    made: list[Path] = []

    def run(
        controller: str, limits: dict[str, int], command: list[str], **more: Any
    ) -> subprocess.CompletedProcess[bytes]:
        folder = cgroup(controller) / f"imagine-deblur-test-{os.getpid()}-{len(made)}"
        try:
            folder.mkdir()
            made.append(folder)
            for name, value in limits.items():
                (folder / name).write_text(str(value))
        except OSError as error:
            pytest.skip(f"no cgroup may be made: {error}")
        join = f'echo $$ > "{folder}/cgroup.procs" && exec "$@"'
        return subprocess.run(
            ["sh", "-c", join, "sh", *command], capture_output=True, check=False, **more
        )

    yield run
    for folder in made:
        folder.rmdir()
