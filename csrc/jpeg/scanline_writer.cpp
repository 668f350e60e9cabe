#include "jpeg/scanline_writer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "base/error.h"
#include "jpeg/byte_sink.h"
#include "jpeg/guard.h"
#include "jpeg/memory_use.h"

#include <jerror.h>

namespace imagine_deblur {
namespace {

using jpeg_internal::ByteSink;
using jpeg_internal::Failure;
using jpeg_internal::Guard;
using jpeg_internal::run_guarded;

constexpr int kMaxDimension = 65'500;  // what decoders read

[[noreturn]] void throw_option(const std::string& field, const std::string& value,
                               const std::string& allowed) {
  ErrorContext context;
  context.field = field;
  throw Error(ErrorKind::kOptions, field + " is " + value + "; allowed: " + allowed, context);
}

void check_range(const std::string& field, int value, int least, int most) {
  if (value < least || value > most) {
    throw_option(field, std::to_string(value),
                 std::to_string(least) + " to " + std::to_string(most));
  }
}

void check_tables(const std::vector<QuantisationTable>& tables) {
  if (tables.size() > 2) {
    throw_option("quantisation tables", std::to_string(tables.size()), "luma's and chroma's");
  }
  for (const QuantisationTable& table : tables) {
    for (const std::uint16_t step : table) check_range("quantisation step", step, 1, 255);
  }
}

// Colour has its differences in table 1; a table alone is for both.
void set_tables(jpeg_compress_struct& encoder, const std::vector<QuantisationTable>& tables) {
  if (tables.empty()) return;
  constexpr int kWithoutScaling = 100;  // per cent
  for (int slot = 0; slot < 2; ++slot) {
    const QuantisationTable& from = slot == 0 ? tables.front() : tables.back();
    std::array<unsigned int, 64> steps{};
    std::copy(from.begin(), from.end(), steps.begin());
    jpeg_add_quant_table(&encoder, slot, steps.data(), kWithoutScaling, TRUE);
  }
}

void check_metadata(const Metadata& metadata) {
  check_range("density unit", metadata.density.unit, 0, 2);
  check_range("density x", metadata.density.x, 0, 65'535);
  check_range("density y", metadata.density.y, 0, 65'535);
  for (const MetadataSegment& segment : metadata.segments) {
    const bool application = segment.marker >= kMarkerApp1 && segment.marker <= kMarkerApp15 &&
                             segment.marker != kMarkerApp14;
    if (!application && segment.marker != kMarkerComment) {
      throw_option("metadata marker", std::to_string(segment.marker),
                   "APP1 to APP13, APP15 and COM");
    }
    if (segment.payload.size() > kMaxSegmentBytes) {
      throw_option("metadata segment length", std::to_string(segment.payload.size()),
                   "at most " + std::to_string(kMaxSegmentBytes) + " bytes");
    }
  }
}

jpeg_internal::Sampling luma_sampling(Subsampling subsampling, int bands) {
  if (bands == 1 || subsampling == Subsampling::k444) {
    return {1, 1};
  }
  return {2, subsampling == Subsampling::k420 ? 2 : 1};
}

}  // namespace

struct ScanlineWriter::Impl {
  Impl(int descriptor, const WriterOptions& given, std::string called)
      : options(given), path(std::move(called)), sink(descriptor) {}
  Impl(std::vector<std::uint8_t>& to, const WriterOptions& given)
      : options(given), sink(to, given.max_output_bytes) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { jpeg_destroy_compress(&encoder); }

  void open(int image_rows, int image_columns, int image_bands);
  void start();
  [[noreturn]] void throw_failure();

  // Steps: run guarded, hold nothing with a destructor.
  static void create_step(void* self);
  static void start_step(void* self);
  static void finish_step(void* self);

  WriterOptions options;
  std::string path;
  ByteSink sink;
  Guard guard;
  jpeg_compress_struct encoder{};
  int rows = 0;
  int columns = 0;
  int bands = 0;
  int rows_written = 0;
  std::int64_t encoder_bytes = 0;
  bool started = false;
  bool finished = false;
  std::optional<Error> error;  // the one that ended this writer
};

namespace {

struct RowsRequest {
  jpeg_compress_struct* encoder;
  const std::uint8_t* from;
  std::ptrdiff_t row_stride;
  int count;
};

void rows_step(void* request) {
  const RowsRequest& my = *static_cast<const RowsRequest*>(request);
  for (int r = 0; r < my.count; ++r) {
    // The library does not write through the pointer; its interface predates const.
    JSAMPROW row = const_cast<JSAMPROW>(my.from + r * my.row_stride);
    jpeg_write_scanlines(my.encoder, &row, 1);
  }
}

}  // namespace

void ScanlineWriter::Impl::create_step(void* self) {
  Impl& my = *static_cast<Impl*>(self);
  jpeg_CreateCompress(&my.encoder, JPEG_LIB_VERSION, sizeof(my.encoder));
}

void ScanlineWriter::Impl::start_step(void* self) {
  Impl& my = *static_cast<Impl*>(self);
  jpeg_compress_struct& e = my.encoder;
  e.image_width = static_cast<JDIMENSION>(my.columns);
  e.image_height = static_cast<JDIMENSION>(my.rows);
  e.input_components = my.bands;
  e.in_color_space = my.bands == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&e);
  jpeg_set_quality(&e, my.options.quality, TRUE);
  set_tables(e, my.options.quantisation);
  const jpeg_internal::Sampling luma = luma_sampling(my.options.subsampling, my.bands);
  e.comp_info[0].h_samp_factor = luma.horizontal;
  e.comp_info[0].v_samp_factor = luma.vertical;
  e.dct_method = JDCT_ISLOW;
  e.optimize_coding = my.options.optimise ? TRUE : FALSE;
  e.restart_in_rows = my.options.restart_rows;
  e.density_unit = static_cast<UINT8>(my.options.metadata.density.unit);
  e.X_density = static_cast<UINT16>(my.options.metadata.density.x);
  e.Y_density = static_cast<UINT16>(my.options.metadata.density.y);
  if (my.options.progressive) {
    jpeg_simple_progression(&e);
  }
  jpeg_start_compress(&e, TRUE);
  for (const MetadataSegment& segment : my.options.metadata.segments) {
    jpeg_write_marker(&e, segment.marker, reinterpret_cast<const JOCTET*>(segment.payload.data()),
                      static_cast<unsigned>(segment.payload.size()));
  }
}

void ScanlineWriter::Impl::finish_step(void* self) {
  Impl& my = *static_cast<Impl*>(self);
  jpeg_finish_compress(&my.encoder);
}

void ScanlineWriter::Impl::throw_failure() {
  ErrorContext context;
  context.path = path;
  context.scanline = rows_written;
  const std::string name = path.empty() ? "JPEG output" : path;
  const std::string words = guard.message;
  ErrorKind kind = ErrorKind::kIo;
  std::string text;
  if (guard.failure == Failure::kSystem) {
    context.code = guard.code;
    text = name + ": cannot write: " + std::strerror(guard.code);
  } else if (guard.failure == Failure::kOutput || guard.failure == Failure::kNoMemory) {
    kind = ErrorKind::kMemoryBudget;
    context.wanted = guard.wanted;
    context.allowed = guard.allowed;
    text = name + ": " + words + ": " + std::to_string(guard.wanted) + " bytes wanted, " +
           std::to_string(guard.allowed) + " allowed; lower the quality or raise the limit";
  } else if (guard.code == JERR_OUT_OF_MEMORY || guard.code == JERR_NO_BACKING_STORE) {
    kind = ErrorKind::kMemoryBudget;
    context.wanted = encoder_bytes;
    context.allowed = options.max_memory_bytes;
    text = name + ": libjpeg needs more memory than allowed; write a baseline file";
  } else {
    kind = ErrorKind::kOptions;
    text = name + ": libjpeg refused to encode: " + words;
  }
  error = Error(kind, text, context);
  throw *error;
}

void ScanlineWriter::Impl::open(int image_rows, int image_columns, int image_bands) {
  rows = image_rows;
  columns = image_columns;
  bands = image_bands;
  check_range("rows", rows, 1, kMaxDimension);
  check_range("columns", columns, 1, kMaxDimension);
  if (bands != 1 && bands != 3) {
    throw_option("bands", std::to_string(bands), "1 (grey) or 3 (RGB)");
  }
  check_range("quality", options.quality, 1, 100);
  check_tables(options.quantisation);
  check_range("restart_rows", options.restart_rows, 0, 65'535);
  check_metadata(options.metadata);
  const bool whole_frame = options.progressive || options.optimise;
  const jpeg_internal::Sampling sampling[3] = {luma_sampling(options.subsampling, bands), {}, {}};
  encoder_bytes = jpeg_internal::memory_use(rows, columns, sampling, bands, whole_frame).total();
  if (encoder_bytes > options.max_memory_bytes) {
    ErrorContext context;
    context.path = path;
    context.wanted = encoder_bytes;
    context.allowed = options.max_memory_bytes;
    throw Error(ErrorKind::kMemoryBudget,
                std::string("encoding a ") +
                    (options.progressive ? "progressive "
                     : whole_frame       ? "optimised "
                                         : "") +
                    "JPEG of " + std::to_string(columns) + "x" + std::to_string(rows) +
                    " pixels takes " + std::to_string(encoder_bytes) + " bytes in libjpeg, " +
                    std::to_string(options.max_memory_bytes) +
                    " are allowed; raise max_memory_bytes" +
                    (whole_frame ? " or write a plain baseline file" : ""),
                context);
  }
  jpeg_internal::set_up(guard, this);
  encoder.err = &guard;
  if (!run_guarded(guard, create_step, this)) {
    throw_failure();
  }
  encoder.mem->max_memory_to_use =
      static_cast<long>(std::max<std::int64_t>(options.max_memory_bytes, 1));
  sink.attach(encoder);
}

void ScanlineWriter::Impl::start() {
  if (!run_guarded(guard, start_step, this)) {
    throw_failure();
  }
  started = true;
}

ScanlineWriter::ScanlineWriter(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
ScanlineWriter::ScanlineWriter(ScanlineWriter&&) noexcept = default;
ScanlineWriter& ScanlineWriter::operator=(ScanlineWriter&&) noexcept = default;
ScanlineWriter::~ScanlineWriter() = default;

ScanlineWriter ScanlineWriter::to_descriptor(int descriptor, int rows, int columns, int bands,
                                             const WriterOptions& options,
                                             const std::string& name) {
  auto impl = std::make_unique<Impl>(descriptor, options, name);
  impl->open(rows, columns, bands);
  return ScanlineWriter(std::move(impl));
}

ScanlineWriter ScanlineWriter::to_memory(std::vector<std::uint8_t>& to, int rows, int columns,
                                         int bands, const WriterOptions& options) {
  auto impl = std::make_unique<Impl>(to, options);
  impl->open(rows, columns, bands);
  return ScanlineWriter(std::move(impl));
}

void ScanlineWriter::write_rows(int count, const std::uint8_t* interleaved,
                                std::ptrdiff_t row_stride) {
  Impl& my = *impl_;
  if (my.error) {
    throw *my.error;
  }
  if (count < 0 || count > my.rows - my.rows_written || my.finished) {
    throw_option("rows to write", std::to_string(count),
                 "at most the " + std::to_string(my.rows - my.rows_written) + " left");
  }
  if (!my.started) {
    my.start();
  }
  RowsRequest request{&my.encoder, interleaved, row_stride, count};
  if (!run_guarded(my.guard, rows_step, &request)) {
    my.throw_failure();
  }
  my.rows_written += count;
}

void ScanlineWriter::finish() {
  Impl& my = *impl_;
  if (my.error) {
    throw *my.error;
  }
  if (my.rows_written != my.rows || my.finished) {
    throw_option("rows written before finish", std::to_string(my.rows_written),
                 std::to_string(my.rows) + ", and finish once");
  }
  if (!run_guarded(my.guard, Impl::finish_step, &my)) {
    my.throw_failure();
  }
  my.finished = true;
}

int ScanlineWriter::rows_written() const noexcept { return impl_->rows_written; }
std::int64_t ScanlineWriter::bytes_written() const noexcept { return impl_->sink.written(); }
std::int64_t ScanlineWriter::encoder_bytes() const noexcept { return impl_->encoder_bytes; }

}  // namespace imagine_deblur
