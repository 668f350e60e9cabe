// All planes of a bank of linear filters, of one piece of a strip: one forward transform a colour,
// one inverse a restored plane. What they are is told in restoration/wiener.py.
#pragma once

#include <span>
#include <vector>

#include "base/image_view.h"
#include "linear/gain.h"
#include "linear/passes.h"
#include "linear/piece_rows.h"

namespace imagine_deblur::linear {

// Rec. 601 weights of red, green and blue.
inline constexpr float kLuma[3] = {0.299F, 0.587F, 0.114F};

// The filters: luma's of every ratio, and the colour differences' of the base.
struct Bank {
  std::vector<Gain> luma;
  int base = 0;
  Gain colour;
};

// Where a piece's rows and columns go in the planes that receive them.
struct Placement {
  int first_row = 0;   // of the planes, where the piece's row 0 goes; rows outside are left out
  int kept_first = 0;  // of the piece's columns: those that are stored
  int kept_last = 0;
  // Weights of the piece's rows and of the stored columns; empty: 1.
  std::span<const float> row_weights;
  std::span<const float> column_weights;
  bool add = false;  // to what the planes hold
};

// `capture` has 1 or 3 bands and as many columns as the piece; `planes` the base plane in the
// capture's bands, then the luma of the other ratios in order.
void run_bank(Passes& passes, const PlaneSizes& sizes, const Otf& otf, const Bank& bank,
              const PieceRows& capture, std::span<const PlaneView> planes,
              const Placement& placement);

// Writes columns [first, first + count) of row `row` of the luma of planes of one type: out[count],
// in [0, 1].
void luma_row(const SampleKernels& samples, std::span<const PlaneView> planes, int row, int first,
              int count, float* out);

}  // namespace imagine_deblur::linear
