"""Georeferenced and many-band images: what their samples mean, their windows, their metadata.

The payload path never comes here. rasterio, xarray and Dask (the extra ``[raster]``) are imported
where they are first used. How a window is restored is the session's business.
"""

from imagine_deblur.raster.margin import required_margin
from imagine_deblur.raster.report import RasterReport
from imagine_deblur.raster.restore import restore_raster

__all__ = ["RasterReport", "required_margin", "restore_raster"]
