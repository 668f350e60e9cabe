// Separable blend weights that are a partition of unity over a plan by construction: along each
// seam one side's weight is computed as w and its neighbour's as 1 - w, exactly. So no full-frame
// weight buffer is needed and nothing is divided by a sum of weights.
#pragma once

#include <span>
#include <vector>

#include "tiling/tile_plan.h"

namespace imagine_deblur {

// The rising half of a raised cosine over the 2 * overlap samples around a seam:
// w[k] = (1 - cos(pi (k + 1/2) / (2 overlap))) / 2, rounded so that w[k] + w[2 overlap - 1 - k] is
// exactly 1 in float32.
std::vector<float> raised_cosine_ramp(int overlap);

// The weights of every tile, one run per row and per column of tiles. A tile's weight at a pixel
// of its write rectangle is the product of the two. Read-only after construction; any thread.
class BlendWindow {
 public:
  explicit BlendWindow(const TilePlan& plan);

  // One weight per row of the write rectangle; in (0, 1].
  std::span<const float> rows(int tile_row) const noexcept { return vertical_.weights(tile_row); }
  // One weight per column of the write rectangle; in (0, 1].
  std::span<const float> columns(int tile_column) const noexcept {
    return horizontal_.weights(tile_column);
  }

 private:
  // The runs of one axis laid end to end; run i is [begin[i], begin[i + 1]).
  struct Axis {
    std::vector<float> values;
    std::vector<std::size_t> begin;
    std::span<const float> weights(int i) const noexcept;
  };

  Axis vertical_;
  Axis horizontal_;
};

}  // namespace imagine_deblur
