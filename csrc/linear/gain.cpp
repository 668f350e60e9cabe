#include "linear/gain.h"

#include <algorithm>

#include "base/error.h"

namespace imagine_deblur::linear {

using fft::kElement;
using fft::kLines;

Otf Otf::radial(std::span<const float> table) {
  if (table.size() < 2) {
    throw Error(ErrorKind::kOptions, "a table of fewer than two entries", {.field = "table"});
  }
  Otf otf(OtfLayout::kRadial, 0, table.size());
  std::copy(table.begin(), table.end(), otf.values_.begin());
  return otf;
}

std::size_t Otf::bytes(const PlaneSizes& sizes, bool complex) noexcept {
  return static_cast<std::size_t>(sizes.blocks()) *
         static_cast<std::size_t>(sizes.size().padded_rows) *
         static_cast<std::size_t>(complex ? kElement : kLines) * sizeof(float);
}

Otf Otf::half_plane(const PlaneSizes& sizes, std::span<const float> values, bool complex,
                    Executor& executor) {
  const std::size_t parts = complex ? 2 : 1;
  const std::size_t columns = static_cast<std::size_t>(sizes.frequencies());
  const std::size_t rows = static_cast<std::size_t>(sizes.size().padded_rows);
  if (values.size() != rows * columns * parts) {
    throw Error(ErrorKind::kOptions, "a transfer function of another size", {.field = "otf"});
  }
  const std::size_t floats = bytes(sizes, complex) / sizeof(float);
  Otf otf(complex ? OtfLayout::kComplex : OtfLayout::kReal,
          floats / static_cast<std::size_t>(sizes.blocks()), floats);
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
    block.otf_entries = otf.entries();
    block.otf_entries_per_frequency = static_cast<float>((otf.entries() - 1) / kHighest);
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
