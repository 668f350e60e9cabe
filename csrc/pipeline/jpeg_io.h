// JPEG files as the ends of a pipeline.
#pragma once

#include <cstdint>
#include <vector>

#include "jpeg/scanline_reader.h"
#include "jpeg/scanline_writer.h"
#include "pipeline/frame_io.h"

namespace imagine_deblur {

// Reads from a reader somebody else owns, a few scanlines at a time.
class JpegSource final : public FrameSource {
 public:
  explicit JpegSource(ScanlineReader& reader);
  FrameShape shape() const override { return shape_; }
  void read(RowRange rows, std::span<const PlaneWindow> planes) override;

 private:
  ScanlineReader& reader_;
  FrameShape shape_;
  std::vector<std::uint8_t> scanlines_;
};

// Encodes a few scanlines at a time, to a writer somebody else owns and finishes.
class JpegSink final : public FrameSink {
 public:
  JpegSink(const FrameShape& shape, ScanlineWriter& writer);
  void write(RowRange rows, std::span<const PlaneWindow> planes) override;

 private:
  FrameShape shape_;
  ScanlineWriter& writer_;
  std::vector<std::uint8_t> scanlines_;
};

}  // namespace imagine_deblur
