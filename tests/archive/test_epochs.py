"""One PSF for each instrument and epoch: drift is found, what stands out is put aside."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from imagine_deblur.archive.epochs import OUTLIER, calibrate
from imagine_deblur.archive.item import Item
from imagine_deblur.archive.looking import Look, look
from imagine_deblur.cli import main
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.errors import OptionsError
from imagine_deblur.psf.estimation.estimator import summary_of
from imagine_deblur.psf.estimation.quantisation_table import table_scalars
from imagine_deblur.psf.models import PSF
from imagine_deblur.psf.record import load_record
from jpegkit import jpeg
from synthetic import natural

_START = datetime(2024, 1, 15, tzinfo=UTC)


def seen(radius: float, number: int, time: datetime | None = None, instrument: str = "eye") -> Look:
    """A capture of a defocus, as a worker tells of it."""
    image = degrade(
        natural(320, 384, seed=number), PSF.defocus(radius), noise=0.002,
        rng=np.random.default_rng(number),
    )  # fmt: skip
    table = table_scalars(None, known=False)
    return Look(f"{instrument}{number}.jpg", time, instrument, summary_of(image), table)


@pytest.fixture(scope="module")
def drifting() -> list[Look]:
    """Four months in which a radius grows from 3 to 4.5 px; one capture is far out of focus."""
    looks = []
    for month, radius in enumerate((3.0, 3.5, 4.0, 4.5)):
        for k in range(4):
            time = _START + timedelta(days=30 * month + k)
            looks.append(seen(radius, 10 * month + k, time))
    looks.append(seen(8.0, 77, _START + timedelta(days=5)))
    return looks


def test_epochs_follow_the_lens(drifting):
    found = calibrate(drifting, "month")
    assert [epoch.name for epoch in found.epochs] == ["2024-01", "2024-02", "2024-03", "2024-04"]
    for epoch, radius in zip(found.epochs, (3.0, 3.5, 4.0, 4.5), strict=True):
        assert epoch.joint is not None
        width = np.hypot(radius / 2, 0.5)
        assert epoch.joint.width_px == pytest.approx(width, abs=3 * epoch.joint.width_se + 0.05)
        assert epoch.joint.captures == 4


def test_the_drift_is_found(drifting):
    drift = calibrate(drifting, "month").drifts["eye"]
    expected = (np.hypot(4.5 / 2, 0.5) - np.hypot(3.0 / 2, 0.5)) / (90 / 365.25)
    assert drift.per_year == pytest.approx(expected, abs=3 * drift.standard_error)
    assert drift.per_year > 3 * drift.standard_error


def test_what_stands_out_is_named_and_put_aside(drifting):
    (january, *others) = calibrate(drifting, "month").epochs
    assert [c.source for c in january.captures if c.outlier] == ["eye77.jpg"]
    assert "deviations from the others'" in next(c.outlier for c in january.captures if c.outlier)
    assert OUTLIER == 4.0
    assert not any(c.outlier for epoch in others for c in epoch.captures)


def test_one_epoch_of_two_lenses_has_no_psf():
    times = [_START + timedelta(hours=k) for k in range(6)]
    looks = [seen(2.0 if k % 2 else 7.0, k, time) for k, time in enumerate(times)]
    (epoch,) = calibrate(looks, "day").epochs
    assert epoch.joint is None
    assert "blurs differ" in epoch.refused


def test_instruments_and_undated_captures_are_kept_apart():
    looks = [seen(3.0, k, _START, f"eye{k % 2}") for k in range(4)]
    looks += [seen(3.0, 5), Look("broken.jpg", refused="not a JPEG")]
    found = calibrate(looks, "all").epochs
    assert [(epoch.instrument, len(epoch.captures)) for epoch in found] == [
        ("eye", 1), ("eye0", 2), ("eye1", 2), ("unknown", 1),
    ]  # fmt: skip
    assert [epoch.name for epoch in calibrate(looks[4:5], "day").epochs] == ["undated"]
    assert found[-1].refused == "no capture tells its blur"
    assert found[-1].captures[0].outlier == "not a JPEG"


def test_an_unknown_length_of_epochs():
    with pytest.raises(OptionsError, match="hour, day, week"):
        calibrate([], "fortnight")


def test_a_look_tells_what_is_wrong(tmp_path):
    pytest.importorskip("rasterio")
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    told = look(Item(str(tmp_path / "a.jpg"), "a.jpg"), 1.0)
    assert told.summary is None
    assert told.refused


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Six captures of three months, dated by their STAC items."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for month in range(3):
        for k in range(2):
            name = f"m{month}_{k}"
            image = degrade(
                natural(320, 384, seed=10 * month + k), PSF.defocus(3.0 + month / 2), noise=0.002,
                rng=np.random.default_rng(k),
            )  # fmt: skip
            (folder / f"{name}.jpg").write_bytes(jpeg(image, 97))
            item = {
                "type": "Feature", "stac_version": "1.0.0", "id": name, "geometry": None,
                "properties": {"datetime": f"2024-0{month + 1}-10T10:0{k}:00Z",
                               "platform": "sat", "instruments": ["eye"]},
                "links": [],
                "assets": {"data": {"href": f"./{name}.jpg", "type": "image/jpeg"}},
            }  # fmt: skip
            (folder / f"{name}.json").write_text(json.dumps(item))
    return folder


def test_the_command_writes_records_plots_and_an_index(archive, tmp_path, capsys):
    pytest.importorskip("pystac")
    pytest.importorskip("rasterio")
    pytest.importorskip("matplotlib")
    out = tmp_path / "psfs"
    asked = ["psf", "archive", f"{archive}/*.json", "-o", str(out), "--workers", "1"]
    assert main(asked) == 0
    printed = capsys.readouterr().out
    assert printed.count("2 of 2 captures") == 3
    index = json.loads((out / "epochs.json").read_text())
    assert [entry["epoch"] for entry in index["epochs"]] == ["2024-01", "2024-02", "2024-03"]
    widths = []
    for entry in index["epochs"]:
        record = load_record(out / entry["record"])
        assert record.distribution is not None
        assert len(record.provenance["captures"]) == 2
        widths.append(entry["estimate"]["width_px"])
    assert widths == sorted(widths)
    assert index["drifts"]["sat eye"]["width_px_per_year"] > 0
    assert (out / "drift_sat_eye.svg").read_text().count("<svg") == 1
    assert main(asked) == 7  # nothing is replaced unasked
    assert main([*asked, "--overwrite", "--json"]) == 0


def test_a_broken_link_is_named_and_gives_the_exit_code(archive, tmp_path, capsys):
    pytest.importorskip("pystac")
    links = [{"rel": "item", "href": f"./{name}.json"} for name in ("m0_0", "m0_1", "gone")]
    head = {"type": "Catalog", "stac_version": "1.0.0", "id": "all", "description": "all"}
    (archive / "catalog.json").write_text(json.dumps(head | {"links": links}))
    asked = ["psf", "archive", str(archive / "catalog.json"), "-o", str(tmp_path / "psfs")]
    assert main([*asked, "--workers", "1"]) == 3
    told = capsys.readouterr()
    assert "2 of 2 captures" in told.out
    assert "gone.json: No such file or directory" in told.err
