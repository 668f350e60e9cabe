// Compiled for AVX2 with FMA, see sources.cmake; run only where the processor has it.
#define FFT_NAMESPACE avx2
#define FFT_WIDTH 8
#define FFT_WIDEST_RADIX 4
#include "fft/lanes_kernel.h"
