// Compiled for AVX-512, see sources.cmake; run only where the processor has it.
#define WINOGRAD_NAMESPACE avx512
#define WINOGRAD_LANES 16
#define WINOGRAD_REGISTERS 32
#include "engine/winograd_kernel.h"
