#include "jpeg/codec.h"

#include <new>

#include "base/error.h"

namespace imagine_deblur {

DecodedJpeg decode_jpeg(const std::uint8_t* data, std::size_t size, const ReaderOptions& options) {
  ScanlineReader reader = ScanlineReader::from_memory(data, size, options);
  DecodedJpeg decoded;
  decoded.info = reader.info();
  decoded.metadata = reader.metadata();
  const std::size_t row_bytes =
      static_cast<std::size_t>(decoded.info.columns) * static_cast<std::size_t>(decoded.info.bands);
  const std::size_t bytes = row_bytes * static_cast<std::size_t>(decoded.info.rows);
  try {
    decoded.samples.resize(bytes);
  } catch (const std::bad_alloc&) {
    ErrorContext context;
    context.wanted = static_cast<std::int64_t>(bytes);
    throw Error(ErrorKind::kMemoryBudget,
                "no memory for a frame of " + std::to_string(bytes) +
                    " bytes; process the file strip by strip",
                context);
  }
  reader.read_rows(decoded.info.rows, decoded.samples.data(),
                   static_cast<std::ptrdiff_t>(row_bytes));
  decoded.salvage = reader.salvaged();
  return decoded;
}

std::vector<std::uint8_t> encode_jpeg(const std::uint8_t* samples, int rows, int columns, int bands,
                                      std::ptrdiff_t row_stride, const WriterOptions& options) {
  std::vector<std::uint8_t> encoded;
  ScanlineWriter writer = ScanlineWriter::to_memory(encoded, rows, columns, bands, options);
  writer.write_rows(rows, samples, row_stride);
  writer.finish();
  return encoded;
}

}  // namespace imagine_deblur
