// Writes a JPEG a few scanlines at a time, to a file descriptor or into memory.
//
// Memory: a 64 KiB buffer and a few block rows; 2 bytes a coefficient of the whole frame more for a
// progressive or optimised file, checked against `max_memory_bytes` before it is allocated. Errors:
// kOptions for a value outside its range, kMemoryBudget, kIo with errno where writing fails. After
// an error, or when it is destroyed before `finish`, the writer leaves the output without its end
// marker and touches it no more: replacing the target in one step is the caller's part. One thread
// at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "jpeg/jpeg_info.h"
#include "jpeg/metadata.h"

namespace imagine_deblur {

enum class Subsampling { k444, k422, k420 };

struct WriterOptions {
  int quality = 95;  // 1..100, baseline tables
  // In place of those of `quality`: luma's, or luma's and chroma's; values 1..255.
  std::vector<QuantisationTable> quantisation;
  Subsampling subsampling = Subsampling::k420;
  bool progressive = false;
  bool optimise = false;  // Huffman tables fitted to the frame; implied by progressive
  int restart_rows = 0;   // restart marker after so many rows of blocks; 0 none, at most 65535
  Metadata metadata;      // written after the JFIF header, in order, unchanged
  std::int64_t max_memory_bytes = 64LL << 20;  // libjpeg's own memory
  std::int64_t max_output_bytes = 1LL << 32;   // of a picture written into memory
};

class ScanlineWriter {
 public:
  // `bands` is 1 (grey) or 3 (RGB, stored as YCbCr). `name` is used in messages. The header is
  // handed to the output with the first rows.
  static ScanlineWriter to_descriptor(int descriptor, int rows, int columns, int bands,
                                      const WriterOptions& options = {},
                                      const std::string& name = {});  // borrows the descriptor
  static ScanlineWriter to_memory(std::vector<std::uint8_t>& to, int rows, int columns, int bands,
                                  const WriterOptions& options = {});  // appends; borrows

  ScanlineWriter(ScanlineWriter&&) noexcept;
  ScanlineWriter& operator=(ScanlineWriter&&) noexcept;
  ~ScanlineWriter();

  // Takes the next `count` rows of `bands` interleaved bytes a pixel, `row_stride` bytes apart.
  // More rows than the frame has: Error kOptions.
  void write_rows(int count, const std::uint8_t* interleaved, std::ptrdiff_t row_stride);

  // Writes what is left and the end marker. Error kOptions when rows are missing.
  void finish();

  int rows_written() const noexcept;
  std::int64_t bytes_written() const noexcept;  // handed to the output so far
  std::int64_t encoder_bytes() const noexcept;  // libjpeg's own memory, an upper estimate

 private:
  struct Impl;
  explicit ScanlineWriter(std::unique_ptr<Impl> impl) noexcept;

  std::unique_ptr<Impl> impl_;
};

}  // namespace imagine_deblur
