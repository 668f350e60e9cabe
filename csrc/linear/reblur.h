// A restored picture, blurred again and compared with the capture block by block: the sums from
// which restoration/reblur_check.py decides.
#pragma once

#include <span>
#include <vector>

#include "base/image_view.h"
#include "linear/gain.h"
#include "linear/passes.h"

namespace imagine_deblur::linear {

inline constexpr int kReviewBlock = 32;  // px, a side of what is judged
inline constexpr int kReviewRows = 16;   // rows that are summed together: half a block
inline constexpr int kReviewSums = 9;

// A piece's pictures; one plane a band. Ranges are in the piece's rows.
struct ReviewPlanes {
  std::span<const PlaneView> capture;   // all rows
  std::span<const PlaneView> linear;    // the base plane, rows [linear_first, + its rows)
  std::span<const PlaneView> restored;  // rows [restored_first, + its rows)
  int linear_first = 0;
  int restored_first = 0;
};

// Sums over runs of kReviewRows rows of blocks kReviewBlock columns wide, from the piece's corner:
// (capture - reblurred)^2, capture, its square, restored, its square, reblurred, its square, and
// reblurred times the column's and the row's place, counted from the middle of the block.
class Reblur {
 public:
  // Everything is borrowed. `several`: more than one OTF will be compared.
  Reblur(Passes& passes, const PlaneSizes& sizes, const ReviewPlanes& planes, bool several);

  int runs() const noexcept { return runs_; }
  int blocks() const noexcept { return blocks_; }

  // Returns kReviewSums x runs x blocks sums.
  const std::vector<double>& compare(const Otf& otf);

 private:
  double* at(int sum, int run) noexcept;
  void load(int first, int count, float* rows, std::ptrdiff_t stride);
  void store(int first, int count, float* rows, std::ptrdiff_t stride);

  Passes& passes_;
  const PlaneSizes& sizes_;
  const SampleKernels& samples_;
  ReviewPlanes planes_;
  bool several_;
  int runs_;
  int blocks_;
  std::vector<float> column_place_;
  std::vector<double> sums_;
};

}  // namespace imagine_deblur::linear
