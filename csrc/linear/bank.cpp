#include "linear/bank.h"

#include <algorithm>
#include <array>

#include "memory/assertion.h"

namespace imagine_deblur::linear {
namespace {

struct Target {
  std::size_t plane;
  float weight;
};

// Stores rows of a filtered plane in the planes of `targets`.
StoreRows store_in(const SampleKernels& samples, std::span<const PlaneView> planes,
                   const Placement& place, std::vector<Target> targets, bool add) {
  return [&samples, planes, &place, targets = std::move(targets), add](
             int first, int count, float* rows, std::ptrdiff_t stride) {
    const int columns = place.kept_last - place.kept_first;
    for (int r = 0; r < count; ++r) {
      const int row = first + r + place.first_row;
      if (row < 0 || row >= planes[0].rows) continue;
      float* const values = rows + r * stride + place.kept_first;
      if (!place.row_weights.empty()) {
        samples.scale(values, place.column_weights.data(),
                      place.row_weights[static_cast<std::size_t>(first + r)], columns);
      }
      for (const Target& target : targets) {
        const PlaneView& plane = planes[target.plane];
        samples.store(values, target.weight, add, columns, plane.type, plane.row(row));
      }
    }
  };
}

}  // namespace

void luma_row(const SampleKernels& samples, std::span<const PlaneView> planes, int row, int first,
              int count, float* out) {
  const float step = step_of(planes[0].type);
  if (planes.size() == 1) {
    samples.accumulate(planes[0].sample(row, first), planes[0].type, step, false, count, out);
    return;
  }
  for (std::size_t band = 0; band < 3; ++band) {
    samples.accumulate(planes[band].sample(row, first), planes[band].type, kLuma[band] * step,
                       band > 0, count, out);
  }
}

void run_bank(Passes& passes, const PlaneSizes& sizes, const Otf& otf, const Bank& bank,
              const PieceRows& capture, std::span<const PlaneView> planes, const Placement& place) {
  const SampleKernels& samples = sample_kernels();
  const std::size_t bands = capture.bands();
  ensure(bands == 1 || bands == 3, "a capture of other than one or three bands");
  ensure(planes.size() + 1 >= bands + bank.luma.size(), "too few planes for the bank");
  const auto weighted = [&capture](std::array<float, 3> weights) -> LoadRows {
    return [&capture, weights](int first, int count, float* rows, std::ptrdiff_t stride) {
      for (int r = 0; r < count; ++r) capture.read(first + r, weights, rows + r * stride);
    };
  };
  const std::array<float, 3> luma{kLuma[0], kLuma[1], kLuma[2]};
  passes.forward_rows(weighted(bands == 3 ? luma : std::array{1.0F, 0.0F, 0.0F}), passes.whole());
  passes.forward_columns();
  std::size_t plane = bands;
  for (std::size_t ratio = 0; ratio < bank.luma.size(); ++ratio) {
    std::vector<Target> targets;
    if (static_cast<int>(ratio) == bank.base) {
      for (std::size_t band = 0; band < bands; ++band) targets.push_back({band, 1.0F});
    } else {
      targets.push_back({plane++, 1.0F});
    }
    passes.filter_whole(gain_of(sizes, otf, bank.luma[ratio], passes.unit()));
    passes.inverse_rows(store_in(samples, planes, place, std::move(targets), place.add));
  }
  if (bands != 3) return;
  for (const std::size_t band : {std::size_t{0}, std::size_t{2}}) {
    std::array<float, 3> difference{-kLuma[0], -kLuma[1], -kLuma[2]};
    difference[band] += 1.0F;
    passes.forward_rows(weighted(difference), passes.part());
    passes.filter_part(gain_of(sizes, otf, bank.colour, passes.unit()));
    const float opposite = -kLuma[band] / kLuma[1];  // weighted differences add up to nothing
    passes.inverse_rows(store_in(samples, planes, place, {{band, 1.0F}, {1, opposite}}, true));
  }
}

}  // namespace imagine_deblur::linear
