"""No dark rims round bright things: restored clouds on dark ground."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from imagine_deblur import Session, _core
from imagine_deblur.degradation.forward import blur, quantise
from imagine_deblur.psf import PSF, Disk
from imagine_deblur.support.scene import synthetic_scene

TRUE, WIDE = PSF((Disk(4.0),)), PSF((Disk(4.25),))


def distances(rows: int, columns: int) -> NDArray[np.float64]:
    """Of every pixel from the nearest of the clouds' centres, px."""
    row, column = np.mgrid[:rows, :columns]
    far = np.full((rows, columns), np.inf)
    for place in np.random.default_rng(4).uniform(30, min(rows, columns) - 30, (12, 2)):
        far = np.minimum(far, np.hypot(row - place[0], column - place[1]))
    return far


def cloudy(far: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round clouds on dark ground."""
    ground = 0.1 + 0.3 * synthetic_scene(*far.shape, seed=3)
    return np.where((far < 6)[..., None], 0.95, ground).astype(np.float32)


def test_clouds_keep_no_dark_rim(monkeypatch: pytest.MonkeyPatch) -> None:
    far = distances(384, 384)
    scene = cloudy(far)
    capture = quantise(blur(scene, TRUE))
    with Session(model="fast", psf=WIDE, nsr=3e-4, threads=1) as session:
        lifted = np.asarray(session.restore(capture)).astype(int)
        monkeypatch.setattr(_core, "lift_rims", lambda *planes, **places: None)
        plain = np.asarray(session.restore(capture)).astype(int)
    lift = lifted - plain
    assert lift.min() >= 0
    assert np.quantile(lift[(far > 9) & (far < 16)], 0.95) >= 4
    assert lift[far > 30].mean() < 0.1
    rounded = 255 * scene
    assert np.abs(lifted - rounded).mean() < np.abs(plain - rounded).mean()


def test_rows_and_columns_beside_the_capture_are_refused() -> None:
    plane = np.zeros((30, 40), np.uint8)
    workers = _core.WorkerPool(1)

    def lift(first: int, columns: tuple[int, int], rows: int = 10) -> None:
        _core.lift_rims(
            workers, capture=[plane], restored=[np.zeros((rows, 40), np.uint8)],
            restored_first=first, columns=columns,
        )  # fmt: skip

    lift(20, (0, 40))
    for first, columns in ((21, (0, 40)), (-1, (0, 40)), (0, (0, 41)), (0, (5, 5))):
        with pytest.raises(ValueError, match="capture"):
            lift(first, columns)
