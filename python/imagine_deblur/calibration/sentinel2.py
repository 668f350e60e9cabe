"""What is known about Sentinel-2's true-colour pictures: where they lie and how sharp they are."""

from __future__ import annotations

from pathlib import Path

from imagine_deblur.errors import CalibrationError

GSD_M = 10.0
"""Sampling of bands B02, B03 and B04 and of the true-colour image, metres per px."""

MTF_NYQUIST_RANGE = (0.15, 0.30)
"""Mission requirement on the MTF at Nyquist's frequency of the 10 m bands, along and across track
(ESA's system requirements; see the Sentinel-2 MSI technical guide and the data quality reports for
the values measured in orbit per band, which may be passed instead of `MTF_NYQUIST`)."""

MTF_NYQUIST = 0.22
"""Default: near the geometric mean of `MTF_NYQUIST_RANGE`. The effect of the whole range on a PSF
at 37-41 m per px is a few thousandths of a pixel and is counted in the covariance."""

_TCI_PATTERNS = (
    "GRANULE/*/IMG_DATA/R10m/*_TCI_10m.jp2",  # Level-2A
    "GRANULE/*/IMG_DATA/*_TCI.jp2",  # Level-1C
)
_BAND_PATTERNS = (
    "GRANULE/*/IMG_DATA/R10m/*_{band}_10m.jp2",
    "GRANULE/*/IMG_DATA/*_{band}.jp2",
)


def true_colour_files(safe: Path) -> tuple[Path, ...]:
    """The files holding red, green and blue of a SAFE folder.

    Returns
    -------
    tuple of Path
        One file with three bands (the true-colour image), or three with one band each (B04, B03,
        B02) where the product has no true-colour image.

    Raises
    ------
    CalibrationError
        The folder holds neither, or several granules.
    """
    for pattern in _TCI_PATTERNS:
        found = sorted(safe.glob(pattern))
        if len(found) > 1:
            raise CalibrationError(
                f"{safe}: {len(found)} granules; name the true-colour file of one of them"
            )
        if found:
            return (found[0],)
    for pattern in _BAND_PATTERNS:
        bands = [sorted(safe.glob(pattern.format(band=band))) for band in ("B04", "B03", "B02")]
        if all(len(files) == 1 for files in bands):
            return tuple(files[0] for files in bands)
    raise CalibrationError(f"{safe}: no true-colour image and no bands B04, B03, B02 at 10 m")
