// JPEG input and output as Python holds them.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>
#include <string>
#include <vector>

#include "jpeg/scanline_reader.h"
#include "jpeg/scanline_writer.h"

namespace imagine_deblur {

// A JPEG being read, from a path or from bytes (kept alive here).
class JpegReader {
 public:
  JpegReader(const std::string& path, const ReaderOptions& options)
      : reader_(ScanlineReader::from_path(path, options)) {}
  JpegReader(pybind11::bytes data, const ReaderOptions& options, const std::string& name);

  ScanlineReader& reader() noexcept { return reader_; }

 private:
  pybind11::bytes data_;  // before reader_, which borrows it
  ScanlineReader reader_;
};

// How and where to write: to a descriptor, or to memory when it is negative.
struct JpegOutput {
  WriterOptions options;
  int descriptor = -1;
  std::string xmp;  // provenance, see add_provenance; not added when both are empty
  std::string comment;

  // The source's metadata with the provenance added.
  Metadata metadata(const ScanlineReader& source) const;
};

}  // namespace imagine_deblur
