#include "linear/samples.h"

#include "base/vectors.h"

// The plain version, for what every processor of a family has.
#define SAMPLES_NAMESPACE plain
#include "linear/samples_kernel.h"

namespace imagine_deblur::linear {

#if defined(__x86_64__)
namespace avx512 {
extern const SampleKernels kKernels;
}
namespace avx2 {
extern const SampleKernels kKernels;
}
#endif

const SampleKernels& sample_kernels() {
#if defined(__x86_64__)
  static const Vectors vectors = supported_vectors();
  if (vectors.avx512) return avx512::kKernels;
  if (vectors.avx2) return avx2::kKernels;
#endif
  return plain::kKernels;
}

}  // namespace imagine_deblur::linear
