#include "linear/sizes.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "tiling/reflect.h"

namespace imagine_deblur::linear {
namespace {

const Size& checked(const Size& size) {
  if (size.rows < 1 || size.columns < 1 || size.padded_rows < size.rows ||
      size.padded_columns < size.columns || size.padded_columns % 2 != 0) {
    throw Error(ErrorKind::kOptions, "padded sizes that do not hold the plane", {.field = "size"});
  }
  return size;
}

std::size_t floats_of(int blocks, int rows) noexcept {
  // Sixteen rows are read at a time, also where fewer are left: hence the end.
  return static_cast<std::size_t>(blocks) * static_cast<std::size_t>(rows) * fft::kElement +
         static_cast<std::size_t>(fft::kLines) * fft::kElement;
}

}  // namespace

Extension::Extension(int count, int length) : samples(count) {
  const int extra = length - count;
  for (int i = 0; i < extra; ++i) {
    ahead.push_back(reflect(count + i, count));
    behind.push_back(reflect(i - extra, count));
    const double middle = std::clamp(2.0 * (i + 1) / (extra + 1) - 0.5, 0.0, 1.0);
    fade.push_back(static_cast<float>(0.5 - 0.5 * std::cos(std::numbers::pi * middle)));
  }
}

PlaneSizes::PlaneSizes(const Size& size)
    : size_(checked(size)),
      kernels_(fft::best_kernels()),
      row_plan_(size.padded_columns / 2, kernels_.widest_radix),
      column_plan_(size.padded_rows, kernels_.widest_radix),
      row_axis_(size.columns, size.padded_columns),
      column_axis_(size.rows, size.padded_rows) {
  for (int k = 0; k < size.padded_rows; ++k) {
    const int folded = std::min(k, size.padded_rows - k);
    const float f = static_cast<float>(static_cast<double>(folded) / size.padded_rows);
    row_squared_.push_back(f * f);
  }
  for (int k = 0; k < blocks() * fft::kLines; ++k) {
    const float f = static_cast<float>(static_cast<double>(k) / size.padded_columns);
    column_squared_.push_back(f * f);
  }
}

std::size_t PlaneSizes::spectrum_floats(int rows) const noexcept {
  return floats_of(blocks(), rows);
}

std::size_t scratch_bytes(const Size& size) noexcept {
  const int blocks = spectrum_blocks(size.padded_columns);
  return sizeof(float) * (floats_of(blocks, size.padded_rows) + floats_of(blocks, size.rows));
}

std::size_t worker_bytes(const Size& size) noexcept {
  const std::size_t elements =
      static_cast<std::size_t>(spectrum_blocks(size.padded_columns)) * fft::kLines;
  const std::size_t rows =
      elements * fft::kElement + static_cast<std::size_t>(size.padded_columns) * fft::kLines;
  const std::size_t columns = static_cast<std::size_t>(size.padded_rows) * fft::kElement;
  return sizeof(float) * std::max(rows, columns);
}

}  // namespace imagine_deblur::linear
