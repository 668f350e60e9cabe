// The transforms for one instruction set. Included once by each file that defines FFT_NAMESPACE,
// FFT_WIDTH (floats in a vector) and FFT_WIDEST_RADIX (8 where registers hold two sets of eight
// vectors). Nothing of the standard library is called here: its inline functions would be compiled
// for this instruction set and could be picked by the linker for every other caller.
#pragma once

#include "fft/dft_kernel.h"
#include "fft/lanes.h"

#define FFT_QUOTED(name) #name
#define FFT_NAME(name) FFT_QUOTED(name)

namespace imagine_deblur::fft::FFT_NAMESPACE {
namespace {

// ---- passes ------------------------------------------------------------------------------------

// `blocks` blocks of R x stride elements. Inverse: real and imaginary parts trade places, which
// turns a transform into its inverse.
template <std::size_t N, bool kInverse>
void run_pass(float* data, int stride, const float* twiddles, int blocks) {
  constexpr int R = static_cast<int>(N);
  const std::ptrdiff_t step = std::ptrdiff_t{stride} * kElement;
  for (int block = 0; block < blocks; ++block, data += step * R) {
    const float* w = twiddles;
    for (int j = 0; j < stride; ++j, w += 2 * (R - 1)) {
      for (int h = 0; h < kLines; h += kWidth) {
        float* const p = data + std::ptrdiff_t{j} * kElement + h;
        Vec re[N];
        Vec im[N];
        FFT_UNROLL
        for (int i = 0; i < R; ++i) {
          re[i] = load(p + i * step);
          im[i] = load(p + i * step + kLines);
        }
        if constexpr (kInverse) {
          FFT_UNROLL
          for (int t = 1; t < R; ++t) {
            const float c = w[2 * (t - 1)];
            const float s = w[2 * (t - 1) + 1];
            const Vec x = re[t] * c + im[t] * s;  // times the conjugate
            im[t] = im[t] * c - re[t] * s;
            re[t] = x;
          }
          dft<N>(im, re);
        } else {
          dft<N>(re, im);
          FFT_UNROLL
          for (int t = 1; t < R; ++t) {
            const float c = w[2 * (t - 1)];
            const float s = w[2 * (t - 1) + 1];
            const Vec x = re[t] * c - im[t] * s;
            im[t] = im[t] * c + re[t] * s;
            re[t] = x;
          }
        }
        FFT_UNROLL
        for (int i = 0; i < R; ++i) {
          store(p + i * step, re[i]);
          store(p + i * step + kLines, im[i]);
        }
      }
    }
  }
}

// The pass of stride 1: no twiddles.
template <std::size_t N, bool kInverse>
void run_last(float* data, int blocks) {
  constexpr int R = static_cast<int>(N);
  for (int block = 0; block < blocks; ++block, data += R * kElement) {
    for (int h = 0; h < kLines; h += kWidth) {
      float* const p = data + h;
      Vec re[N];
      Vec im[N];
      FFT_UNROLL
      for (int i = 0; i < R; ++i) {
        re[i] = load(p + i * kElement);
        im[i] = load(p + i * kElement + kLines);
      }
      if constexpr (kInverse) {
        dft<N>(im, re);
      } else {
        dft<N>(re, im);
      }
      FFT_UNROLL
      for (int i = 0; i < R; ++i) {
        store(p + i * kElement, re[i]);
        store(p + i * kElement + kLines, im[i]);
      }
    }
  }
}

template <std::size_t N, bool kInverse>
FFT_INLINE void run_radix(float* data, const Pass& pass, int blocks) {
  if (pass.stride == 1) {
    run_last<N, kInverse>(data, blocks);
  } else {
    run_pass<N, kInverse>(data, pass.stride, pass.twiddles, blocks);
  }
}

template <bool kInverse>
void run(float* data, const Pass& pass, int blocks) {
  switch (pass.radix) {
    case 2:
      run_radix<2, kInverse>(data, pass, blocks);
      break;
    case 3:
      run_radix<3, kInverse>(data, pass, blocks);
      break;
    case 4:
      run_radix<4, kInverse>(data, pass, blocks);
      break;
    case 5:
      run_radix<5, kInverse>(data, pass, blocks);
      break;
    case 7:
      run_radix<7, kInverse>(data, pass, blocks);
      break;
    default:
#if FFT_WIDEST_RADIX >= 8
      run_radix<8, kInverse>(data, pass, blocks);
#endif
      break;
  }
}

// Blocks up to this many elements stay in the first cache: all their passes run one after the
// other. Larger ones are finished part by part.
constexpr int kCached = 128;

void forward_from(const View& view, int first, float* data) {
  const Pass& pass = view.pass[first];
  const int size = pass.radix * pass.stride;
  if (size <= kCached) {
    int blocks = 1;
    for (int i = first; i < view.passes; ++i) {
      run<false>(data, view.pass[i], blocks);
      blocks *= view.pass[i].radix;
    }
    return;
  }
  run<false>(data, pass, 1);
  if (pass.stride == 1) return;
  for (int part = 0; part < pass.radix; ++part) {
    forward_from(view, first + 1, data + std::ptrdiff_t{part} * pass.stride * kElement);
  }
}

void inverse_from(const View& view, int first, float* data) {
  const Pass& pass = view.pass[first];
  const int size = pass.radix * pass.stride;
  if (size <= kCached) {
    int blocks = size;
    for (int i = view.passes - 1; i >= first; --i) {
      blocks /= view.pass[i].radix;
      run<true>(data, view.pass[i], blocks);
    }
    return;
  }
  if (pass.stride > 1) {
    for (int part = 0; part < pass.radix; ++part) {
      inverse_from(view, first + 1, data + std::ptrdiff_t{part} * pass.stride * kElement);
    }
  }
  run<true>(data, pass, 1);
}

void forward(const View& view, float* data) {
  if (view.passes > 0) forward_from(view, 0, data);
}

void inverse(const View& view, float* data) {
  if (view.passes > 0) inverse_from(view, 0, data);
}

// ---- between rows and lanes --------------------------------------------------------------------

FFT_INLINE void transpose4(Quad& a, Quad& b, Quad& c, Quad& d) {
  const Quad t0 = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const Quad t1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Quad t2 = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const Quad t3 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  a = __builtin_shufflevector(t0, t2, 0, 1, 4, 5);
  b = __builtin_shufflevector(t0, t2, 2, 3, 6, 7);
  c = __builtin_shufflevector(t1, t3, 0, 1, 4, 5);
  d = __builtin_shufflevector(t1, t3, 2, 3, 6, 7);
}

// 4 x 4 floats from rows `from_stride` apart to rows `to_stride` apart.
FFT_INLINE void transpose_block(const float* from, std::ptrdiff_t from_stride, float* to,
                                std::ptrdiff_t to_stride) {
  Quad a = load4(from);
  Quad b = load4(from + from_stride);
  Quad c = load4(from + 2 * from_stride);
  Quad d = load4(from + 3 * from_stride);
  transpose4(a, b, c, d);
  store4(to, a);
  store4(to + to_stride, b);
  store4(to + 2 * to_stride, c);
  store4(to + 3 * to_stride, d);
}

void to_lanes(float* rows, std::ptrdiff_t stride, int count, float* lanes) {
  int x = 0;
  for (; x + 4 <= count; x += 4) {
    FFT_UNROLL
    for (int r = 0; r < kLines; r += 4) {
      transpose_block(rows + r * stride + x, stride, lanes + x * kLines + r, kLines);
    }
  }
  for (; x < count; ++x) {
    for (int r = 0; r < kLines; ++r) lanes[x * kLines + r] = rows[r * stride + x];
  }
}

void from_lanes(float* rows, std::ptrdiff_t stride, int count, float* lanes) {
  int x = 0;
  for (; x + 4 <= count; x += 4) {
    FFT_UNROLL
    for (int r = 0; r < kLines; r += 4) {
      transpose_block(lanes + x * kLines + r, kLines, rows + r * stride + x, stride);
    }
  }
  for (; x < count; ++x) {
    for (int r = 0; r < kLines; ++r) rows[r * stride + x] = lanes[x * kLines + r];
  }
}

// Sixteen elements: lines and elements trade places.
void exchange(const float* from, float* to) {
  for (int r = 0; r < kLines; r += 4) {
    for (int x = 0; x < kLines; x += 4) {
      transpose_block(from + x * kElement + r, kElement, to + r * kElement + x, kElement);
      transpose_block(from + x * kElement + kLines + r, kElement, to + r * kElement + kLines + x,
                      kElement);
    }
  }
}

// ---- real lines --------------------------------------------------------------------------------

// With Z the transform of z_j = x_2j + i x_2j+1, the even samples' is E = (Z_k + conj Z_n-k) / 2,
// the odd samples' O = (Z_k - conj Z_n-k) / 2i, and X_k = E + exp(-pi i k / n) O.
void unpack(const View& view, const float* data, int first, float* rows) {
  const int n = view.length;
  float lanes[kLines * kElement];  // frequency after frequency
  for (int x = 0; x < kLines; ++x) {
    const int k = first + x;
    float* const out = lanes + x * kElement;
    if (k > n) {
      for (int i = 0; i < kElement; ++i) out[i] = 0.0F;
      continue;
    }
    const float* const a = data + std::ptrdiff_t{view.position[k == n ? 0 : k]} * kElement;
    const float* const b =
        data + std::ptrdiff_t{view.position[k == 0 || k == n ? 0 : n - k]} * kElement;
    const float c = 0.5F * view.half[2 * k];
    const float s = 0.5F * view.half[2 * k + 1];
    for (int h = 0; h < kLines; h += kWidth) {
      const Vec ar = load(a + h);
      const Vec ai = load(a + kLines + h);
      const Vec br = load(b + h);
      const Vec bi = load(b + kLines + h);
      const Vec odd_r = ai + bi;  // 2 O
      const Vec odd_i = br - ar;
      store(out + h, (ar + br) * 0.5F + odd_r * c - odd_i * s);
      store(out + kLines + h, (ai - bi) * 0.5F + odd_r * s + odd_i * c);
    }
  }
  exchange(lanes, rows);
}

// 2 Z_k = (X_k + conj X_n-k) + i exp(pi i k / n) (X_k - conj X_n-k): the transform back of this is
// the samples times 2 n.
void pack(const View& view, const float* spectrum, float* data) {
  const int n = view.length;
  for (int k = 0; k < n; ++k) {
    const float* const a = spectrum + std::ptrdiff_t{k} * kElement;
    const float* const b = spectrum + std::ptrdiff_t{n - k} * kElement;
    float* const out = data + std::ptrdiff_t{view.position[k]} * kElement;
    const float c = view.half[2 * k];
    const float s = view.half[2 * k + 1];
    for (int h = 0; h < kLines; h += kWidth) {
      const Vec ar = load(a + h);
      const Vec br = load(b + h);
      Vec ai = load(a + kLines + h);
      Vec bi = load(b + kLines + h);
      if (k == 0) ai = bi = Vec{};  // frequencies 0 and n are real
      const Vec odd_r = ar - br;
      const Vec odd_i = ai + bi;
      const Vec turned_r = odd_r * c + odd_i * s;  // times the conjugate
      const Vec turned_i = odd_i * c - odd_r * s;
      store(out + h, ar + br - turned_i);
      store(out + kLines + h, ai - bi + turned_r);
    }
  }
}

}  // namespace

extern const Kernels kKernels;
const Kernels kKernels{FFT_NAME(FFT_NAMESPACE),
                       FFT_WIDEST_RADIX,
                       &forward,
                       &inverse,
                       &to_lanes,
                       &from_lanes,
                       &exchange,
                       &unpack,
                       &pack};

}  // namespace imagine_deblur::fft::FFT_NAMESPACE
