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
  PipelineOptions options;
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
                      r.options, keep_going);
}

py::tuple run_jpeg(JpegReader& reader, const JpegOutput& output, const Run& r) {
  JpegSource source(reader.reader());
  const FrameShape shape = source.shape();
  WriterOptions options = output.options;
  options.metadata = output.metadata(reader.reader());
  std::vector<std::uint8_t> bytes;
  ScanlineWriter writer =
      output.descriptor >= 0
          ? ScanlineWriter::to_descriptor(output.descriptor, shape.rows, shape.columns,
                                          shape.bands, options)
          : ScanlineWriter::to_memory(bytes, shape.rows, shape.columns, shape.bands, options);
  JpegSink sink(shape, writer);
  PipelineReport report = run(r, source, sink);
  {
    const py::gil_scoped_release unlocked;
    writer.finish();
  }
  py::object encoded = py::none();
  if (output.descriptor < 0) {
    encoded = py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return py::make_tuple(to_dict(report), encoded);
}

py::dict run_array(const py::array& image, py::array& out, const Run& r) {
  ArraySource source(read_only_frame(image));
  ArraySink sink(writable_frame(out, source.shape()));
  return to_dict(run(r, source, sink));
}

std::size_t bytes_needed(int rows, int columns, int bands, bool float32, const Engine& engine,
                         const py::object& stage, const PipelineOptions& options, int tile_rows) {
  const FrameShape shape{rows, columns, bands,
                         float32 ? SampleType::kFloat32 : SampleType::kUint8};
  std::optional<PythonStage> linear;
  if (!stage.is_none()) linear.emplace(stage, py::none());
  return pipeline_bytes(shape, engine, linear ? &*linear : nullptr, options, tile_rows);
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
      .def_property_readonly("finished", [](const StripView& s) { return rows(s.strip.finished); })
      .def_property_readonly("capture", [](const StripView& s) { return s.planes(s.strip.capture); })
      .def_property_readonly("linear", [](const StripView& s) { return s.planes(s.strip.linear); })
      .def_property_readonly("restored",
                             [](const StripView& s) { return s.planes(s.strip.restored); })
      .def_property_readonly("scratch", [](const StripView& s) {
        return py::array(py::dtype::of<std::uint8_t>(),
                         {static_cast<py::ssize_t>(s.strip.scratch.size())},
                         {py::ssize_t{1}}, s.strip.scratch.data(), s.owner);
      });

  py::class_<PipelineOptions>(module, "PipelineOptions")
      .def(py::init([](std::vector<int> inputs, int overlap, int multiple_of, bool drop_scratch,
                       bool require_numbers) {
             return PipelineOptions{overlap, multiple_of, std::move(inputs), drop_scratch,
                                    require_numbers};
           }),
           py::kw_only(), py::arg("inputs"), py::arg("overlap") = 0, py::arg("multiple_of") = 1,
           py::arg("drop_scratch") = false, py::arg("require_numbers") = false);

  module.def(
      "frame_shape",
      [](const py::array& image) {
        const FrameShape shape = read_only_frame(image).shape;
        return py::make_tuple(shape.rows, shape.columns, shape.bands);
      },
      py::arg("image"));

  module.def("pipeline_bytes", &bytes_needed, py::arg("rows"), py::arg("columns"),
             py::arg("bands"), py::arg("float32"), py::arg("engine"), py::arg("stage"),
             py::arg("options"), py::arg("tile_rows"));

  module.def(
      "run_jpeg",
      [](JpegReader& reader, const JpegOutput& output, Engine& engine, py::object stage,
         std::shared_ptr<BufferPool> pool, PinnedPool& workers, PipelineOptions options,
         py::object keep_going) {
        return run_jpeg(reader, output,
                        {&engine, std::move(stage), std::move(pool), &workers, std::move(options),
                         std::move(keep_going)});
      },
      py::arg("reader"), py::arg("output"), py::arg("engine"), py::arg("stage").none(true),
      py::arg("pool"), py::arg("workers"), py::arg("options"),
      py::arg("keep_going").none(true) = py::none());

  module.def(
      "run_array",
      [](const py::array& image, py::array out, Engine& engine, py::object stage,
         std::shared_ptr<BufferPool> pool, PinnedPool& workers, PipelineOptions options,
         py::object keep_going) {
        return run_array(image, out,
                         {&engine, std::move(stage), std::move(pool), &workers,
                          std::move(options), std::move(keep_going)});
      },
      py::arg("image"), py::arg("out"), py::arg("engine"), py::arg("stage").none(true),
      py::arg("pool"), py::arg("workers"), py::arg("options"),
      py::arg("keep_going").none(true) = py::none());
}

}  // namespace imagine_deblur
