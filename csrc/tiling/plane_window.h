// A plane of which only some rows and columns are in memory.
#pragma once

#include <cstddef>

#include "base/image_view.h"
#include "memory/assertion.h"

namespace imagine_deblur {

// Rows [first_row, first_row + view.rows) and columns [first_column, first_column + view.columns)
// of a plane that has `frame_rows` rows and `frame_columns` columns. Does not own.
struct PlaneWindow {
  PlaneView view;
  int first_row = 0;
  int frame_rows = 0;
  int first_column = 0;
  int frame_columns = 0;

  // A row by its number in the frame, from `first_column` on. Asking for one that is not in memory
  // is our own mistake and ends the program.
  std::byte* frame_row(int row) const {
    ensure(row >= first_row && row - first_row < view.rows, "a row that is not in memory");
    return view.row(row - first_row);
  }
};

// The window that is the whole plane.
inline PlaneWindow whole_plane(const PlaneView& view) noexcept {
  return {view, 0, view.rows, 0, view.columns};
}

}  // namespace imagine_deblur
