// Reflection of coordinates into the frame, as numpy.pad(mode="reflect") does it: the edge sample
// is not repeated. Reads farther out than the frame is wide reflect again and again; a frame of one
// sample is constant.
#pragma once

#include "tiling/tile_plan.h"

namespace imagine_deblur {

// The sample in [0, size) that coordinate `i` shows. `size` is positive.
constexpr int reflect(int i, int size) noexcept {
  if (i >= 0 && i < size) return i;
  if (size == 1) return 0;
  const int period = 2 * (size - 1);
  int folded = i % period;
  if (folded < 0) folded += period;
  return folded < size ? folded : period - folded;
}

// The smallest range of samples that shows everything in `range` after reflection.
constexpr RowRange reflected_range(RowRange range, int size) noexcept {
  if (range.first >= 0 && range.last <= size) return range;
  // A fold shows both of its sides, so beyond the ends only the corner samples matter.
  RowRange seen{size, 0};
  const auto see = [&seen](int sample) {
    if (sample < seen.first) seen.first = sample;
    if (sample >= seen.last) seen.last = sample + 1;
  };
  see(reflect(range.first, size));
  see(reflect(range.last - 1, size));
  const int period = size > 1 ? 2 * (size - 1) : 1;
  const auto holds = [&range, period](int sample) {  // sample + k * period in range for some k
    int offset = (sample - range.first) % period;
    if (offset < 0) offset += period;
    return offset < range.size();
  };
  if (holds(0)) see(0);
  if (holds(size - 1)) see(size - 1);
  return seen;
}

}  // namespace imagine_deblur
