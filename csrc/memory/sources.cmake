set(IMAGINE_DEBLUR_MEMORY_SOURCES memory/mapped_file.cpp memory/buffer_pool.cpp)
