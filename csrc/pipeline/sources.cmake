set(IMAGINE_DEBLUR_PIPELINE_SOURCES
    pipeline/frame_io.cpp
    pipeline/frame_plan.cpp
    pipeline/jpeg_io.cpp
    pipeline/plane_set.cpp
    pipeline/streaming_pipeline.cpp)
