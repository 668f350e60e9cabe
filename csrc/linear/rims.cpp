#include "linear/rims.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "linear/bank.h"
#include "linear/samples.h"

namespace imagine_deblur::linear {
namespace {

// A worker's share: what it holds of the neighbourhood, 390 KB, fits in a second cache.
constexpr int kRows = 192;
constexpr int kColumns = 512;

void add(const float* lift, int count, SampleType type, void* samples) {
  if (type == SampleType::kFloat32) {
    auto* const to = static_cast<float*>(samples);
    for (int i = 0; i < count; ++i) to[i] += lift[i];
    return;
  }
  auto* const to = static_cast<std::uint8_t*>(samples);
  for (int i = 0; i < count; ++i) {
    const float value = static_cast<float>(to[i]) + 255.0F * lift[i] + 0.5F;
    to[i] = static_cast<std::uint8_t>(std::min(value, 255.0F));
  }
}

// Some rows and columns of a strip.
class Part {
 public:
  Part(std::span<const PlaneView> capture, std::span<const PlaneView> restored, int restored_first,
       int first_column, int last_column)
      : samples_(sample_kernels()),
        first_(first_column),
        width_(last_column - first_column),
        // Columns of the capture that are read; beyond its border the nearest is repeated.
        left_(std::max(first_column - kRimReach, 0)),
        right_(std::min(last_column + kRimReach, capture[0].columns)),
        before_(left_ - (first_column - kRimReach)),
        capture_(capture),
        restored_(restored),
        restored_first_(restored_first),
        line_(static_cast<std::size_t>(width_ + 2 * kRimReach)),
        held_(static_cast<std::size_t>(kLevels * kHeld * 3 * width_)) {}

  void lift(int first_row, int last_row) {
    std::vector<float> luma(static_cast<std::size_t>(width_));
    std::vector<float> missing(static_cast<std::size_t>(width_));
    const int begin = restored_first_ + first_row - kRimReach;
    const int end = restored_first_ + last_row + kRimReach;
    for (int n = 0; begin + n < end; ++n) {
      push(std::clamp(begin + n, 0, capture_[0].rows - 1), n);
      if (n < kRimWindow - 1) continue;
      const int row = first_row + n - (kRimWindow - 1);
      luma_row(samples_, restored_, row, first_, width_, luma.data());
      const SpreadRows around{held(3, n), held(3, n - 5), held(2, n - 8), held(0, n - 12)};
      if (!samples_.lift(around, luma.data(), width_, missing.data())) continue;
      for (const PlaneView& plane : restored_) {
        add(missing.data(), width_, plane.type, plane.sample(row, first_));
      }
    }
  }

 private:
  static constexpr int kLevels = 4;  // one row, and the last two, four and eight of them
  static constexpr int kHeld = 16;   // at least kRimWindow

  // Level `level` of the row that was pushed as number `n`.
  Spread held(int level, int n) noexcept {
    float* const rows =
        held_.data() + static_cast<std::ptrdiff_t>((level * kHeld + n % kHeld) * 3) * width_;
    return {rows, rows + width_, rows + 2 * std::ptrdiff_t{width_}};
  }

  void push(int row, int n) {
    float* const line = line_.data();
    const int count = right_ - left_;
    luma_row(samples_, capture_, row, left_, count, line + before_);
    std::fill_n(line, before_, line[before_]);
    std::fill(line + before_ + count, line + line_.size(), line[before_ + count - 1]);
    samples_.spread(line, width_, held(0, n));
    for (int level = 1, rows = 1; level < kLevels; ++level, rows *= 2) {
      if (n < 2 * rows - 1) break;
      samples_.join(held(level - 1, n - rows), held(level - 1, n), width_, held(level, n));
    }
  }

  const SampleKernels& samples_;
  int first_;
  int width_;
  int left_;
  int right_;
  int before_;
  std::span<const PlaneView> capture_;
  std::span<const PlaneView> restored_;
  int restored_first_;
  std::vector<float> line_;
  std::vector<float> held_;  // kLevels x kHeld rows of least, greatest and sum
};

}  // namespace

void lift_rims(Executor& executor, std::span<const PlaneView> capture,
               std::span<const PlaneView> restored, int restored_first, int first_column,
               int last_column) {
  const int rows = restored[0].rows;
  const int parts = (last_column - first_column + kColumns - 1) / kColumns;
  const int runs = (rows + kRows - 1) / kRows;
  executor.parallel_for(runs * parts, [&](int index, int) {
    const int column = first_column + index % parts * kColumns;
    const int row = index / parts * kRows;
    Part part(capture, restored, restored_first, column, std::min(column + kColumns, last_column));
    part.lift(row, std::min(row + kRows, rows));
  });
}

}  // namespace imagine_deblur::linear
