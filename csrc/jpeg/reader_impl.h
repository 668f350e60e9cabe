// What a ScanlineReader is inside. Its parts: scanline_reader.cpp reads rows, reader_header.cpp
// opens a file and judges its header, reader_errors.cpp puts failures into words.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "jpeg/byte_source.h"
#include "jpeg/guard.h"
#include "jpeg/scanline_reader.h"

#include <jerror.h>

namespace imagine_deblur {
namespace jpeg_internal {

class Descriptor {
 public:
  explicit Descriptor(int value) noexcept : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) {
      ::close(value_);
    }
  }
  int get() const noexcept { return value_; }

 private:
  int value_;
};

}  // namespace jpeg_internal

struct ScanlineReader::Impl {
  enum class Phase { kHeader, kRows, kFilling, kDone };

  Impl(const std::uint8_t* data, std::size_t size, const ReaderOptions& given, std::string called)
      : options(given), path(std::move(called)), source(data, size) {}
  Impl(int descriptor, bool close_it, const ReaderOptions& given, std::string called)
      : owned(close_it ? descriptor : -1),
        options(given),
        path(std::move(called)),
        source(descriptor) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { jpeg_destroy_decompress(&decoder); }

  void open();
  void create_decoder();
  void check_header();
  void describe_header();
  void start();
  int read(int count, std::uint8_t* interleaved, std::ptrdiff_t row_stride);
  void finish();

  // Steps: run guarded, hold nothing with a destructor.
  static void create_step(void* self);
  static void header_step(void* self);
  static void start_step(void* self);
  static void rows_step(void* request);
  static void finish_step(void* self);

  // Callbacks of the library, inside a step.
  static boolean keep_segment(j_decompress_ptr decoder);
  static void on_progress(j_common_ptr object);
  static void on_end(jpeg_internal::Guard& guard);
  static void on_warning(jpeg_internal::Guard& guard, j_common_ptr object);
  std::uint8_t* new_segment(int marker, std::size_t bytes) noexcept;

  bool whole_frame() const noexcept { return info.multiple_scans; }
  std::int64_t broken_scanline() const noexcept;
  void note_damage() noexcept;
  void keep_damage();
  std::string name() const { return path.empty() ? "JPEG in memory" : path; }
  ErrorContext context() const;
  [[noreturn]] void refuse(const std::string& reason) const;
  [[noreturn]] void throw_failure();
  void throw_header_failure() const;
  std::string where() const;

  jpeg_internal::Descriptor owned{-1};  // first, so that nothing after it can leak the file
  ReaderOptions options;
  std::string path;
  jpeg_internal::ByteSource source;
  jpeg_internal::Guard guard;
  jpeg_progress_mgr progress{};
  jpeg_decompress_struct decoder{};
  Phase phase = Phase::kHeader;
  bool header_done = false;
  bool first_attempt = true;
  bool lossless = false;
  JpegInfo info;
  Metadata metadata;
  std::int64_t metadata_bytes = 0;
  std::int64_t sound_bytes = 0;  // taken when the library last reported progress
  int rows_read = 0;
  std::vector<std::uint8_t> ink_row;  // one CMYK row
  std::optional<Error> error;         // the one that ended this reader

  // Damage is noted inside steps, in plain members, and put into words later.
  bool damaged = false;
  std::int64_t damaged_scanline = -1;
  int damaged_scan = 0;
  char damage[JMSG_LENGTH_MAX] = {};
  SalvageReport report;
};

}  // namespace imagine_deblur
