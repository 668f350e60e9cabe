#include "pipeline/frame_plan.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "memory/buffer_pool.h"
#include "tiling/blender.h"

namespace imagine_deblur {
namespace {

constexpr int divide_up(int a, int b) noexcept { return (a + b - 1) / b; }

std::size_t planes_bytes(int count, std::size_t bytes) noexcept {
  return count > 0 ? static_cast<std::size_t>(count) * BufferPool::footprint(bytes) : 0;
}

template <typename Range>
int largest(int count, const Range& range) noexcept {
  int most = 0;
  for (int i = 0; i < count; ++i) most = std::max(most, range(i).size());
  return most;
}

// What each kind of buffer takes of the pool.
struct Parts {
  explicit Parts(const FramePlan& plan)
      : capture(planes_bytes(plan.bands, plan.plane_bytes(plan.window_rows(),
                                                          plan.tiles.frame_columns(), plan.type))),
        base(planes_bytes(
            plan.kept_planes(),
            plan.plane_bytes(plan.plane_rows(), plan.tiles.frame_columns(), plan.linear_type()))),
        others(planes_bytes(
            plan.linear_planes - plan.kept_planes(),
            plan.plane_bytes(plan.plane_rows(), plan.group_columns(), plan.linear_type()))),
        restored(planes_bytes(plan.bands, plan.plane_bytes(plan.finished_rows(),
                                                           plan.tiles.frame_columns(), plan.type))),
        scratch(plan.scratch_bytes > 0 ? BufferPool::footprint(plan.scratch_bytes) : 0),
        tile(BufferPool::footprint(plan.input_bytes()) +
             BufferPool::footprint(plan.output_bytes())),
        blender(plan.tiles.blends() ? BufferPool::footprint(plan.blender_bytes()) : 0) {}

  std::size_t capture;
  std::size_t base;
  std::size_t others;
  std::size_t restored;
  std::size_t scratch;
  std::size_t tile;
  std::size_t blender;
};

[[noreturn]] void refuse(const char* field, const std::string& message) {
  throw Error(ErrorKind::kOptions, message, {.field = field});
}

}  // namespace

void FramePlan::check() const {
  const int planes = bands + linear_planes + static_cast<int>(constants.size());
  for (const int input : inputs) {
    if (input >= 0 && input < planes) continue;
    refuse("inputs", "input plane " + std::to_string(input) + " does not exist; there are " +
                         std::to_string(planes));
  }
  if (output_bands != bands && !(output_bands == 3 && bands == 1)) {
    refuse("engine", "the engine makes " + std::to_string(output_bands) + " bands, the frame has " +
                         std::to_string(bands));
  }
  if ((bands != 1 && bands != 3) || linear_planes < 0 || margin_rows < 0) {
    refuse("bands", "1 or 3 bands, and numbers of planes and rows that are not negative");
  }
  const bool whole = tiles.region() == Rect{0, 0, tiles.frame_rows(), tiles.frame_columns()};
  if (tiles.blends() && (groups() > 1 || !whole)) {
    refuse("engine", "tiles that blend, of more than one group or of part of a frame");
  }
}

int FramePlan::strips() const noexcept {
  return divide_up(tiles.grid_rows(), std::clamp(strip_height, 1, tiles.grid_rows()));
}

int FramePlan::groups() const noexcept {
  return divide_up(tiles.grid_columns(), std::clamp(group_width, 1, tiles.grid_columns()));
}

int FramePlan::kept_planes() const noexcept { return std::min(linear_planes, bands); }

RowRange FramePlan::tile_rows(int strip) const noexcept {
  const int height = std::clamp(strip_height, 1, tiles.grid_rows());
  return {strip * height, std::min((strip + 1) * height, tiles.grid_rows())};
}

RowRange FramePlan::tile_columns(int group) const noexcept {
  const int width = std::clamp(group_width, 1, tiles.grid_columns());
  return {group * width, std::min((group + 1) * width, tiles.grid_columns())};
}

RowRange FramePlan::planes(int strip) const noexcept {
  const RowRange rows = tile_rows(strip);
  return {tiles.first_row_needed(rows.first),
          std::max(tiles.source_rows(rows.last - 1).last, tiles.core_rows(rows.last - 1).last)};
}

RowRange FramePlan::window(int strip) const noexcept {
  if (strips() == 1) return {0, tiles.frame_rows()};
  const RowRange rows = planes(strip);
  return {std::max(rows.first - margin_rows, 0),
          std::min(rows.last + margin_rows, tiles.frame_rows())};
}

RowRange FramePlan::finished(int strip) const noexcept {
  const RowRange rows = tile_rows(strip);
  return {tiles.finished_rows(rows.first).first, tiles.finished_rows(rows.last - 1).last};
}

RowRange FramePlan::columns(int group) const noexcept {
  const RowRange tile = tile_columns(group);
  RowRange found{tiles.frame_columns(), 0};
  for (int i = tile.first; i < tile.last; ++i) {
    const RowRange source = tiles.source_columns(i);
    found.first = std::min(found.first, source.first);
    found.last = std::max(found.last, source.last);
  }
  // What no tile reads is made all the same: the review and the linear model look at it.
  if (group == 0) found.first = 0;
  if (group + 1 == groups()) found.last = tiles.frame_columns();
  return found;
}

int FramePlan::window_rows() const noexcept {
  return largest(strips(), [this](int i) { return window(i); });
}

int FramePlan::plane_rows() const noexcept {
  return largest(strips(), [this](int i) { return planes(i); });
}

int FramePlan::finished_rows() const noexcept {
  return largest(strips(), [this](int i) { return finished(i); });
}

int FramePlan::group_columns() const noexcept {
  return largest(groups(), [this](int i) { return columns(i); });
}

std::size_t FramePlan::plane_bytes(int rows, int columns, SampleType sample) const noexcept {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns) * sample_bytes(sample);
}

std::size_t FramePlan::tile_samples() const noexcept {
  return static_cast<std::size_t>(tiles.tile_rows()) *
         static_cast<std::size_t>(tiles.tile_columns());
}

std::size_t FramePlan::input_bytes() const noexcept {
  return tile_samples() * inputs.size() * sizeof(float);
}

std::size_t FramePlan::output_bytes() const noexcept {
  return tile_samples() * static_cast<std::size_t>(output_bands) * sizeof(float);
}

std::size_t FramePlan::blender_bytes() const noexcept {
  return RowBlender::memory_floats(tiles, bands) * sizeof(float);
}

std::size_t FramePlan::pool_bytes() const noexcept {
  const Parts parts(*this);
  // Big buffers begin on a page, so each kind may leave a gap behind smaller ones.
  constexpr std::size_t kKinds = 7;
  // The tiles' buffers take the place of the linear stage's scratch.
  return parts.capture + parts.base + parts.others + parts.restored + parts.blender +
         std::max(parts.tile, parts.scratch) + kKinds * page_bytes();
}

std::size_t FramePlan::linear_phase_bytes() const noexcept {
  const Parts parts(*this);
  // When the last group's planes are made, the tiles of the others have been stored, and parts of
  // rows fill whole pages.
  return parts.capture + parts.base + parts.others + parts.blender + parts.scratch +
         (groups() > 1 ? parts.restored : 0);
}

std::size_t FramePlan::tile_phase_bytes() const noexcept {
  const Parts parts(*this);
  // After each row of tiles what it read of the other planes goes, and the next is stored.
  const auto rows = static_cast<std::size_t>(tile_rows(0).size());
  const std::size_t planes = std::max(parts.others, parts.restored) + parts.restored / rows;
  return parts.capture + parts.base + std::min(planes, parts.others + parts.restored) +
         parts.blender + parts.tile;
}

std::size_t FramePlan::review_phase_bytes() const noexcept {
  const Parts parts(*this);
  return parts.capture + parts.base + parts.restored + parts.blender + parts.scratch;
}

}  // namespace imagine_deblur
