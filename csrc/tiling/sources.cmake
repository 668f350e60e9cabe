set(IMAGINE_DEBLUR_TILING_SOURCES tiling/tile_plan.cpp tiling/window.cpp tiling/gather.cpp
                                  tiling/blender.cpp)
# Sums of two tiles must not depend on which comes first: no product may be fused into a sum.
set_source_files_properties(
  ${CMAKE_CURRENT_SOURCE_DIR}/csrc/tiling/blender.cpp
  PROPERTIES COMPILE_OPTIONS "-ffp-contract=off")
