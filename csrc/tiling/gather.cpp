#include "tiling/gather.h"

#include <algorithm>
#include <cstdint>

#include "tiling/reflect.h"

namespace imagine_deblur {
namespace {

inline float sample_value(std::uint8_t x) noexcept { return static_cast<float>(x) / 255.0F; }
inline float sample_value(std::int16_t x) noexcept {
  return static_cast<float>(x) * (1.0F / kFixed16One);  // a power of two, so exact
}
inline float sample_value(float x) noexcept { return x; }

// Columns [left, right) of one row, which begins at column `first` of `columns`. The middle is
// contiguous and has no branch, so that the compiler can make vectors of it.
template <typename Sample>
void gather_row(const Sample* row, int first, int columns, int left, int right, float offset,
                float* out) {
  const int inside_first = std::clamp(0, left, right);
  const int inside_last = std::clamp(columns, inside_first, right);
  for (int c = left; c < inside_first; ++c) {
    *out++ = sample_value(row[reflect(c, columns) - first]) - offset;
  }
  const int inside = inside_last - inside_first;
  const Sample* from = row + (inside > 0 ? inside_first - first : 0);
  for (int i = 0; i < inside; ++i) out[i] = sample_value(from[i]) - offset;
  out += inside;
  for (int c = inside_last; c < right; ++c) {
    *out++ = sample_value(row[reflect(c, columns) - first]) - offset;
  }
}

template <typename Sample>
void gather_rows(const TileInput& input, const Rect& read, float* out, std::ptrdiff_t out_stride) {
  for (int r = read.top; r < read.bottom; ++r, out += out_stride) {
    const void* row = input.plane.frame_row(reflect(r, input.plane.frame_rows));
    gather_row(static_cast<const Sample*>(row), input.plane.first_column, input.plane.frame_columns,
               read.left, read.right, input.offset, out);
  }
}

}  // namespace

void gather_plane(const TileInput& input, const Rect& read, float* out, std::ptrdiff_t out_stride) {
  switch (input.plane.view.type) {
    case SampleType::kUint8:
      return gather_rows<std::uint8_t>(input, read, out, out_stride);
    case SampleType::kFixed16:
      return gather_rows<std::int16_t>(input, read, out, out_stride);
    case SampleType::kFloat32:
      return gather_rows<float>(input, read, out, out_stride);
  }
}

void gather_tile(std::span<const TileInput> inputs, const Rect& read, float* chw) {
  const std::ptrdiff_t plane = std::ptrdiff_t{read.rows()} * read.columns();
  for (const TileInput& input : inputs) {
    gather_plane(input, read, chw, read.columns());
    chw += plane;
  }
}

}  // namespace imagine_deblur
