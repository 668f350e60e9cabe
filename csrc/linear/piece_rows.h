// Rows of a piece of a frame, as weighted sums of its bands.
#pragma once

#include <cstddef>
#include <span>

#include "base/image_view.h"
#include "linear/samples.h"
#include "linear/sizes.h"

namespace imagine_deblur::linear {

// A piece may begin before the frame's first column and end behind its last: there it shows what
// the frame's own extension would hold, which is continued periodically. So a filter sees at the
// frame's ends what it would see of the whole frame.
class PieceRows {
 public:
  // `planes` hold the frame's columns, of one type, and are borrowed. The piece begins at column
  // `first` of the frame, which is extended to `padded_columns`. Throws Error (kOptions) for pieces
  // that begin or end farther out than the frame is wide.
  PieceRows(std::span<const PlaneView> planes, int first, int columns, int padded_columns);

  std::size_t bands() const noexcept { return planes_.size(); }

  // out[columns] = sum of weights[band] * planes[band], samples in [0, 1]. From any thread.
  void read(int row, std::span<const float> weights, float* out) const;

 private:
  void read_frame(int row, std::span<const float> weights, int first, int count, float* out) const;
  void read_extension(int row, std::span<const float> weights, float* out) const;

  const SampleKernels& samples_;
  std::span<const PlaneView> planes_;
  int first_;
  int columns_;
  float step_;
  Extension extension_;  // empty where the piece shows none of it
  int left_end_ = 0;     // the extension shows columns before it, and from right_first_ on
  int right_first_ = 0;
};

}  // namespace imagine_deblur::linear
