# Fuzz targets, for clang only, built and run by tests/fuzz/fuzz_jpeg.sh (`make fuzz`). Each compiles
# the part it fuzzes again, with coverage, against a libjpeg-turbo built with the same flags.
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
