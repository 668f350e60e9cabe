"""A region of an image, with the rest as context, is what the whole would hold there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imagine_deblur import Session
from imagine_deblur.degradation.forward import degrade
from imagine_deblur.engines.model import bundled_models
from imagine_deblur.errors import OptionsError
from imagine_deblur.psf.models import PSF
from synthetic import natural


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("model", ["wiener", "identity", "callable", "fast"])
def test_a_region_is_what_the_whole_holds_there(dtype, model):
    if model == "fast" and "fast" not in bundled_models():
        pytest.skip("no network in this installation")
    sharp = natural(300, 340, seed=11)
    image = degrade(sharp, PSF.defocus(2.0), noise=0.004, rng=np.random.default_rng(2))
    full = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    frame = np.ascontiguousarray(image.astype(np.float64) / 255 * full).astype(dtype)
    region = slice(97, 180), slice(64, 203)
    chosen: Any = (lambda tile: tile * np.float32(0.5)) if model == "callable" else model
    with Session(psf="disk:2", nsr=0.02, model=chosen, threads=1, tile=128) as session:
        whole, everything = session.restore_with_report(frame)
        part, report = session.restore_with_report(frame, region=region)
        out = np.empty_like(part)
        again, _ = session.restore_with_report(frame, region=region, out=out)
    # Tiles lie elsewhere, so that a network's sums may end in another last bit, and a few 8-bit
    # samples at a half fall to the other side.
    apart = np.abs(part.astype(np.float64) - whole[region])
    assert apart.max() <= {"uint8": float(model == "fast"), "uint16": 1, "float32": 2e-5}[dtype]
    if dtype == "uint8":
        assert np.mean(apart > 0) < 1e-4
    assert again is out
    np.testing.assert_array_equal(out, part)
    assert (report.rows, report.columns) == (83, 139)
    assert report.block_map is not None
    assert report.block_map.shape == (3, 5)
    if model == "fast":
        assert report.tiles < everything.tiles


@pytest.mark.parametrize(
    "region", [(slice(0, 9), slice(0, 3)), (slice(2, 2), slice(0, 3)), (slice(None), slice(0, 3))]
)
def test_a_region_that_is_no_part_is_refused(region):
    with Session(psf="disk:2", model="identity") as session, pytest.raises(OptionsError):
        session.restore_with_report(np.zeros((8, 8), np.uint8), region=region)
