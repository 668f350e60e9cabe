// 3x3 convolutions of planes whose channels lie together, by Winograd's minimal filtering F(4x4,
// 3x3): 36 multiplications for 16 results where the sum itself takes 144 (Lavin and Gray 2016,
// "Fast algorithms for convolutional neural networks", section 4, with the points 0, 1, -1, 2, -2
// and infinity). One source file an instruction set; the choice is made when the program runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace imagine_deblur::winograd {

constexpr int kTile = 4;       // a tile makes 4 x 4 results
constexpr int kPoints = 36;    // and is 6 x 6 numbers in the transformed domain
constexpr int kBlock = 24;     // tiles that one call works on together
constexpr int kChannels = 16;  // channel counts are rounded up to multiples of this

[[gnu::always_inline]] constexpr int padded(int channels) {
  return (channels + kChannels - 1) / kChannels * kChannels;
}

// A convolution ready for use: kernel[point][input][output], outputs padded with zeros.
struct Layer {
  int inputs = 0;
  int outputs = 0;  // padded
  const float* kernel_data = nullptr;
  const float* bias_data = nullptr;
};

// A layer and the memory it looks at.
class OwnedLayer {
 public:
  // Transforms a kernel (outputs, inputs, 3, 3) in double precision.
  OwnedLayer(const float* kernel, const float* bias, int inputs, int outputs);

  Layer view() const { return {inputs_, padded(outputs_), kernel_.data(), bias_.data()}; }

  // The sum of the bits of what view() shows, as 32-bit words.
  std::uint64_t sum() const noexcept;

 private:
  int inputs_;
  int outputs_;
  std::vector<float> kernel_;
  std::vector<float> bias_;
};

// Cells of `stride` channels; data points at cell (0, 0). A border of one cell above and left, and
// as much below and right as whole tiles and one more cell need, can be read and holds zeros.
struct Cells {
  float* data = nullptr;
  std::ptrdiff_t stride = 0;      // floats from cell to cell, a multiple of kChannels
  std::ptrdiff_t row_stride = 0;  // floats from row to row
  int rows = 0;
  int columns = 0;

  // Inlined wherever they are called: the kernels' files are compiled for other instruction sets.
  [[gnu::always_inline]] int tile_columns() const { return (columns + kTile - 1) / kTile; }
  [[gnu::always_inline]] int tiles() const { return (rows + kTile - 1) / kTile * tile_columns(); }
  [[gnu::always_inline]] float* at(int row, int column) const {
    return data + row * row_stride + column * stride;
  }
};

enum class After { kNothing, kRelu, kAdd };  // kAdd: to what the output holds

// Floats of scratch for one call.
constexpr std::size_t scratch_floats(int inputs, int outputs) {
  return static_cast<std::size_t>(kPoints) * kBlock *
         static_cast<std::size_t>(padded(inputs) + padded(outputs));
}

// Convolves the tiles [first, last), numbered row by row, at most kBlock of them; reads only
// `input`, writes only the cells of these tiles.
using Convolve = void (*)(const Layer& layer, const Cells& input, const Cells& output, After after,
                          int first, int last, float* scratch);

struct Kernels {
  const char* instructions;
  Convolve convolve;
};

// The fastest that this processor runs.
Kernels best_kernels();
// All that it runs, the plain one last; for tests.
std::vector<Kernels> usable_kernels();

}  // namespace imagine_deblur::winograd
