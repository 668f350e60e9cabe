#include "engine/winograd.h"

#include <array>
#include <bit>

#include "base/vectors.h"

// The plain version: four lanes are what every processor of a family has (SSE2, NEON).
#define WINOGRAD_NAMESPACE plain
#define WINOGRAD_LANES 4
#if defined(__aarch64__)
#define WINOGRAD_REGISTERS 32
#else
#define WINOGRAD_REGISTERS 16
#endif
#include "engine/winograd_kernel.h"

namespace imagine_deblur::winograd {

#if defined(__x86_64__)
namespace avx512 {
void convolve(const Layer& layer, const Cells& input, const Cells& output, After after, int first,
              int last, float* scratch);
}
namespace avx2 {
void convolve(const Layer& layer, const Cells& input, const Cells& output, After after, int first,
              int last, float* scratch);
}
#endif

OwnedLayer::OwnedLayer(const float* kernel, const float* bias, int inputs, int outputs)
    : inputs_(inputs), outputs_(outputs) {
  constexpr std::array<std::array<double, 3>, 6> kG{{{1.0 / 4, 0, 0},
                                                     {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                                     {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                                     {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                                     {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                                     {0, 0, 1}}};
  const std::size_t width = static_cast<std::size_t>(padded(outputs));
  const std::size_t depth = static_cast<std::size_t>(inputs);
  kernel_.assign(kPoints * depth * width, 0.0F);
  bias_.assign(width, 0.0F);
  for (std::size_t o = 0; o < static_cast<std::size_t>(outputs); ++o) {
    bias_[o] = bias[o];
    for (std::size_t i = 0; i < depth; ++i) {
      const float* w = kernel + (o * depth + i) * 9;
      for (std::size_t p = 0; p < 6; ++p) {
        for (std::size_t q = 0; q < 6; ++q) {
          double sum = 0;
          for (std::size_t y = 0; y < 3; ++y) {
            for (std::size_t x = 0; x < 3; ++x) {
              sum += kG[p][y] * static_cast<double>(w[y * 3 + x]) * kG[q][x];
            }
          }
          kernel_[((p * 6 + q) * depth + i) * width + o] = static_cast<float>(sum);
        }
      }
    }
  }
}

std::uint64_t OwnedLayer::sum() const noexcept {
  std::uint64_t total = 0;
  for (const float value : kernel_) total += std::bit_cast<std::uint32_t>(value);
  for (const float value : bias_) total += std::bit_cast<std::uint32_t>(value);
  return total;
}

std::vector<Kernels> usable_kernels() {
  std::vector<Kernels> found;
#if defined(__x86_64__)
  const Vectors vectors = supported_vectors();
  if (vectors.avx512) found.push_back({"avx512", &avx512::convolve});
  if (vectors.avx2) found.push_back({"avx2", &avx2::convolve});
#endif
  found.push_back({"plain", &plain::convolve});
  return found;
}

Kernels best_kernels() { return usable_kernels().front(); }

}  // namespace imagine_deblur::winograd
