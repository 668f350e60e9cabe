set(IMAGINE_DEBLUR_ENGINE_SOURCES engine/identity_engine.cpp engine/openvino_c_api.cpp
                                  engine/openvino_engine.cpp)
