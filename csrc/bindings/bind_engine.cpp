#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "bindings/callable_engine.h"
#include "bindings/register.h"
#include "engine/identity_engine.h"
#include "engine/openvino_engine.h"
#include "engine/plain_network_engine.h"
#include "threads/pinned_pool.h"

namespace py = pybind11;

namespace imagine_deblur {
namespace {

py::dict settings(const OpenVinoEngine& engine) {
  const OpenVinoSettings& s = engine.effective();
  py::dict out;
  out["version"] = s.version;
  out["threads"] = s.threads;
  out["streams"] = s.streams;
  out["precision"] = s.precision;
  out["performance_hint"] = s.performance_hint;
  out["pin_threads"] = s.pin_threads;
  return out;
}

using Floats = py::array_t<float, py::array::c_style>;

PlainLayer layer(const Floats& weights, const Floats& bias) {
  if (weights.ndim() != 4 || weights.shape(2) != 3 || weights.shape(3) != 3 || bias.ndim() != 1) {
    throw Error(ErrorKind::kEngine, "a layer's weights must be (outputs, inputs, 3, 3)",
                {.field = "layers"});
  }
  return {.inputs = static_cast<int>(weights.shape(1)),
          .outputs = static_cast<int>(weights.shape(0)),
          .weights = std::vector<float>(weights.data(), weights.data() + weights.size()),
          .bias = std::vector<float>(bias.data(), bias.data() + bias.size())};
}

// One tile given as arrays, for tests and benchmarks of the bare engine.
void infer_arrays(Engine& engine, const py::array_t<float, py::array::c_style>& input,
                  py::array_t<float, py::array::c_style>& output) {
  const EngineSpec& spec = engine.spec();
  const auto fits = [&](const py::array& array, int planes) {
    return array.ndim() == 3 && array.shape(0) == planes && array.shape(1) == spec.tile_rows &&
           array.shape(2) == spec.tile_columns;
  };
  if (!fits(input, spec.input_planes) || !fits(output, spec.output_bands)) {
    throw Error(ErrorKind::kOptions,
                "input and output must be float32 of (planes, " + std::to_string(spec.tile_rows) +
                    ", " + std::to_string(spec.tile_columns) + ") with " +
                    std::to_string(spec.input_planes) + " and " +
                    std::to_string(spec.output_bands) + " planes",
                {.field = "input"});
  }
  const float* in = input.data();
  float* out = output.mutable_data();
  const py::gil_scoped_release unlocked;
  engine.infer(in, out);
}

}  // namespace

void register_engines(py::module_& module) {
  py::class_<Engine>(module, "Engine")
      .def_property_readonly("name", [](const Engine& e) { return e.spec().name; })
      .def_property_readonly("precision", [](const Engine& e) { return e.spec().precision; })
      .def_property_readonly("input_planes", [](const Engine& e) { return e.spec().input_planes; })
      .def_property_readonly("output_bands", [](const Engine& e) { return e.spec().output_bands; })
      .def_property_readonly("tile_rows", [](const Engine& e) { return e.spec().tile_rows; })
      .def_property_readonly("tile_columns", [](const Engine& e) { return e.spec().tile_columns; })
      .def_property_readonly("halo", [](const Engine& e) { return e.spec().halo.rows; })
      .def_property_readonly("local", [](const Engine& e) { return e.spec().local; })
      .def_property_readonly("working_bytes", &Engine::working_bytes)
      .def("infer", &infer_arrays, py::arg("input").noconvert(), py::arg("output").noconvert())
      .def("weights_sum", &Engine::weights_sum);

  py::class_<IdentityEngine, Engine>(module, "IdentityEngine")
      .def(py::init([](int input_planes, int output_bands, int first_plane, int tile_rows,
                       int tile_columns, int halo, bool local, float input_offset) {
             return std::make_unique<IdentityEngine>(
                 IdentityOptions{input_planes, output_bands, first_plane, tile_rows, tile_columns,
                                 Halo{halo, halo}, local, input_offset});
           }),
           py::kw_only(), py::arg("input_planes") = 3, py::arg("output_bands") = 3,
           py::arg("first_plane") = 0, py::arg("tile_rows"), py::arg("tile_columns"),
           py::arg("halo") = 0, py::arg("local") = true, py::arg("input_offset") = 0.0F);

  py::class_<OpenVinoEngine, Engine>(module, "OpenVinoEngine")
      .def(py::init([](const std::filesystem::path& library_path,
                       const std::filesystem::path& model_path, int input_planes, int output_bands,
                       int tile_rows, int tile_columns, int halo, bool local, float input_offset,
                       int threads, const std::string& precision, bool quantised, bool pin_threads,
                       const std::filesystem::path& cache_directory) {
             OpenVinoOptions options;
             options.library_path = library_path.string();
             options.model_path = model_path.string();
             options.input_planes = input_planes;
             options.output_bands = output_bands;
             options.tile_rows = tile_rows;
             options.tile_columns = tile_columns;
             options.halo = {halo, halo};
             options.local = local;
             options.input_offset = input_offset;
             options.threads = threads;
             options.precision = precision;
             options.quantised = quantised;
             options.pin_threads = pin_threads;
             options.cache_directory = cache_directory.string();
             const py::gil_scoped_release unlocked;
             return std::make_unique<OpenVinoEngine>(options);
           }),
           py::kw_only(), py::arg("library_path"), py::arg("model_path"), py::arg("input_planes"),
           py::arg("output_bands") = 3, py::arg("tile_rows"), py::arg("tile_columns"),
           py::arg("halo") = 0, py::arg("local") = true, py::arg("input_offset") = 0.0F,
           py::arg("threads") = 1, py::arg("precision") = "f32", py::arg("quantised") = false,
           py::arg("pin_threads") = false, py::arg("cache_directory") = "")
      .def("settings", &settings);

  py::class_<PlainNetworkEngine, Engine>(module, "PlainNetworkEngine")
      .def(py::init([](const std::vector<std::pair<Floats, Floats>>& layers, int unshuffle,
                       int base_plane, float base_offset, int input_planes, int output_bands,
                       int tile_rows, int tile_columns, int halo, bool local, float input_offset,
                       std::shared_ptr<PinnedPool> workers) {
             PlainNetworkOptions options;
             for (const auto& [weights, bias] : layers)
               options.layers.push_back(layer(weights, bias));
             options.unshuffle = unshuffle;
             options.base_plane = base_plane;
             options.base_offset = base_offset;
             options.input_planes = input_planes;
             options.output_bands = output_bands;
             options.tile_rows = tile_rows;
             options.tile_columns = tile_columns;
             options.halo = {halo, halo};
             options.local = local;
             options.input_offset = input_offset;
             return std::make_unique<PlainNetworkEngine>(options, std::move(workers));
           }),
           py::arg("layers"), py::kw_only(), py::arg("unshuffle") = 1, py::arg("base_plane") = 0,
           py::arg("base_offset") = 0.0F, py::arg("input_planes"), py::arg("output_bands") = 3,
           py::arg("tile_rows"), py::arg("tile_columns"), py::arg("halo") = 0,
           py::arg("local") = true, py::arg("input_offset") = 0.0F, py::arg("workers"))
      .def("settings", [](const PlainNetworkEngine& engine) {
        py::dict out;
        out["threads"] = engine.threads();
        out["precision"] = engine.spec().precision;
        out["instructions"] = engine.instructions();
        return out;
      });

  py::class_<CallableEngine, Engine>(module, "CallableEngine")
      .def(py::init([](py::object function, const std::string& name, const std::string& precision,
                       int input_planes, int output_bands, int tile_rows, int tile_columns,
                       int halo, bool local, float input_offset) {
             return std::make_unique<CallableEngine>(std::move(function),
                                                     EngineSpec{.name = name,
                                                                .precision = precision,
                                                                .input_planes = input_planes,
                                                                .output_bands = output_bands,
                                                                .tile_rows = tile_rows,
                                                                .tile_columns = tile_columns,
                                                                .halo = {halo, halo},
                                                                .local = local,
                                                                .input_offset = input_offset});
           }),
           py::arg("function"), py::kw_only(), py::arg("name") = "callable",
           py::arg("precision") = "f32", py::arg("input_planes") = 3, py::arg("output_bands") = 3,
           py::arg("tile_rows"), py::arg("tile_columns"), py::arg("halo") = 0,
           py::arg("local") = true, py::arg("input_offset") = 0.0F);
}

}  // namespace imagine_deblur
