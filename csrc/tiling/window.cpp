#include "tiling/window.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace imagine_deblur {
namespace {

// One axis of one tile: 1, with a rising ramp where it has a neighbour before and a falling one
// where it has a neighbour after.
void fill_weights(std::span<const float> ramp, bool before, bool after, std::span<float> weights) {
  std::fill(weights.begin(), weights.end(), 1.0F);
  if (before) std::copy(ramp.begin(), ramp.end(), weights.begin());
  if (after) std::copy(ramp.rbegin(), ramp.rend(), weights.end() - std::ssize(ramp));
}

}  // namespace

std::vector<float> raised_cosine_ramp(int overlap) {
  const auto half = static_cast<std::size_t>(overlap);
  std::vector<float> ramp(2 * half);
  for (std::size_t k = half; k < ramp.size(); ++k) {
    const double phase = (static_cast<double>(k) + 0.5) / static_cast<double>(ramp.size());
    ramp[k] = static_cast<float>(0.5 - 0.5 * std::cos(std::numbers::pi * phase));
    // Exact, because 1/2 <= ramp[k] <= 1 (Sterbenz), and so is the sum of the two. The falling side
    // is this ramp backwards: 1 - ramp[k] is ramp[mirrored k].
    ramp[ramp.size() - 1 - k] = 1.0F - ramp[k];
  }
  return ramp;
}

std::span<const float> BlendWindow::Axis::weights(int i) const noexcept {
  const auto at = static_cast<std::size_t>(i);
  return std::span(values).subspan(begin[at], begin[at + 1] - begin[at]);
}

BlendWindow::BlendWindow(const TilePlan& plan) {
  const auto build = [](int count, int overlap, const auto& write_range) {
    Axis axis;
    const std::vector<float> ramp = raised_cosine_ramp(overlap);
    axis.begin.push_back(0);
    for (int i = 0; i < count; ++i) {
      axis.begin.push_back(axis.begin.back() + static_cast<std::size_t>(write_range(i).size()));
    }
    axis.values.resize(axis.begin.back());
    for (int i = 0; i < count; ++i) {
      const std::size_t begin = axis.begin[static_cast<std::size_t>(i)];
      const std::size_t end = axis.begin[static_cast<std::size_t>(i) + 1];
      fill_weights(ramp, i > 0, i + 1 < count, std::span(axis.values).subspan(begin, end - begin));
    }
    return axis;
  };
  vertical_ =
      build(plan.grid_rows(), plan.overlap_rows(), [&plan](int i) { return plan.write_rows(i); });
  horizontal_ = build(plan.grid_columns(), plan.overlap_columns(),
                      [&plan](int i) { return plan.write_columns(i); });
}

}  // namespace imagine_deblur
