#include "pipeline/jpeg_io.h"

#include <algorithm>

namespace imagine_deblur {
namespace {

constexpr int kScanlines = 16;  // one row of 4:2:0 blocks

std::ptrdiff_t row_bytes(const FrameShape& shape) {
  return static_cast<std::ptrdiff_t>(shape.columns) * shape.bands;
}

std::byte* scanline(std::vector<std::uint8_t>& buffer, const FrameShape& shape, int index) {
  return reinterpret_cast<std::byte*>(buffer.data() + index * row_bytes(shape));
}

}  // namespace

JpegSource::JpegSource(ScanlineReader& reader)
    : reader_(reader),
      shape_{reader.info().rows, reader.info().columns, reader.info().bands, SampleType::kUint8},
      scanlines_(static_cast<std::size_t>(kScanlines * row_bytes(shape_))) {}

void JpegSource::read(RowRange rows, std::span<const PlaneWindow> planes) {
  for (int row = rows.first; row < rows.last;) {
    const int count = reader_.read_rows(std::min(kScanlines, rows.last - row), scanlines_.data(),
                                        row_bytes(shape_));
    for (int i = 0; i < count; ++i, ++row) {
      deinterleave_row(shape_, scanline(scanlines_, shape_, i), row, planes);
    }
  }
}

JpegSink::JpegSink(const FrameShape& shape, ScanlineWriter& writer)
    : shape_(shape),
      writer_(writer),
      scanlines_(static_cast<std::size_t>(kScanlines * row_bytes(shape))) {}

void JpegSink::write(RowRange rows, std::span<const PlaneWindow> planes) {
  for (int row = rows.first; row < rows.last;) {
    const int count = std::min(kScanlines, rows.last - row);
    for (int i = 0; i < count; ++i) {
      interleave_row(shape_, row + i, 0, planes, scanline(scanlines_, shape_, i));
    }
    writer_.write_rows(count, scanlines_.data(), row_bytes(shape_));
    row += count;
  }
}

}  // namespace imagine_deblur
