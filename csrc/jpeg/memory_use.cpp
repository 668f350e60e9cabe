#include "jpeg/memory_use.h"

#include <algorithm>

namespace imagine_deblur::jpeg_internal {
namespace {

constexpr std::int64_t kFixedBytes = 256 << 10;  // tables, state and the pools' slack

constexpr std::int64_t ceil_divide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

MemoryUse memory_use(std::int64_t rows, std::int64_t columns, const Sampling* sampling,
                     int components, bool whole_frame) noexcept {
  std::int64_t most_horizontal = 1;
  std::int64_t most_vertical = 1;
  for (int c = 0; c < components; ++c) {
    most_horizontal = std::max<std::int64_t>(most_horizontal, sampling[c].horizontal);
    most_vertical = std::max<std::int64_t>(most_vertical, sampling[c].vertical);
  }
  const std::int64_t units_across = ceil_divide(columns, most_horizontal * DCTSIZE);
  const std::int64_t units_down = ceil_divide(rows, most_vertical * DCTSIZE);
  MemoryUse use;
  use.rows = kFixedBytes;
  for (int c = 0; c < components; ++c) {
    const std::int64_t blocks_across = units_across * sampling[c].horizontal;
    const std::int64_t blocks_down = units_down * sampling[c].vertical;
    if (whole_frame) {
      use.coefficients +=
          blocks_across * blocks_down * DCTSIZE2 * static_cast<std::int64_t>(sizeof(JCOEF));
    }
    // Two block rows of samples (one with its context above and below), then the rows of a group
    // at full width before and after the colour conversion.
    use.rows += blocks_across * DCTSIZE * sampling[c].vertical * DCTSIZE * 2;
    use.rows += units_across * most_horizontal * DCTSIZE * most_vertical * 4;
  }
  return use;
}

}  // namespace imagine_deblur::jpeg_internal
