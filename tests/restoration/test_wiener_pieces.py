"""Wide frames run in pieces: same picture, bounded memory."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from imagine_deblur.degradation.forward import blur
from imagine_deblur.psf.models import PSF
from imagine_deblur.restoration import pieces as pieces_module
from imagine_deblur.restoration.pieces import BLOCK, cut_columns
from imagine_deblur.restoration.reblur_check import ReblurCheck
from imagine_deblur.restoration.stage import WienerStage
from imagine_deblur.restoration.wiener import WienerSpec
from synthetic import natural


@pytest.mark.parametrize("columns", [4097, 5000, 8192, 11648])
@pytest.mark.parametrize("margin", [0, 7, 263, 505])
def test_pieces_cover_the_columns_with_their_margin(columns: int, margin: int) -> None:
    pieces = cut_columns(columns, lambda: margin)
    assert len({piece.width for piece in pieces}) == 1
    written = 0
    for piece in pieces:
        assert piece.write.start == written
        assert piece.read.start % BLOCK == piece.write.start % BLOCK == 0
        assert piece.read.start <= max(0, piece.write.start - margin)
        assert min(columns, piece.write.stop + margin) <= piece.read.stop <= columns
        written = piece.write.stop
    assert written == columns


def test_pieces_give_the_picture_of_the_whole_width(monkeypatch: pytest.MonkeyPatch) -> None:
    psf = PSF.defocus(2.0, 0.5)
    image = np.round(255 * blur(natural(200, 700, seed=3), psf)).astype(np.uint8)

    def run(piece_columns: int) -> tuple[NDArray[np.int16], NDArray[np.uint8], int]:
        monkeypatch.setattr(pieces_module, "_PIECE_COLUMNS", piece_columns)
        stage = WienerStage(psf, WienerSpec(), reblur_check=ReblurCheck())
        rows = (0, image.shape[0])
        strip = SimpleNamespace(window=rows, planes=rows, finished=rows, frame_rows=rows[1])
        strip.capture = [np.ascontiguousarray(image[..., band]) for band in range(3)]
        strip.linear = [np.zeros(image.shape[:2], np.int16) for _ in range(5)]
        strip.restored = [plane.copy() for plane in strip.capture]
        strip.restored[1][80:110, 330:370] = 255  # an invention across the border of two pieces
        strip.scratch = np.zeros(stage.scratch_bytes(*image.shape), np.uint8)
        stage.restore(strip)
        replaced = stage.review(strip)
        return np.stack(strip.linear), np.stack(strip.restored), replaced

    linear, restored, replaced = run(4096)
    piece_linear, piece_restored, piece_replaced = run(350)
    assert replaced == piece_replaced > 0
    step = 4096 / 255
    assert np.abs(piece_linear[:3].astype(int) - linear[:3]).max() <= 0.25 * step
    assert np.abs(piece_linear.astype(int) - linear).max() <= step
    assert np.abs(piece_restored.astype(int) - restored).max() <= 1


def test_scratch_does_not_grow_with_the_width_of_the_frame() -> None:
    stage = WienerStage(PSF.defocus(2.0, 0.5), WienerSpec())
    assert stage.scratch_bytes(500, 40_000, 3) < 1.5 * stage.scratch_bytes(500, 4096, 3)
