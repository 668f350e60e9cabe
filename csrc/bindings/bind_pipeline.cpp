// The streaming pipeline over JPEG files and arrays.
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "bindings/array_view.h"
#include "bindings/bind_jpeg.h"
#include "bindings/python_stage.h"
#include "bindings/register.h"
#include "engine/engine.h"
#include "pipeline/jpeg_io.h"
#include "pipeline/streaming_pipeline.h"
#include "threads/pinned_pool.h"

namespace py = pybind11;

namespace imagine_deblur {
namespace {

// What every run needs beside its source and sink.
struct Run {
  Engine* engine;
  py::object stage;  // None or a linear stage
  std::shared_ptr<BufferPool> pool;
  PinnedPool* workers;
  const FramePlan* plan;
  py::object keep_going;  // None or a callable of the fraction done
};

py::dict to_dict(const PipelineReport& r) {
  py::dict out;
  out["tiles"] = r.tiles;
  out["tile_rows"] = r.tile_rows;
  out["tile_columns"] = r.tile_columns;
  out["strips"] = r.strips;
  out["margin_rows"] = r.margin_rows;
  out["replaced_blocks"] = r.replaced_blocks;
  out["planned_bytes"] = r.planned_bytes;
  out["read_seconds"] = r.read_seconds;
  out["linear_seconds"] = r.linear_seconds;
  out["gather_seconds"] = r.gather_seconds;
  out["engine_seconds"] = r.engine_seconds;
  out["store_seconds"] = r.store_seconds;
  out["review_seconds"] = r.review_seconds;
  out["write_seconds"] = r.write_seconds;
  return out;
}

// Takes the lock between tiles to look for Ctrl-C and to call the caller's function.
KeepGoing python_keep_going(const py::object& function) {
  return [&function](double fraction) {
    const py::gil_scoped_acquire lock;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    return function.is_none() || py::cast<bool>(function(fraction));
  };
}

PipelineReport run(const Run& r, FrameSource& source, FrameSink& sink) {
  std::optional<PythonStage> stage;
  if (!r.stage.is_none()) stage.emplace(r.stage, py::cast(r.pool));
  const KeepGoing keep_going = python_keep_going(r.keep_going);
  const py::gil_scoped_release unlocked;
  return run_pipeline(source, sink, *r.engine, stage ? &*stage : nullptr, *r.pool, *r.workers,
                      *r.plan, keep_going);
}

// A whole frame that was decoded before; the array is let go once it has been read.
class DecodedSource final : public FrameSource {
 public:
  explicit DecodedSource(py::array array)
      : array_(std::move(array)), source_(read_only_frame(array_)) {}
  ~DecodedSource() override { let_go(); }
  DecodedSource(const DecodedSource&) = delete;
  DecodedSource& operator=(const DecodedSource&) = delete;

  FrameShape shape() const override { return source_.shape(); }
  void read(RowRange rows, std::span<const PlaneWindow> planes) override {
    source_.read(rows, planes);
    if (rows.last == shape().rows) let_go();
  }

 private:
  void let_go() {
    const py::gil_scoped_acquire lock;
    array_ = py::array();
  }

  py::array array_;
  ArraySource source_;
};

py::tuple run_jpeg(JpegReader& reader, const JpegOutput& output, const Run& r,
                   const py::object& decoded) {
  JpegSource encoded(reader.reader());
  std::optional<DecodedSource> kept;
  if (!decoded.is_none()) kept.emplace(decoded().cast<py::array>());
  const FrameShape shape = encoded.shape();
  if (r.plan->tiles.region() != Rect{0, 0, shape.rows, shape.columns}) {
    throw Error(ErrorKind::kOptions, "a file is restored whole", {.field = "region"});
  }
  WriterOptions options = output.options;
  options.metadata = output.metadata(reader.reader());
  std::vector<std::uint8_t> bytes;
  ScanlineWriter writer =
      output.descriptor >= 0
          ? ScanlineWriter::to_descriptor(output.descriptor, shape.rows, shape.columns, shape.bands,
                                          options)
          : ScanlineWriter::to_memory(bytes, shape.rows, shape.columns, shape.bands, options);
  JpegSink sink(shape, writer);
  PipelineReport report = kept ? run(r, *kept, sink) : run(r, encoded, sink);
  {
    const py::gil_scoped_release unlocked;
    writer.finish();
  }
  py::object result = py::none();
  if (output.descriptor < 0) {
    result = py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return py::make_tuple(to_dict(report), result);
}

// `out` shows the whole frame, or the frame from `first` (row, column) on.
py::dict run_array(const py::array& image, py::array& out, const Run& r,
                   const std::optional<std::pair<int, int>>& first) {
  ArraySource source(read_only_frame(image));
  FrameShape shown = source.shape();
  if (first && out.ndim() >= 2) {
    shown.rows = static_cast<int>(out.shape(0));
    shown.columns = static_cast<int>(out.shape(1));
  }
  const auto [row, column] = first.value_or(std::pair{0, 0});
  if (!r.plan->tiles.region().contains({row, column, row + shown.rows, column + shown.columns})) {
    throw Error(ErrorKind::kOptions, "an output that leaves the region", {.field = "first"});
  }
  ArraySink sink(writable_frame(out, shown), row, column);
  return to_dict(run(r, source, sink));
}

py::tuple rows(const RowRange& range) { return py::make_tuple(range.first, range.last); }

}  // namespace

void register_pipeline(py::module_& module) {
  py::class_<StripView>(module, "Strip")
      .def_property_readonly("index", [](const StripView& s) { return s.strip.index; })
      .def_property_readonly("count", [](const StripView& s) { return s.strip.count; })
      .def_property_readonly("frame_rows",
                             [](const StripView& s) { return s.strip.capture[0].frame_rows; })
      .def_property_readonly("window", [](const StripView& s) { return rows(s.strip.window); })
      .def_property_readonly("planes", [](const StripView& s) { return rows(s.strip.planes); })
      .def_property_readonly("columns", [](const StripView& s) { return rows(s.strip.columns); })
      .def_property_readonly("group_columns",
                             [](const StripView& s) { return s.strip.group_columns; })
      .def_property_readonly("finished", [](const StripView& s) { return rows(s.strip.finished); })
      .def_property_readonly("finished_columns",
                             [](const StripView& s) { return rows(s.strip.finished_columns); })
      .def_property_readonly("capture",
                             [](const StripView& s) { return s.planes(s.strip.capture); })
      .def_property_readonly("linear", [](const StripView& s) { return s.planes(s.strip.linear); })
      .def_property_readonly("restored",
                             [](const StripView& s) { return s.planes(s.strip.restored); })
      .def_property_readonly("scratch", [](const StripView& s) {
        return py::array(py::dtype::of<std::uint8_t>(),
                         {static_cast<py::ssize_t>(s.strip.scratch.size())}, {py::ssize_t{1}},
                         s.strip.scratch.data(), s.owner);
      });

  py::class_<FramePlan>(module, "FramePlan")
      .def(py::init([](const TilePlan& tiles, int bands, bool float32, int output_bands,
                       std::vector<int> inputs, int linear_planes, std::vector<float> constants,
                       int strip_height, int group_width, int margin_rows,
                       std::size_t scratch_bytes, bool drop_memory, bool require_numbers) {
             FramePlan plan{.tiles = tiles,
                            .bands = bands,
                            .type = float32 ? SampleType::kFloat32 : SampleType::kUint8,
                            .output_bands = output_bands,
                            .inputs = std::move(inputs),
                            .linear_planes = linear_planes,
                            .constants = std::move(constants),
                            .strip_height = strip_height,
                            .group_width = group_width,
                            .margin_rows = margin_rows,
                            .scratch_bytes = scratch_bytes,
                            .drop_memory = drop_memory,
                            .require_numbers = require_numbers};
             plan.check();
             return plan;
           }),
           py::arg("tiles"), py::kw_only(), py::arg("bands") = 3, py::arg("float32") = false,
           py::arg("output_bands") = 3, py::arg("inputs"), py::arg("linear_planes") = 0,
           py::arg("constants") = std::vector<float>{}, py::arg("strip_height") = 1,
           py::arg("group_width") = 1 << 24, py::arg("margin_rows") = 0,
           py::arg("scratch_bytes") = 0, py::arg("drop_memory") = true,
           py::arg("require_numbers") = false)
      .def_readonly("tiles", &FramePlan::tiles)
      .def_readonly("margin_rows", &FramePlan::margin_rows)
      .def_readonly("scratch_bytes", &FramePlan::scratch_bytes)
      .def_property_readonly("strips", &FramePlan::strips)
      .def_property_readonly("groups", &FramePlan::groups)
      .def_property_readonly("window_rows", &FramePlan::window_rows)
      .def_property_readonly("group_columns", &FramePlan::group_columns)
      .def_property_readonly("pool_bytes", &FramePlan::pool_bytes)
      .def_property_readonly("linear_phase_bytes", &FramePlan::linear_phase_bytes)
      .def_property_readonly("tile_phase_bytes", &FramePlan::tile_phase_bytes)
      .def_property_readonly("review_phase_bytes", &FramePlan::review_phase_bytes)
      .def(
          "with_scratch",
          [](FramePlan plan, std::size_t bytes) {
            plan.scratch_bytes = bytes;
            return plan;
          },
          py::arg("bytes"));

  module.def(
      "frame_shape",
      [](const py::array& image) {
        const FrameShape shape = read_only_frame(image).shape;
        return py::make_tuple(shape.rows, shape.columns, shape.bands);
      },
      py::arg("image"));

  module.def(
      "run_jpeg",
      [](JpegReader& reader, const JpegOutput& output, Engine& engine, py::object stage,
         std::shared_ptr<BufferPool> pool, PinnedPool& workers, const FramePlan& plan,
         py::object keep_going, const py::object& decoded) {
        return run_jpeg(
            reader, output,
            {&engine, std::move(stage), std::move(pool), &workers, &plan, std::move(keep_going)},
            decoded);
      },
      py::arg("reader"), py::arg("output"), py::arg("engine"), py::arg("stage").none(true),
      py::arg("pool"), py::arg("workers"), py::arg("plan"),
      py::arg("keep_going").none(true) = py::none(), py::arg("decoded").none(true) = py::none());

  module.def(
      "run_array",
      [](const py::array& image, py::array out, Engine& engine, py::object stage,
         std::shared_ptr<BufferPool> pool, PinnedPool& workers, const FramePlan& plan,
         py::object keep_going, const std::optional<std::pair<int, int>>& first) {
        return run_array(
            image, out,
            {&engine, std::move(stage), std::move(pool), &workers, &plan, std::move(keep_going)},
            first);
      },
      py::arg("image"), py::arg("out"), py::arg("engine"), py::arg("stage").none(true),
      py::arg("pool"), py::arg("workers"), py::arg("plan"),
      py::arg("keep_going").none(true) = py::none(), py::arg("first").none(true) = py::none());
}

}  // namespace imagine_deblur
