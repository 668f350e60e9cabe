// Sizes of the transforms of one plane, and the tables they need.
//
// A plane of `rows` x `columns` samples is continued smoothly to `padded_rows` x `padded_columns`,
// so that a Fourier filter sees no edge: by its own reflection on both sides (the edge sample is
// not repeated), with a raised cosine between the two over the middle half of the gap. Near the
// frame the extension is the plain reflection, which is exact for a scene blurred by a symmetric
// PSF under reflection and a natural guess for any other.
//
// Spectra lie in blocks of sixteen frequencies along the columns' axis; a block holds, row after
// row, sixteen real parts and sixteen imaginary parts, so that columns are transformed in place.
#pragma once

#include <cstddef>
#include <vector>

#include "fft/lanes.h"

namespace imagine_deblur::linear {

struct Size {
  int rows = 0;
  int columns = 0;
  int padded_rows = 0;     // at least `rows`
  int padded_columns = 0;  // at least `columns`, even
};

// Blocks of sixteen frequencies in a spectrum.
constexpr int spectrum_blocks(int padded_columns) noexcept {
  return (padded_columns / 2 + 1 + fft::kLines - 1) / fft::kLines;
}

// Bytes of two spectra of such a plane: one of all rows and one of the plane's.
std::size_t scratch_bytes(const Size& size) noexcept;
// Bytes that each worker needs for itself.
std::size_t worker_bytes(const Size& size) noexcept;

// How one axis is continued: sample samples + i is ahead[i] + (behind[i] - ahead[i]) * fade[i].
struct Extension {
  Extension(int samples, int length);

  int samples;
  std::vector<int> ahead;
  std::vector<int> behind;
  std::vector<float> fade;
};

class PlaneSizes {
 public:
  // Throws Error (kOptions) for padded sizes that cannot be transformed.
  explicit PlaneSizes(const Size& size);

  const Size& size() const noexcept { return size_; }
  int frequencies() const noexcept { return size_.padded_columns / 2 + 1; }
  int blocks() const noexcept { return spectrum_blocks(size_.padded_columns); }

  // Floats of a spectrum whose blocks hold `rows` rows.
  std::size_t spectrum_floats(int rows) const noexcept;
  // Floats that a worker needs for itself.
  std::size_t worker_floats() const noexcept { return worker_bytes(size_) / sizeof(float); }
  std::size_t scratch_bytes() const noexcept { return linear::scratch_bytes(size_); }

  const fft::Kernels& kernels() const noexcept { return kernels_; }
  const fft::View& row_view() const noexcept { return row_plan_.view(); }
  const fft::View& column_view() const noexcept { return column_plan_.view(); }
  const Extension& row_axis() const noexcept { return row_axis_; }
  const Extension& column_axis() const noexcept { return column_axis_; }

  // Squares of the frequencies in (cycles/px)^2: of each padded row; of each column, padded to
  // whole blocks.
  const std::vector<float>& row_squared() const noexcept { return row_squared_; }
  const std::vector<float>& column_squared() const noexcept { return column_squared_; }

 private:
  Size size_;
  fft::Kernels kernels_;
  fft::Plan row_plan_;     // of a padded row, two samples an element
  fft::Plan column_plan_;  // of a padded column
  Extension row_axis_;     // along a row: columns
  Extension column_axis_;  // along a column: rows
  std::vector<float> row_squared_;
  std::vector<float> column_squared_;
};

}  // namespace imagine_deblur::linear
