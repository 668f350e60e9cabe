"""The site: built without a warning, every link leads somewhere, nothing comes from elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]

for name in (
    "material",
    "mkdocstrings",
    "nbclient",
    "ipykernel",
    "matplotlib",
    "jinja2",
    "rioxarray",
):
    pytest.importorskip(name, reason=f"{name} is not installed: pip install '.[docs]'")


class Links(HTMLParser):
    """What a page points to, what it loads, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        if "id" in found:
            self.anchors.add(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "link" and found.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(found.get("href", ""))
        if "src" in found:
            self.loads.append(found["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it; the notebooks run in it, with their assertions."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def test_every_link_leads_somewhere_and_nothing_is_fetched(site):
    pages = {path: Links(path.read_text("utf-8")) for path in site.rglob("*.html")}
    assert len(pages) > 20
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":  # its addresses are those of a server's root
            continue
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loads and parts.scheme != "data":
                    broken.append(f"{path.name} loads {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                broken.append(f"{path.name} -> {link}")
                continue
            anchors = pages[target].anchors if target in pages else set()
            if parts.fragment and unquote(parts.fragment) not in anchors:
                broken.append(f"{path.name} -> {link}: no such anchor")
    assert broken == []


def test_notebooks_show_what_they_drew_and_printed(site):
    printed = {"measuring_an_mtf": "MTF50 from the edge 0.", "raster": "colour radius"}
    for name in ("first_capture", "measuring_an_mtf", "raster"):
        page = (site / "notebooks" / f"{name}.html").read_text("utf-8")
        assert f"{name}_0.png" in page
        assert (site / "notebooks" / f"{name}_0.png").stat().st_size > 2000
        assert printed.get(name, "") in page


@pytest.mark.parametrize("width", [1280, 390])
def test_chromium_opens_the_pages_from_a_disk_without_complaint(site, width):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium and chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        for name in ("index", "gallery", "reference/psf", "notebooks/first_capture"):
            browser.get((site / f"{name}.html").as_uri())
            assert browser.get_log("browser") == [], name
            broad = browser.execute_script("return document.documentElement.scrollWidth")
            assert broad <= width, name
            pictures = browser.execute_script(
                "return [...document.images].filter(i => i.complete && !i.naturalWidth).length"
            )
            assert pictures == 0, name
        browser.get((site / "gallery.html").as_uri())
        ready = browser.execute_script("return document.querySelectorAll('.viewer.live').length")
        assert ready == 5
    finally:
        browser.quit()
