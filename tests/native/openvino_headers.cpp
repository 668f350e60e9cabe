// Compiles only where our declarations of OpenVINO's C API agree with the headers of a wheel:
//   c++ -std=c++20 -fsyntax-only -Icsrc -I SITE_PACKAGES/openvino/include openvino_headers.cpp
#include <openvino/c/openvino.h>

#include <type_traits>

#include "engine/openvino_c_api.h"

namespace {

namespace c = imagine_deblur::openvino_c;

// Passed the same way: both pointers, or both of one size and kind.
template <class Ours, class Theirs>
constexpr bool passes_alike() {
  if constexpr (std::is_void_v<Ours> || std::is_void_v<Theirs>) {
    return std::is_void_v<Ours> && std::is_void_v<Theirs>;
  } else if constexpr (std::is_pointer_v<Ours> || std::is_pointer_v<Theirs>) {
    return std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>;
  } else if constexpr (std::is_class_v<Ours> || std::is_class_v<Theirs>) {
    return std::is_class_v<Ours> && std::is_class_v<Theirs> && sizeof(Ours) == sizeof(Theirs) &&
           alignof(Ours) == alignof(Theirs);
  } else {
    return std::is_floating_point_v<Ours> == std::is_floating_point_v<Theirs> &&
           sizeof(Ours) == sizeof(Theirs);
  }
}

template <class Ours, class Theirs>
struct Alike : std::false_type {};

template <class R, class... A, class S, class... B>
  requires(sizeof...(A) == sizeof...(B))
struct Alike<R (*)(A...), S (*)(B...)>
    : std::bool_constant<passes_alike<R, S>() && (passes_alike<A, B>() && ...)> {};

template <class R, class... A, class S, class... B>
  requires(sizeof...(A) == sizeof...(B))
struct Alike<R (*)(A..., ...), S (*)(B..., ...)>
    : std::bool_constant<passes_alike<R, S>() && (passes_alike<A, B>() && ...)> {};

#define SAME(name) \
  static_assert(Alike<decltype(c::Functions::name), decltype(&::ov_##name)>::value, #name)

SAME(get_openvino_version);
SAME(version_free);
SAME(get_error_info);
SAME(get_last_err_msg);
SAME(free);
SAME(core_create);
SAME(core_free);
SAME(core_read_model);
SAME(core_read_model_from_memory_buffer);
SAME(model_free);
SAME(model_inputs_size);
SAME(model_outputs_size);
SAME(model_const_input);
SAME(model_const_output);
SAME(model_reshape_single_input);
SAME(output_const_port_free);
SAME(port_get_element_type);
SAME(port_get_partial_shape);
SAME(partial_shape_create_static);
SAME(partial_shape_free);
SAME(core_compile_model);
SAME(compiled_model_free);
SAME(compiled_model_get_property);
SAME(compiled_model_create_infer_request);
SAME(infer_request_free);
SAME(infer_request_set_input_tensor);
SAME(infer_request_set_output_tensor);
SAME(infer_request_infer);
SAME(tensor_create_from_host_ptr);
SAME(tensor_free);

static_assert(c::kOk == ::OK && c::kF32 == ::F32);
static_assert(offsetof(c::Version, description) == offsetof(ov_version_t, description));
static_assert(offsetof(c::Dimension, max) == offsetof(ov_dimension_t, max));
static_assert(offsetof(c::Shape, dims) == offsetof(ov_shape_t, dims));
static_assert(offsetof(c::PartialShape, dims) == offsetof(ov_partial_shape_t, dims));

}  // namespace
