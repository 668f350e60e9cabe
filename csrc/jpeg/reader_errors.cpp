// What is said of a file that cannot be read.
#include <cstring>
#include <string>

#include "jpeg/reader_impl.h"

namespace imagine_deblur {

using jpeg_internal::Failure;

ErrorContext ScanlineReader::Impl::context() const {
  ErrorContext c;
  c.path = path;
  return c;
}

void ScanlineReader::Impl::refuse(const std::string& reason) const {
  throw Error(ErrorKind::kInputImage, name() + ": " + reason, context());
}

std::string ScanlineReader::Impl::where() const {
  std::string text =
      "at scanline " + std::to_string(broken_scanline()) + " of " + std::to_string(info.rows);
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
                name() +
                    ": libjpeg needs more memory than allowed to decode it; raise "
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
      refuse(
          "an arithmetic-coded JPEG, which this libjpeg cannot decode; convert it to Huffman "
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

}  // namespace imagine_deblur
