// Whole pictures in memory: for tests, and for callers who have the frame anyway.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "jpeg/jpeg_info.h"
#include "jpeg/metadata.h"
#include "jpeg/scanline_reader.h"
#include "jpeg/scanline_writer.h"

namespace imagine_deblur {

struct DecodedJpeg {
  std::vector<std::uint8_t> samples;  // (info.rows, info.columns, info.bands), contiguous
  JpegInfo info;
  Metadata metadata;
  SalvageReport salvage;
};

// Errors as ScanlineReader, and kMemoryBudget when the samples do not fit in memory.
DecodedJpeg decode_jpeg(const std::uint8_t* data, std::size_t size,
                        const ReaderOptions& options = {});

// `samples` is (rows, columns, bands) with rows `row_stride` bytes apart. Errors as ScanlineWriter.
std::vector<std::uint8_t> encode_jpeg(const std::uint8_t* samples, int rows, int columns, int bands,
                                      std::ptrdiff_t row_stride, const WriterOptions& options = {});

}  // namespace imagine_deblur
