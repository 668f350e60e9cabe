// Frame size, tile size, overlap, halo -> ordered tiles. Pure arithmetic on integers.
//
// Three words kept apart, all in frame coordinates:
//   core     what one tile owns; the cores cover the frame exactly once.
//   overlap  the margin around a core where neighbouring tiles are blended.
//   halo     what is read beyond core and overlap for the engine's sake, and thrown away.
//
//   read  = core grown by overlap and halo, always tile_rows x tile_columns. May stick out of the
//           frame; whoever gathers fills the outside by reflection (reflect.h).
//   write = core grown by the overlap, cut to the frame. Rows and columns of the frame that this
//           tile has a say in.
//
// Every tile has the same shape, because engines compile for one shape. Cores and reads begin on
// multiples of `multiple_of` in frame coordinates, so a network that folds pixels into channels
// folds the same pixels together whatever the tile size: that is what makes tiling exact.
// Cores are balanced: they differ by at most `multiple_of` (the last one may miss less than that
// again at the frame's edge), so no tile is a sliver.
//
// Only direct neighbours blend. For that the stretches 2 * overlap long around the seams between
// cores must not touch: a core with a neighbour on both sides is at least 2 * overlap long, one
// with a neighbour on one side at least `overlap`. Where the frame's cores are smaller, the plan
// lowers the overlap of that axis (see overlap_rows), and along an axis with one tile it is 0.
//
// A plan may cover a region of the frame only: then the cores cover the region once, and what is
// read around it are samples of the frame, not reflections.
#pragma once

#include <optional>

#include "base/rect.h"
#include "tiling/halo.h"

namespace imagine_deblur {

// What the engine and the user ask for. `rows` and `columns` are what the engine sees, so
// core + 2 * overlap + 2 * halo; both are multiples of `multiple_of`.
struct TileSpec {
  int rows = 256;
  int columns = 256;
  int overlap = 0;
  Halo halo = {};
  int multiple_of = 1;
  // The plan may choose a smaller tile (still a multiple of `multiple_of`) where the frame does
  // not fill the tiles asked for. False for an engine already compiled for rows x columns.
  bool may_shrink = true;
};

// Half open: [first, last).
struct RowRange {
  int first = 0;
  int last = 0;
  constexpr int size() const noexcept { return last - first; }
  constexpr bool empty() const noexcept { return last <= first; }
  friend constexpr bool operator==(const RowRange&, const RowRange&) noexcept = default;
};

struct Tile {
  int index = 0;  // row-major: tile_row * grid_columns + tile_column
  int tile_row = 0;
  int tile_column = 0;
  Rect core;
  Rect write;
  Rect read;
};

class TilePlan {
 public:
  // Throws kOptions, with the field's name, for sizes that are not positive, tiles that are not a
  // multiple of `multiple_of`, and overlap and halo that leave no room for a core. The overlap is
  // not looked at along an axis that one tile covers. `region`, the frame where there is none, lies
  // inside the frame and begins on multiples of `multiple_of`.
  TilePlan(int frame_rows, int frame_columns, const TileSpec& spec,
           const std::optional<Rect>& region = std::nullopt);

  int frame_rows() const noexcept { return vertical_.frame; }
  int frame_columns() const noexcept { return horizontal_.frame; }
  Rect region() const noexcept {
    return {vertical_.first, horizontal_.first, vertical_.last, horizontal_.last};
  }

  // The shape of every tile: as asked, or smaller where the plan was allowed to shrink.
  int tile_rows() const noexcept { return vertical_.tile; }
  int tile_columns() const noexcept { return horizontal_.tile; }

  // The overlap really used: as asked, or smaller, by the rule above.
  int overlap_rows() const noexcept { return vertical_.overlap; }
  int overlap_columns() const noexcept { return horizontal_.overlap; }
  bool blends() const noexcept { return vertical_.overlap > 0 || horizontal_.overlap > 0; }

  int grid_rows() const noexcept { return vertical_.count; }
  int grid_columns() const noexcept { return horizontal_.count; }
  int size() const noexcept { return vertical_.count * horizontal_.count; }

  Tile tile(int tile_row, int tile_column) const noexcept;
  Tile tile(int index) const noexcept {
    return tile(index / grid_columns(), index % grid_columns());
  }

  // Rows of the frame that the tiles of one row of tiles own, write and read. `source_rows` is
  // what must be in memory to gather them: the read rows after reflection into the frame.
  RowRange core_rows(int tile_row) const noexcept { return vertical_.core(tile_row); }
  RowRange write_rows(int tile_row) const noexcept { return vertical_.write(tile_row); }
  RowRange source_rows(int tile_row) const noexcept { return vertical_.source(tile_row); }

  // The same along the other axis.
  RowRange core_columns(int tile_column) const noexcept { return horizontal_.core(tile_column); }
  RowRange write_columns(int tile_column) const noexcept { return horizontal_.write(tile_column); }
  RowRange source_columns(int tile_column) const noexcept {
    return horizontal_.source(tile_column);
  }

  // Rows that no later row of tiles writes, and that an earlier one had not finished: what can be
  // handed on once rows of tiles 0..tile_row are done. These ranges cover the region exactly once.
  RowRange finished_rows(int tile_row) const noexcept;

  // How many rows of tiles, counted from the top, can be gathered from frame rows [0, available).
  int gatherable(int available) const noexcept;

  // The first frame row that the rows of tiles from `tile_row` on still read; rows above it may be
  // dropped. frame_rows() for tile_row == grid_rows().
  int first_row_needed(int tile_row) const noexcept;

  // The rows of tiles that write any of these frame rows.
  RowRange tile_rows_writing(RowRange rows) const noexcept;

 private:
  // One axis of the plan.
  struct Axis {
    int frame = 0;
    int first = 0;  // the region
    int last = 0;
    int tile = 0;
    int margin = 0;  // from the start of a read to the start of its core
    int overlap = 0;
    int unit = 1;   // multiple_of
    int units = 0;  // region in units, rounded up
    int count = 0;

    int seam(int i) const noexcept;  // where core i begins; `last` for i == count
    RowRange core(int i) const noexcept { return {seam(i), seam(i + 1)}; }
    RowRange write(int i) const noexcept;
    RowRange read(int i) const noexcept;
    RowRange source(int i) const noexcept;
  };
  static Axis plan_axis(const char* field, int frame, RowRange region, int tile, int overlap,
                        int halo, int unit, bool may_shrink);

  Axis vertical_;
  Axis horizontal_;
};

}  // namespace imagine_deblur
