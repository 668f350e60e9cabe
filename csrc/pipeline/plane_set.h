// The planes of one kind that a frame in the works holds.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "memory/buffer_pool.h"
#include "pipeline/frame_io.h"
#include "tiling/plane_window.h"

namespace imagine_deblur {

// Planes of equal size in leases of their own, showing some rows and columns of a frame.
class PlaneSet {
 public:
  // The largest part of a frame that is shown.
  struct Most {
    int rows;
    int columns;
  };

  PlaneSet(BufferPool& pool, const char* name, int count, Most most, const FrameShape& shape,
           SampleType type);

  std::span<const PlaneWindow> windows() const { return windows_; }

  // From now on the planes show `rows`, nothing of which was dropped.
  void show(RowRange rows);
  void show_columns(RowRange columns);

  // What the planes hold of rows above `row` is dead.
  void drop_above(BufferPool& pool, int row);

  // As show(), keeping the content of the rows that are shown before and after.
  void slide(RowRange rows);

 private:
  std::ptrdiff_t stride_;
  std::size_t dropped_ = 0;  // bytes of each plane
  std::vector<Lease> leases_;
  std::vector<PlaneWindow> windows_;
};

// Some columns of a plane.
PlaneWindow part_of(PlaneWindow window, RowRange columns);

}  // namespace imagine_deblur
