#include "bindings/bind_jpeg.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string_view>

#include "base/error.h"
#include "bindings/array_view.h"
#include "bindings/register.h"
#include "jpeg/codec.h"
#include "jpeg/quality.h"

namespace py = pybind11;

namespace imagine_deblur {
namespace {

const std::uint8_t* bytes_data(const py::bytes& bytes) {
  return reinterpret_cast<const std::uint8_t*>(PyBytes_AS_STRING(bytes.ptr()));
}

std::size_t bytes_size(const py::bytes& bytes) {
  return static_cast<std::size_t>(PyBytes_GET_SIZE(bytes.ptr()));
}

ReaderOptions reader_options(bool salvage, std::int64_t max_pixels, int max_scans,
                             std::int64_t max_memory_bytes) {
  ReaderOptions options;
  options.salvage = salvage;
  options.limits.max_pixels = max_pixels;
  options.limits.max_scans = max_scans;
  options.limits.max_memory_bytes = max_memory_bytes;
  return options;
}

Subsampling subsampling_from(const std::string& name) {
  if (name == "4:4:4") return Subsampling::k444;
  if (name == "4:2:2") return Subsampling::k422;
  if (name == "4:2:0") return Subsampling::k420;
  throw Error(ErrorKind::kOptions, "subsampling must be 4:4:4, 4:2:2 or 4:2:0, not " + name,
              {.field = "subsampling"});
}

using Table = py::array_t<std::uint16_t, py::array::c_style | py::array::forcecast>;

std::vector<QuantisationTable> tables_from(const std::vector<Table>& arrays) {
  std::vector<QuantisationTable> tables;
  for (const Table& array : arrays) {
    if (array.ndim() != 2 || array.shape(0) != 8 || array.shape(1) != 8) {
      throw Error(ErrorKind::kOptions, "a quantisation table must have the shape (8, 8)",
                  {.field = "quantisation"});
    }
    std::copy(array.data(), array.data() + 64, tables.emplace_back().begin());
  }
  return tables;
}

WriterOptions writer_options(int quality, const std::vector<Table>& quantisation,
                             const std::string& subsampling, bool progressive, bool optimise,
                             std::int64_t max_memory_bytes) {
  WriterOptions options;
  options.quality = quality;
  options.quantisation = tables_from(quantisation);
  options.subsampling = subsampling_from(subsampling);
  options.progressive = progressive;
  options.optimise = optimise;
  options.max_memory_bytes = max_memory_bytes;
  return options;
}

py::dict info_dict(const JpegInfo& info) {
  py::dict out;
  out["rows"] = info.rows;
  out["columns"] = info.columns;
  out["bands"] = info.bands;
  out["components"] = info.components;
  out["colour"] = colour_name(info.colour);
  out["subsampling"] = info.subsampling;
  out["progressive"] = info.progressive;
  out["restart_interval"] = info.restart_interval;
  out["estimated_quality"] = info.estimated_quality;
  out["quality_exact"] = info.quality_exact;
  out["icc_dropped"] = info.icc_dropped;
  out["decoder_bytes"] = info.decoder_bytes;
  py::list tables;
  for (const QuantisationTable& table : info.quantisation) {
    py::array_t<std::uint16_t> values({8, 8});
    std::copy(table.begin(), table.end(), values.mutable_data());
    tables.append(values);
  }
  out["quantisation"] = tables;
  return out;
}

py::array_t<std::uint8_t> empty_frame(int rows, int columns, int bands) {
  return bands == 1 ? py::array_t<std::uint8_t>({rows, columns})
                    : py::array_t<std::uint8_t>({rows, columns, bands});
}

// The next rows as an array; fewer at the end of the frame.
py::array_t<std::uint8_t> read_rows(JpegReader& reader, int count) {
  const JpegInfo& info = reader.reader().info();
  count = std::clamp(count, 0, info.rows - reader.reader().rows_read());
  py::array_t<std::uint8_t> rows = empty_frame(count, info.columns, info.bands);
  std::uint8_t* data = rows.mutable_data();
  const py::gil_scoped_release unlocked;
  reader.reader().read_rows(count, data, static_cast<std::ptrdiff_t>(info.columns) * info.bands);
  return rows;
}

py::bytes encode(const py::array& image, int quality, const std::string& subsampling,
                 bool progressive, const std::vector<Table>& quantisation) {
  const InterleavedView view = read_only_frame(image);
  if (view.shape.type != SampleType::kUint8) {
    throw Error(ErrorKind::kInputImage, "only uint8 arrays can be encoded as JPEG");
  }
  const WriterOptions options =
      writer_options(quality, quantisation, subsampling, progressive, false, std::int64_t{1} << 31);
  std::vector<std::uint8_t> encoded;
  {
    const py::gil_scoped_release unlocked;
    encoded = encode_jpeg(static_cast<const std::uint8_t*>(view.data), view.shape.rows,
                          view.shape.columns, view.shape.bands, view.row_stride, options);
  }
  return {reinterpret_cast<const char*>(encoded.data()), encoded.size()};
}

// Codes what `from` still has to read afresh, with its metadata; returns the bytes without a
// descriptor.
py::object recode(JpegReader& from, const JpegOutput& output) {
  ScanlineReader& reader = from.reader();
  const int rows = reader.info().rows, columns = reader.info().columns;
  const int bands = reader.info().bands;
  std::vector<std::uint8_t> encoded;
  {
    const py::gil_scoped_release unlocked;
    WriterOptions options = output.options;
    options.metadata = output.metadata(reader);
    ScanlineWriter writer =
        output.descriptor < 0
            ? ScanlineWriter::to_memory(encoded, rows, columns, bands, options)
            : ScanlineWriter::to_descriptor(output.descriptor, rows, columns, bands, options);
    constexpr int kScanlines = 16;  // one row of 4:2:0 blocks
    const std::ptrdiff_t row_bytes = static_cast<std::ptrdiff_t>(columns) * bands;
    std::vector<std::uint8_t> scanlines(static_cast<std::size_t>(kScanlines * row_bytes));
    while (writer.rows_written() < rows) {
      const int count = std::min(kScanlines, rows - writer.rows_written());
      writer.write_rows(reader.read_rows(count, scanlines.data(), row_bytes), scanlines.data(),
                        row_bytes);
    }
    writer.finish();
  }
  if (output.descriptor >= 0) return py::none();
  return py::bytes(reinterpret_cast<const char*>(encoded.data()), encoded.size());
}

int nearest_quality(const std::vector<Table>& arrays) {
  const JpegColour colour = arrays.size() < 3 ? JpegColour::kGrey : JpegColour::kYcbcr;
  return estimate_quality(tables_from(arrays), colour).quality;
}

}  // namespace

JpegReader::JpegReader(py::bytes data, const ReaderOptions& options, const std::string& name)
    : data_(std::move(data)),
      reader_(ScanlineReader::from_memory(bytes_data(data_), bytes_size(data_), options, name)) {}

Metadata JpegOutput::metadata(const ScanlineReader& source) const {
  Metadata out = source.metadata();
  if (!xmp.empty() || !comment.empty()) add_provenance(out, xmp, comment);
  return out;
}

void register_jpeg(py::module_& module) {
  const JpegLimits limits;
  py::class_<JpegReader>(module, "JpegReader")
      .def(py::init([](const py::object& source, bool salvage, std::int64_t max_pixels,
                       int max_scans, std::int64_t max_memory_bytes,
                       const std::filesystem::path& name) {
             const ReaderOptions options =
                 reader_options(salvage, max_pixels, max_scans, max_memory_bytes);
             if (py::isinstance<py::bytes>(source)) {
               return std::make_unique<JpegReader>(source.cast<py::bytes>(), options,
                                                   name.string());
             }
             return std::make_unique<JpegReader>(source.cast<std::filesystem::path>().string(),
                                                 options);
           }),
           py::arg("source"), py::kw_only(), py::arg("salvage") = false,
           py::arg("max_pixels") = limits.max_pixels, py::arg("max_scans") = limits.max_scans,
           py::arg("max_memory_bytes") = limits.max_memory_bytes, py::arg("name") = "")
      .def_property_readonly("info", [](JpegReader& r) { return info_dict(r.reader().info()); })
      .def_property_readonly(
          "salvage",
          [](JpegReader& r) {
            const SalvageReport& s = r.reader().salvaged();
            return s.salvaged ? py::object(py::make_tuple(s.first_bad_scanline, s.message))
                              : py::object(py::none());
          })
      .def_property_readonly(
          "metadata",
          [](JpegReader& r) {
            py::list out;
            for (const MetadataSegment& segment : r.reader().metadata().segments) {
              out.append(py::make_tuple(
                  segment.marker, py::bytes(reinterpret_cast<const char*>(segment.payload.data()),
                                            segment.payload.size())));
            }
            return out;
          })
      .def("read_rows", &read_rows, py::arg("count"));

  py::class_<JpegOutput>(module, "JpegOutput")
      .def(
          py::init([](int descriptor, int quality, const std::string& subsampling, bool progressive,
                      bool optimise, std::int64_t max_memory_bytes, const std::string& xmp,
                      const std::string& comment, const std::vector<Table>& quantisation) {
            return JpegOutput{writer_options(quality, quantisation, subsampling, progressive,
                                             optimise, max_memory_bytes),
                              descriptor, xmp, comment};
          }),
          py::kw_only(), py::arg("descriptor") = -1, py::arg("quality") = 95,
          py::arg("subsampling") = "4:2:0", py::arg("progressive") = false,
          py::arg("optimise") = false, py::arg("max_memory_bytes") = limits.max_memory_bytes,
          py::arg("xmp") = "", py::arg("comment") = "",
          py::arg("quantisation") = std::vector<Table>{});

  module.def("encode_jpeg", &encode, py::arg("image"), py::kw_only(), py::arg("quality") = 95,
             py::arg("subsampling") = "4:2:0", py::arg("progressive") = false,
             py::arg("quantisation") = std::vector<Table>{});
  module.def("recode_jpeg", &recode, py::arg("reader"), py::arg("output"));
  module.def("nearest_quality", &nearest_quality, py::arg("quantisation"));
}

}  // namespace imagine_deblur
