"""Pictures of a PSF: what is drawn, and that files come out."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagine_deblur.cli import main
from imagine_deblur.degradation.forward import blur, jpeg_encode, quantise
from imagine_deblur.errors import PsfError
from imagine_deblur.psf import PSF, Disk, Gaussian, plots
from imagine_deblur.psf.record import Record, save_record
from synthetic import natural

pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")


def lens(tmp_path: Path, error: float = 0.05) -> Path:
    path = tmp_path / "lens.json"
    curve = {
        "frequency": [0.05, 0.1, 0.2],
        "transfer": [0.8, 0.4, -0.05],
        "standard_error": [0.01, 0.01, 0.02],
    }
    save_record(
        path,
        PSF.defocus(3.0),
        covariance=np.diag([error**2, error**2]),
        parameters=("components[0].radius_px", "components[1].sigma_px"),
        gsd_m=39.0,
        provenance={"calibration": {"curve": curve}},
    )
    return path


def test_the_band_follows_the_covariance() -> None:
    psf = PSF.defocus(3.0)
    names = ("components[0].radius_px", "components[1].sigma_px")
    sharp = plots.mtf_band(Record(psf))
    np.testing.assert_array_equal(sharp.low, sharp.high)
    np.testing.assert_allclose(sharp.value, psf.mtf(sharp.frequency))
    band = plots.mtf_band(Record(psf, np.diag([0.1**2, 1e-12]), names))
    assert np.all(band.low <= band.high)
    at = int(np.argmin(np.abs(band.frequency - 0.1)))
    # First order: 1.645 standard errors of the radius on either side.
    slope = (PSF.defocus(3.01).mtf(0.1) - PSF.defocus(2.99).mtf(0.1)) / 0.02
    expected = 2 * 1.645 * 0.1 * abs(float(slope))
    assert band.high[at] - band.low[at] == pytest.approx(expected, rel=0.15)


def test_draws_outside_a_parameters_range_are_clipped() -> None:
    record = Record(
        PSF((Disk(2.0), Gaussian(0.1, 0.95, 10.0))),
        np.diag([0.1, 0.2, 0.2]),
        ("components[0].radius_px", "components[1].sigma_px", "components[1].axis_ratio"),
    )
    band = plots.mtf_band(record)
    assert np.isfinite(band.low).all()
    assert band.high.max() <= 1.0 + 1e-9


def test_a_spectrum_shows_what_blur_took_away() -> None:
    scene = natural(300, 400, 2)
    psf = PSF((Gaussian(1.5),))
    sharp, soft = plots.power_spectrum(scene), plots.power_spectrum(blur(scene, psf))
    at = int(np.argmin(np.abs(sharp.frequency - 0.15)))
    lost = 20 * np.log10(float(psf.mtf(sharp.frequency[at])))
    # Both are 0 dB at low frequencies, where this blur takes 0.1 dB.
    assert soft.power_db[at] - sharp.power_db[at] == pytest.approx(lost, abs=1.0)
    low = (sharp.frequency > 0.01) & (sharp.frequency < 0.04)
    assert sharp.power_db[low].mean() == pytest.approx(0.0, abs=0.5)
    twice = plots.power_spectrum(scene, 2.0)
    np.testing.assert_allclose(twice.frequency, 2 * sharp.frequency)
    with pytest.raises(PsfError, match="too small"):
        plots.power_spectrum(scene[:20, :20])


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_record_is_drawn(tmp_path: Path, ending: str) -> None:
    output = tmp_path / f"lens.{ending}"
    plots.plot_record(lens(tmp_path), output)
    data = output.read_bytes()
    if ending == "png":
        with Image.open(io.BytesIO(data)) as picture:
            assert min(picture.size) > 300
            assert np.asarray(picture.convert("L")).std() > 10
    else:
        assert b"<svg" in data


def test_spectra_are_drawn_beside_it(tmp_path: Path) -> None:
    pytest.importorskip("rasterio", reason="the extra [geo] is not installed")
    scene = natural(600, 800, 2)
    before, after = tmp_path / "before.jpg", tmp_path / "after.jpg"
    before.write_bytes(jpeg_encode(quantise(blur(scene, PSF.defocus(3.0))), 90))
    after.write_bytes(jpeg_encode(quantise(scene), 95))
    reference = tmp_path / "reference.png"
    Image.fromarray(quantise(scene)).save(reference)
    plain, full = tmp_path / "plain.png", tmp_path / "full.png"
    plots.plot_record("disk:3", plain)
    shown = ["--before", str(before), "--after", str(after), "--reference", str(reference)]
    assert main(["psf", "show", str(lens(tmp_path)), "-o", str(full), *shown]) == 0
    with Image.open(plain) as one, Image.open(full) as two:
        assert two.size[1] > 1.5 * one.size[1]


def test_what_is_no_psf_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PsfError):
        plots.plot_record("absent.json", tmp_path / "x.png")


def test_a_missing_matplotlib_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'imagine-deblur\[plot\]'"):
        plots.plot_record(lens(tmp_path), tmp_path / "x.png")
