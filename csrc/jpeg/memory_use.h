// How much memory libjpeg takes for a picture, from the geometry of its components. Internal to
// csrc/jpeg.
#pragma once

#include <cstdint>

#include "jpeg/guard.h"

namespace imagine_deblur::jpeg_internal {

struct MemoryUse {
  std::int64_t coefficients = 0;  // 2 bytes a DCT coefficient of the frame; 0 where not held
  std::int64_t rows = 0;          // row groups, pools and tables, an upper estimate

  std::int64_t total() const noexcept { return coefficients + rows; }
};

// `whole_frame`: a progressive or multi-scan file, or an encoder that makes a progressive or
// optimised one. `sampling` holds the components' horizontal and vertical factors.
struct Sampling {
  int horizontal = 1;
  int vertical = 1;
};
MemoryUse memory_use(std::int64_t rows, std::int64_t columns, const Sampling* sampling,
                     int components, bool whole_frame) noexcept;

}  // namespace imagine_deblur::jpeg_internal
