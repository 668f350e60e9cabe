#include "linear/reblur.h"

#include <algorithm>

#include "linear/bank.h"

namespace imagine_deblur::linear {
namespace {

enum Sum {
  kResidual2,
  kCapture,
  kCapture2,
  kRestored,
  kRestored2,
  kReblurred,
  kReblurred2,
  kAcross,
  kDown
};

// Places along an axis counted from the middle of their block, the last block as it is.
float place(int index, int length) noexcept {
  const int first = index / kReviewBlock * kReviewBlock;
  const int width = std::min(kReviewBlock, length - first);
  return static_cast<float>(index - first) - static_cast<float>(width - 1) / 2.0F;
}

bool holds(std::span<const PlaneView> planes, int row) noexcept {
  return !planes.empty() && row >= 0 && row < planes[0].rows;
}

}  // namespace

Reblur::Reblur(Passes& passes, const PlaneSizes& sizes, const ReviewPlanes& planes, bool several)
    : passes_(passes),
      sizes_(sizes),
      samples_(sample_kernels()),
      planes_(planes),
      several_(several),
      runs_((sizes.size().rows + kReviewRows - 1) / kReviewRows),
      blocks_((sizes.size().columns + kReviewBlock - 1) / kReviewBlock),
      sums_(static_cast<std::size_t>(kReviewSums) * static_cast<std::size_t>(runs_) *
            static_cast<std::size_t>(blocks_)) {
  static_assert(kReviewRows == fft::kLines);
  for (int c = 0; c < sizes.size().columns; ++c) {
    column_place_.push_back(place(c, sizes.size().columns));
  }
  const LoadRows load_rows = [this](int first, int count, float* rows, std::ptrdiff_t stride) {
    load(first, count, rows, stride);
  };
  passes_.forward_rows(load_rows, several_ ? passes_.whole() : passes_.part());
  if (several_) passes_.forward_columns();
}

double* Reblur::at(int sum, int run) noexcept {
  return sums_.data() + (static_cast<std::size_t>(sum) * static_cast<std::size_t>(runs_) +
                         static_cast<std::size_t>(run)) *
                            static_cast<std::size_t>(blocks_);
}

// Restored rows; beyond them the base plane's, beyond those the capture's.
void Reblur::load(int first, int count, float* rows, std::ptrdiff_t stride) {
  const int columns = sizes_.size().columns;
  double* const sum = at(kRestored, first / kReviewRows);
  double* const sum2 = at(kRestored2, first / kReviewRows);
  std::fill_n(sum, blocks_, 0.0);
  std::fill_n(sum2, blocks_, 0.0);
  for (int r = 0; r < count; ++r) {
    const int row = first + r;
    float* const out = rows + r * stride;
    if (holds(planes_.restored, row - planes_.restored_first)) {
      luma_row(samples_, planes_.restored, row - planes_.restored_first, 0, columns, out);
    } else if (holds(planes_.linear, row - planes_.linear_first)) {
      luma_row(samples_, planes_.linear, row - planes_.linear_first, 0, columns, out);
    } else {
      luma_row(samples_, planes_.capture, row, 0, columns, out);
    }
    for (int block = 0; block < blocks_; ++block) {
      const int start = block * kReviewBlock;
      double s = 0;
      double s2 = 0;
      samples_.moments(out + start, std::min(kReviewBlock, columns - start), &s, &s2);
      sum[block] += s;
      sum2[block] += s2;
    }
  }
}

void Reblur::store(int first, int count, float* rows, std::ptrdiff_t stride) {
  const int columns = sizes_.size().columns;
  const int run = first / kReviewRows;
  for (const int sum : {kResidual2, kCapture, kCapture2, kReblurred, kReblurred2, kAcross, kDown}) {
    std::fill_n(at(sum, run), blocks_, 0.0);
  }
  float capture[kReviewBlock];
  for (int r = 0; r < count; ++r) {
    const int row = first + r;
    const double row_place = static_cast<double>(place(row, sizes_.size().rows));
    for (int block = 0; block < blocks_; ++block) {
      const int start = block * kReviewBlock;
      const int width = std::min(kReviewBlock, columns - start);
      luma_row(samples_, planes_.capture, row, start, width, capture);
      const RowSums found =
          samples_.compare(capture, rows + r * stride + start, column_place_.data() + start, width);
      at(kResidual2, run)[block] += found.residual2;
      at(kCapture, run)[block] += found.capture;
      at(kCapture2, run)[block] += found.capture2;
      at(kReblurred, run)[block] += found.reblurred;
      at(kReblurred2, run)[block] += found.reblurred2;
      at(kAcross, run)[block] += found.across;
      at(kDown, run)[block] += found.reblurred * row_place;
    }
  }
}

const std::vector<double>& Reblur::compare(const Otf& otf) {
  const Gain blur;
  const GainOf gain = gain_of(sizes_, otf, blur, passes_.unit());
  if (several_) {
    passes_.filter_whole(gain);
  } else {
    passes_.filter_part(gain);
  }
  passes_.inverse_rows([this](int first, int count, float* rows, std::ptrdiff_t stride) {
    store(first, count, rows, stride);
  });
  return sums_;
}

}  // namespace imagine_deblur::linear
