// libFuzzer target for the JPEG path: any bytes end in a picture or an Error, never in anything
// else, and the ways of reading the same bytes agree.
//
// Checked on every input: memory and file give the same rows, metadata and kind of error; what the
// strict reader accepts, the salvaging reader delivers unchanged and calls sound; metadata that was
// read is written and read again byte for byte.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "base/error.h"
#include "jpeg/codec.h"

namespace {

using namespace imagine_deblur;

struct Outcome {
  bool delivered = false;
  ErrorKind kind = ErrorKind::kInputImage;
  std::int64_t scanline = -1;
  bool salvaged = false;
  std::vector<std::uint8_t> samples;
  Metadata metadata;
};

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

template <typename Open>
Outcome outcome_of(Open open, int rows_at_a_time) {
  Outcome outcome;
  try {
    ScanlineReader reader = open();
    outcome.metadata = reader.metadata();
    const std::size_t row_bytes = static_cast<std::size_t>(reader.info().columns) *
                                  static_cast<std::size_t>(reader.info().bands);
    outcome.samples.resize(row_bytes * static_cast<std::size_t>(reader.info().rows));
    std::size_t row = 0;
    while (const int got =
               reader.read_rows(rows_at_a_time, outcome.samples.data() + row * row_bytes,
                                static_cast<std::ptrdiff_t>(row_bytes))) {
      row += static_cast<std::size_t>(got);
    }
    require(row == static_cast<std::size_t>(reader.info().rows));
    outcome.delivered = true;
    outcome.salvaged = reader.salvaged().salvaged;
    outcome.scanline = reader.salvaged().first_bad_scanline;
    require(!outcome.salvaged || (outcome.scanline >= 0 && outcome.scanline < reader.info().rows));
  } catch (const Error& error) {
    outcome.kind = error.kind();
    outcome.scanline = error.context().scanline;
    outcome.samples.clear();
    require(error.kind() == ErrorKind::kInputImage || error.kind() == ErrorKind::kTruncatedJpeg ||
            error.kind() == ErrorKind::kMemoryBudget);
    require(error.kind() != ErrorKind::kTruncatedJpeg || error.context().scanline >= 0);
  }
  return outcome;
}

void require_same(const Outcome& a, const Outcome& b) {
  require(a.delivered == b.delivered && a.salvaged == b.salvaged && a.scanline == b.scanline);
  require(a.delivered || a.kind == b.kind);
  require(a.samples == b.samples && a.metadata == b.metadata);
}

void require_metadata_survives(const Metadata& metadata) {
  if (metadata.segments.empty()) {
    return;
  }
  const std::uint8_t pixel = 90;
  WriterOptions options;
  options.metadata = metadata;
  const std::vector<std::uint8_t> file = encode_jpeg(&pixel, 1, 1, 1, 1, options);
  require(decode_jpeg(file.data(), file.size()).metadata == metadata);
}

int file_holding(const std::uint8_t* data, std::size_t size) {
  static const int descriptor = ::memfd_create("fuzz", MFD_CLOEXEC);
  require(descriptor >= 0 && ::ftruncate(descriptor, 0) == 0);
  require(::pwrite(descriptor, data, size, 0) == static_cast<ssize_t>(size));
  require(::lseek(descriptor, 0, SEEK_SET) == 0);
  return descriptor;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ReaderOptions options;
  options.limits.max_pixels = 1 << 16;
  options.limits.max_memory_bytes = 2 << 20;
  options.limits.max_metadata_bytes = 1 << 18;
  options.limits.max_scans = 40;
  Outcome strict;
  for (const bool salvage : {false, true}) {
    options.salvage = salvage;
    const Outcome memory =
        outcome_of([&] { return ScanlineReader::from_memory(data, size, options); }, 16);
    const int descriptor = file_holding(data, size);
    require_same(
        memory,
        outcome_of([&] { return ScanlineReader::from_descriptor(descriptor, options); }, 1));
    if (!salvage) {
      require(!memory.salvaged);
      require_metadata_survives(memory.metadata);
      strict = memory;
    } else if (strict.delivered) {
      require_same(strict, memory);
    }
  }
  return 0;
}
