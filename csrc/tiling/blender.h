// From the tiles an engine wrote back to planes, in two modes.
//
// Exact: engines that declare their halo. Each core is copied, nothing is mixed: store_core.
// Blend: engines that are not local. Tiles are accumulated with the weights of a BlendWindow into
// a buffer that covers one row of tiles, and finished rows leave it: RowBlender.
//
// Samples are stored as kUint8 (x * 255 rounded half up, cut to [0, 255]; NaN becomes 0), kFixed16
// (x * 4096 rounded to nearest, cut to the type; NaN becomes 0) or kFloat32 (as it is).
#pragma once

#include <cstddef>
#include <span>

#include "tiling/plane_window.h"
#include "tiling/tile_plan.h"
#include "tiling/window.h"

namespace imagine_deblur {

// Writes `count` samples to a row of a plane of the given type.
void store_samples(const float* values, int count, SampleType type, std::byte* row, int column);

// Exact mode. `chw` is the engine's output for `tile`: (bands, tile_rows, tile_columns), one band
// per plane. Copies the core. Different tiles may be stored by different threads at once.
void store_core(const float* chw, const Tile& tile, std::span<const PlaneWindow> planes);

// Blend mode. One row of tiles at a time, from the top: add every tile of the row, then finish it.
//
// The result does not depend, to the last bit, on the order in which the tiles of a row are added:
// along a row a pixel has at most two tiles, whose sum commutes, and what the row above left is
// added once, when the row is finished.
//
// Threads: add() of one tile touches only the columns of its write rectangle. Calls for tiles that
// are not direct neighbours may run at the same time; everything else is for one thread at a time.
// Adding a tile twice or out of its row, or finishing a row with tiles missing, ends the program.
class RowBlender {
 public:
  // Floats of memory a blender over this plan needs.
  static std::size_t memory_floats(const TilePlan& plan, int bands) noexcept;

  // `plan` and `memory` (memory_floats long, from the pool) are borrowed and outlive the blender.
  RowBlender(const TilePlan& plan, int bands, std::span<float> memory);

  // `chw`: (bands, tile_rows, tile_columns), the engine's output.
  void add(const Tile& tile, const float* chw);

  // Stores the rows that are now complete, one plane per band, and moves on to the next row of
  // tiles. Returns the rows stored: TilePlan::finished_rows.
  RowRange finish_row(std::span<const PlaneWindow> planes);

  int current_tile_row() const noexcept { return tile_row_; }

 private:
  float* row_sum(int band, int frame_row) noexcept;
  float* carry(int band, int row) noexcept;

  const TilePlan& plan_;
  BlendWindow window_;
  int bands_;
  int sum_rows_;             // rows of the tallest write rectangle
  std::span<float> sum_;     // (bands, sum_rows_, frame columns): this row of tiles
  std::span<float> carry_;   // (bands, 2 * overlap, frame columns): what the row above left
  std::vector<char> added_;  // by tile column; each element is written by that tile's thread only
  int tile_row_ = 0;
};

}  // namespace imagine_deblur
