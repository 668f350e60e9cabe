// OpenVINO through its C API, loaded at run time from the installed wheel: no link-time dependency,
// no Python, any version from 2025.2 on.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "engine/engine.h"

namespace imagine_deblur {

// What to run and how. `precision` is what the caller decided by the CPU's flags: OpenVINO accepts
// bf16 on CPUs that only emulate it and is then several times slower than with f32.
struct OpenVinoOptions {
  std::string library_path;                // libopenvino_c.so.*; its plugins lie beside it
  std::string model_path;                  // an ONNX or IR file; also the name used in messages
  std::span<const std::byte> model_bytes;  // the model itself, read instead of model_path when
                                           // not empty; borrowed for the constructor only
  int input_planes = 3;
  int output_bands = 3;
  int tile_rows = 0;
  int tile_columns = 0;
  Halo halo;
  bool local = true;
  float input_offset = 0;

  int threads = 1;                // INFERENCE_NUM_THREADS, the caller's included; at least 1
  std::string precision = "f32";  // or "bf16"
  bool quantised = false;       // the model itself is int8: `precision` is that of its other layers
  bool pin_threads = false;     // ENABLE_CPU_PINNING
  std::string cache_directory;  // compiled models are kept here; empty: nowhere
};

// What the runtime says it does, read back from the compiled model.
struct OpenVinoSettings {
  std::string version;  // of the library found, e.g. "2026.4.1-..."
  int threads = 0;
  int streams = 0;
  std::string precision;         // "f32", "bf16", "f16"
  std::string performance_hint;  // "LATENCY"
  bool pin_threads = false;
};

class OpenVinoEngine final : public Engine {
 public:
  // Loads the library, reads the model, fixes its shape to 1 x planes x rows x columns of the tile
  // and compiles it for the CPU. Throws Error (kEngine) naming library, model and cure: the library
  // is missing, the model is corrupt or has other planes, or a setting did not take effect.
  explicit OpenVinoEngine(const OpenVinoOptions& options);
  ~OpenVinoEngine() override;

  const EngineSpec& spec() const noexcept override { return spec_; }

  // The runtime reads and writes the caller's buffers; nothing is copied. Blocks until the tile is
  // done; the calling thread works too. One call at a time.
  void infer(const float* input, float* output) override;

  const OpenVinoSettings& effective() const noexcept { return effective_; }

 private:
  struct Runtime;  // the library's handles

  EngineSpec spec_;
  OpenVinoSettings effective_;
  std::string model_name_;
  std::unique_ptr<Runtime> runtime_;
};

}  // namespace imagine_deblur
