#include "pipeline/frame_io.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/error.h"

namespace imagine_deblur {
namespace {

template <typename T>
void split(const std::byte* samples, int columns, int bands, int frame_row,
           std::span<const PlaneWindow> planes) {
  for (int band = 0; band < bands; ++band) {
    const T* in = reinterpret_cast<const T*>(samples) + band;
    T* out = reinterpret_cast<T*>(planes[static_cast<std::size_t>(band)].frame_row(frame_row));
    for (int c = 0; c < columns; ++c) out[c] = in[static_cast<std::ptrdiff_t>(c) * bands];
  }
}

template <typename T>
void join(int columns, int bands, int frame_row, int first_column,
          std::span<const PlaneWindow> planes, std::byte* samples) {
  for (int band = 0; band < bands; ++band) {
    const T* in =
        reinterpret_cast<const T*>(planes[static_cast<std::size_t>(band)].frame_row(frame_row)) +
        first_column;
    T* out = reinterpret_cast<T*>(samples) + band;
    for (int c = 0; c < columns; ++c) out[static_cast<std::ptrdiff_t>(c) * bands] = in[c];
  }
}

}  // namespace

void deinterleave_row(const FrameShape& shape, const std::byte* samples, int frame_row,
                      std::span<const PlaneWindow> planes) {
  if (shape.type == SampleType::kUint8) {
    split<std::uint8_t>(samples, shape.columns, shape.bands, frame_row, planes);
  } else {
    split<float>(samples, shape.columns, shape.bands, frame_row, planes);
  }
}

void interleave_row(const FrameShape& shape, int frame_row, int first_column,
                    std::span<const PlaneWindow> planes, std::byte* samples) {
  if (shape.type == SampleType::kUint8) {
    join<std::uint8_t>(shape.columns, shape.bands, frame_row, first_column, planes, samples);
  } else {
    join<float>(shape.columns, shape.bands, frame_row, first_column, planes, samples);
  }
}

void ArraySource::read(RowRange rows, std::span<const PlaneWindow> planes) {
  for (int row = rows.first; row < rows.last; ++row) {
    deinterleave_row(view_.shape,
                     static_cast<const std::byte*>(view_.data) + row * view_.row_stride, row,
                     planes);
  }
}

void ArraySink::write(RowRange rows, std::span<const PlaneWindow> planes) {
  const int first = std::max(rows.first, first_row_);
  const int last = std::min(rows.last, first_row_ + view_.shape.rows);
  for (int row = first; row < last; ++row) {
    interleave_row(view_.shape, row, first_column_, planes,
                   static_cast<std::byte*>(view_.data) + (row - first_row_) * view_.row_stride);
  }
}

}  // namespace imagine_deblur
