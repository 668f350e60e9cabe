// An engine restores one tile. The tile plan makes room for what it declares.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tiling/halo.h"

namespace imagine_deblur {

// What a caller must know to feed an engine. Tiles are float32 in channel, row, column order.
struct EngineSpec {
  std::string name;       // "identity", "winograd", "openvino", "onnxruntime", "callable"
  std::string precision;  // "f32", "bf16", "int8": what the runtime really uses
  int input_planes = 0;   // channels of the input tile
  int output_bands = 0;   // channels of the output tile, same rows and columns as the input
  int tile_rows = 0;      // the fixed tile shape, halo included
  int tile_columns = 0;
  Halo halo;               // exact context of a local network
  bool local = true;       // false: every output pixel may depend on the whole tile; blend
  float input_offset = 0;  // subtracted from every input sample after scaling to [0, 1]
};

// Infer from the calling thread only; an engine may use threads of its own.
class Engine {
 public:
  Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;

  virtual const EngineSpec& spec() const noexcept = 0;

  // `input` holds input_planes * tile_rows * tile_columns floats, `output` receives
  // output_bands * tile_rows * tile_columns; 64-byte aligned, not overlapping. Throws Error
  // (kEngine) when the runtime fails.
  virtual void infer(const float* input, float* output) = 0;

  // The sum of the weights' bits as they lie in memory now: one flipped bit changes it. 0 where a
  // runtime keeps them to itself.
  virtual std::uint64_t weights_sum() const noexcept { return 0; }

  // Bytes it takes for itself while it infers and gives back when it rests; 0: not known, and kept.
  virtual std::size_t working_bytes() const noexcept { return 0; }
  // Gives working memory back until the next tile.
  virtual void rest() noexcept {}
};

}  // namespace imagine_deblur
