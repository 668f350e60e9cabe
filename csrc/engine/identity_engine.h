// The engine that restores nothing: it hands planes of its input through. Over the capture's planes
// it makes pipeline tests independent of weights; over the Wiener planes it is the linear-only
// model.
#pragma once

#include <cstddef>

#include "engine/engine.h"

namespace imagine_deblur {

struct IdentityOptions {
  int input_planes = 3;
  int output_bands = 3;
  int first_plane = 0;  // output band b is input plane first_plane + b
  int tile_rows = 0;
  int tile_columns = 0;
  Halo halo;               // any: a test may ask for context that is not needed
  bool local = true;       // false: let the caller blend
  float input_offset = 0;  // added back to every sample, since the caller has subtracted it
};

class IdentityEngine final : public Engine {
 public:
  // Throws Error (kEngine) where the planes or the tile do not fit together.
  explicit IdentityEngine(const IdentityOptions& options);

  const EngineSpec& spec() const noexcept override { return spec_; }
  void infer(const float* input, float* output) override;

 private:
  EngineSpec spec_;
  std::size_t first_sample_ = 0;  // of first_plane in the input tile
  std::size_t samples_ = 0;       // in the output tile
};

}  // namespace imagine_deblur
