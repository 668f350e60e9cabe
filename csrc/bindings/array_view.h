// ndarray -> view, with the checks; the only place that reads strides.
//
// Frames cross as (rows, columns) or (rows, columns, 3) arrays of uint8 or float32, C-contiguous.
#pragma once

#include <pybind11/numpy.h>

#include "pipeline/frame_io.h"

namespace imagine_deblur {

// A frame to read. Throws Error (kInputImage) for another shape, dtype or layout, naming the
// conversion to use.
InterleavedView read_only_frame(const pybind11::array& array);

// A frame to fill; also refuses read-only arrays and frames of another shape or dtype.
InterleavedView writable_frame(pybind11::array& array, const FrameShape& shape);

// A plane of (rows, columns) uint8, int16 or float32 whose samples lie side by side; the rows may
// be apart. Throws Error (kOptions) for any other array.
PlaneView plane_view(const pybind11::array& array);

// A plane as an ndarray of (rows, columns) that keeps `owner` alive.
pybind11::array plane_array(const PlaneView& plane, const pybind11::object& owner);

}  // namespace imagine_deblur
