// From planes to the tile an engine reads: float32, band after band, reflected at the frame's edge.
#pragma once

#include <cstddef>
#include <span>

#include "base/rect.h"
#include "tiling/plane_window.h"

namespace imagine_deblur {

// One input band of an engine: value = sample - offset, where a sample is x / 255 for kUint8,
// x / 4096 for kFixed16 and x for kFloat32. The division is rounded correctly, so it is the same
// number that numpy computes.
struct TileInput {
  PlaneWindow plane;
  float offset = 0.0F;
};

// Fills read.rows() rows of read.columns() floats at `out`, rows `out_stride` floats apart, with
// the plane's samples under `read` (frame coordinates), reflected where it sticks out. The rows and
// columns it touches (reflected_range) must be in memory. Allocates nothing; any thread.
void gather_plane(const TileInput& input, const Rect& read, float* out, std::ptrdiff_t out_stride);

// All bands into one contiguous (bands, rows, columns) buffer.
void gather_tile(std::span<const TileInput> inputs, const Rect& read, float* chw);

}  // namespace imagine_deblur
