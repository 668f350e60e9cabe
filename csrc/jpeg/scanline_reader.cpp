#include "jpeg/scanline_reader.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>
#include <vector>

#include "base/error.h"
#include "jpeg/colour.h"
#include "jpeg/guard.h"
#include "jpeg/reader_impl.h"

namespace imagine_deblur {
namespace {

using jpeg_internal::Failure;
using jpeg_internal::Guard;
using jpeg_internal::guard_of;
using jpeg_internal::run_guarded;

constexpr std::uint8_t kFiller = 128;          // rows that a broken file cannot give
constexpr std::int64_t kSegmentOverhead = 64;  // what keeping a segment costs beside its bytes

int open_for_reading(const std::string& path) {
  int descriptor = -1;
  do {
    descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  } while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) {
    ErrorContext context;
    context.path = path;
    context.code = errno;
    throw Error(ErrorKind::kIo, path + ": cannot open: " + std::strerror(context.code), context);
  }
  return descriptor;
}

}  // namespace

// ---------------------------------------------------------------------------- steps, callbacks

void ScanlineReader::Impl::create_step(void* self) {
  Impl& my = *static_cast<Impl*>(self);
  jpeg_CreateDecompress(&my.decoder, JPEG_LIB_VERSION, sizeof(my.decoder));
}

void ScanlineReader::Impl::header_step(void* self) {
  Impl& my = *static_cast<Impl*>(self);
  jpeg_read_header(&my.decoder, TRUE);
}

void ScanlineReader::Impl::start_step(void* self) {
  Impl& my = *static_cast<Impl*>(self);
  jpeg_start_decompress(&my.decoder);
}

namespace {

struct RowsRequest {
  jpeg_decompress_struct* decoder;
  std::uint8_t* ink_row;  // null unless the samples are CMYK
  bool inverted;
  std::uint8_t* to;
  std::ptrdiff_t row_stride;
  int count;
  int done;
};

}  // namespace

void ScanlineReader::Impl::rows_step(void* request) {
  RowsRequest& my = *static_cast<RowsRequest*>(request);
  while (my.done < my.count) {
    std::uint8_t* const row = my.to + my.done * my.row_stride;
    JSAMPROW target = my.ink_row != nullptr ? my.ink_row : row;
    if (jpeg_read_scanlines(my.decoder, &target, 1) != 1) {
      return;  // a source that never suspends always gives a row
    }
    if (my.ink_row != nullptr) {
      cmyk_row_to_rgb(my.ink_row, my.decoder->output_width, my.inverted, row);
    }
    ++my.done;
  }
}

void ScanlineReader::Impl::finish_step(void* self) {
  Impl& my = *static_cast<Impl*>(self);
  jpeg_finish_decompress(&my.decoder);
}

// The library has read the marker; its length and payload come next.
boolean ScanlineReader::Impl::keep_segment(j_decompress_ptr object) {
  Guard& guard = guard_of(object);
  Impl& my = *static_cast<Impl*>(guard.owner);
  jpeg_source_mgr& bytes = *object->src;
  std::size_t length = 0;
  for (int i = 0; i < 2; ++i) {
    if (bytes.bytes_in_buffer == 0) {
      bytes.fill_input_buffer(object);
    }
    length = (length << 8) | *bytes.next_input_byte++;
    --bytes.bytes_in_buffer;
  }
  if (length < 2) {
    jpeg_internal::fail(guard, Failure::kLibrary, JERR_BAD_LENGTH, "Bogus marker length");
  }
  length -= 2;
  if (my.header_done || !my.first_attempt) {  // between scans, or kept before
    bytes.skip_input_data(object, static_cast<long>(length));
    return TRUE;
  }
  my.metadata_bytes += static_cast<std::int64_t>(length) + kSegmentOverhead;
  if (my.metadata_bytes > my.options.limits.max_metadata_bytes) {
    guard.wanted = my.metadata_bytes;
    guard.allowed = my.options.limits.max_metadata_bytes;
    jpeg_internal::fail(guard, Failure::kMetadata, 0, "too much metadata");
  }
  std::uint8_t* to = my.new_segment(object->unread_marker, length);
  if (to == nullptr) {
    guard.wanted = static_cast<std::int64_t>(length);
    jpeg_internal::fail(guard, Failure::kNoMemory, 0, "no memory for metadata");
  }
  while (length > 0) {
    if (bytes.bytes_in_buffer == 0) {
      bytes.fill_input_buffer(object);
    }
    const std::size_t part = std::min(length, bytes.bytes_in_buffer);
    std::memcpy(to, bytes.next_input_byte, part);
    to += part;
    bytes.next_input_byte += part;
    bytes.bytes_in_buffer -= part;
    length -= part;
  }
  return TRUE;
}

// Never null for an empty payload: then it points at a byte nobody writes.
std::uint8_t* ScanlineReader::Impl::new_segment(int marker, std::size_t bytes) noexcept {
  static std::uint8_t nothing = 0;
  try {
    metadata.segments.push_back({marker, std::vector<std::byte>(bytes)});
  } catch (const std::exception&) {
    return nullptr;
  }
  std::byte* const data = metadata.segments.back().payload.data();
  return bytes == 0 ? &nothing : reinterpret_cast<std::uint8_t*>(data);
}

void ScanlineReader::Impl::on_progress(j_common_ptr object) {
  Guard& guard = guard_of(object);
  Impl& my = *static_cast<Impl*>(guard.owner);
  // A marker that the entropy decoder ran into is taken already but not acted upon.
  my.sound_bytes = my.source.taken() - (my.decoder.unread_marker != 0 ? 2 : 0);
  if (my.decoder.input_scan_number > my.options.limits.max_scans) {
    jpeg_internal::fail(guard, Failure::kScans, 0, "too many scans");
  }
}

void ScanlineReader::Impl::on_end(Guard& guard) {
  Impl& my = *static_cast<Impl*>(guard.owner);
  if (!my.header_done || !my.options.salvage) {
    jpeg_internal::fail(guard, Failure::kEndOfFile, 0, "the file ends early");
  }
  if (!my.damaged) {
    std::strncpy(guard.message, "the file ends early", sizeof(guard.message) - 1);
    my.note_damage();
  }
}

// Warnings of the header say nothing about pixels; two later ones neither.
void ScanlineReader::Impl::on_warning(Guard& guard, j_common_ptr object) {
  Impl& my = *static_cast<Impl*>(guard.owner);
  const int code = object->err->msg_code;
  if (!my.header_done || my.damaged || code == JWRN_JFIF_MAJOR || code == JWRN_ADOBE_XFORM) {
    return;
  }
  keep_library_message(guard, object);
  if (!my.options.salvage) {
    jpeg_internal::fail(guard, Failure::kWarning, code, nullptr);
  }
  my.note_damage();
}

// The first scanline of the row of blocks that is being decoded.
std::int64_t ScanlineReader::Impl::broken_scanline() const noexcept {
  if (!header_done) {
    return 0;
  }
  const bool between_scans = decoder.input_iMCU_row >= decoder.total_iMCU_rows;
  if (between_scans && whole_frame()) {
    return 0;  // the next scan is missing from its first row on
  }
  const std::int64_t row = static_cast<std::int64_t>(decoder.input_iMCU_row) *
                           decoder.max_v_samp_factor * (lossless ? 1 : DCTSIZE);
  // Not decoder.image_height: a second frame header overwrites it before it is refused.
  return std::min<std::int64_t>(row, info.rows - 1);
}

void ScanlineReader::Impl::note_damage() noexcept {
  if (damaged) {
    return;
  }
  damaged = true;
  damaged_scanline = broken_scanline();
  damaged_scan = decoder.input_scan_number;
  std::memcpy(damage, guard.message, sizeof(damage));
}

// ------------------------------------------------------------------------------------- reading

// A multi-scan file is decoded to coefficients here. When one of its scans is broken beyond what
// libjpeg can step over, salvage starts again with an input that ends where all was well.
void ScanlineReader::Impl::start() {
  for (;;) {
    decoder.out_color_space = info.bands == 1        ? JCS_GRAYSCALE
                              : info.components == 4 ? JCS_CMYK
                                                     : JCS_RGB;
    if (run_guarded(guard, start_step, this)) {
      break;
    }
    const bool retry = options.salvage && first_attempt && whole_frame() &&
                       guard.failure == Failure::kLibrary && sound_bytes > 0 &&
                       guard.code != JERR_OUT_OF_MEMORY && guard.code != JERR_NO_BACKING_STORE;
    if (!retry) {
      throw_failure();
    }
    note_damage();
    if (!source.rewind(sound_bytes)) {
      throw_failure();
    }
    first_attempt = false;
    header_done = false;
    create_decoder();
    if (!run_guarded(guard, header_step, this)) {
      throw_failure();
    }
    header_done = true;
  }
  if (info.components == 4) {
    ink_row.resize(static_cast<std::size_t>(info.columns) * 4);
  }
  phase = Phase::kRows;
}

int ScanlineReader::Impl::read(int count, std::uint8_t* interleaved, std::ptrdiff_t row_stride) {
  count = std::min(count, info.rows - rows_read);
  if (count <= 0) {
    return 0;
  }
  if (phase == Phase::kHeader) {
    start();
  }
  int done = 0;
  if (phase == Phase::kRows) {
    RowsRequest request{&decoder,
                        ink_row.empty() ? nullptr : ink_row.data(),
                        decoder.saw_Adobe_marker != FALSE,
                        interleaved,
                        row_stride,
                        count,
                        0};
    const bool sound = run_guarded(guard, rows_step, &request);
    done = request.done;
    rows_read += done;
    if (!sound) {
      if (!options.salvage || guard.failure != Failure::kLibrary) {
        throw_failure();
      }
      note_damage();
      phase = Phase::kFilling;
    } else if (rows_read == info.rows) {
      finish();
    }
  }
  if (phase == Phase::kFilling) {
    const std::size_t row_bytes =
        static_cast<std::size_t>(info.columns) * static_cast<std::size_t>(info.bands);
    for (; done < count; ++done, ++rows_read) {
      std::memset(interleaved + done * row_stride, kFiller, row_bytes);
    }
    phase = rows_read == info.rows ? Phase::kDone : Phase::kFilling;
  }
  keep_damage();
  return count;
}

void ScanlineReader::Impl::finish() {
  phase = Phase::kDone;
  if (!run_guarded(guard, finish_step, this)) {
    if (!options.salvage || guard.failure == Failure::kSystem) {
      throw_failure();
    }
    note_damage();
  }
}

void ScanlineReader::Impl::keep_damage() {
  if (!damaged || report.salvaged) {
    return;
  }
  report.salvaged = true;
  report.first_bad_scanline = damaged_scanline;
  report.message = std::string(damage) + " at scanline " + std::to_string(damaged_scanline) +
                   " of " + std::to_string(info.rows);
  if (whole_frame()) {
    report.message += " in scan " + std::to_string(damaged_scan);
  }
}

// ------------------------------------------------------------------------------------- the class

ScanlineReader::ScanlineReader(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
ScanlineReader::ScanlineReader(ScanlineReader&&) noexcept = default;
ScanlineReader& ScanlineReader::operator=(ScanlineReader&&) noexcept = default;
ScanlineReader::~ScanlineReader() = default;

ScanlineReader ScanlineReader::from_memory(const std::uint8_t* data, std::size_t size,
                                           const ReaderOptions& options, const std::string& name) {
  auto impl = std::make_unique<Impl>(data, size, options, name);
  impl->open();
  return ScanlineReader(std::move(impl));
}

ScanlineReader ScanlineReader::from_descriptor(int descriptor, const ReaderOptions& options,
                                               const std::string& name) {
  auto impl = std::make_unique<Impl>(descriptor, false, options, name);
  impl->open();
  return ScanlineReader(std::move(impl));
}

ScanlineReader ScanlineReader::from_path(const std::string& path, const ReaderOptions& options) {
  auto impl = std::make_unique<Impl>(open_for_reading(path), true, options, path);
  impl->open();
  return ScanlineReader(std::move(impl));
}

const JpegInfo& ScanlineReader::info() const noexcept { return impl_->info; }
const Metadata& ScanlineReader::metadata() const noexcept { return impl_->metadata; }
int ScanlineReader::rows_read() const noexcept { return impl_->rows_read; }
const SalvageReport& ScanlineReader::salvaged() const noexcept { return impl_->report; }

int ScanlineReader::read_rows(int count, std::uint8_t* interleaved, std::ptrdiff_t row_stride) {
  if (impl_->error) {
    throw *impl_->error;
  }
  try {
    return impl_->read(count, interleaved, row_stride);
  } catch (const Error& error) {
    impl_->error = error;
    throw;
  }
}

}  // namespace imagine_deblur
