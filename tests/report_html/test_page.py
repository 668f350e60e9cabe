"""The file as text: whole, within its size, safe with any name."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
from urllib.parse import unquote

import numpy as np
import pytest

from imagine_deblur.cli import main
from imagine_deblur.errors import OptionsError, OutputExistsError, PsfError
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.record import save_record
from imagine_deblur.report import run_lengths
from imagine_deblur.report_html import write_report
from imagine_deblur.report_html.figures import block_map
from jpegkit import jpeg
from synthetic import natural


@pytest.fixture
def one_report(run_folder, tmp_path):
    path = tmp_path / "report.json"
    path.write_text((run_folder / "run.jsonl").read_text().splitlines()[0])
    return path


def test_nothing_is_loaded_from_elsewhere(one_report, tmp_path):
    write_report(one_report, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    for address in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert address.startswith(("data:", "#"))
    assert not re.search(r"url\(|@import|https?://", page)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert policy.startswith("default-src 'none'; img-src data:;")
    for kind in ("style", "script"):
        (text,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_one_capture_s_page_holds_every_part(one_report, tmp_path):
    write_report(one_report, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    for heading in (
        "Before and after",
        "Figures",
        "PSF before and after",
        "MTF before and after",
        "Noise spectrum",
        "How each block was restored",
        "Provenance",
    ):
        assert f"<h2>{heading}</h2>" in page
    # 320 x 416 px are 10 x 13 blocks of 32 px.
    assert re.search(r"restored by the network: \d+ of 130\b", page)
    assert "disk 2.5, gaussian 0.5" in page
    # The files' own bytes: what is compared is what was delivered.
    line = json.loads(one_report.read_text())
    for path in (line["source"], line["output"]):
        with open(path, "rb") as file:
            assert base64.b64encode(file.read()).decode() in page


def test_the_same_run_gives_the_same_file(one_report, tmp_path):
    for name in ("a.html", "b.html"):
        write_report(one_report, tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_names_and_reasons_are_text_and_never_markup(run_folder, tmp_path):
    line = json.loads((run_folder / "run.jsonl").read_text().splitlines()[0])
    evil = tmp_path / "<img src=x onerror=alert(1)>&.jpg"
    shutil.copy(line["source"], evil)
    line |= {"source": str(evil), "warnings": ["<script>alert(2)</script>"], "model": "</style>"}
    (tmp_path / "r.json").write_text(json.dumps(line))
    write_report(tmp_path / "r.json", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "<img src=x" not in page
    assert "<script>alert" not in page
    assert page.count("</style>") == 1
    assert "&lt;script&gt;alert(2)" in page


@pytest.mark.parametrize("limit", [500_000, 1_500_000])
def test_large_pictures_are_reduced_to_the_budget_and_the_page_says_so(tmp_path, limit):
    sharp = natural(1600, 2000, seed=6)
    noisy = sharp + np.random.default_rng(6).normal(0, 0.1, sharp.shape).astype(np.float32)
    data = jpeg(np.uint8(255 * np.clip(noisy, 0, 1)), 95)
    for name in ("c.jpg", "o.jpg"):
        (tmp_path / name).write_bytes(data)
    report = {"source": str(tmp_path / "c.jpg"), "output": str(tmp_path / "o.jpg")}
    (tmp_path / "r.json").write_text(json.dumps(report))
    write_report(tmp_path / "r.json", tmp_path / "r.html", max_bytes=limit)
    page = (tmp_path / "r.html").read_text()
    assert limit / 4 < len(page.encode()) <= limit
    assert re.search(r"reduced \d+ times to fit the page", page)
    assert "Detail at row" in page


def test_a_batch_keeps_its_budget_and_shows_what_went_wrong_first(run_folder, tmp_path):
    lines = (run_folder / "run.jsonl").read_text().splitlines()
    one = json.loads(lines[0])
    many = [json.dumps(one | {"output": f"{'/.' * k}{one['output']}"}) for k in range(150)]
    many += [lines[1], lines[3]]
    (tmp_path / "many.jsonl").write_text("\n".join(many))
    items = write_report(tmp_path / "many.jsonl", tmp_path / "r.html", max_bytes=700_000)
    page = (tmp_path / "r.html").read_text()
    assert len(items) == 152
    assert len(page.encode()) <= 700_000
    assert re.search(r"Pictures of \d+ of 151 captures fit", page)
    passed = re.search(r'<tr data-outcome="passed through">.*?</tr>', page, re.DOTALL).group(0)
    assert passed.count("<img") == 2
    assert "not a JPEG" in page


def test_each_capture_of_a_batch_has_its_page(run_folder, tmp_path):
    write_report(run_folder / "run.jsonl", tmp_path / "r.html", each=tmp_path / "pages")
    page = (tmp_path / "r.html").read_text()
    links = re.findall(r'<a href="(pages/[^"]*)"', page)
    assert len(links) == 4
    assert all((tmp_path / link).is_file() for link in links)
    # The one that failed has no pictures, and says so.
    assert "There is no restored picture to show" in (tmp_path / links[3]).read_text()


def test_names_of_any_bytes_and_length_have_their_page(run_folder, tmp_path):
    """They had ended the report with a UnicodeEncodeError, or with links that led nowhere."""
    line = json.loads((run_folder / "run.jsonl").read_text().splitlines()[0])
    names = ["bad\udcff.jpg", "50%20 #1?.jpg", "l" * 240 + ".jpg"]
    path = tmp_path / "run.jsonl"
    path.write_text(
        "".join(json.dumps({**line, "source": n, "output": f"out/{n}"}) + "\n" for n in names)
    )
    write_report(path, tmp_path / "r.html", each=tmp_path / "pages")
    page = (tmp_path / "r.html").read_text("utf-8")
    links = re.findall(r'href="(pages/[^"]*)"', page)
    assert len(links) == 3
    for link in links:
        assert (tmp_path / unquote(link)).is_file()
    assert "bad\\udcff.jpg" in page


def test_a_record_s_covariance_is_shown_and_another_s_is_refused(one_report, tmp_path):
    psf = PSF.defocus(2.5)
    covariance = np.diag([0.05**2, 1e-6, 0.0, 0.0])
    save_record(tmp_path / "lens.json", psf, covariance=covariance)
    write_report(one_report, tmp_path / "r.html", psf=tmp_path / "lens.json")
    page = html.unescape((tmp_path / "r.html").read_text())
    assert "it holds the PSF's uncertainty" in page
    save_record(tmp_path / "other.json", PSF.defocus(3.0))
    with pytest.raises(PsfError, match="give the record that was used"):
        write_report(one_report, tmp_path / "s.html", psf=tmp_path / "other.json")


def test_a_report_is_never_replaced_unasked(one_report, tmp_path):
    (tmp_path / "r.html").write_text("mine")
    with pytest.raises(OutputExistsError):
        write_report(one_report, tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text() == "mine"


def test_a_report_never_replaces_what_it_is_about(run_folder, tmp_path):
    copied = shutil.copytree(run_folder, tmp_path / "run")
    lines = [json.loads(line) for line in (copied / "run.jsonl").read_text().splitlines()]
    for line in lines:
        line["source"] = line["source"].replace(str(run_folder), str(copied))
    (copied / "run.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name in ("run.jsonl", "captures/scene_1.jpg"):
        before = (copied / name).read_bytes()
        with pytest.raises(OptionsError, match="other than what it reports on"):
            write_report(copied / "run.jsonl", copied / name, overwrite=True)
        assert (copied / name).read_bytes() == before


def test_too_small_a_budget_is_refused_by_its_name(one_report, tmp_path):
    with pytest.raises(OptionsError, match="max_bytes"):
        write_report(one_report, tmp_path / "r.html", max_bytes=1000)


def test_the_command_writes_a_report(run_folder, tmp_path, capsys):
    target = tmp_path / "r.html"
    assert main(["report", str(run_folder / "run.jsonl"), "-o", str(target)]) == 0
    assert "4 captures" in target.read_text()
    assert main(["report", str(run_folder / "run.jsonl"), "-o", str(target)]) == 7
    assert main(["report", str(tmp_path), "-o", str(tmp_path / "s.html")]) == 3
    assert "no run to report on" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(1, 1), (7, 10), (48, 64)])
def test_a_map_of_blocks_survives_its_json(shape):
    mask = np.random.default_rng(7).integers(0, 3, shape).astype(np.uint8)
    stored = json.loads(json.dumps({"blocks": run_lengths(mask)}))
    assert np.array_equal(block_map(stored), mask)
    assert block_map({"blocks": run_lengths(None)}) is None


def test_a_damaged_map_of_blocks_is_left_out():
    assert block_map({"blocks": {"rows": 2, "columns": 2, "runs": [[0, 3]]}}) is None
    assert block_map({"blocks": [1, 2]}) is None
