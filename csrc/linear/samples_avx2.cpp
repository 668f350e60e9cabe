// Compiled for AVX2 with FMA, see sources.cmake; run only where the processor has it.
#define SAMPLES_NAMESPACE avx2
#include "linear/samples_kernel.h"
