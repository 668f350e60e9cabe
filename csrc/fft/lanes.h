// Fourier transforms of sixteen lines at once.
//
// An element is 32 floats: the real parts of sixteen lines, then their imaginary parts. Vectors run
// across the lines, so every radix is plain arithmetic and no line is ever shuffled. Transforms
// work in place and leave the spectrum in the order of its digits (Cooley and Tukey 1965,
// decimation in frequency); the inverse takes it in that order. `position` tells where a frequency
// lies.
//
// One source file an instruction set; the choice is made when the program runs. Results of two sets
// differ in the last bits, those of one set never.
#pragma once

#include <cstddef>
#include <vector>

namespace imagine_deblur::fft {

constexpr int kLines = 16;            // lines of one call
constexpr int kElement = 2 * kLines;  // floats
constexpr int kMostPasses = 16;

// One pass: blocks of `radix` x `stride` elements.
struct Pass {
  int radix = 0;
  int stride = 0;
  const float* twiddles = nullptr;  // (radix - 1) complex numbers for each of `stride` elements
};

// What the kernels see of a plan.
struct View {
  int length = 0;
  int passes = 0;
  Pass pass[kMostPasses];
  const int* position = nullptr;  // of each frequency
  const float* half = nullptr;    // exp(-pi i k / length) for k in [0, length]
};

// Complex transforms of one length.
class Plan {
 public:
  // `length` has no prime factors but 2, 3, 5 and 7. Throws Error (kOptions) for any other.
  Plan(int length, int widest_radix);

  const View& view() const noexcept { return view_; }
  int length() const noexcept { return view_.length; }
  int position(int frequency) const { return position_[static_cast<std::size_t>(frequency)]; }

 private:
  View view_;
  std::vector<int> position_;
  std::vector<float> twiddles_;
  std::vector<float> half_;
};

// `data` holds view.length elements.
using Transform = void (*)(const View& view, float* data);

// Sixteen rows of `count` samples, `stride` floats from row to row, to `count` vectors of sixteen;
// or back.
using Transpose = void (*)(float* rows, std::ptrdiff_t stride, int count, float* lanes);

// Sixteen elements of sixteen lines: line l of element k becomes line k of element l.
using Exchange = void (*)(const float* from, float* to);

// Real lines of 2 n samples are transformed as n elements, two samples each. `unpack` makes of
// that spectrum the frequencies [first, first + 16) of the real lines, as sixteen rows of kElement
// floats, a line each; frequencies above n become 0.
using Unpack = void (*)(const View& view, const float* data, int first, float* rows);
// The way back: `spectrum` holds n + 1 elements in order, `data` receives n for the inverse.
using Pack = void (*)(const View& view, const float* spectrum, float* data);

struct Kernels {
  const char* instructions;
  int widest_radix;
  Transform forward;
  Transform inverse;  // without 1 / length
  Transpose to_lanes;
  Transpose from_lanes;
  Exchange exchange;
  Unpack unpack;
  Pack pack;
};

// The fastest that this processor runs.
Kernels best_kernels();
// All that it runs, the plain one last; for tests.
std::vector<Kernels> usable_kernels();

}  // namespace imagine_deblur::fft
