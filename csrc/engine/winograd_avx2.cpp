// Compiled for AVX2 with FMA, see sources.cmake; run only where the processor has it.
#define WINOGRAD_NAMESPACE avx2
#define WINOGRAD_LANES 8
#define WINOGRAD_REGISTERS 16
#include "engine/winograd_kernel.h"
