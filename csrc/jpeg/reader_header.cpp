// Opening a file: what its header says, and whether that is within the limits.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "jpeg/memory_use.h"
#include "jpeg/quality.h"
#include "jpeg/reader_impl.h"
#include "jpeg/signature.h"

namespace imagine_deblur {
namespace {

using jpeg_internal::Failure;
using jpeg_internal::run_guarded;

constexpr std::int64_t kSalvagedPart = 16;  // of the fewest bytes a frame takes: one in 16

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
  info.decoder_bytes = jpeg_internal::memory_use(info.rows, info.columns, sampling, info.components,
                                                 info.multiple_scans)
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

}  // namespace imagine_deblur
