#include "tiling/blender.h"

#include <algorithm>
#include <cstdint>

namespace imagine_deblur {
namespace {

// The comparisons are written so that NaN takes the lower branch.
inline std::uint8_t to_uint8(float value) noexcept {
  const float scaled = value * 255.0F + 0.5F;
  const float low = scaled > 0.0F ? scaled : 0.0F;
  return static_cast<std::uint8_t>(low < 255.0F ? low : 255.0F);
}

inline std::int16_t to_fixed16(float value) noexcept {
  constexpr float kLargest = 32767.0F;
  constexpr float kSmallest = -32768.0F;
  const float scaled = value * kFixed16One;
  const float number = scaled == scaled ? scaled : 0.0F;
  const float low = number > kSmallest ? number : kSmallest;
  const float cut = low < kLargest ? low : kLargest;
  return static_cast<std::int16_t>(cut + (cut < 0.0F ? -0.5F : 0.5F));
}

}  // namespace

void store_samples(const float* values, int count, SampleType type, std::byte* row, int column) {
  void* const first = row + static_cast<std::size_t>(column) * sample_bytes(type);
  switch (type) {
    case SampleType::kUint8: {
      auto* out = static_cast<std::uint8_t*>(first);
      for (int i = 0; i < count; ++i) out[i] = to_uint8(values[i]);
      return;
    }
    case SampleType::kFixed16: {
      auto* out = static_cast<std::int16_t*>(first);
      for (int i = 0; i < count; ++i) out[i] = to_fixed16(values[i]);
      return;
    }
    case SampleType::kFloat32:
      std::copy_n(values, count, static_cast<float*>(first));
      return;
  }
}

void store_core(const float* chw, const Tile& tile, std::span<const PlaneWindow> planes) {
  const std::ptrdiff_t columns = tile.read.columns();
  const std::ptrdiff_t band = std::ptrdiff_t{tile.read.rows()} * columns;
  const float* core =
      chw + (tile.core.top - tile.read.top) * columns + (tile.core.left - tile.read.left);
  for (const PlaneWindow& plane : planes) {
    const float* from = core;
    for (int r = tile.core.top; r < tile.core.bottom; ++r, from += columns) {
      store_samples(from, tile.core.columns(), plane.view.type, plane.frame_row(r), tile.core.left);
    }
    core += band;
  }
}

namespace {

int tallest_write(const TilePlan& plan) noexcept {
  int rows = 0;
  for (int i = 0; i < plan.grid_rows(); ++i) rows = std::max(rows, plan.write_rows(i).size());
  return rows;
}

std::size_t area(int bands, int rows, int columns) noexcept {
  return static_cast<std::size_t>(bands) * static_cast<std::size_t>(rows) *
         static_cast<std::size_t>(columns);
}

}  // namespace

std::size_t RowBlender::memory_floats(const TilePlan& plan, int bands) noexcept {
  return area(bands, tallest_write(plan) + 2 * plan.overlap_rows(), plan.frame_columns());
}

RowBlender::RowBlender(const TilePlan& plan, int bands, std::span<float> memory)
    : plan_(plan), window_(plan), bands_(bands), sum_rows_(tallest_write(plan)) {
  const std::size_t sum = area(bands, sum_rows_, plan.frame_columns());
  const std::size_t carried = area(bands, 2 * plan.overlap_rows(), plan.frame_columns());
  ensure(memory.size() >= sum + carried, "the blender's memory is smaller than memory_floats");
  sum_ = memory.first(sum);
  carry_ = memory.subspan(sum, carried);
  added_.assign(static_cast<std::size_t>(plan.grid_columns()), 0);
  std::fill(sum_.begin(), sum_.end(), 0.0F);
}

float* RowBlender::row_sum(int band, int frame_row) noexcept {
  const int row = band * sum_rows_ + frame_row - plan_.write_rows(tile_row_).first;
  return sum_.data() + static_cast<std::ptrdiff_t>(row) * plan_.frame_columns();
}

float* RowBlender::carry(int band, int row) noexcept {
  const int at = band * 2 * plan_.overlap_rows() + row;
  return carry_.data() + static_cast<std::ptrdiff_t>(at) * plan_.frame_columns();
}

void RowBlender::add(const Tile& tile, const float* chw) {
  char& added = added_[static_cast<std::size_t>(tile.tile_column)];
  ensure(tile.tile_row == tile_row_, "a tile of another row of tiles");
  ensure(added == 0, "a tile added twice");
  added = 1;
  const std::span<const float> row_weights = window_.rows(tile.tile_row);
  const std::span<const float> column_weights = window_.columns(tile.tile_column);
  const Rect& write = tile.write;
  const std::ptrdiff_t columns = plan_.tile_columns();
  const int width = write.columns();
  for (int band = 0; band < bands_; ++band) {
    const float* from = chw + band * plan_.tile_rows() * columns +
                        (write.top - tile.read.top) * columns + (write.left - tile.read.left);
    for (int r = 0; r < write.rows(); ++r, from += columns) {
      const float row_weight = row_weights[static_cast<std::size_t>(r)];
      const float* weights = column_weights.data();
      float* to = row_sum(band, write.top + r) + write.left;
      for (int c = 0; c < width; ++c) to[c] += row_weight * weights[c] * from[c];
    }
  }
}

RowRange RowBlender::finish_row(std::span<const PlaneWindow> planes) {
  ensure(tile_row_ < plan_.grid_rows(), "no row of tiles left to finish");
  ensure(std::ranges::all_of(added_, [](char added) { return added != 0; }),
         "a row of tiles finished with tiles missing");
  ensure(static_cast<int>(planes.size()) == bands_, "one plane per band");
  const RowRange write = plan_.write_rows(tile_row_);
  const RowRange done = plan_.finished_rows(tile_row_);
  const int columns = plan_.frame_columns();
  const int carried = tile_row_ > 0 ? 2 * plan_.overlap_rows() : 0;
  for (int band = 0; band < bands_; ++band) {
    for (int r = 0; r < carried; ++r) {
      const float* from = carry(band, r);
      float* to = row_sum(band, write.first + r);
      for (int c = 0; c < columns; ++c) to[c] += from[c];
    }
    const PlaneWindow& plane = planes[static_cast<std::size_t>(band)];
    for (int r = done.first; r < done.last; ++r) {
      store_samples(row_sum(band, r), columns, plane.view.type, plane.frame_row(r), 0);
    }
    for (int r = done.last; r < write.last; ++r) {
      std::copy_n(row_sum(band, r), columns, carry(band, r - done.last));
    }
  }
  std::fill(added_.begin(), added_.end(), char{0});
  std::fill(sum_.begin(), sum_.end(), 0.0F);
  ++tile_row_;
  return done;
}

}  // namespace imagine_deblur
