set(IMAGINE_DEBLUR_FFT_SOURCES fft/lanes.cpp)
# One file an instruction set beyond the family's common one; fft/lanes.cpp asks the processor.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND IMAGINE_DEBLUR_FFT_SOURCES fft/lanes_avx2.cpp fft/lanes_avx512.cpp)
  set_source_files_properties(
    ${CMAKE_CURRENT_SOURCE_DIR}/csrc/fft/lanes_avx2.cpp
    PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma")
  set_source_files_properties(
    ${CMAKE_CURRENT_SOURCE_DIR}/csrc/fft/lanes_avx512.cpp
    PROPERTIES COMPILE_OPTIONS "-mavx512f;-mavx512vl;-mavx512dq;-mfma;-mprefer-vector-width=512")
endif()
