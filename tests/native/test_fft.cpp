// The transforms of sixteen lines against a direct sum in double precision, for every instruction
// set this processor has.
#include <cmath>
#include <complex>
#include <cstdint>
#include <numbers>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "fft/lanes.h"

using namespace imagine_deblur;
using fft::kElement;
using fft::kLines;

namespace {

using Complex = std::complex<double>;

struct Chance {
  std::uint64_t state = 1;
  float next() {  // in [-0.5, 0.5)
    state = state * 6364136223846793005U + 1442695040888963407U;
    return static_cast<float>(state >> 40U) / static_cast<float>(1U << 24U) - 0.5F;
  }
};

std::vector<float> noise(std::size_t count, std::uint64_t seed) {
  Chance chance{seed};
  std::vector<float> out(count);
  for (float& value : out) value = chance.next();
  return out;
}

Complex element(const std::vector<float>& data, int index, int line) {
  const std::size_t at =
      static_cast<std::size_t>(index) * kElement + static_cast<std::size_t>(line);
  return {static_cast<double>(data[at]), static_cast<double>(data[at + kLines])};
}

// Frequency k of line `line`, summed term by term.
Complex direct(const std::vector<float>& data, int length, int k, int line) {
  Complex sum = 0;
  for (int j = 0; j < length; ++j) {
    const double angle =
        -2.0 * std::numbers::pi * std::fmod(static_cast<double>(j) * k, length) / length;
    sum += element(data, j, line) * std::polar(1.0, angle);
  }
  return sum;
}

// Errors of single precision grow like the logarithm of the length.
double tolerance(int length) { return 3e-6 * std::sqrt(static_cast<double>(length)) + 1e-6; }

void check_complex(const fft::Kernels& kernels, int length) {
  const fft::Plan plan(length, kernels.widest_radix);
  const std::vector<float> source = noise(static_cast<std::size_t>(length) * kElement, 7);
  std::vector<float> data = source;
  kernels.forward(plan.view(), data.data());
  const int step = length > 200 ? 37 : 1;
  for (int k = 0; k < length; k += step) {
    for (const int line : {0, 5, 15}) {
      const Complex found = element(data, plan.position(k), line);
      CHECK(std::abs(found - direct(source, length, k, line)) < tolerance(length));
    }
  }
  kernels.inverse(plan.view(), data.data());
  for (std::size_t i = 0; i < data.size(); ++i) {
    CHECK(std::abs(data[i] / static_cast<float>(length) - source[i]) < 3e-6F);
  }
}

// A line of 2 n real samples is n elements; its spectrum has n + 1 frequencies.
void check_real(const fft::Kernels& kernels, int n) {
  const fft::Plan plan(n, kernels.widest_radix);
  const std::vector<float> source = noise(static_cast<std::size_t>(n) * kElement, 9);
  std::vector<float> data = source;
  kernels.forward(plan.view(), data.data());
  const int blocks = n / kLines + 1;
  std::vector<float> spectrum(static_cast<std::size_t>(blocks) * kLines * kElement);
  std::vector<float> rows(static_cast<std::size_t>(kLines) * kElement);
  for (int block = 0; block < blocks; ++block) {
    kernels.unpack(plan.view(), data.data(), block * kLines, rows.data());
    for (int x = 0; x < kLines; ++x) {
      const int k = block * kLines + x;
      for (int line = 0; line < kLines; ++line) {
        const std::size_t at =
            static_cast<std::size_t>(line) * kElement + static_cast<std::size_t>(x);
        const Complex found{static_cast<double>(rows[at]), static_cast<double>(rows[at + kLines])};
        if (k > n) {
          CHECK(found == Complex{});
        } else if (line % 7 == 0 && (n < 100 || k % 29 == 0)) {
          Complex sum = 0;
          for (int j = 0; j < 2 * n; ++j) {
            const std::size_t sample =
                static_cast<std::size_t>(j) * kLines + static_cast<std::size_t>(line);
            const double turns = std::fmod(static_cast<double>(j) * k, 2.0 * n) / (2.0 * n);
            sum += static_cast<double>(source[sample]) *
                   std::polar(1.0, -2 * std::numbers::pi * turns);
          }
          CHECK(std::abs(found - sum) < tolerance(2 * n));
        }
        if (k <= n) {
          const std::size_t to =
              static_cast<std::size_t>(k) * kElement + static_cast<std::size_t>(line);
          spectrum[to] = rows[at];
          spectrum[to + kLines] = rows[at + kLines];
        }
      }
    }
  }
  kernels.pack(plan.view(), spectrum.data(), data.data());
  kernels.inverse(plan.view(), data.data());
  for (std::size_t i = 0; i < data.size(); ++i) {
    CHECK(std::abs(data[i] / static_cast<float>(2 * n) - source[i]) < 3e-6F);
  }
}

void check_transposes(const fft::Kernels& kernels) {
  for (const int count : {1, 3, 4, 16, 37}) {
    const std::ptrdiff_t stride = count + 5;
    std::vector<float> rows = noise(static_cast<std::size_t>(stride) * kLines, 3);
    const std::vector<float> source = rows;
    std::vector<float> lanes(static_cast<std::size_t>(count) * kLines);
    kernels.to_lanes(rows.data(), stride, count, lanes.data());
    for (int r = 0; r < kLines; ++r) {
      for (int x = 0; x < count; ++x) {
        CHECK(lanes[static_cast<std::size_t>(x * kLines + r)] ==
              source[static_cast<std::size_t>(r * stride + x)]);
      }
    }
    std::vector<float> back(rows.size(), 9.0F);
    kernels.from_lanes(back.data(), stride, count, lanes.data());
    for (int r = 0; r < kLines; ++r) {
      for (std::ptrdiff_t x = 0; x < stride; ++x) {
        const std::size_t at = static_cast<std::size_t>(r * stride + x);
        CHECK(back[at] == (x < count ? source[at] : 9.0F));  // nothing beyond is touched
      }
    }
  }
}

void check_exchange(const fft::Kernels& kernels) {
  const std::vector<float> from = noise(kLines * kElement, 5);
  std::vector<float> to(from.size());
  kernels.exchange(from.data(), to.data());
  for (int k = 0; k < kLines; ++k) {
    for (int line = 0; line < kLines; ++line) CHECK(element(to, k, line) == element(from, line, k));
  }
}

}  // namespace

int main() {
  for (const fft::Kernels& kernels : fft::usable_kernels()) {
    std::printf("%s\n", kernels.instructions);
    for (int length = 1; length <= 130; ++length) {
      int rest = length;
      for (const int prime : {2, 3, 5, 7}) {
        while (rest % prime == 0) rest /= prime;
      }
      if (rest != 1) {
        CHECK_THROWS(fft::Plan(length, kernels.widest_radix), ErrorKind::kOptions);
        continue;
      }
      check_complex(kernels, length);
      check_real(kernels, length);
    }
    for (const int length : {343, 864, 1024, 1125, 1764, 2048, 4200})
      check_complex(kernels, length);
    for (const int n : {490, 1024, 1120}) check_real(kernels, n);
    check_transposes(kernels);
    check_exchange(kernels);
  }
  CHECK_THROWS(fft::Plan(0, 8), ErrorKind::kOptions);
  CHECK_THROWS(fft::Plan(22, 8), ErrorKind::kOptions);
  return 0;
}
