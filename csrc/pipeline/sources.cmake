set(IMAGINE_DEBLUR_PIPELINE_SOURCES pipeline/frame_io.cpp pipeline/frame_plan.cpp pipeline/jpeg_io.cpp pipeline/streaming_pipeline.cpp)
