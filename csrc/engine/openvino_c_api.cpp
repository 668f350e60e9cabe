#include "engine/openvino_c_api.h"

#include <dlfcn.h>

#include "base/error.h"

namespace imagine_deblur::openvino_c {
namespace {

[[noreturn]] void refuse(const std::string& path, const std::string& what) {
  throw Error(ErrorKind::kEngine,
              "OpenVINO's library " + path + " cannot be used: " + what +
                  "; install it with: pip install \"imagine-deblur[openvino]\"",
              {.field = "openvino"});
}

std::string last_loader_error() {
  const char* const message = dlerror();
  return message != nullptr ? message : "unknown error of the dynamic loader";
}

template <class Function>
void find(void* handle, const std::string& path, const char* name, Function& function) {
  void* const symbol = dlsym(handle, name);
  if (symbol == nullptr) {
    refuse(path, std::string("it lacks ") + name + " (version 2025.2 or later is needed)");
  }
  function = reinterpret_cast<Function>(symbol);
}

}  // namespace

void Library::Close::operator()(void* handle) const noexcept { dlclose(handle); }

// RTLD_NODELETE: TBB's worker threads outlive every engine, so the code must stay mapped.
// RTLD_LOCAL: nothing in this process may bind to the symbols of OpenVINO or its TBB by accident.
Library::Library(const std::string& path)
    : path_(path), handle_(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE)) {
  if (!handle_) {
    refuse(path, last_loader_error());
  }
  const auto load = [this](const char* name, auto& function) {
    find(handle_.get(), path_, name, function);
  };
  Functions& f = functions_;
  load("ov_get_openvino_version", f.get_openvino_version);
  load("ov_version_free", f.version_free);
  load("ov_get_error_info", f.get_error_info);
  load("ov_get_last_err_msg", f.get_last_err_msg);
  load("ov_free", f.free);
  load("ov_core_create", f.core_create);
  load("ov_core_free", f.core_free);
  load("ov_core_read_model", f.core_read_model);
  load("ov_core_read_model_from_memory_buffer", f.core_read_model_from_memory_buffer);
  load("ov_model_free", f.model_free);
  load("ov_model_inputs_size", f.model_inputs_size);
  load("ov_model_outputs_size", f.model_outputs_size);
  load("ov_model_const_input", f.model_const_input);
  load("ov_model_const_output", f.model_const_output);
  load("ov_model_reshape_single_input", f.model_reshape_single_input);
  load("ov_output_const_port_free", f.output_const_port_free);
  load("ov_port_get_element_type", f.port_get_element_type);
  load("ov_port_get_partial_shape", f.port_get_partial_shape);
  load("ov_partial_shape_create_static", f.partial_shape_create_static);
  load("ov_partial_shape_free", f.partial_shape_free);
  load("ov_core_compile_model", f.core_compile_model);
  load("ov_compiled_model_free", f.compiled_model_free);
  load("ov_compiled_model_get_property", f.compiled_model_get_property);
  load("ov_compiled_model_create_infer_request", f.compiled_model_create_infer_request);
  load("ov_infer_request_free", f.infer_request_free);
  load("ov_infer_request_set_input_tensor", f.infer_request_set_input_tensor);
  load("ov_infer_request_set_output_tensor", f.infer_request_set_output_tensor);
  load("ov_infer_request_infer", f.infer_request_infer);
  load("ov_tensor_create_from_host_ptr", f.tensor_create_from_host_ptr);
  load("ov_tensor_free", f.tensor_free);
}

}  // namespace imagine_deblur::openvino_c
