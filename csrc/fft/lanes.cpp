#include "fft/lanes.h"

#include <cmath>
#include <numbers>
#include <string>

#include "base/error.h"
#include "base/vectors.h"

// The plain version: four lanes are what every processor of a family has (SSE2, NEON).
#define FFT_NAMESPACE plain
#define FFT_WIDTH 4
#if defined(__aarch64__)
#define FFT_WIDEST_RADIX 8
#else
#define FFT_WIDEST_RADIX 4
#endif
#include "fft/lanes_kernel.h"

namespace imagine_deblur::fft {

#if defined(__x86_64__)
namespace avx512 {
extern const Kernels kKernels;
}
namespace avx2 {
extern const Kernels kKernels;
}
#endif

namespace {

// Wide passes first: they walk over the most memory.
std::vector<int> radices_of(int length, int widest) {
  std::vector<int> found;
  int rest = length;
  for (const int radix : {8, 7, 5, 4, 3, 2}) {
    if (radix == 8 && widest < 8) continue;
    while (rest > 0 && rest % radix == 0) {
      found.push_back(radix);
      rest /= radix;
    }
  }
  if (length < 1 || rest != 1 || found.size() > kMostPasses) {
    throw Error(ErrorKind::kOptions,
                "a transform of " + std::to_string(length) +
                    " samples; expected no prime factors but 2, 3, 5 and 7",
                {.field = "length"});
  }
  return found;
}

void push_root(std::vector<float>& out, double turns) {
  const double angle = -2.0 * std::numbers::pi * turns;
  out.push_back(static_cast<float>(std::cos(angle)));
  out.push_back(static_cast<float>(std::sin(angle)));
}

}  // namespace

Plan::Plan(int length, int widest_radix) {
  const std::vector<int> radices = radices_of(length, widest_radix);
  view_.length = length;
  view_.passes = static_cast<int>(radices.size());
  std::vector<std::size_t> starts;
  int block = length;
  for (const int radix : radices) {
    const int stride = block / radix;
    starts.push_back(twiddles_.size());
    for (int j = 0; j < stride; ++j) {
      for (int t = 1; t < radix; ++t) {
        push_root(twiddles_, static_cast<double>(j) * t / block);
      }
    }
    block = stride;
  }
  for (int k = 0; k < length; ++k) {
    int place = 0;
    int size = length;
    int rest = k;
    for (const int radix : radices) {
      size /= radix;
      place += rest % radix * size;
      rest /= radix;
    }
    position_.push_back(place);
  }
  for (int k = 0; k <= length; ++k) push_root(half_, 0.5 * k / length);
  block = length;
  for (std::size_t i = 0; i < radices.size(); ++i) {
    block /= radices[i];
    view_.pass[i] = {radices[i], block, twiddles_.data() + starts[i]};
  }
  view_.position = position_.data();
  view_.half = half_.data();
}

std::vector<Kernels> usable_kernels() {
  std::vector<Kernels> found;
#if defined(__x86_64__)
  const Vectors vectors = supported_vectors();
  if (vectors.avx512) found.push_back(avx512::kKernels);
  if (vectors.avx2) found.push_back(avx2::kKernels);
#endif
  found.push_back(plain::kKernels);
  return found;
}

Kernels best_kernels() { return usable_kernels().front(); }

}  // namespace imagine_deblur::fft
