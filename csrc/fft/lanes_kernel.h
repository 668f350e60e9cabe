// The transforms for one instruction set. Included once by each file that defines FFT_NAMESPACE,
// FFT_WIDTH (floats in a vector) and FFT_WIDEST_RADIX (8 where registers hold two sets of eight
// vectors). Nothing of the standard library is called here: its inline functions would be compiled
// for this instruction set and could be picked by the linker for every other caller.
#pragma once

#include "fft/lanes.h"

#if defined(__clang__)
#define FFT_UNROLL _Pragma("unroll")
#else
#define FFT_UNROLL _Pragma("GCC unroll 16")
#endif
#define FFT_INLINE inline __attribute__((always_inline))
#define FFT_QUOTED(name) #name
#define FFT_NAME(name) FFT_QUOTED(name)

namespace imagine_deblur::fft::FFT_NAMESPACE {
namespace {

constexpr int kWidth = FFT_WIDTH;
typedef float Vec __attribute__((vector_size(4 * FFT_WIDTH), aligned(4), may_alias));
typedef float Quad __attribute__((vector_size(16), aligned(4), may_alias));
typedef int QuadIndex __attribute__((vector_size(16)));

FFT_INLINE Vec load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
FFT_INLINE void store(float* p, const Vec& v) { *reinterpret_cast<Vec*>(p) = v; }
FFT_INLINE Quad load4(const float* p) { return *reinterpret_cast<const Quad*>(p); }
FFT_INLINE void store4(float* p, const Quad& v) { *reinterpret_cast<Quad*>(p) = v; }

// ---- discrete Fourier transforms of R numbers in registers -------------------------------------

FFT_INLINE void dft2(Vec& ar, Vec& ai, Vec& br, Vec& bi) {
  const Vec r = ar - br;
  const Vec i = ai - bi;
  ar += br;
  ai += bi;
  br = r;
  bi = i;
}

FFT_INLINE void dft4(Vec& ar, Vec& ai, Vec& br, Vec& bi, Vec& cr, Vec& ci, Vec& dr, Vec& di) {
  dft2(ar, ai, cr, ci);
  dft2(br, bi, dr, di);
  dft2(ar, ai, br, bi);
  const Vec tr = cr - di;  // c + i d
  const Vec ti = ci + dr;
  const Vec ur = cr + di;  // c - i d
  const Vec ui = ci - dr;
  cr = br;
  ci = bi;
  br = ur;
  bi = ui;
  dr = tr;
  di = ti;
}

template <std::size_t R>
struct Roots;  // cosines and sines of 2 pi k / R
template <>
struct Roots<3> {
  static constexpr float kCos[3] = {1.0F, -0.5F, -0.5F};
  static constexpr float kSin[3] = {0.0F, 0.866025403784438647F, -0.866025403784438647F};
};
template <>
struct Roots<5> {
  static constexpr float kCos[5] = {1.0F, 0.309016994374947424F, -0.809016994374947424F,
                                    -0.809016994374947424F, 0.309016994374947424F};
  static constexpr float kSin[5] = {0.0F, 0.951056516295153572F, 0.587785252292473129F,
                                    -0.587785252292473129F, -0.951056516295153572F};
};
template <>
struct Roots<7> {
  static constexpr float kCos[7] = {1.0F,
                                    0.623489801858733531F,
                                    -0.222520933956314404F,
                                    -0.900968867902419126F,
                                    -0.900968867902419126F,
                                    -0.222520933956314404F,
                                    0.623489801858733531F};
  static constexpr float kSin[7] = {0.0F,
                                    0.781831482468029809F,
                                    0.974927912181823607F,
                                    0.433883739117558120F,
                                    -0.433883739117558120F,
                                    -0.974927912181823607F,
                                    -0.781831482468029809F};
};

template <std::size_t R>
FFT_INLINE void dft(Vec (&re)[R], Vec (&im)[R]) {
  if constexpr (R == 2) {
    dft2(re[0], im[0], re[1], im[1]);
  } else if constexpr (R == 4) {
    dft4(re[0], im[0], re[1], im[1], re[2], im[2], re[3], im[3]);
  } else if constexpr (R == 8) {
    dft4(re[0], im[0], re[2], im[2], re[4], im[4], re[6], im[6]);
    dft4(re[1], im[1], re[3], im[3], re[5], im[5], re[7], im[7]);
    constexpr float kHalf = 0.707106781186547524F;
    const Vec ar = (re[3] + im[3]) * kHalf;
    const Vec ai = (im[3] - re[3]) * kHalf;
    const Vec br = im[5];
    const Vec bi = -re[5];
    const Vec cr = (im[7] - re[7]) * kHalf;
    const Vec ci = (im[7] + re[7]) * -kHalf;
    const Vec e0r = re[0], e0i = im[0], e1r = re[2], e1i = im[2];
    const Vec e2r = re[4], e2i = im[4], e3r = re[6], e3i = im[6];
    const Vec o0r = re[1], o0i = im[1];
    re[0] = e0r + o0r;
    im[0] = e0i + o0i;
    re[4] = e0r - o0r;
    im[4] = e0i - o0i;
    re[1] = e1r + ar;
    im[1] = e1i + ai;
    re[5] = e1r - ar;
    im[5] = e1i - ai;
    re[2] = e2r + br;
    im[2] = e2i + bi;
    re[6] = e2r - br;
    im[6] = e2i - bi;
    re[3] = e3r + cr;
    im[3] = e3i + ci;
    re[7] = e3r - cr;
    im[7] = e3i - ci;
  } else {
    // Odd: numbers k and R - k together.
    constexpr std::size_t kPairs = (R - 1) / 2;
    Vec sr[kPairs], si[kPairs], dr[kPairs], di[kPairs];
    FFT_UNROLL
    for (std::size_t k = 0; k < kPairs; ++k) {
      sr[k] = re[k + 1] + re[R - 1 - k];
      si[k] = im[k + 1] + im[R - 1 - k];
      dr[k] = re[k + 1] - re[R - 1 - k];
      di[k] = im[k + 1] - im[R - 1 - k];
    }
    const Vec zr = re[0];
    const Vec zi = im[0];
    FFT_UNROLL
    for (std::size_t k = 0; k < kPairs; ++k) {
      re[0] += sr[k];
      im[0] += si[k];
    }
    FFT_UNROLL
    for (std::size_t t = 1; t <= kPairs; ++t) {
      Vec ar = zr;
      Vec ai = zi;
      Vec br = Vec{};
      Vec bi = Vec{};
      FFT_UNROLL
      for (std::size_t k = 0; k < kPairs; ++k) {
        const float c = Roots<R>::kCos[t * (k + 1) % R];
        const float s = Roots<R>::kSin[t * (k + 1) % R];
        ar += sr[k] * c;
        ai += si[k] * c;
        br += dr[k] * s;
        bi += di[k] * s;
      }
      re[t] = ar + bi;
      im[t] = ai - br;
      re[R - t] = ar - bi;
      im[R - t] = ai + br;
    }
  }
}

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
    case 2: run_radix<2, kInverse>(data, pass, blocks);
      break;
    case 3: run_radix<3, kInverse>(data, pass, blocks);
      break;
    case 4: run_radix<4, kInverse>(data, pass, blocks);
      break;
    case 5: run_radix<5, kInverse>(data, pass, blocks);
      break;
    case 7: run_radix<7, kInverse>(data, pass, blocks);
      break;
    default:
#if FFT_WIDEST_RADIX >= 8
      run_radix<8, kInverse>(data, pass, blocks);
#endif
      break;
  }
}

// Blocks up to this many elements stay in the first cache: all their passes run one after the other.
// Larger ones are finished part by part.
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

// With Z the transform of z_j = x_2j + i x_2j+1, the even samples' is E = (Z_k + conj Z_n-k) / 2, the
// odd samples' O = (Z_k - conj Z_n-k) / 2i, and X_k = E + exp(-pi i k / n) O.
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
const Kernels kKernels{FFT_NAME(FFT_NAMESPACE), FFT_WIDEST_RADIX, &forward, &inverse,
                       &to_lanes, &from_lanes, &exchange, &unpack, &pack};

}  // namespace imagine_deblur::fft::FFT_NAMESPACE
