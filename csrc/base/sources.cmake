set(IMAGINE_DEBLUR_BASE_SOURCES base/vectors.cpp)
