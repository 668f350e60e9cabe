// How one frame runs: tiles, strips, planes and bytes. A plain value, decided once before anything
// is allocated; the pipeline asks nobody else.
//
// A frame is cut into strips of whole rows of tiles. A strip's linear planes are made for a group
// of columns of tiles at a time; most frames are one strip of one group.
#pragma once

#include <cstddef>
#include <vector>

#include "pipeline/frame_io.h"
#include "tiling/tile_plan.h"

namespace imagine_deblur {

struct FramePlan {
  TilePlan tiles;
  int bands = 3;                         // of the frame, 1 or 3
  SampleType type = SampleType::kUint8;  // of the frame, kUint8 or kFloat32
  int output_bands = 3;                  // of the engine
  // Engine input -> plane: the capture's bands first, then linear planes, then constants.
  std::vector<int> inputs;
  int linear_planes = 0;         // that the linear stage makes; the first `bands` are its base
  std::vector<float> constants;  // values of planes that are the same everywhere
  int strip_height = 1;          // rows of tiles; the last strip may have fewer
  int group_width = 1 << 24;     // columns of tiles; the last group may have fewer
  int margin_rows = 0;           // capture rows above and below the planes of one of several strips
  std::size_t scratch_bytes = 0;  // of the linear stage
  bool drop_memory = false;       // give memory back as soon as its content is dead
  bool require_numbers = false;   // refuse an engine that answers NaN or infinite values

  // Throws kOptions for inputs and bands that do not exist, and for groups of tiles that blend.
  void check() const;

  FrameShape shape() const noexcept {
    return {tiles.frame_rows(), tiles.frame_columns(), bands, type};
  }
  SampleType linear_type() const noexcept {
    return type == SampleType::kUint8 ? SampleType::kFixed16 : SampleType::kFloat32;
  }
  int strips() const noexcept;
  int groups() const noexcept;
  int kept_planes() const noexcept;  // the base, which the review looks at again

  // Rows and columns of tiles.
  RowRange tile_rows(int strip) const noexcept;
  RowRange tile_columns(int group) const noexcept;
  // Rows of the frame: of capture in memory, of linear planes, of finished pixels.
  RowRange window(int strip) const noexcept;
  RowRange planes(int strip) const noexcept;
  RowRange finished(int strip) const noexcept;
  // Columns of the frame in which a group's linear planes are made.
  RowRange columns(int group) const noexcept;
  // The largest of each.
  int window_rows() const noexcept;
  int plane_rows() const noexcept;
  int finished_rows() const noexcept;
  int group_columns() const noexcept;

  std::size_t plane_bytes(int rows, int columns, SampleType sample) const noexcept;
  std::size_t tile_samples() const noexcept;
  std::size_t input_bytes() const noexcept;
  std::size_t output_bytes() const noexcept;
  std::size_t blender_bytes() const noexcept;

  // Bytes of the pool.
  std::size_t pool_bytes() const noexcept;
  // Most bytes of the pool in memory at a time in each phase. Without `drop_memory` whatever was
  // touched stays: the pool's size is the figure then.
  std::size_t linear_phase_bytes() const noexcept;
  std::size_t tile_phase_bytes() const noexcept;  // less what the engine takes for itself
  std::size_t review_phase_bytes() const noexcept;
};

}  // namespace imagine_deblur
