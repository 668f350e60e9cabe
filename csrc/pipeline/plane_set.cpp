#include "pipeline/plane_set.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace imagine_deblur {

PlaneSet::PlaneSet(BufferPool& pool, const char* name, int count, Most most,
                   const FrameShape& shape, SampleType type)
    : stride_(static_cast<std::ptrdiff_t>(most.columns) *
              static_cast<std::ptrdiff_t>(sample_bytes(type))) {
  for (int i = 0; i < count; ++i) {
    leases_.push_back(
        pool.lease(name + std::to_string(i),
                   static_cast<std::size_t>(stride_) * static_cast<std::size_t>(most.rows)));
    windows_.push_back({PlaneView{leases_.back().data(), type, most.rows, most.columns, stride_}, 0,
                        shape.rows, 0, shape.columns});
  }
}

void PlaneSet::show(RowRange rows) {
  dropped_ = 0;
  for (PlaneWindow& window : windows_) {
    window.first_row = rows.first;
    window.view.rows = rows.size();
  }
}

void PlaneSet::show_columns(RowRange columns) {
  for (PlaneWindow& window : windows_) {
    window.first_column = columns.first;
    window.view.columns = columns.size();
  }
}

void PlaneSet::drop_above(BufferPool& pool, int row) {
  if (windows_.empty()) return;
  const PlaneWindow& window = windows_.front();
  const int rows = std::clamp(row - window.first_row, 0, window.view.rows);
  std::size_t end = static_cast<std::size_t>(stride_) * static_cast<std::size_t>(rows);
  end -= end % page_bytes();  // the rest goes with the next rows
  if (end <= dropped_) return;
  for (const Lease& lease : leases_) pool.advise_dropped(lease, dropped_, end - dropped_);
  dropped_ = end;
}

void PlaneSet::slide(RowRange rows) {
  for (PlaneWindow& window : windows_) {
    const int kept = window.first_row + window.view.rows - rows.first;
    if (kept > 0 && rows.first > window.first_row) {
      std::memmove(window.view.data, window.frame_row(rows.first),
                   static_cast<std::size_t>(kept) * static_cast<std::size_t>(stride_));
    }
  }
  show(rows);
}

PlaneWindow part_of(PlaneWindow window, RowRange columns) {
  window.view.data = window.view.sample(0, columns.first - window.first_column);
  window.view.columns = columns.size();
  window.first_column = columns.first;
  return window;
}

}  // namespace imagine_deblur
