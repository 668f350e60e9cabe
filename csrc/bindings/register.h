// One function a topic; module.cpp is the table of contents.
#pragma once

#include <pybind11/pybind11.h>

namespace imagine_deblur {

void register_errors(pybind11::module_& module);
void register_system(pybind11::module_& module);
void register_tiling(pybind11::module_& module);
void register_linear(pybind11::module_& module);
void register_engines(pybind11::module_& module);
void register_jpeg(pybind11::module_& module);
void register_pipeline(pybind11::module_& module);

}  // namespace imagine_deblur
