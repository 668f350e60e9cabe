set(IMAGINE_DEBLUR_LINEAR_SOURCES linear/bank.cpp linear/gain.cpp linear/passes.cpp linear/piece_rows.cpp
                                  linear/reblur.cpp linear/rims.cpp linear/samples.cpp linear/sizes.cpp)
# One file an instruction set beyond the family's common one; linear/samples.cpp asks the processor.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND IMAGINE_DEBLUR_LINEAR_SOURCES linear/samples_avx2.cpp linear/samples_avx512.cpp)
  set_source_files_properties(
    ${CMAKE_CURRENT_SOURCE_DIR}/csrc/linear/samples_avx2.cpp
    PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma")
  set_source_files_properties(
    ${CMAKE_CURRENT_SOURCE_DIR}/csrc/linear/samples_avx512.cpp
    PROPERTIES COMPILE_OPTIONS "-mavx512f;-mavx512vl;-mavx512dq;-mfma;-mprefer-vector-width=512")
endif()
