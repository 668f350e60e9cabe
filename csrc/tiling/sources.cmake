set(IMAGINE_DEBLUR_TILING_SOURCES tiling/tile_plan.cpp tiling/window.cpp tiling/gather.cpp
                                  tiling/blender.cpp)
