set(IMAGINE_DEBLUR_ENGINE_SOURCES engine/identity_engine.cpp engine/openvino_c_api.cpp
                                  engine/openvino_engine.cpp engine/plain_network_engine.cpp
                                  engine/winograd.cpp)
# One file an instruction set beyond the family's common one; engine/winograd.cpp asks the processor.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND IMAGINE_DEBLUR_ENGINE_SOURCES engine/winograd_avx2.cpp engine/winograd_avx512.cpp)
  set_source_files_properties(
    ${CMAKE_CURRENT_SOURCE_DIR}/csrc/engine/winograd_avx2.cpp
    PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma")
  set_source_files_properties(
    ${CMAKE_CURRENT_SOURCE_DIR}/csrc/engine/winograd_avx512.cpp
    PROPERTIES COMPILE_OPTIONS "-mavx512f;-mavx512vl;-mavx512dq;-mfma;-mprefer-vector-width=512")
endif()
