// Integer rectangles, half open: rows [top, bottom), columns [left, right).
#pragma once

#include <algorithm>

namespace imagine_deblur {

struct Rect {
  int top = 0;
  int left = 0;
  int bottom = 0;
  int right = 0;

  constexpr int rows() const noexcept { return bottom - top; }
  constexpr int columns() const noexcept { return right - left; }
  constexpr bool empty() const noexcept { return bottom <= top || right <= left; }
  constexpr bool contains(const Rect& r) const noexcept {
    return r.top >= top && r.left >= left && r.bottom <= bottom && r.right <= right;
  }
  friend constexpr bool operator==(const Rect&, const Rect&) noexcept = default;
};

// The common part; empty (possibly with negative size) where there is none.
constexpr Rect intersect(const Rect& a, const Rect& b) noexcept {
  return {std::max(a.top, b.top), std::max(a.left, b.left), std::min(a.bottom, b.bottom),
          std::min(a.right, b.right)};
}

// Grown by `rows` above and below and `columns` left and right.
constexpr Rect grow(const Rect& r, int rows, int columns) noexcept {
  return {r.top - rows, r.left - columns, r.bottom + rows, r.right + columns};
}

}  // namespace imagine_deblur
