"""A grid of PSFs: weights, records, and restoration of a blur that differs over the frame."""

from __future__ import annotations

import json

import numpy as np
import pytest

import imagine_deblur
import synthetic
from imagine_deblur.degradation.forward import blur
from imagine_deblur.errors import PassedThroughWarning, PsfError
from imagine_deblur.evaluation.metrics.fidelity import psnr
from imagine_deblur.psf.field import PsfField, load_field, save_field
from imagine_deblur.psf.models import PSF


def off_axis_field():
    sharp, soft = PSF.defocus(1.5), PSF.defocus(4.5)
    return PsfField(((sharp, soft),))


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 3), (4, 2)])
def test_weights_are_a_partition_of_unity(rows, columns):
    field = PsfField(((PSF.defocus(2.0),) * columns,) * rows)
    total = np.zeros((37, 53), np.float32)
    for row, column, _ in field.cells:
        total += field.row_weights(row, 37, np.arange(37))[:, None] * field.column_weights(
            column, 53
        )
    np.testing.assert_allclose(total, 1.0, atol=1e-6)


def test_equal_cells_restore_as_one_psf():
    image = synthetic.natural(90, 120, seed=1)
    psf = PSF.defocus(3.0)
    one = imagine_deblur.restore(image, psf=psf, model="wiener", nsr=1e-2)
    field = PsfField(((psf, psf), (psf, psf)))
    many = imagine_deblur.restore(image, psf=field, model="wiener", nsr=1e-2)
    np.testing.assert_allclose(many, one, atol=1e-5)


def test_a_field_restores_a_varying_blur_better_than_any_one_psf():
    # The truth changes in 16 steps, the field knows 6 of them.
    sharp = synthetic.natural(160, 480, seed=2)
    fine = PsfField((tuple(PSF.defocus(r) for r in np.linspace(2.0, 5.0, 16)),))
    blurred = np.zeros_like(sharp)
    for _, column, psf in fine.cells:
        blurred += blur(sharp, psf) * fine.column_weights(column, 480)[:, None]
    capture = np.rint(np.clip(blurred, 0, 1) * 255).astype(np.uint8)

    def score(psf):
        options = {"model": "wiener", "nsr": 1e-2, "reblur_check": False}
        restored = imagine_deblur.restore(capture, psf=psf, **options)
        return psnr(restored.astype(np.float32) / np.float32(255), sharp)

    radii = 2.0 + 3.0 * (np.arange(6) + 0.5) / 6
    field = PsfField((tuple(PSF.defocus(r) for r in radii),))
    assert score(field) > max(score(PSF.defocus(r)) for r in (2.5, 3.0, 3.5, 4.0)) + 1.0


def test_a_network_is_guarded_with_the_nearest_psf():
    image = (synthetic.natural(128, 160, seed=4) * 255).astype(np.uint8)
    with pytest.warns(PassedThroughWarning, match="blurred again"):  # it is still blurred
        restored = imagine_deblur.restore(image, psf=off_axis_field(), model=lambda tile: tile)
    np.testing.assert_array_equal(restored, image)


def test_record_round_trip_and_damage(tmp_path):
    path = tmp_path / "field.json"
    field = off_axis_field()
    save_field(path, field)
    assert load_field(path) == field
    values = json.loads(path.read_text())
    values["grid"][0][0]["components"][0]["radius_px"] = 9.0
    path.write_text(json.dumps(values))
    with pytest.raises(PsfError, match="damaged"):
        load_field(path)


@pytest.mark.parametrize("grid", [(), ((),), ((PSF(), PSF()), (PSF(),)), ((PSF(),) * 65,)])
def test_impossible_grids_are_refused(grid):
    with pytest.raises(PsfError):
        PsfField(grid)
