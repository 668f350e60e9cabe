#include "linear/gain.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace imagine_deblur::linear {

using fft::kElement;
using fft::kLines;

namespace {

std::size_t floats_of_block(const PlaneSizes& sizes, OtfLayout layout) noexcept {
  const std::size_t rows = static_cast<std::size_t>(sizes.size().padded_rows);
  switch (layout) {
    case OtfLayout::kMirrored:
      return (rows / 2 + 1) * kLines;
    case OtfLayout::kReal:
      return rows * kLines;
    case OtfLayout::kComplex:
      break;
  }
  return rows * kElement;
}

}  // namespace

Otf::Otf(const PlaneSizes& sizes, OtfLayout layout)
    : layout_(layout),
      block_floats_(floats_of_block(sizes, layout)),
      values_(static_cast<std::size_t>(sizes.blocks()) * block_floats_) {}

std::size_t Otf::bytes(const PlaneSizes& sizes, OtfLayout layout) noexcept {
  return static_cast<std::size_t>(sizes.blocks()) * floats_of_block(sizes, layout) * sizeof(float);
}

Otf Otf::radial(const PlaneSizes& sizes, std::span<const float> table, Executor& executor) {
  if (table.size() < 2) {
    throw Error(ErrorKind::kOptions, "a table of fewer than two entries", {.field = "table"});
  }
  Otf otf(sizes, OtfLayout::kMirrored);
  const double per_frequency = static_cast<double>(table.size() - 1) / kHighest;
  const int rows = sizes.size().padded_rows / 2 + 1;
  executor.parallel_for(sizes.blocks(), [&](int block, int) {
    float* out = otf.values_.data() + static_cast<std::size_t>(block) * otf.block_floats_;
    for (int row = 0; row < rows; ++row) {
      const double fy = static_cast<double>(row) / sizes.size().padded_rows;
      for (int line = 0; line < kLines; ++line, ++out) {
        const double fx = static_cast<double>(block * kLines + line) / sizes.size().padded_columns;
        const double where = std::sqrt(fy * fy + fx * fx) * per_frequency;
        const std::size_t at = std::min(static_cast<std::size_t>(where), table.size() - 2);
        const float share = static_cast<float>(where - static_cast<double>(at));
        *out = table[at] + (table[at + 1] - table[at]) * share;
      }
    }
  });
  return otf;
}

Otf Otf::half_plane(const PlaneSizes& sizes, std::span<const float> values, bool complex,
                    Executor& executor) {
  const std::size_t parts = complex ? 2 : 1;
  const std::size_t columns = static_cast<std::size_t>(sizes.frequencies());
  const std::size_t rows = static_cast<std::size_t>(sizes.size().padded_rows);
  if (values.size() != rows * columns * parts) {
    throw Error(ErrorKind::kOptions, "a transfer function of another size", {.field = "otf"});
  }
  Otf otf(sizes, complex ? OtfLayout::kComplex : OtfLayout::kReal);
  executor.parallel_for(sizes.blocks(), [&](int index, int) {
    float* out = otf.values_.data() + static_cast<std::size_t>(index) * otf.block_floats_;
    const std::size_t first = static_cast<std::size_t>(index) * kLines;
    const std::size_t count = std::min<std::size_t>(kLines, columns - first);
    for (std::size_t row = 0; row < rows; ++row) {
      const float* in = values.data() + (row * columns + first) * parts;
      for (std::size_t part = 0; part < parts; ++part, out += kLines) {
        for (std::size_t line = 0; line < count; ++line) out[line] = in[line * parts + part];
      }
    }
  });
  return otf;
}

GainOf gain_of(const PlaneSizes& sizes, const Otf& otf, const Gain& gain, float factor) {
  return [&sizes, &otf, &gain, factor](int index) {
    GainBlock block;
    block.kind = gain.kind;
    block.layout = otf.layout();
    block.otf = otf.block(index);
    block.row_squared = sizes.row_squared().data();
    block.column_squared = sizes.column_squared().data() + std::ptrdiff_t{index} * kLines;
    block.nsr4 = 4.0F * gain.nsr;
    block.added = gain.added;
    block.scale = gain.scale;
    block.noise = gain.noise;
    block.entries = gain.entries;
    block.entries_per_frequency = static_cast<float>((gain.entries - 1) / kHighest);
    block.factor = factor;
    return block;
  };
}

}  // namespace imagine_deblur::linear
