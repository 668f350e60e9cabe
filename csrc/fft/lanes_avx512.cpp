// Compiled for AVX-512, see sources.cmake; run only where the processor has it.
#define FFT_NAMESPACE avx512
#define FFT_WIDTH 16
#define FFT_WIDEST_RADIX 8
#include "fft/lanes_kernel.h"
