// What the linear stage does to rows of samples and to spectra, one number at a time. Plain loops,
// compiled once an instruction set (as fft/lanes.h); the choice is made when the program runs.
#pragma once

#include <cstdint>

#include "base/image_view.h"
#include "fft/lanes.h"

namespace imagine_deblur::linear {

// The gain of one plane on one block of a spectrum, equation (1) of restoration/gains.py:
//   kOtf      H(f)
//   kWiener   conj(H) / (|H|^2 + nsr4 |f|^2)
//   kTables   scale(|f|) conj(H) / (|H|^2 + noise(|f|)) + added(|f|), scale and noise may be null
enum class GainKind { kOtf, kWiener, kTables };

// Layout of an OTF's values in one block.
enum class OtfLayout {
  kRadial,   // real, a table over radial frequency
  kReal,     // real, all rows
  kComplex,  // complex, all rows: sixteen real parts, sixteen imaginary parts
};

struct GainBlock {
  GainKind kind = GainKind::kOtf;
  OtfLayout layout = OtfLayout::kRadial;
  const float* otf = nullptr;  // this block's, or the table
  int otf_entries = 0;
  float otf_entries_per_frequency = 0;
  const float* row_squared = nullptr;     // |f|^2 is row_squared[row] + column_squared[line]
  const float* column_squared = nullptr;  // this block's sixteen
  float nsr4 = 0;
  const float* added = nullptr;
  const float* scale = nullptr;
  const float* noise = nullptr;
  int entries = 0;
  float entries_per_frequency = 0;
  float factor = 1;  // of everything
};

// The value of one step of a sample type.
constexpr float step_of(SampleType type) noexcept {
  switch (type) {
    case SampleType::kUint8:
      return 1.0F / 255.0F;
    case SampleType::kFixed16:
      return 1.0F / kFixed16One;
    case SampleType::kFloat32:
      break;
  }
  return 1.0F;
}

// Sums over the columns of one block of pixels in one row.
struct RowSums {
  double residual2 = 0;  // (capture - reblurred)^2
  double capture = 0;
  double capture2 = 0;
  double reblurred = 0;
  double reblurred2 = 0;
  double across = 0;  // reblurred times the place in the block
};

// Reach of a rim's neighbourhood on each side, px, see linear/rims.h.
inline constexpr int kRimReach = 6;
inline constexpr int kRimWindow = 2 * kRimReach + 1;

// Rows of the least, the greatest and the sum of several values each.
struct Spread {
  float* least;
  float* greatest;
  float* sum;
};

// A neighbourhood of kRimWindow rows: the last eight, the eight that end five rows before, the four
// that end eight rows before, and the first.
struct SpreadRows {
  Spread last8;
  Spread first8;
  Spread middle4;
  Spread first;
};

struct SampleKernels {
  const char* instructions;
  // out = in * weight, or out += in * weight.
  void (*accumulate)(const void* in, SampleType type, float weight, bool add, int count,
                     float* out);
  // out = in * weight, or out += in * weight; kFixed16 rounds to the nearest and saturates.
  void (*store)(const float* in, float weight, bool add, int count, SampleType type, void* out);
  // values *= weights * weight.
  void (*scale)(float* values, const float* weights, float weight, int count);
  // out = a + (b - a) * fade.
  void (*blend)(const float* a, const float* b, float fade, int count, float* out);
  // Copies, and returns the sum of the copy's 64-bit words; `floats` is even.
  std::uint64_t (*copy_summed)(const float* from, std::size_t floats, float* to);
  std::uint64_t (*sum)(const float* values, std::size_t floats);
  // Multiplies the elements of one block, in the order of `view`, by the gain.
  void (*multiply)(const GainBlock& gain, const fft::View& view, float* data);
  // Sum and sum of squares.
  void (*moments)(const float* values, int count, double* sum, double* sum2);
  RowSums (*compare)(const float* capture, const float* reblurred, const float* place, int count);
  // Of each run of kRimWindow values of `count` + kRimWindow - 1.
  void (*spread)(const float* values, int count, const Spread& out);
  // Of the values behind both.
  void (*join)(const Spread& a, const Spread& b, int count, const Spread& out);
  // How much higher a restored row must be, see linear/rims.h. Returns whether at all.
  bool (*lift)(const SpreadRows& around, const float* restored, int count, float* out);
};

// The fastest that this processor runs.
const SampleKernels& sample_kernels();

}  // namespace imagine_deblur::linear
