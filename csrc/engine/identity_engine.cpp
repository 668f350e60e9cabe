#include "engine/identity_engine.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace imagine_deblur {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::kEngine, "identity engine: " + what, {.field = "identity"});
}

}  // namespace

IdentityEngine::IdentityEngine(const IdentityOptions& o) {
  if (o.tile_rows < 1 || o.tile_columns < 1) {
    refuse("the tile is " + std::to_string(o.tile_rows) + "x" + std::to_string(o.tile_columns) +
           ", expected at least 1x1");
  }
  if (o.output_bands < 1 || o.first_plane < 0 || o.output_bands > o.input_planes - o.first_plane) {
    refuse("bands from plane " + std::to_string(o.first_plane) + " on, " +
           std::to_string(o.output_bands) + " of them, are not among " +
           std::to_string(o.input_planes) + " input planes");
  }
  spec_ = {.name = "identity",
           .precision = "f32",
           .input_planes = o.input_planes,
           .output_bands = o.output_bands,
           .tile_rows = o.tile_rows,
           .tile_columns = o.tile_columns,
           .halo = o.halo,
           .local = o.local,
           .input_offset = o.input_offset};
  const std::size_t plane =
      static_cast<std::size_t>(o.tile_rows) * static_cast<std::size_t>(o.tile_columns);
  first_sample_ = static_cast<std::size_t>(o.first_plane) * plane;
  samples_ = static_cast<std::size_t>(o.output_bands) * plane;
}

void IdentityEngine::infer(const float* input, float* output) {
  const float* first = input + first_sample_;
  const float offset = spec_.input_offset;
  if (offset == 0.0F) {
    std::copy_n(first, samples_, output);
    return;
  }
  std::transform(first, first + samples_, output, [offset](float v) { return v + offset; });
}

}  // namespace imagine_deblur
