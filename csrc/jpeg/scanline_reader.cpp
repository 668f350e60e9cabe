#include "jpeg/scanline_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "jpeg/byte_source.h"
#include "jpeg/colour.h"
#include "jpeg/guard.h"
#include "jpeg/memory_use.h"
#include "jpeg/quality.h"
#include "jpeg/signature.h"

#include <jerror.h>

namespace imagine_deblur {
namespace {

using jpeg_internal::ByteSource;
using jpeg_internal::Failure;
using jpeg_internal::Guard;
using jpeg_internal::guard_of;
using jpeg_internal::run_guarded;

constexpr std::uint8_t kFiller = 128;              // rows that a broken file cannot give
constexpr std::int64_t kSalvagedPart = 16;         // of the fewest bytes a frame takes: one in 16
constexpr std::int64_t kSegmentOverhead = 64;      // what keeping a segment costs beside its bytes

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

std::string subsampling_name(const jpeg_decompress_struct& decoder) {
  const jpeg_component_info* c = decoder.comp_info;
  if (decoder.num_components == 1) {
    return "4:0:0";
  }
  const auto is = [&](int component, int horizontal, int vertical) {
    return c[component].h_samp_factor * horizontal == c[0].h_samp_factor &&
           c[component].v_samp_factor * vertical == c[0].v_samp_factor;
  };
  const bool black_is_full = decoder.num_components < 4 || is(3, 1, 1);
  const struct {
    int horizontal;
    int vertical;
    const char* name;
  } known[] = {{1, 1, "4:4:4"}, {2, 1, "4:2:2"}, {2, 2, "4:2:0"},
               {1, 2, "4:4:0"}, {4, 1, "4:1:1"}, {4, 2, "4:1:0"}};
  for (const auto& k : known) {
    if (black_is_full && is(1, k.horizontal, k.vertical) && is(2, k.horizontal, k.vertical)) {
      return k.name;
    }
  }
  std::string factors;
  for (int i = 0; i < decoder.num_components; ++i) {
    factors += i > 0 ? "," : "";
    factors += std::to_string(c[i].h_samp_factor);
    factors += "x";
    factors += std::to_string(c[i].v_samp_factor);
  }
  return factors;
}

std::vector<QuantisationTable> quantisation_tables(const jpeg_decompress_struct& decoder) {
  std::vector<QuantisationTable> tables(static_cast<std::size_t>(decoder.num_components));
  for (std::size_t i = 0; i < tables.size(); ++i) {
    const int number = decoder.comp_info[i].quant_tbl_no;
    if (number < 0 || number >= NUM_QUANT_TBLS || decoder.quant_tbl_ptrs[number] == nullptr) {
      continue;  // all zero: the table comes with a later scan, or not at all
    }
    std::copy_n(decoder.quant_tbl_ptrs[number]->quantval, DCTSIZE2, tables[i].begin());
  }
  return tables;
}

// The colour space at bytes 16..19 of the profile's header, which lies in the first chunk.
bool is_cmyk_profile(const Metadata& metadata) {
  const std::vector<std::byte> profile = icc_profile(metadata);
  return profile.size() >= 20 && std::memcmp(profile.data() + 16, "CMYK", 4) == 0;
}

}  // namespace

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
  static void on_end(Guard& guard);
  static void on_warning(Guard& guard, j_common_ptr object);
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

  Descriptor owned{-1};  // first, so that nothing after it can leak the file
  ReaderOptions options;
  std::string path;
  ByteSource source;
  Guard guard;
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

// ------------------------------------------------------------------------------------- errors

ErrorContext ScanlineReader::Impl::context() const {
  ErrorContext c;
  c.path = path;
  return c;
}

void ScanlineReader::Impl::refuse(const std::string& reason) const {
  throw Error(ErrorKind::kInputImage, name() + ": " + reason, context());
}

std::string ScanlineReader::Impl::where() const {
  std::string text = "at scanline " + std::to_string(broken_scanline()) + " of " +
                     std::to_string(info.rows);
  if (whole_frame()) {
    text += " in scan " + std::to_string(decoder.input_scan_number);
  }
  return text;
}

void ScanlineReader::Impl::throw_failure() {
  ErrorContext c = context();
  c.wanted = guard.wanted;
  c.allowed = guard.allowed;
  const std::string words = guard.message;
  switch (guard.failure) {
    case Failure::kSystem:
      c.code = guard.code;
      throw Error(ErrorKind::kIo, name() + ": cannot read: " + std::strerror(guard.code), c);
    case Failure::kScans:
      refuse("has more than " + std::to_string(options.limits.max_scans) +
             " scans, as only files made to stall a decoder do; raise max_scans if it is genuine");
    case Failure::kMetadata:
      refuse("carries more than " + std::to_string(options.limits.max_metadata_bytes) +
             " bytes of metadata; raise max_metadata_bytes or remove some");
    case Failure::kNoMemory:
      throw Error(ErrorKind::kMemoryBudget, name() + ": " + words, c);
    default:
      break;
  }
  if (guard.failure == Failure::kLibrary &&
      (guard.code == JERR_OUT_OF_MEMORY || guard.code == JERR_NO_BACKING_STORE)) {
    c.wanted = info.decoder_bytes;
    c.allowed = options.limits.max_memory_bytes;
    throw Error(ErrorKind::kMemoryBudget,
                name() + ": libjpeg needs more memory than allowed to decode it; raise "
                         "max_memory_bytes or convert the file to baseline",
                c);
  }
  if (!header_done) {
    throw_header_failure();
  }
  if (guard.failure == Failure::kLibrary &&
      (guard.code == JERR_CCIR601_NOTIMPL || guard.code == JERR_CONVERSION_NOTIMPL ||
       guard.code == JERR_FRACT_SAMPLE_NOTIMPL || guard.code == JERR_NOTIMPL ||
       guard.code == JERR_NOT_COMPILED || guard.code == JERR_BAD_PRECISION)) {
    refuse("a kind of JPEG that libjpeg cannot decode: " + words +
           "; convert it to an 8-bit baseline JPEG");
  }
  c.scanline = broken_scanline();
  const std::string cure = "; fetch the file again, or restore what it holds with salvage";
  if (guard.failure == Failure::kEndOfFile) {
    throw Error(ErrorKind::kTruncatedJpeg,
                name() + ": ends after " + std::to_string(source.taken()) + " bytes " + where() +
                    ": the file is truncated" + cure,
                c);
  }
  throw Error(ErrorKind::kTruncatedJpeg, name() + ": damaged " + where() + ": " + words + cure, c);
}

void ScanlineReader::Impl::throw_header_failure() const {
  if (guard.failure == Failure::kEndOfFile) {
    ErrorContext c = context();
    c.scanline = 0;
    throw Error(ErrorKind::kTruncatedJpeg,
                name() + ": ends after " + std::to_string(source.taken()) +
                    " bytes, inside its header: the file is truncated and holds no picture; "
                    "fetch it again",
                c);
  }
  const std::string words = guard.message;
  switch (guard.code) {
    case JERR_BAD_PRECISION:
      refuse("not an 8-bit JPEG (" + words + "); convert it to 8 bits");
    case JERR_SOF_UNSUPPORTED:
      refuse("a lossless or hierarchical JPEG (" + words + "); convert it to baseline");
    case JERR_ARITH_NOTIMPL:
      refuse("an arithmetic-coded JPEG, which this libjpeg cannot decode; convert it to Huffman "
             "coding");
    case JERR_EMPTY_IMAGE:
      refuse("declares no rows or no columns");
    case JERR_IMAGE_TOO_BIG:
      refuse("declares more than " + std::to_string(JPEG_MAX_DIMENSION) +
             " rows or columns, more than JPEG decoders read");
    case JERR_NO_IMAGE:
      refuse("a JPEG without a picture in it (tables only)");
    default:
      refuse("damaged JPEG header: " + words + "; fetch the file again");
  }
}

// ------------------------------------------------------------------------------------- opening

void ScanlineReader::Impl::create_decoder() {
  jpeg_destroy_decompress(&decoder);
  decoder = {};
  jpeg_internal::set_up(guard, this);
  guard.failure = Failure::kNone;
  guard.on_warning = on_warning;
  decoder.err = &guard;
  if (!run_guarded(guard, create_step, this)) {
    throw_failure();
  }
  progress.progress_monitor = on_progress;
  decoder.progress = &progress;
  const std::int64_t allowed = options.limits.max_memory_bytes;
  decoder.mem->max_memory_to_use = static_cast<long>(std::max<std::int64_t>(allowed, 1));
  for (int marker = kMarkerApp1; marker <= kMarkerApp15; ++marker) {
    if (marker != kMarkerApp14) {
      jpeg_set_marker_processor(&decoder, marker, keep_segment);
    }
  }
  jpeg_set_marker_processor(&decoder, kMarkerComment, keep_segment);
  source.attach(decoder, on_end);
}

void ScanlineReader::Impl::open() {
  std::uint8_t signature[kSignatureBytes];
  const std::ptrdiff_t found = source.peek(signature, sizeof(signature));
  if (found < 0) {
    guard.failure = Failure::kSystem;
    guard.code = errno;
    throw_failure();
  }
  if (!is_jpeg_signature(signature, static_cast<std::size_t>(found))) {
    refuse("not a JPEG but " + describe_signature(signature, static_cast<std::size_t>(found)) +
           "; give a JPEG file");
  }
  create_decoder();
  if (!run_guarded(guard, header_step, this)) {
    throw_failure();
  }
  describe_header();
  header_done = true;
  check_header();
}

void ScanlineReader::Impl::describe_header() {
  info.rows = static_cast<int>(decoder.image_height);
  info.columns = static_cast<int>(decoder.image_width);
  info.components = decoder.num_components;
  info.bits = decoder.data_precision;
  switch (decoder.jpeg_color_space) {
    case JCS_GRAYSCALE:
      info.colour = JpegColour::kGrey;
      break;
    case JCS_YCbCr:
      info.colour = JpegColour::kYcbcr;
      break;
    case JCS_RGB:
      info.colour = JpegColour::kRgb;
      break;
    case JCS_CMYK:
      info.colour = JpegColour::kCmyk;
      break;
    case JCS_YCCK:
      info.colour = JpegColour::kYcck;
      break;
    default:
      refuse("has " + std::to_string(info.components) +
             " components without a known colour space; convert it to grey or RGB");
  }
  info.bands = info.colour == JpegColour::kGrey ? 1 : 3;
  info.subsampling = subsampling_name(decoder);
  info.progressive = decoder.progressive_mode != FALSE;
  // Only lossless scans name a predictor and no coefficients; libjpeg-turbo 3 decodes them.
  lossless = !info.progressive && decoder.Ss != 0 && decoder.Se == 0;
  info.arithmetic = decoder.arith_code != FALSE;
  info.multiple_scans = jpeg_has_multiple_scans(&decoder) != FALSE;
  info.restart_interval = static_cast<int>(decoder.restart_interval);
  info.jfif = decoder.saw_JFIF_marker != FALSE;
  info.adobe = decoder.saw_Adobe_marker != FALSE;
  info.quantisation = quantisation_tables(decoder);
  const QualityEstimate quality = estimate_quality(info.quantisation, info.colour);
  info.estimated_quality = quality.quality;
  info.quality_exact = quality.exact;
  if (info.jfif && decoder.density_unit <= 2) {  // others have no meaning to pass on
    metadata.density = {decoder.density_unit, decoder.X_density, decoder.Y_density};
  }
  std::erase_if(metadata.segments, is_multi_picture);
  if (info.components == 4 && is_cmyk_profile(metadata)) {
    info.icc_dropped = remove_icc(metadata);
  }
  jpeg_internal::Sampling sampling[MAX_COMPONENTS];
  for (int i = 0; i < info.components; ++i) {
    sampling[i] = {decoder.comp_info[i].h_samp_factor, decoder.comp_info[i].v_samp_factor};
  }
  info.decoder_bytes = jpeg_internal::memory_use(info.rows, info.columns, sampling,
                                                 info.components, info.multiple_scans)
                           .total();
}

void ScanlineReader::Impl::check_header() {
  const JpegLimits& limits = options.limits;
  const std::string size = std::to_string(info.columns) + "x" + std::to_string(info.rows);
  if (info.rows > limits.max_dimension || info.columns > limits.max_dimension) {
    refuse("declares " + size + " pixels, more than " + std::to_string(limits.max_dimension) +
           " in one direction; raise max_dimension if it is genuine");
  }
  const std::int64_t pixels = static_cast<std::int64_t>(info.rows) * info.columns;
  if (pixels > limits.max_pixels) {
    refuse("declares " + size + " = " + std::to_string(pixels) + " pixels, more than the " +
           std::to_string(limits.max_pixels) + " allowed; raise max_pixels if it is genuine");
  }
  if (info.bits != 8) {
    refuse("has " + std::to_string(info.bits) + " bits a sample; convert it to 8 bits");
  }
  if (info.decoder_bytes > limits.max_memory_bytes) {
    ErrorContext c = context();
    c.wanted = info.decoder_bytes;
    c.allowed = limits.max_memory_bytes;
    throw Error(ErrorKind::kMemoryBudget,
                name() + ": decoding this " + (info.multiple_scans ? "progressive " : "") +
                    "JPEG of " + size + " pixels takes " + std::to_string(c.wanted) +
                    " bytes in libjpeg, " + std::to_string(c.allowed) +
                    " are allowed; raise max_memory_bytes or convert it to baseline",
                c);
  }
  if (info.arithmetic || source.length() < 0) return;
  // Huffman coding spends at least one bit on a block's first coefficient and, in sequential mode,
  // one more on the rest, so that a huge picture in a tiny file is known before it costs anything.
  // A lossless file has a bit for each sample; its samples are what libjpeg counts as blocks.
  std::int64_t least_bits = 0;
  for (int i = 0; i < info.components; ++i) {
    least_bits += static_cast<std::int64_t>(decoder.comp_info[i].width_in_blocks) *
                  static_cast<std::int64_t>(decoder.comp_info[i].height_in_blocks) *
                  (info.progressive || lossless ? 1 : 2);
  }
  if (options.salvage && source.length() < least_bits / 8 / kSalvagedPart) {
    refuse("declares " + size + " pixels but has only " + std::to_string(source.length()) +
           " bytes: too little is left to be salvaged; fetch the file again");
  }
  if (!options.salvage && source.length() < least_bits / 8) {
    ErrorContext c = context();
    c.scanline = 0;
    throw Error(ErrorKind::kTruncatedJpeg,
                name() + ": declares " + size + " pixels, which take at least " +
                    std::to_string(least_bits / 8) + " bytes, but has only " +
                    std::to_string(source.length()) +
                    ": the file is truncated; fetch it again, or restore what it holds with "
                    "salvage",
                c);
  }
}

// ------------------------------------------------------------------------------------- reading

// A multi-scan file is decoded to coefficients here. When one of its scans is broken beyond what
// libjpeg can step over, salvage starts again with an input that ends where all was well.
void ScanlineReader::Impl::start() {
  for (;;) {
    decoder.out_color_space = info.bands == 1          ? JCS_GRAYSCALE
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
    RowsRequest request{&decoder, ink_row.empty() ? nullptr : ink_row.data(),
                        decoder.saw_Adobe_marker != FALSE,
                        interleaved, row_stride, count, 0};
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
