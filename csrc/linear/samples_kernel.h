// The loops of linear/samples.h for one instruction set. Included once by each file that defines
// SAMPLES_NAMESPACE. Nothing of the standard library is called here, see fft/lanes_kernel.h.
#pragma once

#include "linear/samples.h"

#define SAMPLES_QUOTED(name) #name
#define SAMPLES_NAME(name) SAMPLES_QUOTED(name)

namespace imagine_deblur::linear::SAMPLES_NAMESPACE {
namespace {

using fft::kElement;
using fft::kLines;

constexpr float kLeast = 1e-12F;  // of a denominator

template <typename T>
void accumulate_as(const T* in, float weight, bool add, int count, float* out) {
  if (add) {
    for (int i = 0; i < count; ++i) out[i] += static_cast<float>(in[i]) * weight;
  } else {
    for (int i = 0; i < count; ++i) out[i] = static_cast<float>(in[i]) * weight;
  }
}

void accumulate(const void* in, SampleType type, float weight, bool add, int count, float* out) {
  switch (type) {
    case SampleType::kUint8:
      accumulate_as(static_cast<const std::uint8_t*>(in), weight, add, count, out);
      break;
    case SampleType::kFixed16:
      accumulate_as(static_cast<const std::int16_t*>(in), weight, add, count, out);
      break;
    case SampleType::kFloat32:
      accumulate_as(static_cast<const float*>(in), weight, add, count, out);
      break;
  }
}

// To the nearest, halves to even, of a number below 2^22: what lands in the lowest bits of a float
// that large is the integer.
inline __attribute__((always_inline)) int nearest(float value) {
  constexpr float kShift = 12582912.0F;  // 1.5 x 2^23
  return static_cast<int>((value + kShift) - kShift);
}

void store(const float* in, float weight, bool add, int count, SampleType type, void* out) {
  if (type == SampleType::kFixed16) {
    std::int16_t* const to = static_cast<std::int16_t*>(out);
    for (int i = 0; i < count; ++i) {
      float value = in[i] * weight * kFixed16One;
      value = value < -70000.0F ? -70000.0F : value;
      value = value > 70000.0F ? 70000.0F : value;
      int rounded = nearest(value) + (add ? to[i] : 0);
      rounded = rounded < -32768 ? -32768 : rounded;
      rounded = rounded > 32767 ? 32767 : rounded;
      to[i] = static_cast<std::int16_t>(rounded);
    }
    return;
  }
  float* const to = static_cast<float*>(out);
  accumulate_as(in, weight, add, count, to);
}

void scale(float* values, const float* weights, float weight, int count) {
  for (int i = 0; i < count; ++i) values[i] *= weight * weights[i];
}

void blend(const float* a, const float* b, float fade, int count, float* out) {
  for (int i = 0; i < count; ++i) out[i] = a[i] + (b[i] - a[i]) * fade;
}

std::uint64_t sum(const float* values, std::size_t floats) {
  typedef std::uint64_t Word __attribute__((may_alias, aligned(4)));
  const Word* const words = reinterpret_cast<const Word*>(values);
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < floats / 2; ++i) total += words[i];
  return total;
}

std::uint64_t copy_summed(const float* from, std::size_t floats, float* to) {
  typedef std::uint64_t Word __attribute__((may_alias, aligned(4)));
  const Word* const words = reinterpret_cast<const Word*>(from);
  Word* const copies = reinterpret_cast<Word*>(to);
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < floats / 2; ++i) {
    const std::uint64_t word = words[i];
    copies[i] = word;
    total += word;
  }
  return total;
}

// A table at sixteen frequencies; `where` are places in it.
inline __attribute__((always_inline)) void look_up(const float* table, int entries,
                                                   const float (&where)[kLines],
                                                   float (&out)[kLines]) {
  for (int l = 0; l < kLines; ++l) {
    int at = static_cast<int>(where[l]);
    at = at < entries - 2 ? at : entries - 2;
    const float share = where[l] - static_cast<float>(at);
    out[l] = table[at] + (table[at + 1] - table[at]) * share;
  }
}

// One row of a block's gain. `hr` is null where H is radial, `hi` where it is real.
inline __attribute__((always_inline)) void gain_row(const GainBlock& g, int row, const float* hr,
                                                    const float* hi, float (&re)[kLines],
                                                    float (&im)[kLines]) {
  for (int l = 0; l < kLines; ++l) im[l] = 0.0F;
  float squared[kLines];
  float frequency[kLines];
  float where[kLines];
  float radial[kLines];
  for (int l = 0; l < kLines; ++l) squared[l] = g.row_squared[row] + g.column_squared[l];
  if (hr == nullptr || g.kind == GainKind::kTables) {
    for (int l = 0; l < kLines; ++l) frequency[l] = __builtin_sqrtf(squared[l]);
  }
  if (hr == nullptr) {
    for (int l = 0; l < kLines; ++l) where[l] = frequency[l] * g.otf_entries_per_frequency;
    look_up(g.otf, g.otf_entries, where, radial);
    hr = radial;
  }
  if (g.kind == GainKind::kOtf) {
    for (int l = 0; l < kLines; ++l) re[l] = hr[l] * g.factor;
    if (hi != nullptr) {
      for (int l = 0; l < kLines; ++l) im[l] = hi[l] * g.factor;
    }
    return;
  }
  float noise[kLines];
  float numerator[kLines];
  if (g.kind == GainKind::kTables) {
    for (int l = 0; l < kLines; ++l) where[l] = frequency[l] * g.entries_per_frequency;
    look_up(g.added, g.entries, where, re);
    for (int l = 0; l < kLines; ++l) re[l] *= g.factor;
    if (g.scale == nullptr) return;
    look_up(g.scale, g.entries, where, numerator);
    look_up(g.noise, g.entries, where, noise);
    for (int l = 0; l < kLines; ++l) numerator[l] *= g.factor;
  } else {
    for (int l = 0; l < kLines; ++l) {
      re[l] = 0.0F;
      numerator[l] = g.factor;
      noise[l] = g.nsr4 * squared[l];
    }
  }
  if (hi == nullptr) {
    for (int l = 0; l < kLines; ++l) {
      float power = noise[l] + hr[l] * hr[l];
      power = power > kLeast ? power : kLeast;
      re[l] += numerator[l] * hr[l] / power;
    }
    return;
  }
  for (int l = 0; l < kLines; ++l) {
    float power = noise[l] + hr[l] * hr[l] + hi[l] * hi[l];
    power = power > kLeast ? power : kLeast;
    const float share = numerator[l] / power;
    re[l] += share * hr[l];
    im[l] = -share * hi[l];
  }
}

void multiply(const GainBlock& g, const fft::View& view, float* data) {
  const int rows = view.length;
  float re[kLines];
  float im[kLines];
  if (g.layout == OtfLayout::kComplex) {
    for (int row = 0; row < rows; ++row) {
      const float* const h = g.otf + std::ptrdiff_t{row} * kElement;
      gain_row(g, row, h, h + kLines, re, im);
      float* const x = data + std::ptrdiff_t{view.position[row]} * kElement;
      for (int l = 0; l < kLines; ++l) {
        const float a = x[l];
        const float b = x[l + kLines];
        x[l] = a * re[l] - b * im[l];
        x[l + kLines] = a * im[l] + b * re[l];
      }
    }
    return;
  }
  const bool mirrored = g.layout == OtfLayout::kRadial;  // row -k is row k
  const int last = mirrored ? rows / 2 : rows - 1;
  for (int row = 0; row <= last; ++row) {
    const float* const h = mirrored ? nullptr : g.otf + std::ptrdiff_t{row} * kLines;
    gain_row(g, row, h, nullptr, re, im);
    float* x = data + std::ptrdiff_t{view.position[row]} * kElement;
    for (int l = 0; l < kLines; ++l) {
      x[l] *= re[l];
      x[l + kLines] *= re[l];
    }
    const int other = rows - row;
    if (!mirrored || row == 0 || other == row) continue;
    x = data + std::ptrdiff_t{view.position[other]} * kElement;
    for (int l = 0; l < kLines; ++l) {
      x[l] *= re[l];
      x[l + kLines] *= re[l];
    }
  }
}

typedef double Doubles __attribute__((vector_size(64)));
typedef float Floats __attribute__((vector_size(32), aligned(4), may_alias));

// By reference: how a vector this wide is returned depends on the instruction set.
inline __attribute__((always_inline)) void widen(const float* p, Doubles& out) {
  out = __builtin_convertvector(*reinterpret_cast<const Floats*>(p), Doubles);
}

inline __attribute__((always_inline)) double total(const Doubles& v) {
  return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}

void moments(const float* values, int count, double* sum_out, double* sum2_out) {
  Doubles s = {};
  Doubles s2 = {};
  int i = 0;
  for (; i + 8 <= count; i += 8) {
    Doubles v;
    widen(values + i, v);
    s += v;
    s2 += v * v;
  }
  double a = total(s);
  double b = total(s2);
  for (; i < count; ++i) {
    const double v = static_cast<double>(values[i]);
    a += v;
    b += v * v;
  }
  *sum_out = a;
  *sum2_out = b;
}

RowSums compare(const float* capture, const float* reblurred, const float* place, int count) {
  Doubles s[6] = {};
  int i = 0;
  for (; i + 8 <= count; i += 8) {
    Doubles c;
    Doubles r;
    Doubles x;
    widen(capture + i, c);
    widen(reblurred + i, r);
    widen(place + i, x);
    const Doubles d = c - r;
    s[0] += d * d;
    s[1] += c;
    s[2] += c * c;
    s[3] += r;
    s[4] += r * r;
    s[5] += r * x;
  }
  RowSums out{total(s[0]), total(s[1]), total(s[2]), total(s[3]), total(s[4]), total(s[5])};
  for (; i < count; ++i) {
    const double c = static_cast<double>(capture[i]);
    const double r = static_cast<double>(reblurred[i]);
    out.residual2 += (c - r) * (c - r);
    out.capture += c;
    out.capture2 += c * c;
    out.reblurred += r;
    out.reblurred2 += r * r;
    out.across += r * static_cast<double>(place[i]);
  }
  return out;
}

inline __attribute__((always_inline)) float lesser(float a, float b) { return a < b ? a : b; }
inline __attribute__((always_inline)) float greater(float a, float b) { return a > b ? a : b; }

constexpr int kRimBlock = 64;  // columns at a time: what is kept of them stays in the first cache

// Of runs of two, four and eight values, then of kRimWindow: each is made of two shorter ones.
void spread(const float* values, int count, const Spread& out) {
  static_assert(kRimWindow == 13);
  constexpr int kMost = kRimBlock + kRimWindow;
  for (int first = 0; first < count; first += kRimBlock) {
    const int width = count - first < kRimBlock ? count - first : kRimBlock;
    const float* const v = values + first;
    float low[kMost];
    float high[kMost];
    float sum2[kMost];
    float sum4[kMost];
    for (int i = 0; i < width + 11; ++i) {
      low[i] = lesser(v[i], v[i + 1]);
      high[i] = greater(v[i], v[i + 1]);
      sum2[i] = v[i] + v[i + 1];
    }
    for (int i = 0; i < width + 9; ++i) {
      low[i] = lesser(low[i], low[i + 2]);
      high[i] = greater(high[i], high[i + 2]);
      sum4[i] = sum2[i] + sum2[i + 2];
    }
    for (int i = 0; i < width + 5; ++i) {
      low[i] = lesser(low[i], low[i + 4]);
      high[i] = greater(high[i], high[i + 4]);
    }
    for (int i = 0; i < width; ++i) {
      out.least[first + i] = lesser(low[i], low[i + 5]);
      out.greatest[first + i] = greater(high[i], high[i + 5]);
      out.sum[first + i] = sum4[i] + sum4[i + 4] + sum4[i + 8] + v[i + 12];
    }
  }
}

void join(const Spread& a, const Spread& b, int count, const Spread& out) {
  for (int i = 0; i < count; ++i) out.least[i] = lesser(a.least[i], b.least[i]);
  for (int i = 0; i < count; ++i) out.greatest[i] = greater(a.greatest[i], b.greatest[i]);
  for (int i = 0; i < count; ++i) out.sum[i] = a.sum[i] + b.sum[i];
}

// Why these numbers: linear/rims.h.
constexpr float kRimDepth = 0.03F;
constexpr float kRimDepthBright = 0.02F;
constexpr float kRimDark = 0.30F;
constexpr float kRimDarkBright = 0.40F;
constexpr float kRimFade = 0.10F;
constexpr float kRimLeast = 25.0F / 255.0F;
constexpr float kRimBright = 50.0F / 255.0F;

inline __attribute__((always_inline)) float missing(float low, float high, float mean,
                                                    float restored) {
  const float range = high - low;
  // Shares from 0 to 1: of a thing bright enough, of one so bright that more is dark round it, and
  // of a surrounding that is mostly dark.
  const float seen = lesser(greater(range / kRimLeast - 1.0F, 0.0F), 1.0F);
  const float bright = lesser(greater(range / kRimBright - 1.0F, 0.0F), 1.0F);
  const float limit = kRimDark + (kRimDarkBright - kRimDark) * bright;
  float dark = (limit + 0.5F * kRimFade) * range - (mean - low);
  dark = lesser(greater(dark, 0.0F), kRimFade * range) / greater(kRimFade * range, kLeast);
  const float depth = kRimDepth + (kRimDepthBright - kRimDepth) * bright;
  return seen * dark * greater(low - depth * range - restored, 0.0F);
}

bool lift(const SpreadRows& r, const float* restored, int count, float* out) {
  constexpr float kShare = 1.0F / (kRimWindow * kRimWindow);
  for (int i = 0; i < count; ++i) {
    const float low = lesser(r.first8.least[i], r.last8.least[i]);
    const float high = greater(r.first8.greatest[i], r.last8.greatest[i]);
    const float mean = (r.last8.sum[i] + r.middle4.sum[i] + r.first.sum[i]) * kShare;
    out[i] = missing(low, high, mean, restored[i]);
  }
  typedef std::uint32_t Word __attribute__((may_alias));
  const Word* const words = reinterpret_cast<const Word*>(out);
  std::uint32_t any = 0;  // bits that are set: unlike a largest float it is found many at a time
  for (int i = 0; i < count; ++i) any |= words[i];
  return any != 0;
}

}  // namespace

extern const SampleKernels kKernels;
const SampleKernels kKernels{SAMPLES_NAME(SAMPLES_NAMESPACE),
                             &accumulate,
                             &store,
                             &scale,
                             &blend,
                             &copy_summed,
                             &sum,
                             &multiply,
                             &moments,
                             &compare,
                             &spread,
                             &join,
                             &lift};

}  // namespace imagine_deblur::linear::SAMPLES_NAMESPACE
