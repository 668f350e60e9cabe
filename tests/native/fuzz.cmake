# Fuzz targets, for clang only: cmake -DCMAKE_CXX_COMPILER=clang++ -DIMAGINE_DEBLUR_FUZZ=ON
# -DIMAGINE_DEBLUR_SANITIZE=address,undefined. The core is built with coverage as well. Point
# JPEG_LIBRARY and JPEG_INCLUDE_DIR at a libjpeg-turbo built the same way to reach into the decoder.
# Seeds: python tests/fuzz/make_corpus.py FOLDER. Run: fuzz_jpeg FOLDER -max_len=65536 -timeout=10.
option(IMAGINE_DEBLUR_FUZZ "Build the fuzz targets (clang)" OFF)

if(IMAGINE_DEBLUR_FUZZ)
  target_compile_options(imagine_deblur_core PRIVATE -fsanitize=fuzzer-no-link)
  foreach(name jpeg)
    add_executable(fuzz_${name} ${CMAKE_CURRENT_LIST_DIR}/fuzz_${name}.cpp)
    target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(fuzz_${name} PRIVATE imagine_deblur_core)
  endforeach()
endif()
