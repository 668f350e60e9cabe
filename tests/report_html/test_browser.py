"""The report in Chromium: what a person sees, drags and types. Screens are compared by region."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from imagine_deblur.report_html import write_report

pytest.importorskip("selenium", reason="selenium is not installed")

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

DESKTOP, PHONE = (1100, 800), (360, 740)
RED, BLUE, WHITE = (200, 30, 30), (30, 30, 200), (255, 255, 255)


class Page:
    """One page in the browser at one size, with what the tests ask of it."""

    def __init__(self, browser, path, size=DESKTOP, *, dark=False, still=False):
        self.browser = browser
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", metrics | {"mobile": size == PHONE}
        )
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": size == PHONE})
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.get_log("performance")
        browser.get(path.as_uri())
        # Pictures are decoded before a screen is compared.
        browser.execute_async_script(
            "const done = arguments[0];"
            "Promise.all([...document.images].filter(i => i.loading !== 'lazy')"
            ".map(i => i.decode())).then(() => requestAnimationFrame(() => done()))"
        )

    def find(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def run(self, script, *arguments):
        return self.browser.execute_script(f"return {script}", *arguments)

    def screen(self):
        """The visible part, (R, C, 3)."""
        shot = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        data = base64.b64decode(shot["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def region(self, selector):
        """What the screen shows of an element that was scrolled into view."""
        element = self.find(selector)
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        box = self.run("arguments[0].getBoundingClientRect().toJSON()", element)
        top, left = round(box["top"]), round(box["left"])
        bottom, right = round(box["bottom"]), round(box["right"])
        return self.screen()[max(top, 0) : bottom, max(left, 0) : right]

    def press(self, *keys, on=".stage"):
        self.run("arguments[0].focus()", self.find(on))
        ActionChains(self.browser).send_keys(*keys).perform()

    def boundary(self):
        """Share of the width at which the picture turns from the capture to the restoration."""
        row = self.region(".window")[60].astype(int)
        red = row[:, 0] - row[:, 2] > 60
        blue = row[:, 2] - row[:, 0] > 60
        assert not (red[1:] & blue[:-1]).any(), "the capture lies left of the restoration"
        return float(red.sum() / max(1, red.sum() + blue.sum()))


def colour(pixels):
    return np.median(pixels.reshape(-1, 3), axis=0)


@pytest.fixture(scope="module")
def split_page(split_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "split.html"
    write_report(split_run / "report.json", path)
    return path


@pytest.fixture(scope="module")
def real_page(run_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    (folder / "one.json").write_text((run_folder / "run.jsonl").read_text().splitlines()[0])
    write_report(folder / "one.json", folder / "real.html")
    return folder / "real.html"


@pytest.fixture(scope="module")
def index_page(run_folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "index.html"
    write_report(run_folder / "run.jsonl", path)
    return path


@pytest.fixture(autouse=True)
def _console_is_silent(browser):
    browser.get_log("browser")
    yield
    assert browser.get_log("browser") == []


def test_nothing_but_the_file_is_asked_for(browser, real_page):
    Page(browser, real_page)
    asked = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.add(message["params"]["request"]["url"].partition(":")[0])
    assert asked <= {"file", "data"}
    assert "file" in asked


def test_both_pictures_share_the_frame_until_the_grip_is_dragged(browser, split_page):
    page = Page(browser, split_page)
    assert page.boundary() == pytest.approx(0.5, abs=0.03)
    grip = page.find(".grip")
    ActionChains(browser).drag_and_drop_by_offset(grip, 300, 0).perform()
    width = page.run("document.querySelector('.stage').clientWidth")
    assert page.boundary() == pytest.approx(0.5 + 300 / width, abs=0.03)
    value = page.find("input[type=range]").get_attribute("value")
    assert float(value) == pytest.approx(100 * (0.5 + 300 / width), abs=1)


def test_the_keyboard_moves_the_divider(browser, split_page):
    page = Page(browser, split_page)
    page.press(*[Keys.ARROW_LEFT] * 30, on="input[type=range]")
    assert page.boundary() == pytest.approx(0.2, abs=0.03)
    page.press(Keys.END, on="input[type=range]")
    assert page.boundary() > 0.95
    page.press("r")
    assert page.boundary() < 0.05
    page.press("b")
    assert page.boundary() == pytest.approx(0.5, abs=0.03)
    spoken = page.find("input[type=range]").get_attribute("aria-valuetext")
    assert spoken == "50 % capture"


def test_buttons_show_one_picture_whole(browser, split_page):
    page = Page(browser, split_page)
    page.find("[data-split='0']").click()
    assert colour(page.region(".window")[:60]) == pytest.approx(BLUE, abs=6)
    page.find("[data-split='100']").click()
    assert colour(page.region(".window")[:60]) == pytest.approx(RED, abs=6)


@pytest.mark.parametrize("zoom", [1, 2])
def test_a_pixel_is_as_many_pixels_of_the_screen(browser, split_page, zoom):
    """The white square of 20 px has sides of 20 and of 40 px."""
    page = Page(browser, split_page)
    page.press("r", str(zoom))
    assert page.find(f"[data-zoom='{zoom}']").get_attribute("aria-pressed") == "true"
    assert page.run("document.querySelector('.canvas').clientWidth") == 300 * zoom
    seen = page.region(".stage")[: 160 * zoom, 40:].min(axis=2) > 140  # without divider and label
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    assert np.ptp(rows) + 1 == pytest.approx(20 * zoom, abs=2)
    assert np.ptp(columns) + 1 == pytest.approx(20 * zoom, abs=2)
    page.press("0")
    assert page.run("document.querySelector('.canvas').clientWidth") > 600


def test_at_one_to_one_the_screen_holds_the_file_s_own_pixels(browser, real_page, run_folder):
    page = Page(browser, real_page)
    page.press("c", "1")
    page.run("document.querySelector('.stage').scrollTo(0, 0)")
    seen = page.region(".stage")[:300, :400]
    truth = np.asarray(Image.open(run_folder / "captures" / "scene_1.jpg"))[:300, :400]
    # Chromium's JPEG decoder upsamples colour as ours does; two levels are rounding.
    assert np.abs(seen.astype(int) - truth).mean() < 2


def test_zoomed_in_the_arrows_scroll_and_the_divider_stays(browser, split_page):
    page = Page(browser, split_page, size=(420, 700))
    page.press("2")
    before = page.run("document.querySelector('.stage').scrollLeft")
    page.press(*[Keys.ARROW_RIGHT] * 3)
    WebDriverWait(browser, 5).until(  # scrolling takes a moment
        lambda _: page.run("document.querySelector('.stage').scrollLeft") > before
    )
    assert page.boundary() == pytest.approx(0.5, abs=0.04)


def test_the_map_of_blocks_lies_on_its_blocks(browser, split_page):
    page = Page(browser, split_page)
    page.press("r")
    plain = page.region(".stage").astype(int)
    page.find("[data-map]").click()
    assert page.find("[data-map]").get_attribute("aria-pressed") == "true"
    changed = np.abs(page.region(".stage").astype(int) - plain).max(axis=2) > 10
    # The first row of blocks, 32 of the 200 rows, and nothing below; the divider's line lies over.
    edge = round(32 / 200 * plain.shape[0])
    assert changed[3 : edge - 3, 60:].mean() > 0.95
    assert changed[edge + 3 :].mean() < 0.01
    page.press("m")
    assert np.abs(page.region(".stage").astype(int) - plain).max() < 3


def test_a_finger_drags_the_grip_on_a_phone(browser, split_page):
    page = Page(browser, split_page, PHONE)
    page.region(".window")  # into view
    box = page.run("document.querySelector('.grip').getBoundingClientRect().toJSON()")
    x, y = box["left"] + box["width"] / 2, box["top"] + box["height"] / 2
    assert min(box["width"], box["height"]) >= 44, "a finger needs 44 px"
    for kind, dx in (("touchStart", 0), ("touchMove", 40), ("touchMove", 90), ("touchEnd", None)):
        points = [] if dx is None else [{"x": x + dx, "y": y}]
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    width = page.run("document.querySelector('.stage').clientWidth")
    assert page.boundary() == pytest.approx(0.5 + 90 / width, abs=0.05)


@pytest.mark.parametrize("name", ["real_page", "index_page"])
def test_a_phone_is_never_scrolled_sideways(browser, name, request):
    page = Page(browser, request.getfixturevalue(name), PHONE)
    assert page.run("document.documentElement.scrollWidth") <= PHONE[0]
    for button in browser.find_elements(By.CSS_SELECTOR, ".bar button, th button, .open"):
        assert not button.is_displayed() or button.size["height"] >= 44


@pytest.mark.parametrize("name", ["real_page", "index_page"])
def test_text_can_be_read_on_both_kinds_of_page(browser, name, request):
    """Contrast of every text with the page is 4.5 at least, WCAG 2.1's level AA."""
    path = request.getfixturevalue(name)
    for dark in (False, True):
        page = Page(browser, path, dark=dark)
        background = page.run("getComputedStyle(document.body).backgroundColor")
        assert (luminance(background) < 0.05) == dark
        inks = page.run(
            "[...new Set([...document.querySelectorAll('h1, h2, p, td, th, figcaption, .missing')]"
            ".map(e => getComputedStyle(e).color))]"
        )
        for ink in inks:
            light, deep = sorted((luminance(ink), luminance(background)), reverse=True)
            assert (light + 0.05) / (deep + 0.05) >= 4.5, f"{ink} on {background}"


def luminance(text):
    channels = [float(part) / 255 for part in text[text.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_plots_are_drawn_in_the_page_s_own_colours(browser, real_page):
    page = Page(browser, real_page)
    for selector in ("svg[aria-labelledby^=mtf]", "svg[aria-labelledby^=noise]"):
        light = page.region(selector)
        dark = Page(browser, real_page, dark=True).region(selector)
        page = Page(browser, real_page)
        assert light[5, 5].mean() > 200 > 80 > dark[5, 5].mean()
        for shot in (light, dark):  # the capture's line is orange, the restoration's blue
            warm = shot[..., 0].astype(int) - shot[..., 2]
            assert (warm > 60).sum() > 200
            assert (warm < -60).sum() > 200


def test_who_wants_no_motion_gets_none(browser, real_page):
    page = Page(browser, real_page, still=True)
    assert page.run("getComputedStyle(document.querySelector('button')).transitionDuration") == "0s"
    page = Page(browser, real_page)
    assert page.run("getComputedStyle(document.querySelector('button')).transitionDuration") != "0s"


def test_everything_has_a_name_and_can_be_reached_by_keyboard(browser, real_page):
    page = Page(browser, real_page)
    nameless = page.run(
        "[...document.querySelectorAll('button, input, img, svg[role=img], [tabindex]')]"
        ".filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') ||"
        " e.getAttribute('alt') || e.labels?.length || e.getAttribute('aria-labelledby')))"
        ".map(e => e.outerHTML)"
    )
    assert nameless == []
    reached = []
    for _ in range(12):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        reached.append(page.run("document.activeElement.outerHTML.slice(0, 60)"))
    assert "Skip to the pictures" in browser.find_element(By.CSS_SELECTOR, ".skip").get_attribute(
        "textContent"
    )
    for wanted in ('class="skip"', 'data-zoom="1"', 'data-split="50"', 'class="stage"', "range"):
        assert any(wanted in element for element in reached), wanted


def names(browser):
    cells = browser.find_elements(By.CSS_SELECTOR, "#index tbody tr:not([hidden]) th")
    return [cell.text for cell in cells]


def test_the_index_sorts_by_any_heading(browser, index_page):
    page = Page(browser, index_page)
    by_name = page.find("th button[data-column='0']")
    by_name.click()
    assert names(browser) == ["broken.jpg", "scene_1.jpg", "scene_2.jpg", "scene_10.jpg"]
    assert page.find("thead th").get_attribute("aria-sort") == "ascending"
    by_name.send_keys(Keys.ENTER)
    assert names(browser) == ["scene_10.jpg", "scene_2.jpg", "scene_1.jpg", "broken.jpg"]
    seconds = page.find("th button[data-column='7']")
    for _ in range(2):
        seconds.click()
        assert names(browser)[-1] == "broken.jpg", "without a figure it comes last"
    shown = page.run(
        "[...document.querySelectorAll('#index tbody tr')].slice(0, 3)"
        ".map(r => Number(r.cells[7].dataset.value))"
    )
    assert shown == sorted(shown, reverse=True)


def test_the_index_is_filtered_and_says_how_many_are_left(browser, index_page):
    page = Page(browser, index_page)
    page.press("scene_1", on="#filter")
    assert names(browser) == ["scene_1.jpg", "scene_10.jpg"]
    assert page.find("#shown").text == "2 of 4 shown"


def test_a_thumbnail_opens_its_slider_and_escape_closes_it(browser, index_page):
    page = Page(browser, index_page)
    page.find(".open").click()
    dialog = page.find("dialog[open]")
    assert dialog.find_element(By.CSS_SELECTOR, ".stage").is_displayed()
    shown = page.run("document.querySelector('dialog[open] .canvas').clientWidth")
    page.press("2", on="dialog[open] .stage")
    assert page.run("document.querySelector('dialog[open] .canvas').clientWidth") != shown
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert browser.find_elements(By.CSS_SELECTOR, "dialog[open]") == []
