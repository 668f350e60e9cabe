// Winograd's convolution against the sum itself, for every instruction set this processor runs.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "engine/plain_network_engine.h"
#include "engine/winograd.h"

namespace {

using namespace imagine_deblur;
using winograd::After;
using winograd::Cells;

class Noise {
 public:
  explicit Noise(std::uint64_t seed) : state_(seed) {}
  float next() {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<float>(static_cast<double>(state_ >> 33U) / 2147483648.0 - 0.5);
  }
  std::vector<float> many(std::size_t count) {
    std::vector<float> values(count);
    for (float& v : values) v = next();
    return values;
  }

 private:
  std::uint64_t state_;
};

// Cells with their border of zeros, in memory of their own.
struct Picture {
  Picture(int rows, int columns, int channels) {
    const auto whole = [](int n) {
      return (n + winograd::kTile - 1) / winograd::kTile * winograd::kTile;
    };
    cells.stride = winograd::padded(channels);
    cells.row_stride = cells.stride * (whole(columns) + 2);
    cells.rows = rows;
    cells.columns = columns;
    memory.assign(
        static_cast<std::size_t>(cells.row_stride) * static_cast<std::size_t>(whole(rows) + 2),
        0.0F);
    cells.data = memory.data() + cells.row_stride + cells.stride;
  }
  std::vector<float> memory;
  Cells cells;
};

double direct(const Picture& in, const std::vector<float>& kernel, int inputs, int output, int row,
              int column) {
  double sum = 0;
  for (int i = 0; i < inputs; ++i) {
    for (int y = 0; y < 3; ++y) {
      for (int x = 0; x < 3; ++x) {
        const int r = row + y - 1;
        const int c = column + x - 1;
        if (r < 0 || c < 0 || r >= in.cells.rows || c >= in.cells.columns) continue;
        const std::size_t at = static_cast<std::size_t>(((output * inputs + i) * 3 + y) * 3 + x);
        sum += static_cast<double>(kernel[at]) * static_cast<double>(in.cells.at(r, c)[i]);
      }
    }
  }
  return sum;
}

void equals_the_sum(const winograd::Kernels& kernels, int inputs, int outputs, int rows,
                    int columns, After after) {
  Noise noise(static_cast<std::uint64_t>(inputs * 1000 + outputs * 10 + rows));
  const std::vector<float> kernel = noise.many(static_cast<std::size_t>(9 * inputs * outputs));
  const std::vector<float> bias = noise.many(static_cast<std::size_t>(outputs));
  const winograd::OwnedLayer layer(kernel.data(), bias.data(), inputs, outputs);
  Picture in(rows, columns, inputs);
  Picture out(rows, columns, outputs);
  std::vector<float> before;
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < columns; ++c) {
      for (int i = 0; i < inputs; ++i) in.cells.at(r, c)[i] = noise.next();
      for (int o = 0; o < outputs; ++o) before.push_back(out.cells.at(r, c)[o] = noise.next());
    }
  }
  std::vector<float> scratch(winograd::scratch_floats(inputs, outputs), 0.0F);
  for (int first = 0; first < in.cells.tiles(); first += winograd::kBlock) {
    const int last = std::min(first + winograd::kBlock, in.cells.tiles());
    kernels.convolve(layer.view(), in.cells, out.cells, after, first, last, scratch.data());
  }
  std::size_t k = 0;
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < columns; ++c) {
      for (int o = 0; o < outputs; ++o, ++k) {
        double expected = direct(in, kernel, inputs, o, r, c) +
                          static_cast<double>(bias[static_cast<std::size_t>(o)]);
        if (after == After::kRelu) expected = std::fmax(expected, 0.0);
        if (after == After::kAdd) expected += static_cast<double>(before[k]);
        const double found = static_cast<double>(out.cells.at(r, c)[o]);
        if (!(std::fabs(found - expected) < 2e-5 * std::sqrt(9.0 * inputs))) {
          std::fprintf(stderr, "%s, %d to %d channels, cell %d %d channel %d: %g, expected %g\n",
                       kernels.instructions, inputs, outputs, r, c, o, found, expected);
          CHECK(false);
        }
      }
    }
  }
  // The border is still zero: the next layer reads it.
  const Cells& w = out.cells;
  for (int c = -1; c <= columns; ++c) {
    CHECK(w.at(-1, c)[0] == 0.0F);
    CHECK(w.at(rows, c)[0] == 0.0F);
  }
  for (int r = 0; r < rows; ++r) {
    CHECK(w.at(r, -1)[0] == 0.0F);
    CHECK(w.at(r, columns)[0] == 0.0F);
  }
}

void wrong_layers_are_refused() {
  Noise noise(1);
  PlainNetworkOptions options;
  options.input_planes = 6;
  options.tile_rows = options.tile_columns = 8;
  options.unshuffle = 2;
  options.base_plane = 3;
  options.layers = {{24, 5, noise.many(24 * 5 * 9), noise.many(5)},
                    {5, 12, noise.many(5 * 12 * 9), noise.many(12)}};
  const auto serial = std::make_shared<SerialExecutor>();
  const PlainNetworkEngine good(options, serial);
  CHECK(good.spec().name == "winograd");
  for (int wrong = 0; wrong < 5; ++wrong) {
    PlainNetworkOptions bad = options;
    if (wrong == 0) bad.layers.pop_back();
    if (wrong == 1) bad.layers[1].inputs = 4;
    if (wrong == 2) bad.layers[0].weights.pop_back();
    if (wrong == 3) bad.tile_rows = 7;
    if (wrong == 4) bad.base_plane = 4;
    CHECK_THROWS(PlainNetworkEngine(bad, serial), ErrorKind::kEngine);
  }
}

void a_flipped_weight_changes_the_sum() {
  Noise noise(2);
  PlainNetworkOptions options;
  options.input_planes = 3;
  options.tile_rows = options.tile_columns = 8;
  options.layers = {{3, 5, noise.many(3 * 5 * 9), noise.many(5)},
                    {5, 3, noise.many(5 * 3 * 9), noise.many(3)}};
  const auto serial = std::make_shared<SerialExecutor>();
  const std::uint64_t sum = PlainNetworkEngine(options, serial).weights_sum();
  CHECK(PlainNetworkEngine(options, serial).weights_sum() == sum);
  for (std::size_t layer = 0; layer < 2; ++layer) {
    for (const bool bias : {false, true}) {
      for (std::uint32_t bit = 0; bit < 32; ++bit) {
        PlainNetworkOptions flipped = options;
        PlainLayer& changed = flipped.layers[layer];
        float& value = bias ? changed.bias[2] : changed.weights[36];  // a corner: kept exactly
        value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) ^ (1U << bit));
        CHECK(PlainNetworkEngine(flipped, serial).weights_sum() != sum);
      }
    }
  }
}

}  // namespace

int main() {
  for (const winograd::Kernels& kernels : winograd::usable_kernels()) {
    for (const After after : {After::kNothing, After::kRelu, After::kAdd}) {
      equals_the_sum(kernels, 32, 48, 13, 21, after);
      equals_the_sum(kernels, 48, 12, 8, 40, after);
      equals_the_sum(kernels, 64, 64, 5, 5, after);
      equals_the_sum(kernels, 1, 80, 4, 9, after);
      equals_the_sum(kernels, 7, 3, 1, 1, after);
      equals_the_sum(kernels, 17, 112, 2, 3, after);
    }
  }
  wrong_layers_are_refused();
  a_flipped_weight_changes_the_sum();
  return 0;
}
