"""A small run to report on, and a browser to look at the report with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagine_deblur import Session
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.psf.models import PSF
from jpegkit import jpeg
from synthetic import natural

pytest.importorskip("jinja2", reason="the extra [report] is not installed")
pytest.importorskip("PIL", reason="the extra [report] is not installed")

BLUR = PSF.defocus(2.5)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three captures, two of them restored and one passed through, and a fourth that failed.

    ``run.jsonl`` holds the reports; the captures lie in ``captures``, the results in ``restored``.
    """
    folder = tmp_path_factory.mktemp("run")
    (folder / "captures").mkdir()
    (folder / "restored").mkdir()
    lines: list[dict[str, Any]] = []
    with Session(psf="disk:2.5,0.5", model="fast") as session:
        for number in (1, 2, 10):
            rng = np.random.default_rng(number)
            sharp = natural(320, 416, seed=number)
            path = folder / "captures" / f"scene_{number}.jpg"
            path.write_bytes(jpeg(degrade(sharp, BLUR, noise=0.004, rng=rng), 92))
            report = session.process(path, folder / "restored" / path.name)
            lines.append(report.as_dict())
    lines[1] |= {"restored": False, "warnings": ["passed through unrestored: <flat>"]}
    lines.append({"source": "captures/broken.jpg", "output": None, "error": "not a JPEG"})
    (folder / "run.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="session")
def split_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture that is red and a restoration that is blue, so that a screen shows which is where.

    Both are 200 x 300 px with a white square of 20 px whose first pixel is (100, 150), and their
    report, ``report.json``, says that the first row of blocks was left as captured.
    """
    folder = tmp_path_factory.mktemp("split")
    for name, colour in (("capture.jpg", (200, 30, 30)), ("restored.jpg", (30, 30, 200))):
        pixels = np.full((200, 300, 3), colour, np.uint8)
        pixels[100:120, 150:170] = 255
        (folder / name).write_bytes(jpeg(pixels, 100))
    report = {
        "source": str(folder / "capture.jpg"),
        "output": str(folder / "restored.jpg"),
        "restored": True,
        "psf": {"components": [{"kind": "disk", "radius_px": 2.5}]},
        "blocks": {"side": 32, "rows": 7, "columns": 10, "runs": [[2, 10], [0, 60]]},
    }
    (folder / "report.json").write_text(json.dumps(report))
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium of the system, offline, or a skip."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium and chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--force-device-scale-factor=1",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    opened.execute_cdp_cmd("Network.enable", {})
    opened.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
    )
    try:
        yield opened
    finally:
        opened.quit()
