// The JPEG writer against libjpeg used directly, and what it refuses.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <utility>

#include "base/error.h"
#include "check.h"
#include "jpeg/codec.h"
#include "jpeg_fixtures.h"
#include "jpeg_helpers.h"

using namespace imagine_deblur;
using namespace jpeg_helpers;
using jpeg_fixtures::Recipe;

namespace {

void the_writer_writes_what_libjpeg_writes() {
  for (const auto& [rows, columns] : {std::pair{1, 1}, {3, 8}, {17, 33}, {65, 15}, {200, 301}}) {
    for (const int bands : {1, 3}) {
      for (const Subsampling subsampling :
           {Subsampling::k444, Subsampling::k422, Subsampling::k420}) {
        for (int variant = 0; variant < 8; ++variant) {
          Recipe recipe;
          recipe.rows = rows;
          recipe.columns = columns;
          recipe.stored = bands == 1 ? JCS_GRAYSCALE : JCS_YCbCr;
          recipe.horizontal = bands == 1 || subsampling == Subsampling::k444 ? 1 : 2;
          recipe.vertical = bands == 3 && subsampling == Subsampling::k420 ? 2 : 1;
          recipe.quality = 40 + 7 * variant;
          recipe.progressive = (variant & 1) != 0;
          recipe.optimise = (variant & 2) != 0;
          recipe.restart_rows = (variant & 4) != 0 ? 2 : 0;
          WriterOptions options;
          options.quality = recipe.quality;
          options.subsampling = subsampling;
          options.progressive = recipe.progressive;
          options.optimise = recipe.optimise;
          options.restart_rows = recipe.restart_rows;
          const Bytes samples = jpeg_fixtures::scene(rows, columns, bands);
          const Bytes expected = jpeg_fixtures::encode(recipe, samples);
          const std::ptrdiff_t row_bytes = static_cast<std::ptrdiff_t>(columns) * bands;
          CHECK(encode_jpeg(samples.data(), rows, columns, bands, row_bytes, options) == expected);

          // In pieces, from rows that lie apart, to a file.
          const TemporaryFile target({});
          const int descriptor = ::open(target.path().c_str(), O_RDWR | O_CLOEXEC);
          Bytes apart(static_cast<std::size_t>(rows) * (static_cast<std::size_t>(row_bytes) + 5));
          for (int r = 0; r < rows; ++r) {
            std::copy_n(samples.data() + r * row_bytes, row_bytes,
                        apart.data() + r * (row_bytes + 5));
          }
          ScanlineWriter writer =
              ScanlineWriter::to_descriptor(descriptor, rows, columns, bands, options);
          for (int r = 0; r < rows; r += 7) {
            writer.write_rows(std::min(7, rows - r), apart.data() + r * (row_bytes + 5),
                              row_bytes + 5);
          }
          writer.finish();
          CHECK(writer.bytes_written() == static_cast<std::int64_t>(expected.size()));
          Bytes written(expected.size() + 1);
          CHECK(::pread(descriptor, written.data(), written.size(), 0) ==
                static_cast<ssize_t>(expected.size()));
          written.pop_back();
          CHECK(written == expected);
          ::close(descriptor);
        }
      }
    }
  }
}

void the_writer_refuses_what_it_cannot_do() {
  Bytes out;
  const Bytes row(300, 90);
  const auto open = [&](int rows, int columns, int bands, const WriterOptions& options) {
    return ScanlineWriter::to_memory(out, rows, columns, bands, options);
  };
  WriterOptions options;
  CHECK_THROWS(open(0, 1, 1, options), ErrorKind::kOptions);
  CHECK_THROWS(open(1, 65'501, 1, options), ErrorKind::kOptions);
  CHECK_THROWS(open(1, 1, 4, options), ErrorKind::kOptions);
  options.quality = 0;
  CHECK_THROWS(open(1, 1, 1, options), ErrorKind::kOptions);
  options.quality = 101;
  CHECK_THROWS(open(1, 1, 1, options), ErrorKind::kOptions);
  options = {};
  options.restart_rows = -1;
  CHECK_THROWS(open(1, 1, 1, options), ErrorKind::kOptions);
  options = {};
  options.metadata.segments.push_back({kMarkerApp14, {}});
  CHECK_THROWS(open(1, 1, 1, options), ErrorKind::kOptions);
  options = {};
  options.progressive = true;
  CHECK_THROWS(open(10'000, 10'000, 3, options), ErrorKind::kMemoryBudget);
  options = {};
  options.max_output_bytes = 300;
  ScanlineWriter limited = open(2, 100, 3, options);
  limited.write_rows(2, row.data(), 0);
  CHECK_THROWS(limited.finish(), ErrorKind::kMemoryBudget);
  CHECK_THROWS(limited.finish(), ErrorKind::kMemoryBudget);
  options = {};
  ScanlineWriter short_of_rows = open(2, 100, 3, options);
  short_of_rows.write_rows(1, row.data(), 300);
  CHECK_THROWS(short_of_rows.finish(), ErrorKind::kOptions);
  CHECK_THROWS(short_of_rows.write_rows(2, row.data(), 0), ErrorKind::kOptions);
}

void a_full_disk_is_an_error_with_its_number() {
  const int before = open_descriptors();
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  if (full < 0) {
    std::fprintf(stderr, "no /dev/full here: not checked\n");
    return;
  }
  const Bytes samples = jpeg_fixtures::scene(400, 400, 3);
  WriterOptions options;
  options.quality = 98;
  int errors = 0;
  {
    ScanlineWriter writer = ScanlineWriter::to_descriptor(full, 400, 400, 3, options, "target");
    try {
      writer.write_rows(400, samples.data(), 1200);
      writer.finish();
    } catch (const Error& error) {
      ++errors;
      CHECK(error.kind() == ErrorKind::kIo && error.context().code == ENOSPC);
      CHECK(error.context().path == "target");
    }
    CHECK_THROWS(writer.write_rows(1, samples.data(), 1200), ErrorKind::kIo);
    CHECK_THROWS(writer.finish(), ErrorKind::kIo);
  }
  CHECK(errors == 1);
  ::close(full);
  CHECK(open_descriptors() == before);
}

void an_abandoned_file_has_no_end_marker() {
  const Bytes samples = jpeg_fixtures::scene(400, 400, 3);
  Bytes out;
  {
    ScanlineWriter writer = ScanlineWriter::to_memory(out, 401, 400, 3, {});
    writer.write_rows(400, samples.data(), 1200);
  }
  CHECK(out.size() >= 2 && out.size() % (64U << 10) == 0);  // whole buffers, nothing flushed
  CHECK(!(out[out.size() - 2] == 0xFF && out[out.size() - 1] == 0xD9));
  CHECK(error_of(out).kind() == ErrorKind::kTruncatedJpeg);
}

}  // namespace

int main() {
  const int before = open_descriptors();
  the_writer_writes_what_libjpeg_writes();
  the_writer_refuses_what_it_cannot_do();
  a_full_disk_is_an_error_with_its_number();
  an_abandoned_file_has_no_end_marker();
  CHECK(open_descriptors() == before);
  return 0;
}
