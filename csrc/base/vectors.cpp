#include "base/vectors.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace imagine_deblur {

// The compiler's __builtin_cpu_supports wants a symbol that not every runtime library puts into a
// shared object.
Vectors supported_vectors() noexcept {
#if defined(__x86_64__)
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_OSXSAVE) == 0) return {};
  const bool fma = (c & bit_FMA) != 0;
  unsigned saved = 0;
  unsigned upper = 0;
  asm volatile("xgetbv" : "=a"(saved), "=d"(upper) : "c"(0));
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return {};
  constexpr unsigned kYmm = 0x06;  // halves that AVX saves
  constexpr unsigned kZmm = 0xE6;  // and masks, upper halves and registers 16 to 31
  constexpr unsigned kAvx512 = bit_AVX512F | bit_AVX512VL | bit_AVX512DQ;
  return {.avx2 = (saved & kYmm) == kYmm && fma && (b & bit_AVX2) != 0,
          .avx512 = (saved & kZmm) == kZmm && (b & kAvx512) == kAvx512};
#else
  return {};
#endif
}

}  // namespace imagine_deblur
