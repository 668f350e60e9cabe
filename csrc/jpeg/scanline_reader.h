// Reads a JPEG a few scanlines at a time, from memory or from a file that is never held whole.
//
// Memory: one 64 KiB buffer for file input, plus what libjpeg needs, `info().decoder_bytes` at
// most: a few block rows for a baseline file, 2 bytes a coefficient of the whole frame for a
// progressive or multi-scan one (3 bytes a pixel at 4:2:0, 6 at 4:4:4). All limits are checked on
// the header, before any of it is allocated. An interleaved frame is never held.
//
// Errors: kInputImage for what is not a readable JPEG or is over a limit, kTruncatedJpeg (with the
// scanline) for a file that ends or breaks early, kMemoryBudget, and kIo with errno. What libjpeg
// only warns of is an error as well, unless the caller asks to salvage. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "jpeg/jpeg_info.h"
#include "jpeg/limits.h"
#include "jpeg/metadata.h"

namespace imagine_deblur {

struct ReaderOptions {
  JpegLimits limits;
  bool salvage = false;  // deliver what a damaged file still holds instead of ending in an error
};

// What was wrong with a file that was salvaged. Rows from `first_bad_scanline` on are incomplete:
// blocks without data come out flat. In a progressive file that row is where the broken scan
// stopped; rows above it lack the scans after that one, and `message` names it.
struct SalvageReport {
  bool salvaged = false;
  std::int64_t first_bad_scanline = -1;
  std::string message;
};

class ScanlineReader {
 public:
  // The header is read at once; the three differ in what is borrowed. `name` is used in messages.
  static ScanlineReader from_memory(const std::uint8_t* data, std::size_t size,
                                    const ReaderOptions& options = {},
                                    const std::string& name = {});  // borrows the bytes
  static ScanlineReader from_descriptor(int descriptor, const ReaderOptions& options = {},
                                        const std::string& name = {});  // borrows the descriptor
  static ScanlineReader from_path(const std::string& path, const ReaderOptions& options = {});

  ScanlineReader(ScanlineReader&&) noexcept;
  ScanlineReader& operator=(ScanlineReader&&) noexcept;
  ~ScanlineReader();

  const JpegInfo& info() const noexcept;
  const Metadata& metadata() const noexcept;

  // Reads the next `count` rows, fewer at the end of the frame, none after it; returns how many.
  // `interleaved` receives info().bands bytes a pixel, rows `row_stride` bytes apart. After an
  // error the rows of that call are undefined and every further call ends in the same error. The
  // call that delivers the last row also reads up to the end-of-image marker.
  int read_rows(int count, std::uint8_t* interleaved, std::ptrdiff_t row_stride);

  int rows_read() const noexcept;

  // Final once the last row is read.
  const SalvageReport& salvaged() const noexcept;

 private:
  struct Impl;
  explicit ScanlineReader(std::unique_ptr<Impl> impl) noexcept;

  std::unique_ptr<Impl> impl_;
};

}  // namespace imagine_deblur
