// A plane of which only some rows are in memory.
#pragma once

#include <cstddef>

#include "base/image_view.h"
#include "memory/assertion.h"

namespace imagine_deblur {

// Rows [first_row, first_row + view.rows) of a plane that has `frame_rows` rows and view.columns
// columns. A whole plane in memory has first_row 0 and frame_rows == view.rows. Does not own.
struct PlaneWindow {
  PlaneView view;
  int first_row = 0;
  int frame_rows = 0;

  // A row by its number in the frame. Asking for one that is not in memory is our own mistake and
  // ends the program.
  std::byte* frame_row(int row) const {
    ensure(row >= first_row && row - first_row < view.rows, "a row that is not in memory");
    return view.row(row - first_row);
  }
};

// The window that is the whole plane.
inline PlaneWindow whole_plane(const PlaneView& view) noexcept { return {view, 0, view.rows}; }

}  // namespace imagine_deblur
