// The convolution for one instruction set. Included once by each file that defines
// WINOGRAD_NAMESPACE, WINOGRAD_LANES (floats in a vector) and WINOGRAD_REGISTERS (vectors a
// processor holds). Nothing of the standard library is called here: its inline functions would be
// compiled for this instruction set and could be picked by the linker for every other caller.
#pragma once

#include "engine/winograd.h"

#if defined(__clang__)
#define WINOGRAD_UNROLL _Pragma("unroll")
#else
#define WINOGRAD_UNROLL _Pragma("GCC unroll 16")
#endif
#define WINOGRAD_INLINE inline __attribute__((always_inline))

namespace imagine_deblur::winograd::WINOGRAD_NAMESPACE {
namespace {

constexpr int kLanes = WINOGRAD_LANES;
typedef float Vec __attribute__((vector_size(4 * WINOGRAD_LANES), aligned(4), may_alias));

WINOGRAD_INLINE Vec load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
WINOGRAD_INLINE void store(float* p, const Vec& v) { *reinterpret_cast<Vec*>(p) = v; }

// B^T d for six vectors.
WINOGRAD_INLINE void transform_input(const Vec (&d)[6], Vec (&o)[6]) {
  const Vec a = d[4] - 4.0F * d[2];
  const Vec b = d[3] - 4.0F * d[1];
  const Vec c = d[4] - d[2];
  const Vec e = 2.0F * (d[3] - d[1]);
  o[0] = 4.0F * d[0] - 5.0F * d[2] + d[4];
  o[1] = a + b;
  o[2] = a - b;
  o[3] = c + e;
  o[4] = c - e;
  o[5] = 4.0F * d[1] - 5.0F * d[3] + d[5];
}

// A^T m for six vectors.
WINOGRAD_INLINE void transform_output(const Vec (&m)[6], Vec (&o)[4]) {
  const Vec a = m[1] + m[2];
  const Vec b = m[1] - m[2];
  const Vec c = m[3] + m[4];
  const Vec d = m[3] - m[4];
  o[0] = m[0] + a + c;
  o[1] = b + 2.0F * d;
  o[2] = a + 4.0F * c;
  o[3] = b + 8.0F * d + m[5];
}

// 6 x 6 cells from `cell` on to one row of each point's matrix; matrices lie `point` floats apart.
WINOGRAD_INLINE void gather_tile(const float* cell, const Cells& input, int channels, float* v,
                                 std::ptrdiff_t point) {
  for (int c = 0; c < channels; c += kLanes) {
    Vec half[6][6];
    for (int y = 0; y < 6; ++y) {
      const float* p = cell + y * input.row_stride + c;
      const Vec d[6] = {load(p),
                        load(p + input.stride),
                        load(p + 2 * input.stride),
                        load(p + 3 * input.stride),
                        load(p + 4 * input.stride),
                        load(p + 5 * input.stride)};
      transform_input(d, half[y]);
    }
    for (int x = 0; x < 6; ++x) {
      const Vec d[6] = {half[0][x], half[1][x], half[2][x], half[3][x], half[4][x], half[5][x]};
      Vec o[6];
      transform_input(d, o);
      for (int y = 0; y < 6; ++y) store(v + (y * 6 + x) * point + c, o[y]);
    }
  }
}

// m = v u for R rows and N vectors of outputs, held in registers throughout.
template <int N, int R>
WINOGRAD_INLINE void multiply_rows(const float* v, std::ptrdiff_t v_stride, const float* u,
                                   std::ptrdiff_t u_stride, float* m, std::ptrdiff_t m_stride,
                                   int inputs) {
  Vec sum[std::size_t{R}][std::size_t{N}];
  WINOGRAD_UNROLL
  for (int r = 0; r < R; ++r) {
    WINOGRAD_UNROLL
    for (int n = 0; n < N; ++n) sum[r][n] = Vec{};
  }
  for (int i = 0; i < inputs; ++i) {
    Vec weight[std::size_t{N}];
    WINOGRAD_UNROLL
    for (int n = 0; n < N; ++n) weight[n] = load(u + i * u_stride + n * kLanes);
    WINOGRAD_UNROLL
    for (int r = 0; r < R; ++r) {
      const Vec x = v[r * v_stride + i] - Vec{};  // in every lane
      WINOGRAD_UNROLL
      for (int n = 0; n < N; ++n) sum[r][n] += x * weight[n];
    }
  }
  WINOGRAD_UNROLL
  for (int r = 0; r < R; ++r) {
    WINOGRAD_UNROLL
    for (int n = 0; n < N; ++n) store(m + r * m_stride + n * kLanes, sum[r][n]);
  }
}

template <int N, int R>
void multiply_columns(const float* v, std::ptrdiff_t v_stride, const float* u,
                      std::ptrdiff_t u_stride, float* m, std::ptrdiff_t m_stride, int inputs,
                      int rows) {
  static_assert(kBlock % R == 0);
  for (int row = 0; row < rows; row += R) {
    multiply_rows<N, R>(v + row * v_stride, v_stride, u, u_stride, m + row * m_stride, m_stride,
                        inputs);
  }
}

// (rows, inputs) times (inputs, outputs); rows beyond `rows`, up to kBlock, may be computed too.
void multiply(const float* v, std::ptrdiff_t v_stride, const float* u, float* m, int inputs,
              int outputs, int rows) {
  int left = outputs / kLanes;
  for (int n = 0; left > 0;) {
    const float* columns = u + n * kLanes;
    float* target = m + n * kLanes;
#if WINOGRAD_REGISTERS >= 32
    const int take = left == 5 || left == 6 ? 3 : (left < 4 ? left : 4);
    switch (take) {
      case 1:
        multiply_columns<1, 12>(v, v_stride, columns, outputs, target, outputs, inputs, rows);
        break;
      case 2:
        multiply_columns<2, 12>(v, v_stride, columns, outputs, target, outputs, inputs, rows);
        break;
      case 3:
        multiply_columns<3, 8>(v, v_stride, columns, outputs, target, outputs, inputs, rows);
        break;
      default:
        multiply_columns<4, 6>(v, v_stride, columns, outputs, target, outputs, inputs, rows);
    }
#else
    constexpr int take = 2;  // kChannels is a multiple of two vectors
    static_assert(kChannels % (2 * kLanes) == 0);
    multiply_columns<2, 6>(v, v_stride, columns, outputs, target, outputs, inputs, rows);
#endif
    n += take;
    left -= take;
  }
}

// One row of each point's matrix to at most 4 x 4 cells.
WINOGRAD_INLINE void scatter_tile(const float* m, std::ptrdiff_t point, const Layer& layer,
                                  After after, const Cells& output, int row, int column) {
  const int rows = output.rows - row < kTile ? output.rows - row : kTile;
  const int columns = output.columns - column < kTile ? output.columns - column : kTile;
  for (int c = 0; c < layer.outputs; c += kLanes) {
    Vec half[4][6];
    for (int x = 0; x < 6; ++x) {
      const float* p = m + x * point + c;
      const Vec d[6] = {load(p),
                        load(p + 6 * point),
                        load(p + 12 * point),
                        load(p + 18 * point),
                        load(p + 24 * point),
                        load(p + 30 * point)};
      Vec o[4];
      transform_output(d, o);
      for (int y = 0; y < 4; ++y) half[y][x] = o[y];
    }
    const Vec bias = load(layer.bias_data + c);
    for (int y = 0; y < rows; ++y) {
      Vec o[4];
      transform_output(half[y], o);
      float* cell = output.at(row + y, column) + c;
      for (int x = 0; x < columns; ++x, cell += output.stride) {
        Vec value = o[x] + bias;
        if (after == After::kAdd) value += load(cell);
        if (after == After::kRelu) value = value > 0.0F ? value : Vec{};
        store(cell, value);
      }
    }
  }
}

}  // namespace

void convolve(const Layer& layer, const Cells& input, const Cells& output, After after, int first,
              int last, float* scratch) {
  const int channels = padded(layer.inputs);
  const std::ptrdiff_t v_point = std::ptrdiff_t{kBlock} * channels;
  const std::ptrdiff_t m_point = std::ptrdiff_t{kBlock} * layer.outputs;
  float* const v = scratch;
  float* const m = scratch + kPoints * v_point;
  const int across = input.tile_columns();
  const int count = last - first;
  for (int t = 0; t < count; ++t) {
    const int row = (first + t) / across * kTile;
    const int column = (first + t) % across * kTile;
    gather_tile(input.at(row - 1, column - 1), input, channels, v + t * channels, v_point);
  }
  for (int p = 0; p < kPoints; ++p) {
    const float* u =
        layer.kernel_data + static_cast<std::ptrdiff_t>(p) * layer.inputs * layer.outputs;
    multiply(v + p * v_point, channels, u, m + p * m_point, layer.inputs, layer.outputs, count);
  }
  for (int t = 0; t < count; ++t) {
    const int row = (first + t) / across * kTile;
    const int column = (first + t) % across * kTile;
    scatter_tile(m + t * layer.outputs, m_point, layer, after, output, row, column);
  }
}

}  // namespace imagine_deblur::winograd::WINOGRAD_NAMESPACE
