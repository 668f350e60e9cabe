// The linear stage's passes: the identity comes back, a blur is the direct sum, a piece shows the
// frame's extension, threads and order change no bit, and a bit that flips between two passes is
// noticed.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "linear/bank.h"
#include "linear/gain.h"
#include "linear/passes.h"
#include "linear/piece_rows.h"
#include "threads/executor.h"
#include "tiling/reflect.h"

using namespace imagine_deblur;
using namespace imagine_deblur::linear;

namespace {

struct Scratch {
  explicit Scratch(const PlaneSizes& sizes)
      : bytes(sizes.scratch_bytes()),
        data(static_cast<std::byte*>(::operator new[](bytes, std::align_val_t{64}))) {
    std::memset(data, 0, bytes);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { ::operator delete[](data, std::align_val_t{64}); }
  std::span<std::byte> span() const { return {data, bytes}; }

  std::size_t bytes;
  std::byte* data;
};

float sample(int row, int column) {
  const std::uint32_t mixed =
      (static_cast<std::uint32_t>(row) * 7919U + static_cast<std::uint32_t>(column)) * 2654435761U;
  return static_cast<float>(mixed >> 8U) / static_cast<float>(1U << 24U);
}

LoadRows load_samples(int columns) {
  return [columns](int first, int count, float* rows, std::ptrdiff_t stride) {
    for (int r = 0; r < count; ++r) {
      for (int c = 0; c < columns; ++c) rows[r * stride + c] = sample(first + r, c);
    }
  };
}

std::vector<float> blurred(const Size& size, std::span<const float> table, Executor& executor,
                           bool through_whole) {
  const PlaneSizes sizes(size);
  const Scratch scratch(sizes);
  Passes passes(sizes, executor, scratch.span(), true);
  const Otf otf = Otf::radial(table);
  const Gain blur;
  const GainOf gain = gain_of(sizes, otf, blur, passes.unit());
  if (through_whole) {
    passes.forward_rows(load_samples(size.columns), passes.whole());
    passes.forward_columns();
    passes.filter_whole(gain);
  } else {
    passes.forward_rows(load_samples(size.columns), passes.part());
    passes.filter_part(gain);
  }
  std::vector<float> out(static_cast<std::size_t>(size.rows) *
                         static_cast<std::size_t>(size.columns));
  passes.inverse_rows([&](int first, int count, float* rows, std::ptrdiff_t stride) {
    for (int r = 0; r < count; ++r) {
      std::memcpy(out.data() + static_cast<std::ptrdiff_t>(first + r) * size.columns,
                  rows + r * stride, static_cast<std::size_t>(size.columns) * sizeof(float));
    }
  });
  return out;
}

void check_identity() {
  const std::vector<float> ones(5, 1.0F);
  SerialExecutor serial;
  for (const Size& size : {Size{1, 1, 2, 2}, Size{1, 40, 8, 48}, Size{37, 53, 60, 70},
                           Size{48, 100, 48, 100}, Size{130, 33, 210, 98}}) {
    for (const bool through_whole : {true, false}) {
      const std::vector<float> found = blurred(size, ones, serial, through_whole);
      for (int r = 0; r < size.rows; ++r) {
        for (int c = 0; c < size.columns; ++c) {
          CHECK(std::abs(found[static_cast<std::size_t>(r * size.columns + c)] - sample(r, c)) <
                2e-6F);
        }
      }
    }
  }
}

// A Gaussian far from the frame's borders and gap, term by term.
void check_blur() {
  const Size size{96, 112, 140, 160};
  constexpr double kSigma = 1.2;
  constexpr double kPi = 3.14159265358979324;
  std::vector<float> table(4097);
  for (std::size_t i = 0; i < table.size(); ++i) {
    const double f = kHighest * static_cast<double>(i) / static_cast<double>(table.size() - 1);
    table[i] = static_cast<float>(std::exp(-2 * std::pow(kPi * kSigma * f, 2)));
  }
  SerialExecutor serial;
  const std::vector<float> found = blurred(size, table, serial, true);
  for (int r = 20; r < size.rows - 20; r += 7) {
    for (int c = 20; c < size.columns - 20; c += 7) {
      double sum = 0;
      double weights = 0;
      for (int y = -9; y <= 9; ++y) {
        for (int x = -9; x <= 9; ++x) {
          const double weight = std::exp(-(y * y + x * x) / (2 * kSigma * kSigma));
          weights += weight;
          sum += weight * static_cast<double>(sample(r + y, c + x));
        }
      }
      const double value =
          static_cast<double>(found[static_cast<std::size_t>(r * size.columns + c)]);
      CHECK(std::abs(value - sum / weights) < 1e-3);  // the sampled Gaussian's own aliasing
    }
  }
  for (std::uint64_t seed = 1; seed < 5; ++seed) {
    ShuffledExecutor shuffled(3, seed);
    CHECK(blurred(size, table, shuffled, true) == found);
  }
}

void check_extension() {
  const Extension axis(5, 14);
  for (int i = 0; i < 9; ++i) {
    const std::size_t at = static_cast<std::size_t>(i);
    CHECK(axis.ahead[at] == reflect(5 + i, 5));
    CHECK(axis.behind[at] == reflect(i - 9, 5));
    CHECK(axis.fade[at] >= 0.0F && axis.fade[at] <= 1.0F);
    if (i > 0) CHECK(axis.fade[at] >= axis.fade[at - 1]);
  }
  CHECK(axis.fade.front() == 0.0F && axis.fade.back() == 1.0F);
  CHECK_THROWS(PlaneSizes(Size{8, 8, 7, 16}), ErrorKind::kOptions);
  CHECK_THROWS(PlaneSizes(Size{8, 8, 16, 15}), ErrorKind::kOptions);
  CHECK_THROWS(PlaneSizes(Size{8, 8, 22, 16}), ErrorKind::kOptions);
}

// Beside the frame a piece shows the frame's own extension, periodically.
void check_pieces() {
  constexpr int kColumns = 23;
  constexpr int kPadded = 34;
  constexpr int kRows = 2;
  std::vector<float> bands[2];
  std::vector<PlaneView> planes;
  for (int band = 0; band < 2; ++band) {
    for (int i = 0; i < kRows * kColumns; ++i) bands[band].push_back(sample(band, i));
    planes.push_back({bands[band].data(), SampleType::kFloat32, kRows, kColumns,
                      kColumns * static_cast<std::ptrdiff_t>(sizeof(float))});
  }
  const float weights[] = {0.75F, -0.5F};
  const Extension axis(kColumns, kPadded);
  for (const auto& [first, columns] : {std::pair{0, kColumns}, std::pair{5, 9}, std::pair{-20, 40},
                                       std::pair{-4, 12}, std::pair{15, 30}}) {
    const PieceRows piece(planes, first, columns, kPadded);
    std::vector<float> found(static_cast<std::size_t>(columns));
    for (int row = 0; row < kRows; ++row) {
      piece.read(row, weights, found.data());
      const auto sum = [&](int column) {
        const auto at = static_cast<std::size_t>(row * kColumns + column);
        return weights[0] * bands[0][at] + weights[1] * bands[1][at];
      };
      for (int i = 0; i < columns; ++i) {
        const int place = (first + i + kPadded) % kPadded;
        float wanted = 0;
        if (place < kColumns) {
          wanted = sum(place);
        } else {
          const auto beyond = static_cast<std::size_t>(place - kColumns);
          const float ahead = sum(axis.ahead[beyond]);
          wanted = ahead + (sum(axis.behind[beyond]) - ahead) * axis.fade[beyond];
        }
        CHECK(std::abs(found[static_cast<std::size_t>(i)] - wanted) < 1e-6F);
      }
    }
  }
  for (const auto& [first, columns] :
       {std::pair{-24, 30}, std::pair{23, 5}, std::pair{0, 47}, std::pair{0, 0}}) {
    CHECK_THROWS(PieceRows(planes, first, columns, kPadded), ErrorKind::kOptions);
  }
  CHECK_THROWS(PieceRows(planes, 0, kColumns, kColumns - 1), ErrorKind::kOptions);
}

void check_flips() {
  const Size size{40, 50, 60, 70};
  const PlaneSizes sizes(size);
  const std::vector<float> ones(2, 1.0F);
  SerialExecutor serial;
  const Otf otf = Otf::radial(ones);
  const Gain blur;
  for (int moment = 0; moment < 9; ++moment) {
    for (const std::size_t place : {std::size_t{0}, std::size_t{777}}) {
      const Scratch scratch(sizes);
      int blocks = 0;
      Passes passes(sizes, serial, scratch.span(), true, [&] {
        if (blocks++ == moment) scratch.data[4 * place + 1] ^= std::byte{4};
      });
      const GainOf gain = gain_of(sizes, otf, blur, passes.unit());
      passes.forward_rows(load_samples(size.columns), passes.whole());
      const auto rest = [&] {
        passes.forward_columns();
        passes.filter_whole(gain);
      };
      // Three groups of rows, three blocks of columns and again three; the first block is not read
      // after its part of the third pass.
      if (moment == 0 && place == 777) continue;  // may be written over by the second group
      if (moment < 6) {
        CHECK_THROWS(rest(), ErrorKind::kIntegrity);
      } else {
        rest();
      }
    }
  }
}

}  // namespace

int main() {
  check_extension();
  check_identity();
  check_blur();
  check_pieces();
  check_flips();
  return 0;
}
