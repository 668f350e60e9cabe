// Vectors of one instruction set, and transforms of a few numbers in registers. A part of
// fft/lanes_kernel.h, which says what must be defined and what may be called.
#pragma once

#include <cstddef>

#if defined(__clang__)
#define FFT_UNROLL _Pragma("unroll")
#else
#define FFT_UNROLL _Pragma("GCC unroll 16")
#endif
#define FFT_INLINE inline __attribute__((always_inline))

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

}  // namespace
}  // namespace imagine_deblur::fft::FFT_NAMESPACE
