# Fuzz targets, for clang only: cmake -DCMAKE_CXX_COMPILER=clang++ -DIMAGINE_DEBLUR_FUZZ=ON
# -DIMAGINE_DEBLUR_SANITIZE=address,undefined. Each compiles the part it fuzzes again, with coverage.
# Point JPEG_LIBRARY and JPEG_INCLUDE_DIR at a static libjpeg-turbo built with the same flags to
# reach into the decoder. Seeds: python tests/fuzz/make_corpus.py FOLDER. Run: fuzz_jpeg FOLDER
# -max_len=8192 -timeout=10 -rss_limit_mb=600 -malloc_limit_mb=64.
option(IMAGINE_DEBLUR_FUZZ "Build the fuzz targets (clang)" OFF)

if(IMAGINE_DEBLUR_FUZZ)
  set(fuzz_csrc ${CMAKE_CURRENT_LIST_DIR}/../../csrc)
  include(${fuzz_csrc}/jpeg/sources.cmake)
  find_package(JPEG REQUIRED)
  add_executable(fuzz_jpeg ${CMAKE_CURRENT_LIST_DIR}/fuzz_jpeg.cpp)
  foreach(source IN LISTS IMAGINE_DEBLUR_JPEG_SOURCES)
    target_sources(fuzz_jpeg PRIVATE ${fuzz_csrc}/${source})
  endforeach()
  target_compile_features(fuzz_jpeg PRIVATE cxx_std_20)
  target_include_directories(fuzz_jpeg PRIVATE ${fuzz_csrc})
  target_compile_options(fuzz_jpeg PRIVATE -fsanitize=fuzzer)
  target_link_options(fuzz_jpeg PRIVATE -fsanitize=fuzzer)
  target_link_libraries(fuzz_jpeg PRIVATE JPEG::JPEG)
endif()
