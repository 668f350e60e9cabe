#include "linear/piece_rows.h"

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace imagine_deblur::linear {

PieceRows::PieceRows(std::span<const PlaneView> planes, int first, int columns, int padded_columns)
    : samples_(sample_kernels()),
      planes_(planes),
      first_(first),
      columns_(columns),
      step_(step_of(planes[0].type)),
      extension_(planes[0].columns, first < 0 || first + columns > planes[0].columns
                                        ? padded_columns
                                        : planes[0].columns) {
  const int frame = planes[0].columns;
  if (columns < 1 || padded_columns < frame || first < -frame || first + columns > 2 * frame ||
      first >= frame || first + columns <= 0) {
    throw Error(ErrorKind::kOptions, "a piece that leaves the frame", {.field = "first"});
  }
  if (extension_.fade.empty()) return;
  left_end_ = *std::max_element(extension_.behind.begin(), extension_.behind.end()) + 1;
  right_first_ = *std::min_element(extension_.ahead.begin(), extension_.ahead.end());
}

void PieceRows::read(int row, std::span<const float> weights, float* out) const {
  const int inside = std::max(first_, 0);
  const int count = std::min(first_ + columns_, planes_[0].columns) - inside;
  read_frame(row, weights, inside, count, out + (inside - first_));
  if (count < columns_) read_extension(row, weights, out);
}

void PieceRows::read_frame(int row, std::span<const float> weights, int first, int count,
                           float* out) const {
  for (std::size_t band = 0; band < planes_.size(); ++band) {
    const PlaneView& plane = planes_[band];
    samples_.accumulate(plane.sample(row, first), plane.type, weights[band] * step_, band > 0,
                        count, out);
  }
}

void PieceRows::read_extension(int row, std::span<const float> weights, float* out) const {
  const int frame = planes_[0].columns;
  const int period = frame + static_cast<int>(extension_.fade.size());
  std::vector<float> left(static_cast<std::size_t>(left_end_));
  std::vector<float> right(static_cast<std::size_t>(frame - right_first_));
  read_frame(row, weights, 0, left_end_, left.data());
  read_frame(row, weights, right_first_, frame - right_first_, right.data());
  for (int i = 0; i < columns_; ++i) {
    const int column = first_ + i;
    if (column >= 0 && column < frame) continue;
    const int place = column < 0 ? column + period : column % period;
    if (place < frame) {  // farther out than the extension is long: the other end of the frame
      read_frame(row, weights, place, 1, out + i);
      continue;
    }
    const auto at = static_cast<std::size_t>(place - frame);
    samples_.blend(&right[static_cast<std::size_t>(extension_.ahead[at] - right_first_)],
                   &left[static_cast<std::size_t>(extension_.behind[at])], extension_.fade[at], 1,
                   out + i);
  }
}

}  // namespace imagine_deblur::linear
