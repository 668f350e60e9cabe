// Compiled for AVX-512, see sources.cmake; run only where the processor has it.
#define SAMPLES_NAMESPACE avx512
#include "linear/samples_kernel.h"
