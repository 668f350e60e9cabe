// Planes that own their samples, and seeded random frames, tiles, overlaps and halos.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "support.h"
#include "tiling/plane_window.h"
#include "tiling/tile_plan.h"

namespace tiling_cases {

using namespace imagine_deblur;
using test_support::pick;
using test_support::Random;

// A plane that owns its samples, with some bytes of padding after each row.
template <typename Sample>
struct OwnedPlane {
  OwnedPlane(int frame_rows, int columns, SampleType type, int first_row = 0, int rows = -1)
      : stride(static_cast<std::size_t>(columns) + 3) {
    const int held = rows < 0 ? frame_rows : rows;
    samples.assign(stride * static_cast<std::size_t>(held), Sample{});
    window = {
        {samples.data(), type, held, columns, static_cast<std::ptrdiff_t>(stride * sizeof(Sample))},
        first_row,
        frame_rows,
        0,
        columns};
  }
  Sample& at(int row, int column) {
    return samples[static_cast<std::size_t>(row - window.first_row) * stride +
                   static_cast<std::size_t>(column)];
  }

  std::size_t stride;
  std::vector<Sample> samples;
  PlaneWindow window;
};

inline constexpr std::array<int, 14> kAwkwardSizes{1,  2,  3,  5,  7,  8,  13,
                                                   31, 32, 33, 63, 64, 65, 127};

struct Case {
  int rows;
  int columns;
  TileSpec spec;
};

// A frame and a tile that leave room for a core. Small frames, so that many fit in a second.
inline Case random_case(Random& random) {
  Case made;
  const auto size = [&random] {
    const bool awkward = pick(random, 0, 1) == 0;
    return awkward ? kAwkwardSizes[static_cast<std::size_t>(pick(random, 0, 13))]
                   : pick(random, 1, 150);
  };
  TileSpec& spec = made.spec;
  spec.multiple_of = std::array{1, 1, 2, 4, 8}[static_cast<std::size_t>(pick(random, 0, 4))];
  spec.overlap = pick(random, 0, 2) == 0 ? 0 : pick(random, 0, 12);
  spec.halo = {pick(random, 0, 9), pick(random, 0, 9)};
  spec.may_shrink = pick(random, 0, 1) == 0;
  const auto tile = [&](int halo) {
    const int m = spec.multiple_of;
    const int margin = (spec.overlap + halo + m - 1) / m * m;
    return 2 * margin + m * pick(random, 1, 48 / m);
  };
  spec.rows = tile(spec.halo.rows);
  spec.columns = tile(spec.halo.columns);
  made.rows = size();
  made.columns = size();
  if (pick(random, 0, 4) == 0) made.rows = std::max(1, spec.rows + pick(random, -1, 1));
  if (pick(random, 0, 4) == 0) made.columns = std::max(1, spec.columns + pick(random, -1, 1));
  return made;
}

}  // namespace tiling_cases
