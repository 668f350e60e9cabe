// The part of OpenVINO's C API we call, declared here so that building needs no OpenVINO. The
// functions are plain C and their layouts are the same from 2025.2 to 2026.4;
// tests/native/openvino_headers.cpp compares them with the headers of an installed wheel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace imagine_deblur::openvino_c {

using Status = int;  // 0 is success
inline constexpr Status kOk = 0;

using ElementType = unsigned int;
inline constexpr ElementType kF32 = 4;

struct Core;
struct Model;
struct CompiledModel;
struct InferRequest;
struct Tensor;
struct ConstPort;

struct Version {
  const char* build_number;
  const char* description;
};

struct Dimension {
  std::int64_t min;  // equal to max where the dimension is fixed
  std::int64_t max;
};

struct Shape {
  std::int64_t rank;
  std::int64_t* dims;
};

struct PartialShape {
  Dimension rank;
  Dimension* dims;
};

// The functions by their names without "ov_", in the order in which an engine calls them.
struct Functions {
  Status (*get_openvino_version)(Version*);
  void (*version_free)(Version*);
  const char* (*get_error_info)(Status);
  const char* (*get_last_err_msg)();
  void (*free)(const char*);

  Status (*core_create)(Core**);
  void (*core_free)(Core*);
  Status (*core_read_model)(const Core*, const char* model_path, const char* weights_path, Model**);
  Status (*core_read_model_from_memory_buffer)(const Core*, const char* bytes, std::size_t size,
                                               const Tensor* weights, Model**);

  void (*model_free)(Model*);
  Status (*model_inputs_size)(const Model*, std::size_t*);
  Status (*model_outputs_size)(const Model*, std::size_t*);
  Status (*model_const_input)(const Model*, ConstPort**);
  Status (*model_const_output)(const Model*, ConstPort**);
  Status (*model_reshape_single_input)(const Model*, PartialShape);

  void (*output_const_port_free)(ConstPort*);
  Status (*port_get_element_type)(const ConstPort*, ElementType*);
  Status (*port_get_partial_shape)(const ConstPort*, PartialShape*);
  Status (*partial_shape_create_static)(std::int64_t rank, const std::int64_t* dims, PartialShape*);
  void (*partial_shape_free)(PartialShape*);

  // `arguments` counts keys and values; both are strings.
  Status (*core_compile_model)(const Core*, const Model*, const char* device, std::size_t arguments,
                               CompiledModel**, ...);
  void (*compiled_model_free)(CompiledModel*);
  Status (*compiled_model_get_property)(const CompiledModel*, const char* key, char** value);
  Status (*compiled_model_create_infer_request)(const CompiledModel*, InferRequest**);

  void (*infer_request_free)(InferRequest*);
  Status (*infer_request_set_input_tensor)(InferRequest*, const Tensor*);
  Status (*infer_request_set_output_tensor)(InferRequest*, const Tensor*);
  Status (*infer_request_infer)(InferRequest*);

  Status (*tensor_create_from_host_ptr)(ElementType, Shape, void* data, Tensor**);
  void (*tensor_free)(Tensor*);
};

// An opened library. It stays mapped until the process ends (its worker threads cannot be unloaded)
// and only pairs the handle with the functions found in it.
class Library {
 public:
  // Throws Error (kEngine) where the file cannot be loaded or a function is missing.
  explicit Library(const std::string& path);

  const Functions& functions() const noexcept { return functions_; }
  const std::string& path() const noexcept { return path_; }

 private:
  struct Close {
    void operator()(void* handle) const noexcept;
  };

  std::string path_;
  std::unique_ptr<void, Close> handle_;
  Functions functions_{};
};

}  // namespace imagine_deblur::openvino_c
