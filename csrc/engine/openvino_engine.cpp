#include "engine/openvino_engine.h"

#include <signal.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>

#include "base/error.h"
#include "engine/openvino_c_api.h"

namespace imagine_deblur {
namespace {

namespace c = openvino_c;

// One of the library's objects and the function that frees it.
template <class Object>
class Handle {
 public:
  Handle() = default;
  explicit Handle(void (*release)(Object*)) : release_(release) {}
  Handle(Handle&& other) noexcept
      : object_(std::exchange(other.object_, nullptr)), release_(other.release_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(object_, other.object_);
    std::swap(release_, other.release_);
    return *this;
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (object_ != nullptr) {
      release_(object_);
    }
  }

  Object* get() const noexcept { return object_; }
  Object** out() noexcept { return &object_; }

 private:
  Object* object_ = nullptr;
  void (*release_)(Object*) = nullptr;
};

// A partial shape whose dimensions the library owns.
class OwnedShape {
 public:
  explicit OwnedShape(const c::Functions& functions) : functions_(functions) {}
  OwnedShape(const OwnedShape&) = delete;
  OwnedShape& operator=(const OwnedShape&) = delete;
  ~OwnedShape() {
    if (shape_.dims != nullptr) {
      functions_.partial_shape_free(&shape_);
    }
  }

  c::PartialShape* out() noexcept { return &shape_; }
  const c::PartialShape& get() const noexcept { return shape_; }

  // "1x9x?x?", a question mark where a dimension is not fixed.
  std::string text() const {
    if (shape_.rank.min != shape_.rank.max || shape_.dims == nullptr) {
      return "of any rank";
    }
    std::string text;
    for (std::int64_t i = 0; i < shape_.rank.min; ++i) {
      const c::Dimension& d = shape_.dims[i];
      text += (i == 0 ? "" : "x") + (d.min == d.max ? std::to_string(d.min) : std::string("?"));
    }
    return text;
  }

 private:
  const c::Functions& functions_;
  c::PartialShape shape_{};
};

[[noreturn]] void refuse(const std::string& model, const std::string& what) {
  throw Error(ErrorKind::kEngine, "OpenVINO, model " + model + ": " + what,
              {.path = model, .field = "openvino"});
}

void check_options(const OpenVinoOptions& o, const std::string& model) {
  if (o.input_planes < 1 || o.output_bands < 1 || o.tile_rows < 1 || o.tile_columns < 1) {
    refuse(model, "planes, bands and tile sizes must be at least 1");
  }
  if (o.threads < 1) {
    refuse(model, "threads is " + std::to_string(o.threads) + ", expected at least 1");
  }
  if (o.precision != "f32" && o.precision != "bf16") {
    refuse(model, "precision is \"" + o.precision + "\", expected \"f32\" or \"bf16\"");
  }
}

// Gives this thread back the signal stack that it had.
//
// On processors with large registers OpenVINO's CPU plugin gives the thread that loads it a signal
// stack of its own. It takes it away where the plugin is unloaded, which may be another thread, or
// after a second plugin has done the same. The first thread is then left with a stack that is no
// longer mapped, and the next signal, be it Ctrl-C, ends the process. OpenVINO leaves a stack alone
// that is no longer its own.
class KeepSignalStack {
 public:
  KeepSignalStack() noexcept : known_(sigaltstack(nullptr, &before_) == 0) {}
  KeepSignalStack(const KeepSignalStack&) = delete;
  KeepSignalStack& operator=(const KeepSignalStack&) = delete;
  ~KeepSignalStack() {
    if (known_) sigaltstack(&before_, nullptr);  // refused where it is too small: theirs stays
  }

 private:
  stack_t before_{};
  bool known_;
};

bool is_on(const std::string& value) { return value == "YES" || value == "TRUE" || value == "1"; }

}  // namespace

// Members are freed in reverse order: tensors, request, compiled model, core, library.
struct OpenVinoEngine::Runtime {
  Runtime(const OpenVinoOptions& options, std::string model)
      : name(std::move(model)), library(options.library_path), ov(library.functions()) {}

  // Throws with the runtime's own words where `status` is not success.
  void check(c::Status status, const char* action) const {
    if (status == c::kOk) {
      return;
    }
    const char* const info = ov.get_error_info(status);
    std::string what = std::string(action) + " failed: " + (info != nullptr ? info : "?");
    if (const char* const detail = ov.get_last_err_msg(); detail != nullptr && *detail != '\0') {
      what += std::string(" (") + detail + ")";
    }
    refuse(name, what);
  }

  std::string version() const {
    c::Version version{};
    check(ov.get_openvino_version(&version), "asking for the version");
    std::string text = version.build_number != nullptr ? version.build_number : "";
    ov.version_free(&version);
    return text;
  }

  std::string property(const char* key) const {
    char* value = nullptr;
    check(ov.compiled_model_get_property(compiled.get(), key, &value), key);
    std::string text = value != nullptr ? value : "";
    ov.free(value);
    return text;
  }

  Handle<c::Model> read(const OpenVinoOptions& o) const;
  void check_ports(const c::Model* model, const OpenVinoOptions& o) const;
  void fix_shape(const c::Model* model, const OpenVinoOptions& o) const;
  void check_output_shape(const c::Model* model, const OpenVinoOptions& o) const;
  void compile(const c::Model* model, const OpenVinoOptions& o);
  void bind_input(float* data, const EngineSpec& spec);
  void bind_output(float* data, const EngineSpec& spec);

  std::string name;  // of the model, for messages
  c::Library library;
  const c::Functions& ov;
  Handle<c::Core> core;
  Handle<c::CompiledModel> compiled;
  Handle<c::InferRequest> request;
  Handle<c::Tensor> input;
  Handle<c::Tensor> output;
  float* bound_input = nullptr;  // the caller's buffers the tensors now look at
  float* bound_output = nullptr;

 private:
  void require_f32(const c::ConstPort* port, const char* role) const;
  Handle<c::Tensor> tensor_over(float* data, int planes, const EngineSpec& spec) const;
};

Handle<c::Model> OpenVinoEngine::Runtime::read(const OpenVinoOptions& o) const {
  Handle<c::Model> model(ov.model_free);
  if (o.model_bytes.empty()) {
    check(ov.core_read_model(core.get(), o.model_path.c_str(), nullptr, model.out()),
          "reading the model");
  } else {
    const char* const bytes = reinterpret_cast<const char*>(o.model_bytes.data());
    check(ov.core_read_model_from_memory_buffer(core.get(), bytes, o.model_bytes.size(), nullptr,
                                                model.out()),
          "reading the model from memory");
  }
  return model;
}

void OpenVinoEngine::Runtime::require_f32(const c::ConstPort* port, const char* role) const {
  c::ElementType type = 0;
  check(ov.port_get_element_type(port, &type), "asking for an element type");
  if (type != c::kF32) {
    refuse(name, std::string("its ") + role + " is not float32");
  }
}

void OpenVinoEngine::Runtime::check_ports(const c::Model* model, const OpenVinoOptions& o) const {
  std::size_t inputs = 0;
  std::size_t outputs = 0;
  check(ov.model_inputs_size(model, &inputs), "counting the inputs");
  check(ov.model_outputs_size(model, &outputs), "counting the outputs");
  if (inputs != 1 || outputs != 1) {
    refuse(name, "it has " + std::to_string(inputs) + " inputs and " + std::to_string(outputs) +
                     " outputs, expected one of each");
  }
  Handle<c::ConstPort> in(ov.output_const_port_free);
  Handle<c::ConstPort> out(ov.output_const_port_free);
  check(ov.model_const_input(model, in.out()), "asking for the input");
  check(ov.model_const_output(model, out.out()), "asking for the output");
  require_f32(in.get(), "input");
  require_f32(out.get(), "output");

  OwnedShape shape(ov);
  check(ov.port_get_partial_shape(in.get(), shape.out()), "asking for the input's shape");
  const c::PartialShape& s = shape.get();
  const bool any_rank = s.rank.min != s.rank.max;
  if (any_rank) {
    return;  // reshaping decides
  }
  const bool planes_fit = s.rank.min == 4 && s.dims[1].min <= o.input_planes &&
                          (s.dims[1].max < 0 || s.dims[1].max >= o.input_planes);
  if (!planes_fit) {
    refuse(name, "its input is " + shape.text() + ", expected 1x" + std::to_string(o.input_planes) +
                     "xROWSxCOLUMNS");
  }
}

void OpenVinoEngine::Runtime::fix_shape(const c::Model* model, const OpenVinoOptions& o) const {
  const std::array<std::int64_t, 4> dims{1, o.input_planes, o.tile_rows, o.tile_columns};
  OwnedShape shape(ov);
  check(ov.partial_shape_create_static(4, dims.data(), shape.out()), "making the tile's shape");
  check(ov.model_reshape_single_input(model, shape.get()), "fixing the model's tile shape");
}

void OpenVinoEngine::Runtime::check_output_shape(const c::Model* model,
                                                 const OpenVinoOptions& o) const {
  Handle<c::ConstPort> out(ov.output_const_port_free);
  check(ov.model_const_output(model, out.out()), "asking for the output");
  OwnedShape shape(ov);
  check(ov.port_get_partial_shape(out.get(), shape.out()), "asking for the output's shape");
  const std::string wanted = "1x" + std::to_string(o.output_bands) + "x" +
                             std::to_string(o.tile_rows) + "x" + std::to_string(o.tile_columns);
  if (shape.text() != wanted) {
    refuse(name, "its output for this tile is " + shape.text() + ", expected " + wanted +
                     " (is the tile a multiple of what the network divides by?)");
  }
}

void OpenVinoEngine::Runtime::compile(const c::Model* model, const OpenVinoOptions& o) {
  const std::string threads = std::to_string(o.threads);
  const char* const pinning = o.pin_threads ? "YES" : "NO";
  compiled = Handle<c::CompiledModel>(ov.compiled_model_free);
  c::Status status = c::kOk;
  // Variadic in the C API: the keys and values stand in the call itself.
  if (o.cache_directory.empty()) {
    status = ov.core_compile_model(core.get(), model, "CPU", 10, compiled.out(),  //
                                   "INFERENCE_NUM_THREADS", threads.c_str(),      //
                                   "NUM_STREAMS", "1",                            //
                                   "PERFORMANCE_HINT", "LATENCY",                 //
                                   "INFERENCE_PRECISION_HINT", o.precision.c_str(),
                                   "ENABLE_CPU_PINNING", pinning);
  } else {
    status = ov.core_compile_model(core.get(), model, "CPU", 12, compiled.out(),  //
                                   "INFERENCE_NUM_THREADS", threads.c_str(),      //
                                   "NUM_STREAMS", "1",                            //
                                   "PERFORMANCE_HINT", "LATENCY",                 //
                                   "INFERENCE_PRECISION_HINT", o.precision.c_str(),
                                   "ENABLE_CPU_PINNING", pinning,  //
                                   "CACHE_DIR", o.cache_directory.c_str());
  }
  check(status, "compiling the model for the CPU");
  request = Handle<c::InferRequest>(ov.infer_request_free);
  check(ov.compiled_model_create_infer_request(compiled.get(), request.out()),
        "creating the inference request");
}

Handle<c::Tensor> OpenVinoEngine::Runtime::tensor_over(float* data, int planes,
                                                       const EngineSpec& spec) const {
  std::array<std::int64_t, 4> dims{1, planes, spec.tile_rows, spec.tile_columns};
  Handle<c::Tensor> tensor(ov.tensor_free);
  check(ov.tensor_create_from_host_ptr(c::kF32, {4, dims.data()}, data, tensor.out()),
        "wrapping a tile buffer");
  return tensor;
}

void OpenVinoEngine::Runtime::bind_input(float* data, const EngineSpec& spec) {
  Handle<c::Tensor> tensor = tensor_over(data, spec.input_planes, spec);
  check(ov.infer_request_set_input_tensor(request.get(), tensor.get()), "setting the input");
  input = std::move(tensor);
  bound_input = data;
}

void OpenVinoEngine::Runtime::bind_output(float* data, const EngineSpec& spec) {
  Handle<c::Tensor> tensor = tensor_over(data, spec.output_bands, spec);
  check(ov.infer_request_set_output_tensor(request.get(), tensor.get()), "setting the output");
  output = std::move(tensor);
  bound_output = data;
}

OpenVinoEngine::OpenVinoEngine(const OpenVinoOptions& options)
    : model_name_(options.model_path.empty() ? "(in memory)" : options.model_path) {
  check_options(options, model_name_);
  const KeepSignalStack keep;
  runtime_ = std::make_unique<Runtime>(options, model_name_);
  Runtime& r = *runtime_;
  r.core = Handle<c::Core>(r.ov.core_free);
  r.check(r.ov.core_create(r.core.out()), "starting the runtime");
  {
    const Handle<c::Model> model = r.read(options);
    r.check_ports(model.get(), options);
    r.fix_shape(model.get(), options);
    r.check_output_shape(model.get(), options);
    r.compile(model.get(), options);
  }  // the graph as read is not needed beside the compiled one

  effective_ = {.version = r.version(),
                .threads = std::atoi(r.property("INFERENCE_NUM_THREADS").c_str()),
                .streams = std::atoi(r.property("NUM_STREAMS").c_str()),
                .precision = r.property("INFERENCE_PRECISION_HINT"),
                .performance_hint = r.property("PERFORMANCE_HINT"),
                .pin_threads = is_on(r.property("ENABLE_CPU_PINNING"))};
  if (effective_.threads > options.threads) {
    refuse(model_name_, "it uses " + std::to_string(effective_.threads) + " threads, asked for " +
                            std::to_string(options.threads));
  }
  if (options.precision == "f32" && effective_.precision != "f32") {
    refuse(model_name_, "it computes in " + effective_.precision + ", asked for f32");
  }
  spec_ = {.name = "openvino",
           .precision = options.quantised ? "int8" : effective_.precision,
           .input_planes = options.input_planes,
           .output_bands = options.output_bands,
           .tile_rows = options.tile_rows,
           .tile_columns = options.tile_columns,
           .halo = options.halo,
           .local = options.local,
           .input_offset = options.input_offset};
}

OpenVinoEngine::~OpenVinoEngine() = default;

void OpenVinoEngine::infer(const float* input, float* output) {
  Runtime& r = *runtime_;
  // The API takes a writable pointer; the runtime only reads an input tensor.
  float* const source = const_cast<float*>(input);
  if (source != r.bound_input) {
    r.bind_input(source, spec_);
  }
  if (output != r.bound_output) {
    r.bind_output(output, spec_);
  }
  r.check(r.ov.infer_request_infer(r.request.get()), "inference");
}

}  // namespace imagine_deblur
