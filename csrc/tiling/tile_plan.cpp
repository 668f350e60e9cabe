#include "tiling/tile_plan.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include "base/error.h"
#include "tiling/reflect.h"

namespace imagine_deblur {
namespace {

// Frames, tiles, overlaps and halos beyond this are refused, so that no sum below can overflow.
constexpr int kLargestLength = 1 << 24;

[[noreturn]] void refuse(const std::string& field, const std::string& message) {
  ErrorContext context;
  context.field = field;
  throw Error(ErrorKind::kOptions, message, context);
}

void check_length(const std::string& field, int value, int smallest) {
  if (value < smallest || value > kLargestLength) {
    refuse(field, field + " is " + std::to_string(value) + "; expected " +
                      std::to_string(smallest) + " to " + std::to_string(kLargestLength));
  }
}

constexpr int divide_up(int a, int b) noexcept { return (a + b - 1) / b; }
constexpr int round_up(int a, int b) noexcept { return divide_up(a, b) * b; }

}  // namespace

int TilePlan::Axis::seam(int i) const noexcept {
  const std::int64_t begin = std::int64_t{i} * units / count;
  return std::min(first + static_cast<int>(begin) * unit, last);
}

RowRange TilePlan::Axis::write(int i) const noexcept {
  return {std::max(seam(i) - overlap, first), std::min(seam(i + 1) + overlap, last)};
}

RowRange TilePlan::Axis::read(int i) const noexcept {
  const int begin = seam(i) - margin;
  return {begin, begin + tile};
}

RowRange TilePlan::Axis::source(int i) const noexcept { return reflected_range(read(i), frame); }

TilePlan::Axis TilePlan::plan_axis(const char* field, int frame, RowRange region, int tile,
                                   int overlap, int halo, int unit, bool may_shrink) {
  if (region.first < 0 || region.empty() || region.last > frame || region.first % unit != 0) {
    refuse("region",
           "a region that is empty, leaves the frame or does not begin on a multiple of " +
               std::to_string(unit));
  }
  Axis axis;
  axis.frame = frame;
  axis.first = region.first;
  axis.last = region.last;
  axis.unit = unit;
  axis.units = divide_up(region.size(), unit);

  // One tile has no neighbour to blend with, so its margin is the halo alone.
  const int halo_margin = round_up(halo, unit);
  const int whole_region = axis.units * unit + 2 * halo_margin;
  if (whole_region <= tile) {
    axis.count = 1;
    axis.margin = halo_margin;
    axis.tile = may_shrink ? whole_region : tile;
    return axis;
  }

  const int margin = round_up(overlap + halo, unit);
  const int largest_core = tile - 2 * margin;
  if (largest_core < unit) {
    refuse(field, std::string(field) + " is " + std::to_string(tile) + "; an overlap of " +
                      std::to_string(overlap) + " and a halo of " + std::to_string(halo) +
                      " on each side leave no core: expected at least " +
                      std::to_string(2 * std::int64_t{margin} + unit));
  }

  axis.margin = margin;
  axis.count = divide_up(axis.units, largest_core / unit);  // more than one
  if (may_shrink) {
    const int core = divide_up(axis.units, axis.count);
    axis.count = divide_up(axis.units, core);  // cores rounded up may be fewer
    axis.tile = core * unit + 2 * margin;
  } else {
    axis.tile = tile;
  }
  axis.overlap = overlap;
  for (int i = 0; i < axis.count; ++i) {
    const bool at_an_end = i == 0 || i == axis.count - 1;
    axis.overlap = std::min(axis.overlap, axis.core(i).size() / (at_an_end ? 1 : 2));
  }
  return axis;
}

TilePlan::TilePlan(int frame_rows, int frame_columns, const TileSpec& spec,
                   const std::optional<Rect>& region) {
  check_length("frame_rows", frame_rows, 1);
  check_length("frame_columns", frame_columns, 1);
  check_length("tile_rows", spec.rows, 1);
  check_length("tile_columns", spec.columns, 1);
  check_length("overlap", spec.overlap, 0);
  check_length("halo_rows", spec.halo.rows, 0);
  check_length("halo_columns", spec.halo.columns, 0);
  check_length("multiple_of", spec.multiple_of, 1);
  for (const auto& [field, length] :
       {std::pair{"tile_rows", spec.rows}, std::pair{"tile_columns", spec.columns}}) {
    if (length % spec.multiple_of != 0) {
      refuse(field, std::string(field) + " is " + std::to_string(length) +
                        "; expected a multiple of " + std::to_string(spec.multiple_of) +
                        ", for example " + std::to_string(round_up(length, spec.multiple_of)));
    }
  }
  const Rect whole{0, 0, frame_rows, frame_columns};
  const Rect part = region.value_or(whole);
  vertical_ = plan_axis("tile_rows", frame_rows, {part.top, part.bottom}, spec.rows, spec.overlap,
                        spec.halo.rows, spec.multiple_of, spec.may_shrink);
  horizontal_ = plan_axis("tile_columns", frame_columns, {part.left, part.right}, spec.columns,
                          spec.overlap, spec.halo.columns, spec.multiple_of, spec.may_shrink);
  const std::int64_t tiles = std::int64_t{vertical_.count} * horizontal_.count;
  if (tiles > std::numeric_limits<int>::max()) {
    refuse("tile_rows", std::to_string(tiles) +
                            " tiles are more than can be numbered; expected "
                            "larger tiles");
  }
}

Tile TilePlan::tile(int tile_row, int tile_column) const noexcept {
  const auto rect = [](RowRange rows, RowRange columns) {
    return Rect{rows.first, columns.first, rows.last, columns.last};
  };
  Tile tile;
  tile.index = tile_row * grid_columns() + tile_column;
  tile.tile_row = tile_row;
  tile.tile_column = tile_column;
  tile.core = rect(vertical_.core(tile_row), horizontal_.core(tile_column));
  tile.write = rect(vertical_.write(tile_row), horizontal_.write(tile_column));
  tile.read = rect(vertical_.read(tile_row), horizontal_.read(tile_column));
  return tile;
}

RowRange TilePlan::finished_rows(int tile_row) const noexcept {
  const auto begun = [this](int row) {
    return row == grid_rows() ? vertical_.last : write_rows(row).first;
  };
  return {begun(tile_row), begun(tile_row + 1)};
}

int TilePlan::gatherable(int available) const noexcept {
  int row = 0;
  while (row < grid_rows() && source_rows(row).last <= available) ++row;
  return row;
}

int TilePlan::first_row_needed(int tile_row) const noexcept {
  int first = frame_rows();
  for (int row = tile_row; row < grid_rows(); ++row) {
    first = std::min(first, source_rows(row).first);
  }
  return first;
}

RowRange TilePlan::tile_rows_writing(RowRange rows) const noexcept {
  RowRange found{0, 0};
  for (int row = 0; row < grid_rows(); ++row) {
    const RowRange written = write_rows(row);
    if (written.last <= rows.first || written.first >= rows.last) continue;
    if (found.empty()) found.first = row;
    found.last = row + 1;
  }
  return found;
}

}  // namespace imagine_deblur
